#include "support/buffer.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <stdexcept>

namespace sinew_test {
namespace {

constexpr uint8_t kCanary = 0x5c;
constexpr uint8_t kPattern = 0xa5;

size_t page_size() { return static_cast<size_t>(sysconf(_SC_PAGESIZE)); }

void require(bool condition, const char* what) {
  if (!condition) throw std::runtime_error(std::string(what) + ": " + sn_last_error());
}

}  // namespace

const char* name_of(Place place) {
  static const char* const names[] = {"created", "ending at a guard page", "starting at a guard page", "misaligned",
                                      "on the heap"};
  return names[static_cast<int>(place)];
}

Buffer::Buffer(sn_device* device, const Operand& operand, Place place) : size_(static_cast<size_t>(operand.size())) {
  const int32_t rank = static_cast<int32_t>(operand.shape.size());
  if (place == Place::kCreated) {
    require(sn_tensor_create(device, operand.dtype, rank, operand.shape.data(), &tensor_) == SN_OK, "sn_tensor_create");
    data_ = static_cast<uint8_t*>(sn_tensor_data(tensor_));
  } else if (place == Place::kHeap) {
    heap_ = std::malloc(size_);
    data_ = static_cast<uint8_t*>(heap_);
  } else {
    const size_t page = page_size();
    const size_t shift = static_cast<size_t>(size_of(operand.dtype));
    const size_t room = place == Place::kShifted ? size_ + 256 : size_;
    watched_size_ = (room + page - 1) / page * page;
    map_size_ = watched_size_ + 2 * page;
    void* map = mmap(nullptr, map_size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    require(map != MAP_FAILED, "mmap");
    map_ = static_cast<uint8_t*>(map);
    watched_ = map_ + page;
    require(mprotect(map_, page, PROT_NONE) == 0, "mprotect");
    require(mprotect(watched_ + watched_size_, page, PROT_NONE) == 0, "mprotect");
    data_ = place == Place::kEndsAtPage   ? watched_ + watched_size_ - size_
            : place == Place::kStartsPage ? watched_
                                          : watched_ + 128 + shift;
    std::memset(watched_, kCanary, static_cast<size_t>(data_ - watched_));
    std::memset(data_ + size_, kCanary, static_cast<size_t>(watched_ + watched_size_ - data_) - size_);
  }
  if (tensor_ == nullptr) {
    require(sn_tensor_wrap(device, data_, operand.dtype, rank, operand.shape.data(), &tensor_) == SN_OK,
            "sn_tensor_wrap");
  }
  fill(operand.bytes);
}

Buffer::~Buffer() {
  sn_tensor_close(tensor_);
  std::free(heap_);
  if (map_ != nullptr) munmap(map_, map_size_);
}

std::vector<uint8_t> Buffer::bytes() const { return std::vector<uint8_t>(data_, data_ + size_); }

void Buffer::fill(const std::vector<uint8_t>& bytes) {
  if (size_ == 0) return;
  if (bytes.empty()) {
    std::memset(data_, kPattern, size_);
  } else {
    std::memcpy(data_, bytes.data(), size_);
  }
}

bool Buffer::surroundings_intact() const {
  for (const uint8_t* p = watched_; p < watched_ + watched_size_; ++p) {
    if (p == data_) p += size_;
    if (p < watched_ + watched_size_ && *p != kCanary) return false;
  }
  return true;
}

}  // namespace sinew_test
