// Memory that notices what a kernel must not do: read or write outside it, or write where it may only read.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "support/call.h"

namespace sinew_test {

enum class Place {
  kCreated,     // sn_tensor_create: aligned, on huge pages when large
  kEndsAtPage,  // the byte after the last one cannot be touched
  kStartsPage,  // the byte before the first one cannot be touched
  kShifted,     // one element past a cache line's border, bytes that are watched on both sides
  kHeap,        // malloc of exactly the size, which AddressSanitizer watches
};
constexpr Place kPlaces[] = {Place::kCreated, Place::kEndsAtPage, Place::kStartsPage, Place::kShifted, Place::kHeap};
const char* name_of(Place place);

// A tensor for an operand in memory of the given kind. Without bytes the operand is filled with a pattern.
class Buffer {
 public:
  Buffer(sn_device* device, const Operand& operand, Place place);
  ~Buffer();
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  sn_tensor* tensor() const { return tensor_; }
  const uint8_t* data() const { return data_; }
  std::vector<uint8_t> bytes() const;
  void fill(const std::vector<uint8_t>& bytes);  // empty: the pattern
  // Whether the watched bytes around the tensor are as they were.
  bool surroundings_intact() const;

 private:
  sn_tensor* tensor_ = nullptr;
  uint8_t* data_ = nullptr;
  size_t size_;
  void* heap_ = nullptr;
  uint8_t* map_ = nullptr;
  size_t map_size_ = 0;
  uint8_t* watched_ = nullptr;  // writable bytes that include the tensor's
  size_t watched_size_ = 0;
};

}  // namespace sinew_test
