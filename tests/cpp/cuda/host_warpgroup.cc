// Hopper's products of cuda/warpgroup.h for a warp of the four, as the PTX ISA has them: the matrix descriptor, the
// 128-byte swizzle of matrices whose rows hold consecutive columns, and the fragment layout of the accumulators of
// wgmma.m64nNk32. What would be undefined on a GPU ends the process.
#include <cstring>

#include "host_warp.h"
#include "warpgroup.h"

namespace sn {
namespace cuda {
namespace {

// What a descriptor says, in bytes.
struct Matrix {
  const char* window;  // where shared memory begins
  uint32_t start, stride;

  Matrix(uint64_t descriptor, const void* shared)
      : window(static_cast<const char*>(shared)),
        start(static_cast<uint32_t>(descriptor & 0x3fff) * 16),
        stride(static_cast<uint32_t>(descriptor >> 32 & 0x3fff) * 16) {
    require(descriptor >> 62 == 1, "a matrix is not swizzled by 128 bytes");
    require((descriptor >> 49 & 7) == 0 && start % 1024 + 32 <= 128,
            "the pattern of the swizzle does not begin with a matrix");
  }
  // Rows of 128 bytes, eight of which are one pattern: bits 4 to 6 of an address are those without the swizzle, flipped
  // where bits 7 to 9 are set.
  int8_t at(int row, int col) const {
    const uint32_t linear =
        start + static_cast<uint32_t>(row / 8) * stride + static_cast<uint32_t>(row % 8 * 128 + col);
    return static_cast<int8_t>(window[linear ^ (linear >> 3 & 0x70)]);
  }
};

struct Operands {
  int8_t left[16][kGroupDepth], right[kGroupDepth][kGroupChannels];

  Operands(const Products::Product& p) {
    const Matrix a(p.a, p.window), b(p.b, p.window);
    for (int k = 0; k < kGroupDepth; ++k) {
      for (int row = 0; row < 16; ++row) left[row][k] = a.at(16 * p.warp + row, k);
      for (int channel = 0; channel < kGroupChannels; ++channel) right[k][channel] = b.at(channel, k);
    }
  }
  uint64_t digest() const {
    uint64_t sum = 0;
    for (const auto& row : left)
      for (int8_t v : row) sum = sum * 0x100000001b3u + static_cast<uint8_t>(v);
    for (const auto& row : right)
      for (int8_t v : row) sum = sum * 0x100000001b3u + static_cast<uint8_t>(v);
    return sum;
  }
};

}  // namespace

void publish_copies() { copies_unpublished() = false; }

void Products::clear() {
  count = 0;
  group = 0;
}

void Products::multiply_add(uint64_t a, uint64_t b, const void* window, int warp, GroupSums*) {
  require(count < kMost, "too many products are under way");
  require(!copies_unpublished(), "a product begins before copies are published");
  Product& product = pending[count++];
  product = {a, b, window, warp, group, 0};
  product.before = Operands(product).digest();
}

void Products::finish(int64_t groups, GroupSums* sums) {
  int left = 0;
  for (int i = 0; i < count; ++i) {
    if (pending[i].group >= groups) {
      pending[left++] = pending[i];
      continue;
    }
    const Operands operands(pending[i]);
    require(operands.digest() == pending[i].before, "a matrix was written while it was multiplied");
    for (int row = 0; row < 16; ++row) {
      int32_t product[kGroupChannels] = {};
      for (int k = 0; k < kGroupDepth; ++k) {
        for (int channel = 0; channel < kGroupChannels; ++channel)
          product[channel] += operands.left[row][k] * operands.right[k][channel];
      }
      // Of a row lane 4 (row % 8) + j has, of every eight channels, 2 j and 2 j + 1; rows from 8 on are two further.
      for (int channel = 0; channel < kGroupChannels; ++channel) {
        const int lane = row % 8 * 4 + channel % 8 / 2;
        sums->all.of[lane][channel / 8 * 4 + row / 8 * 2 + channel % 2] += product[channel];
      }
    }
  }
  count = left;
}

}  // namespace cuda
}  // namespace sn
