// The functions of activations, computed with additions, multiplications and divisions only, so that all tiers give the
// same bits. Errors are bounded in docs/numerics.md; tests/cpp measures them.
#pragma once

#include "cpu/simd/simd.h"

namespace sn {
namespace SN_ISA_NAME {

// c[0] + c[1] x + c[2] x^2 + ...
template <int N>
SN_INLINE F polynomial(F x, const float (&c)[N]) {
  F sum = splat(c[N - 1]);
#pragma GCC unroll 16
  for (int i = N - 2; i >= 0; --i) sum = add(mul(sum, x), splat(c[i]));
  return sum;
}

// a where x is a number, else x.
SN_INLINE F unless_nan(F x, F a) { return select(gt(key(x), splat_int(0x7f800000)), x, a); }

// e^x. Beyond the range of F32 infinity, below it denormals and 0.
SN_INLINE F exponential(F x) {
  // x = n ln 2 + r with |r| <= ln 2 / 2; ln 2 in two parts, of which the first has few enough bits for n times it to be
  // exact.
  const F bounded = min(max(x, splat(-104.0f)), splat(89.0f));
  const I n = to_int(mul(bounded, splat(0x1.715476p+0f)));
  const F whole = from_int(n);
  const F r = sub(sub(bounded, mul(whole, splat(0x1.62e4p-1f))), mul(whole, splat(0x1.7f7d1cp-20f)));
  static constexpr float kTerms[] = {0.49999994f, 0.16666448f, 0.041666824f, 0.008375365f, 0.0013954046f};
  const F p = add(add(mul(mul(r, r), polynomial(r, kTerms)), r), splat(1.0f));
  // 2^n in two factors, each a normal number.
  const I half = shift_right<1>(n);
  const auto power = [](I e) { return as_float(shift_left(add(e, splat_int(127)), splat_int(23))); };
  return unless_nan(x, mul(mul(p, power(half)), power(sub(n, half))));
}

// 1 / (1 + e^-x), without losing the small values of negative x.
SN_INLINE F sigmoid(F x) {
  const F e = exponential(sub(splat(0.0f), abs(x)));
  const F numerator = select(gt(splat(0.0f), x), e, splat(1.0f));
  return unless_nan(x, div(numerator, add(splat(1.0f), e)));
}

// x from -200 on, where x times what vanishes below has long vanished; for -infinity, which 0 would turn to NaN.
SN_INLINE F not_too_low(F x) { return max(splat(-200.0f), x); }

SN_INLINE F silu(F x) { return mul(not_too_low(x), sigmoid(x)); }

SN_INLINE F hyperbolic_tangent(F x) {
  const F magnitude = abs(x);
  const F e = exponential(mul(magnitude, splat(-2.0f)));
  const F large = div(sub(splat(1.0f), e), add(splat(1.0f), e));
  // Near 0 the difference would cancel.
  static constexpr float kTerms[] = {-0.3333333f, 0.13333203f, -0.053906754f, 0.021224938f, -0.0063795876f};
  const F square = mul(magnitude, magnitude);
  const F small = add(magnitude, mul(mul(magnitude, square), polynomial(square, kTerms)));
  const F positive = select(gt(splat(0.625f), magnitude), small, large);
  return unless_nan(x, turn(positive, x));
}

// x Phi(x), Phi being the normal distribution. With z = |x| and the tail Phi(-z) = e^(-z^2 / 2) t p(t), t = 1 / (1 +
// 0.3 z): p is a fit to Mills' ratio on [0, 14], beyond which the tail has vanished.
SN_INLINE F gelu(F x) {
  const F z = min(abs(x), splat(16.0f));
  const F t = div(splat(1.0f), add(splat(1.0f), mul(z, splat(0.3f))));
  static constexpr float kTerms[] = {0.119629845f,  0.120745f,   0.09997249f,  0.12835819f,
                                     -0.053287238f, 0.20591657f, -0.15694988f, 0.035614952f};
  const F tail = mul(mul(exponential(mul(mul(z, z), splat(-0.5f))), t), polynomial(t, kTerms));
  const F phi = select(gt(splat(0.0f), x), tail, sub(splat(1.0f), tail));
  return unless_nan(x, mul(not_too_low(x), phi));
}

// The same with 2 u in the place of Phi's argument: x sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3).
SN_INLINE F gelu_tanh(F x) {
  const F bounded = min(max(splat(-200.0f), x), splat(200.0f));  // keeps the cube finite
  const F cube = mul(mul(bounded, bounded), bounded);
  const F u = mul(add(bounded, mul(cube, splat(0.044715f))), splat(0.797884561f));
  return unless_nan(x, mul(not_too_low(x), sigmoid(add(u, u))));
}

SN_INLINE F activate(F v, sn_activation activation) {
  switch (activation) {
    case SN_RELU:
      return max(splat(0.0f), v);  // the second when either is NaN
    case SN_GELU:
      return gelu(v);
    case SN_SILU:
      return silu(v);
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

}  // namespace SN_ISA_NAME
}  // namespace sn
