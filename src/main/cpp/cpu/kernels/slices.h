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

// One slice's constants, splat over the lanes.
struct Quantizer {
  F scale, low, high;  // bounds of x / scale, so that the sum with the zero point cannot leave the integer range
  I zero_point;
};

inline Quantizer quantizer(float scale, int zero_point, sn_scheme scheme) {
  return {splat(scale), splat(static_cast<float>(qmin(scheme) - zero_point)),
          splat(static_cast<float>(qmax(scheme) - zero_point)), splat_int(zero_point)};
}

// round(x / scale), clamped, without the zero point. The operand order makes NaN the lower bound, never undefined.
SN_INLINE I steps(const Quantizer& q, F x) { return to_int(min(max(div(x, q.scale), q.low), q.high)); }
SN_INLINE I quantize_lanes(const Quantizer& q, F x) { return add(steps(q, x), q.zero_point); }
SN_INLINE F fake_lanes(const Quantizer& q, F x) { return mul(from_int(steps(q, x)), q.scale); }

inline int zero_point_at(const sn_tensor* zero_point, int64_t slice) {
  return zero_point == nullptr ? 0 : data_of<int8_t>(zero_point)[slice];
}

}  // namespace SN_ISA_NAME
}  // namespace sn
