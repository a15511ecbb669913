// Which elements share a scale, and the arithmetic of quantizing them. See sinew.h.
#pragma once

#include "cpu/kernels/driver.h"

namespace sn {
namespace SN_ISA_NAME {

// x as [rows, cols] with one slice for every `group` columns of a row; per tensor it is a single row of one slice,
// unless the rows have to stay apart (int4 pads each row to whole bytes), where all rows share the slice.
struct Slices {
  int64_t rows, cols, group, per_row;
  bool shared;  // one slice for all rows

  int64_t count() const { return shared ? 1 : rows * per_row; }
  int64_t index(int64_t row, int64_t col) const { return shared ? 0 : row * per_row + col / group; }
  // End of the slice that column col belongs to.
  int64_t end(int64_t col) const { return shared ? cols : min_of((col / group + 1) * group, cols); }
};

inline Slices slices_of(const sn_tensor* x, int64_t group, int64_t scales) {
  // A group longer than a row is the row; more could overflow the arithmetic below.
  const int64_t length = max_of(group == 0 ? x->cols : min_of(group, x->cols), 1);
  const int64_t per_row = group == 0 ? 1 : ceil_div(x->cols, length);
  return {x->rows, x->cols, length, per_row, group == 0 && scales == 1};
}

// Calls f(col, n, slice) for the runs of one slice within n columns of a row.
template <class F>
SN_INLINE void for_runs(const Slices& s, int64_t row, int64_t col, int64_t n, F f) {
  const int64_t end = col + n;
  int64_t slice = s.index(row, col);
  for (int64_t stop = s.end(col); col < end; stop += s.group) {
    const int64_t next = min_of(stop, end);
    f(col, next - col, slice++);
    col = next;
  }
}

// One slice's constants, splat over the lanes: bounds of x / scale, so that for integers the sum with the zero point
// cannot leave their range.
struct Bounds {
  F scale, low, high;
};
// To integers.
struct Integers : Bounds {
  I zero_point;
};
// To E4M3.
struct Float8 : Bounds {};

inline void prepare(Integers& q, float scale, int zero_point, sn_scheme scheme) {
  q.scale = splat(scale);
  q.low = splat(static_cast<float>(qmin(scheme) - zero_point));
  q.high = splat(static_cast<float>(qmax(scheme) - zero_point));
  q.zero_point = splat_int(zero_point);
}
inline void prepare(Float8& q, float scale, int, sn_scheme) {
  q.scale = splat(scale);
  q.low = splat(-kLargestF8);
  q.high = splat(kLargestF8);
}
template <class Quantizer>
inline Quantizer quantizer(float scale, int zero_point, sn_scheme scheme) {
  Quantizer q;
  prepare(q, scale, zero_point, scheme);
  return q;
}
// Calls f with a null pointer of the quantizer's type for a scheme.
template <class F>
auto with_quantizer(sn_scheme scheme, F f) {
  return scheme == SN_FP8 ? f(static_cast<Float8*>(nullptr)) : f(static_cast<Integers*>(nullptr));
}

// The scale that sn_scale gives symmetric int8 for this absmax.
inline float symmetric_scale(int32_t absmax_key) {
  if (absmax_key == 0) return 1;
  const double absmax = static_cast<double>(float_of(static_cast<uint32_t>(absmax_key)));
  const float scale = static_cast<float>(absmax / symmetric_steps(SN_INT8_SYMMETRIC));
  return scale == 0 ? float_of(1) : scale;
}

// x / scale, clamped. The operand order makes NaN the lower bound, never undefined.
SN_INLINE F clamped(const Bounds& q, F x) { return min(max(div(x, q.scale), q.low), q.high); }

// The stored bytes, as integers of [-128, 127].
SN_INLINE I quantize_lanes(const Integers& q, F x) { return add(to_int(clamped(q, x)), q.zero_point); }
// E4M3 has 8 steps in each power of two down to 2^-6, and smaller ones of 2^-9 below. Adding 2^20 times that power,
// whose last place is such a step, rounds a magnitude to whole steps, half to even.
struct Steps {
  I power;  // of two, as the bits of its float
  F shift, sum;
};
SN_INLINE Steps steps_of(F v) {
  const I power = max(bit_and(raw_bits(v), splat_int(0x7f800000)), raw_bits(splat(0x1p-6f)));
  const F shift = as_float(add(power, splat_int(20 << 23)));
  return {power, shift, add(as_float(key(v)), shift)};
}
SN_INLINE I quantize_lanes(const Float8& q, F x) {
  const F v = clamped(q, x);
  const Steps s = steps_of(v);
  // 8 codes for each power from 2^-6 on, and the steps.
  const I below = sub(shift_right<20>(s.power), splat_int((127 - 6) << 3));
  const I code = add(sub(raw_bits(s.sum), raw_bits(s.shift)), below);
  return bit_or(code, bit_and(shift_right<31>(raw_bits(v)), splat_int(-128)));
}

// What dequantizing gives back.
SN_INLINE F fake_lanes(const Integers& q, F x) { return mul(from_int(to_int(clamped(q, x))), q.scale); }
SN_INLINE F fake_lanes(const Float8& q, F x) {
  const F v = clamped(q, x);
  const Steps s = steps_of(v);
  return mul(turn(sub(s.sum, s.shift), v), q.scale);
}

inline int zero_point_at(const sn_tensor* zero_point, int64_t slice) {
  return zero_point == nullptr ? 0 : data_of<int8_t>(zero_point)[slice];
}

}  // namespace SN_ISA_NAME
}  // namespace sn
