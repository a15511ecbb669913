// The warp instructions of cuda/warp.h for a whole warp, by the fragment layouts of the PTX ISA (ldmatrix, and matrix
// fragments for mma.m16n8k32 and sparse mma.m16n8k64 with integer type): matrices are put together from the lanes'
// registers, multiplied, and taken apart again. What a GPU would do slowly or not at all ends the process.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "host_warp.h"
#include "warp.h"

namespace sn {
namespace cuda {
namespace {

// Byte i of a lane's registers.
int8_t byte_of(const uint32_t* registers, int i) {
  return static_cast<int8_t>(static_cast<uint8_t>(registers[i / 4] >> (8 * (i % 4))));
}

// To the fragments of sums of m16n8, which all shapes have alike.
void add_product(const int32_t (&product)[16][8], Registers<int32_t, 4>* sum) {
  for (int lane = 0; lane < kWarp; ++lane) {
    const int group = lane >> 2, in_group = lane % 4;
    for (int i = 0; i < 4; ++i) sum->of[lane][i] += product[i < 2 ? group : group + 8][in_group * 2 + (i & 1)];
  }
}

}  // namespace

void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "stand-in for a GPU: %s\n", what);
  std::abort();
}

bool& copies_unpublished() {
  thread_local bool unpublished = false;  // two GPUs may run such kernels at once
  return unpublished;
}

void Copies::begin(void* to, const void* from, bool there) {
  require(count < kMost, "too many copies are under way");
  const auto odd = [](const void* p) { return (reinterpret_cast<uintptr_t>(p) & 15) != 0; };
  require(!odd(to) && !odd(from), "a copy of 16 bytes is not aligned");
  pending[count++] = {to, there ? from : nullptr, group};
  std::memset(to, 0x5b, 16);  // until then it may be what was there or what comes
}

void Copies::arrive(int64_t groups) {
  int left = 0;
  for (int i = 0; i < count; ++i) {
    const Copy& copy = pending[i];
    if (copy.group < groups) copies_unpublished() = true;
    if (copy.group >= groups) {
      pending[left++] = copy;
    } else if (copy.from != nullptr) {
      std::memcpy(copy.to, copy.from, 16);
    } else {
      std::memset(copy.to, 0, 16);
    }
  }
  count = left;
}

void load_matrices(const MatrixRows& rows, Registers<uint32_t, 4>* to) {
  for (int matrix = 0; matrix < 4; ++matrix) {
    uint32_t banks = 0;  // of 16 bytes
    for (int row = 0; row < 8; ++row) {
      const auto place = reinterpret_cast<uintptr_t>(rows.of[8 * matrix + row]);
      require(place % 16 == 0, "the row of a matrix is not aligned");
      banks |= 1u << (place / 16 % 8);
    }
    require(banks == 0xff, "rows of a matrix are in the same bank");
    for (int lane = 0; lane < kWarp; ++lane) {
      const char* row = static_cast<const char*>(rows.of[8 * matrix + lane / 4]);
      std::memcpy(&to->of[lane][matrix], row + 4 * (lane % 4), 4);
    }
  }
}

void multiply_add(const Registers<uint32_t, 4>& a, const Registers<uint32_t, 4>& b, int part,
                  Registers<int32_t, 4>* sum) {
  int32_t left[16][32], right[32][8];
  for (int lane = 0; lane < kWarp; ++lane) {
    const int group = lane >> 2, in_group = lane % 4;
    for (int i = 0; i < 16; ++i) {
      const int row = i < 4 || (i >= 8 && i < 12) ? group : group + 8;
      const int col = in_group * 4 + (i & 3) + (i < 8 ? 0 : 16);
      left[row][col] = byte_of(a.of[lane], i);
    }
    for (int i = 0; i < 8; ++i) {
      const int row = in_group * 4 + (i & 3) + (i < 4 ? 0 : 16);
      right[row][group] = byte_of(b.of[lane] + 2 * part, i);
    }
  }
  int32_t product[16][8] = {};
  for (int row = 0; row < 16; ++row) {
    for (int k = 0; k < 32; ++k) {
      for (int col = 0; col < 8; ++col) product[row][col] += left[row][k] * right[k][col];
    }
  }
  add_product(product, sum);
}

void multiply_add_sparse(const Registers<uint32_t, 4>& a, const Registers<uint32_t, 4>& b,
                         const Registers<uint32_t, 1>& places, Registers<int32_t, 4>* sum) {
  // The nonzeros of a, in order, and the 4 bits of each chunk of 4 columns. Which thread of a group has whose the
  // manual shows in figures (136 and 137); this is how CUTLASS has it: thread 0 those of the first 32 columns of row
  // `group`, thread 1 of row group + 8, threads 2 and 3 those of the last 32 (CuTe's ELayout_64x64; reorder_meta with
  // ldmatrix).
  int32_t nonzero[16][32], left[16][64] = {}, right[64][8];
  uint32_t chunk[16][16];
  for (int lane = 0; lane < kWarp; ++lane) {
    const int group = lane >> 2, in_group = lane % 4;
    for (int i = 0; i < 16; ++i) {
      const int row = i < 4 || (i >= 8 && i < 12) ? group : group + 8;
      const int first_col = in_group * 8 + (i < 8 ? 0 : 32);  // of the 8 columns that four nonzeros come from
      nonzero[row][first_col / 2 + (i & 3)] = byte_of(a.of[lane], i);
      right[in_group * 4 + (i & 3) + i / 4 * 16][group] = byte_of(b.of[lane], i);
    }
    const int row = in_group % 2 == 0 ? group : group + 8, first_chunk = in_group < 2 ? 0 : 8;
    for (int i = 0; i < 8; ++i) chunk[row][first_chunk + i] = places.of[lane][0] >> (4 * i) & 0xf;
  }
  for (int row = 0; row < 16; ++row) {
    for (int i = 0; i < 16; ++i) {
      const uint32_t first = chunk[row][i] & 3, second = chunk[row][i] >> 2;
      require(first < second, "the places of two values in four are not in order");
      left[row][4 * i + static_cast<int>(first)] = nonzero[row][2 * i];
      left[row][4 * i + static_cast<int>(second)] = nonzero[row][2 * i + 1];
    }
  }
  int32_t product[16][8] = {};
  for (int row = 0; row < 16; ++row) {
    for (int k = 0; k < 64; ++k) {
      for (int col = 0; col < 8; ++col) product[row][col] += left[row][k] * right[k][col];
    }
  }
  add_product(product, sum);
}

}  // namespace cuda
}  // namespace sn
