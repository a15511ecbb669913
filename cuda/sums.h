// Sums in float64 whose order docs/numerics.md fixes: over blocks, within which element i belongs to lane i mod 16.
#pragma once

#include "elements.h"

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

}  // namespace cuda
}  // namespace sn
