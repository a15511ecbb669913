// Sums in float64 whose order docs/numerics.md fixes: over blocks, within which element i belongs to lane i mod 16.
#pragma once

#include "team.h"

namespace sn {
namespace cuda {

constexpr int kBlock = 4096;
constexpr int kLanes = 16;

SN_HD inline double root(double x) {
#if defined(__CUDA_ARCH__)
  return __dsqrt_rn(x);
#else
  return __builtin_sqrt(x);
#endif
}

// The sum of the lanes, which are added in pairs.
SN_HD inline double fold(double* lanes) {
  for (int half = kLanes / 2; half > 0; half /= 2) {
    for (int lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
  }
  return lanes[0];
}

// Elements of a row on their way to the lanes' sums, which a team keeps in shared memory: of kStep numbers a thread, as
// the memory likes to be read, 16 threads add up those of their lanes. Chunks of kChunk columns have two phases each.
struct RowLanes {
  static constexpr int64_t kChunk = int64_t{kTeam} * kStep;
  float chunk[kChunk];
  double sums[kLanes];

  SN_HD static int chunks(int64_t cols) { return static_cast<int>((cols + kChunk - 1) / kChunk); }
  SN_HD static int length(int64_t cols, int64_t col) {
    return cols - col < kStep ? static_cast<int>(cols - col) : kStep;
  }

  // Puts this thread's numbers of chunk c of the row that begins at x + begin where all threads see them.
  SN_HD void stage(int c, sn_dtype dtype, const void* x, int64_t begin, int64_t cols, int thread) {
    const int64_t col = c * kChunk + thread * kStep;
    if (col < cols) store(chunk + thread * kStep, load_reals(dtype, x, begin + col, length(cols, col)), kStep);
  }
  // Adds term(v), F64, of the numbers v of chunk c to the lane of this thread.
  template <class Term>
  SN_HD void add(int c, int64_t cols, int thread, const Term& term) {
    if (thread >= kLanes) return;
    const int64_t left = cols - c * kChunk;
    const int n = static_cast<int>(left < kChunk ? left : kChunk);
    double sum = c == 0 ? 0 : sums[thread];
    for (int i = thread; i < n; i += kLanes) sum += term(chunk[i]);
    sums[thread] = sum;
  }
  // The numbers from `col` on; a row of one chunk is still there.
  SN_HD Elements<float> numbers(sn_dtype dtype, const void* x, int64_t begin, int64_t cols, int64_t col) const {
    if (cols <= kChunk) return load(chunk + col, kStep);
    return load_reals(dtype, x, begin + col, length(cols, col));
  }
};

}  // namespace cuda
}  // namespace sn
