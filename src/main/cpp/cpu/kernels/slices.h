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

// A quotient, clamped. The operand order makes NaN the lower bound, never undefined.
SN_INLINE F clamped(const Bounds& q, F quotient) { return min(max(quotient, q.low), q.high); }

// The stored bytes of a quotient, as integers of [-128, 127].
SN_INLINE I code_of(const Integers& q, F quotient) { return add(to_int(clamped(q, quotient)), q.zero_point); }
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
SN_INLINE I code_of(const Float8& q, F quotient) {
  const F v = clamped(q, quotient);
  const Steps s = steps_of(v);
  // 8 codes for each power from 2^-6 on, and the steps.
  const I below = sub(shift_right<20>(s.power), splat_int((127 - 6) << 3));
  const I code = add(sub(raw_bits(s.sum), raw_bits(s.shift)), below);
  return bit_or(code, bit_and(shift_right<31>(raw_bits(v)), splat_int(-128)));
}

// What dequantizing gives back for a quotient.
SN_INLINE F value_of(const Integers& q, F quotient) { return mul(from_int(to_int(clamped(q, quotient))), q.scale); }
SN_INLINE F value_of(const Float8& q, F quotient) {
  const F v = clamped(q, quotient);
  const Steps s = steps_of(v);
  return mul(turn(sub(s.sum, s.shift), v), q.scale);
}

template <class Quantizer>
SN_INLINE I quantize_lanes(const Quantizer& q, F x) {
  return code_of(q, div(x, q.scale));
}
template <class Quantizer>
SN_INLINE F fake_lanes(const Quantizer& q, F x) {
  return value_of(q, div(x, q.scale));
}

#if defined(SN_TIER_AVX2) || defined(SN_TIER_AVX512)
// Quotients by two multiplications in the place of a division, which would take three times as long as all else. They
// are not always those of IEEE 754, but round to the same integers within [-512, 512] and the same E4M3 numbers
// (docs/numerics.md has the proof), if no element's key is above `most`; larger ones, NaN and infinity become numbers
// that no integer of 16 bits holds, or NaN. For up to 16 slices.
struct Reciprocals {
  float reciprocal[kLanes], rest[kLanes];  // NaN where they would round otherwise
  int32_t most[kLanes];                    // then -1
};
SN_INLINE void prepare(Reciprocals& r, const float* scales, int64_t n) {
  const F scale = load_some(scales, n), one = splat(1);
  // Rounded down, so that the rest is not negative and a quotient of -0 stays so.
  const F nearest = div(one, scale), minus = sub(splat(0), scale);
  const M above = gt(splat(0), multiply_add(minus, nearest, one));
  const F first = select(above, as_float(add(raw_bits(nearest), splat_int(-1))), nearest);
  // Not where a product or the rest could be too small or large, nor where the last 15 bits are almost 0.
  const I last = bit_and(raw_bits(scale), splat_int(0x7fff)), none = splat_int(-1);
  const M close = gt(splat_int(33), bit_and(add(last, splat_int(16)), splat_int(0x7fff)));
  const I most = raw_bits(mul(scale, splat(0x1p22f)));
  const I lucky = select(eq(last, splat_int(0)), most, select(close, none, most));
  const I bound = select(gt(scale, splat(0x1p-80f)), select(gt(splat(0x1p80f), scale), lucky, none), none);
  store_int(r.most, bound);
  store(r.reciprocal, select(gt(bound, none), first, as_float(none)));
  store(r.rest, mul(multiply_add(minus, first, one), first));
}
// The constants of one slice over the lanes.
struct Quick {
  F reciprocal, rest;

  SN_INLINE Quick(const Reciprocals& r, int64_t slice)
      : reciprocal(splat(r.reciprocal[slice])), rest(splat(r.rest[slice])) {}
};
SN_INLINE F quotient(const Quick& q, F x) { return multiply_add(x, q.reciprocal, mul(x, q.rest)); }
#else
SN_INLINE F quotient(const Bounds& q, F x) { return div(x, q.scale); }
#endif

inline int zero_point_at(const sn_tensor* zero_point, int64_t slice) {
  return zero_point == nullptr ? 0 : data_of<int8_t>(zero_point)[slice];
}

}  // namespace SN_ISA_NAME
}  // namespace sn
