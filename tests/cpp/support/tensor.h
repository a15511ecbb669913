// A tensor handle that closes itself, for tests that call the library directly.
#pragma once

#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "sinew.h"
#include "support/number.h"

namespace sinew_test {

class Tensor {
 public:
  Tensor() = default;
  Tensor(sn_device* device, sn_dtype dtype, const std::vector<int64_t>& shape) : dtype_(dtype) {
    if (sn_tensor_create(device, dtype, static_cast<int32_t>(shape.size()), shape.data(), &handle_) != SN_OK)
      throw std::runtime_error(sn_last_error());
    count_ = 1;
    for (int64_t d : shape) count_ *= d;
  }
  ~Tensor() { sn_tensor_close(handle_); }
  Tensor(const Tensor&) = delete;
  Tensor& operator=(const Tensor&) = delete;

  operator sn_tensor*() const { return handle_; }
  sn_tensor** out() { return &handle_; }
  uint8_t* data() const { return static_cast<uint8_t*>(sn_tensor_data(handle_)); }
  size_t size() const { return static_cast<size_t>(count_ * size_of(dtype_)); }
  void fill(uint8_t byte) {
    if (size() > 0) std::memset(data(), byte, size());
  }
  bool holds_only(uint8_t byte) const {
    for (size_t i = 0; i < size(); ++i) {
      if (data()[i] != byte) return false;
    }
    return true;
  }
  void close() {
    sn_tensor_close(handle_);
    handle_ = nullptr;
  }

 private:
  sn_tensor* handle_ = nullptr;
  sn_dtype dtype_ = SN_U8;
  int64_t count_ = 0;
};

}  // namespace sinew_test
