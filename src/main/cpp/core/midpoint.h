// Where cells of a codebook meet, for every back end (compiled by g++ and nvcc).
#pragma once

#include "core/dtype.h"

namespace sn {

// The greatest F32 that is not above the exact middle of a < b: what is greater is nearer to b, the rest is nearer to a
// or as near.
SN_LOCAL float middle(float a, float b) {
  const double x = static_cast<double>(a), y = static_cast<double>(b);
  const double sum = x + y, rest = sum - x;
  const double error = (x - (sum - rest)) + (y - rest);  // x + y = sum + error, exactly
  const double half = sum * 0.5;
  const float m = static_cast<float>(half);
  if (static_cast<double>(m) < half || (static_cast<double>(m) == half && error >= 0)) return m;
  return m > 0 ? float_of(bits_of(m) - 1) : m < 0 ? float_of(bits_of(m) + 1) : -0x1p-149f;
}

}  // namespace sn
