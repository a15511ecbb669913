// The functions of activations, by the same additions, multiplications and divisions as cpu/kernels/math.h has them, so
// that a GPU gives the same bits.
#pragma once

#include "quantizing.h"

namespace sn {
namespace cuda {

SN_HD SN_LOCAL float lesser(float a, float b) { return a < b ? a : b; }
SN_HD SN_LOCAL float greater(float a, float b) { return a > b ? a : b; }
SN_HD SN_LOCAL float magnitude_of(float x) { return float_of(key_of(x)); }

// e^x. Beyond the range of F32 infinity, below it denormals and 0.
SN_HD SN_LOCAL float exponential(float x) {
  if (is_nan(x)) return x;
  // x = n ln 2 + r with |r| <= ln 2 / 2; ln 2 in two parts, of which the first has few enough bits for n times it to be
  // exact.
  const float bounded = lesser(greater(x, -104.0f), 89.0f);
  const int n = to_int(bounded * 0x1.715476p+0f);
  const float whole = static_cast<float>(n);
  const float r = (bounded - whole * 0x1.62e4p-1f) - whole * 0x1.7f7d1cp-20f;
  float p = 0.0013954046f;
  p = p * r + 0.008375365f;
  p = p * r + 0.041666824f;
  p = p * r + 0.16666448f;
  p = p * r + 0.49999994f;
  const float e = ((r * r) * p + r) + 1.0f;
  // 2^n in two factors, each a normal number.
  const int half = n >> 1;
  return (e * float_of(static_cast<uint32_t>(half + 127) << 23)) *
         float_of(static_cast<uint32_t>(n - half + 127) << 23);
}

// 1 / (1 + e^-x), without losing the small values of negative x.
SN_HD SN_LOCAL float sigmoid(float x) {
  if (is_nan(x)) return x;
  const float e = exponential(0.0f - magnitude_of(x));
  return (0.0f > x ? e : 1.0f) / (1.0f + e);
}

// x from -200 on, where x times what vanishes below has long vanished; for -infinity, which 0 would turn to NaN.
SN_HD SN_LOCAL float not_too_low(float x) { return greater(-200.0f, x); }

SN_HD SN_LOCAL float hyperbolic_tangent(float x) {
  if (is_nan(x)) return x;
  const float magnitude = magnitude_of(x);
  const float e = exponential(magnitude * -2.0f);
  const float large = (1.0f - e) / (1.0f + e);
  // Near 0 the difference would cancel.
  const float square = magnitude * magnitude;
  float p = -0.0063795876f;
  p = p * square + 0.021224938f;
  p = p * square + -0.053906754f;
  p = p * square + 0.13333203f;
  p = p * square + -0.3333333f;
  const float small = magnitude + (magnitude * square) * p;
  const float positive = 0.625f > magnitude ? small : large;
  return float_of(bits_of(positive) ^ (bits_of(x) & 0x80000000u));
}

// x Phi(x), Phi being the normal distribution.
SN_HD SN_LOCAL float gelu(float x) {
  if (is_nan(x)) return x;
  const float z = lesser(magnitude_of(x), 16.0f);
  const float t = 1.0f / (1.0f + z * 0.3f);
  float p = 0.035614952f;
  p = p * t + -0.15694988f;
  p = p * t + 0.20591657f;
  p = p * t + -0.053287238f;
  p = p * t + 0.12835819f;
  p = p * t + 0.09997249f;
  p = p * t + 0.120745f;
  p = p * t + 0.119629845f;
  const float tail = (exponential((z * z) * -0.5f) * t) * p;
  const float phi = 0.0f > x ? tail : 1.0f - tail;
  return not_too_low(x) * phi;
}

// x sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3).
SN_HD SN_LOCAL float gelu_tanh(float x) {
  if (is_nan(x)) return x;
  const float bounded = lesser(greater(-200.0f, x), 200.0f);  // keeps the cube finite
  const float cube = (bounded * bounded) * bounded;
  const float u = (bounded + cube * 0.044715f) * 0.797884561f;
  return not_too_low(x) * sigmoid(u + u);
}

SN_HD SN_LOCAL float activate(float v, sn_activation activation) {
  switch (activation) {
    case SN_RELU:
      return greater(0.0f, v);  // NaN stays
    case SN_GELU:
      return gelu(v);
    case SN_SILU:
      return not_too_low(v) * sigmoid(v);
    case SN_GELU_TANH:
      return gelu_tanh(v);
    case SN_SIGMOID:
      return sigmoid(v);
    case SN_TANH:
      return hyperbolic_tangent(v);
    default:
      return v;
  }
}

}  // namespace cuda
}  // namespace sn
