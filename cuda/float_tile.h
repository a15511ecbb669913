// Products of floats by tiles of 64 by 64, each result one chain of fused multiply-adds over the inner dimension in
// order, which gives the bits of the CPU's vector units.
#pragma once

#include "team.h"

namespace sn {
namespace cuda {

SN_HD SN_LOCAL float fused(float a, float b, float c) {
#if defined(__CUDA_ARCH__)
  return __fmaf_rn(a, b, c);
#else
  return __builtin_fmaf(a, b, c);
#endif
}

// Elements [at, at + n) of up to four, and zeros for what is missing; at once if they are all there and aligned.
SN_HD SN_LOCAL void load_four(sn_dtype dtype, const void* data, int64_t at, int n, float* four) {
#if defined(__CUDA_ARCH__)
  const char* place = static_cast<const char*>(data) + at * (dtype == SN_F32 ? 4 : 2);
  if (n == 4 && dtype == SN_F32 && is_word_aligned(place)) {
    const Word word = *reinterpret_cast<const Word*>(place);
    SN_UNROLL
    for (int j = 0; j < 4; ++j) four[j] = float_of(word.part[j]);
    return;
  }
  if (n == 4 && dtype != SN_F32 && (reinterpret_cast<uintptr_t>(place) & 7) == 0) {
    const uint64_t bits = *reinterpret_cast<const uint64_t*>(place);
    SN_UNROLL
    for (int j = 0; j < 4; ++j) {
      const uint16_t part = static_cast<uint16_t>(bits >> (16 * j));
      four[j] = dtype == SN_BF16 ? number_of(bf16{part}) : number_of(f16{part});
    }
    return;
  }
#endif
  SN_UNROLL
  for (int j = 0; j < 4; ++j) four[j] = j < n ? number_at(dtype, data, at + j) : 0.0f;
}

// A tile's rows of the left and columns of the right, 16 of the inner dimension at a time, in two buffers: what comes
// next is loaded before the products of what is there. Each thread has 4 by 4 of the sums.
struct FloatTile {
  static constexpr int kSide = 64, kDepth = 16, kPart = 4;
  struct alignas(16) Shared {
    float left[2][kDepth][kSide + 4];
    float right[2][kDepth][kSide + 4];
  };
  struct Sums {
    float of[kPart][kPart];
  };

  SN_HD static void clear(Sums* sums) {
    SN_UNROLL
    for (int i = 0; i < kPart * kPart; ++i) sums->of[i / kPart][i % kPart] = 0;
  }
  // The first row and column of a thread's sums.
  SN_HD static int row(int thread) { return thread / (kSide / kPart) * kPart; }
  SN_HD static int col(int thread) { return thread % (kSide / kPart) * kPart; }
  SN_HD static void multiply(int thread, const Shared& shared, int buffer, Sums* sums) {
    SN_UNROLL
    for (int k = 0; k < kDepth; ++k) {
      Word a, b;
      memcpy(&a, &shared.left[buffer][k][row(thread)], sizeof a);
      memcpy(&b, &shared.right[buffer][k][col(thread)], sizeof b);
      SN_UNROLL
      for (int i = 0; i < kPart; ++i) {
        SN_UNROLL
        for (int j = 0; j < kPart; ++j)
          sums->of[i][j] = fused(float_of(a.part[i]), float_of(b.part[j]), sums->of[i][j]);
      }
    }
  }
};

}  // namespace cuda
}  // namespace sn
