// Reductions over tensors or ranks in their order, kStep elements at once. For the GPU and, in tests, the CPU;
// docs/numerics.md has the rules.
#pragma once

#include "elements.h"
#include "quantizing.h"

namespace sn {
namespace cuda {

// Where tensors lie that are reduced: x.at(m) is the m-th.
struct Tensors {
  const void* const* x;
  SN_HD const void* at(int m) const { return x[m]; }
};

SN_HD SN_LOCAL float combine(float sum, float v, sn_reduction reduction) {
  // Of equal zeros the first one stays.
  if (reduction == SN_MIN) return v < sum ? v : sum;
  if (reduction == SN_MAX) return v > sum ? v : sum;
  return sum + v;
}

// Elements [i, i + n) of all of x, of a floating type, as F32. Whatever the operands' NaNs, the result is the same one.
template <class X>
SN_HD SN_LOCAL Elements<float> reduced_floats(const X& x, int count, sn_dtype dtype, sn_reduction reduction, int64_t i,
                                              int n) {
  Elements<float> y = load_reals(dtype, x.at(0), i, n);
  uint32_t nans = 0;
  SN_UNROLL
  for (int j = 0; j < kStep; ++j) nans |= static_cast<uint32_t>(is_nan(y.of[j])) << j;
  for (int m = 1; m < count; ++m) {
    const Elements<float> v = load_reals(dtype, x.at(m), i, n);
    SN_UNROLL
    for (int j = 0; j < kStep; ++j) {
      nans |= static_cast<uint32_t>(is_nan(v.of[j])) << j;
      y.of[j] = combine(y.of[j], v.of[j], reduction);
    }
  }
  SN_UNROLL
  for (int j = 0; j < kStep; ++j) {
    if (reduction == SN_AVERAGE) y.of[j] = y.of[j] / static_cast<float>(count);
    if ((nans >> j & 1) != 0 || is_nan(y.of[j])) y.of[j] = float_of(0x7fc00000u);
  }
  return y;
}

// The quotient is far enough from ties that its own rounding cannot make one.
SN_HD SN_LOCAL int8_t settled(int32_t sum, int count, sn_reduction reduction, int8_t) {
  if (reduction == SN_AVERAGE) return static_cast<int8_t>(to_int(static_cast<float>(sum) / static_cast<float>(count)));
  return static_cast<int8_t>(sum > 127 ? 127 : sum < -128 ? -128 : sum);
}
SN_HD SN_LOCAL int32_t settled(int64_t sum, int count, sn_reduction reduction, int32_t) {
  // Half to even, by the same addition as in to_int.
  if (reduction == SN_AVERAGE)
    return static_cast<int32_t>((static_cast<double>(sum) / count + 6755399441055744.0) - 6755399441055744.0);
  return static_cast<int32_t>(sum > INT32_MAX ? INT32_MAX : sum < INT32_MIN ? INT32_MIN : sum);
}

// The same for integers, whose sums fit S.
template <class T, class S, class X>
SN_HD SN_LOCAL Elements<T> reduced_integers(const X& x, int count, sn_reduction reduction, int64_t i, int n) {
  Elements<T> y = load(static_cast<const T*>(x.at(0)) + i, n);
  S sums[kStep];
  SN_UNROLL
  for (int j = 0; j < kStep; ++j) sums[j] = y.of[j];
  for (int m = 1; m < count; ++m) {
    const Elements<T> v = load(static_cast<const T*>(x.at(m)) + i, n);
    SN_UNROLL
    for (int j = 0; j < kStep; ++j) {
      const S a = sums[j], b = v.of[j];
      sums[j] = reduction == SN_MIN ? (b < a ? b : a) : reduction == SN_MAX ? (b > a ? b : a) : a + b;
    }
  }
  SN_UNROLL
  for (int j = 0; j < kStep; ++j) y.of[j] = settled(sums[j], count, reduction, T{});
  return y;
}

// Elements [i, i + n) of all of x, reduced, into those of `outs` outputs.
template <class X>
SN_HD SN_LOCAL void reduce_step(const X& x, int count, sn_dtype dtype, sn_reduction reduction, int64_t i, int n,
                                void* const* out, int outs) {
  if (dtype == SN_I8) {
    const Elements<int8_t> y = reduced_integers<int8_t, int32_t>(x, count, reduction, i, n);
    for (int j = 0; j < outs; ++j) store(static_cast<int8_t*>(out[j]) + i, y, n);
  } else if (dtype == SN_I32) {
    const Elements<int32_t> y = reduced_integers<int32_t, int64_t>(x, count, reduction, i, n);
    for (int j = 0; j < outs; ++j) store(static_cast<int32_t*>(out[j]) + i, y, n);
  } else {
    const Elements<float> y = reduced_floats(x, count, dtype, reduction, i, n);
    for (int j = 0; j < outs; ++j) store_reals(dtype, out[j], i, y, n);
  }
}

}  // namespace cuda
}  // namespace sn
