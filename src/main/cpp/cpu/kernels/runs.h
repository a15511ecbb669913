// How kernels that quantize or dequantize walk over the slices of a piece.
#pragma once

#include "cpu/kernels/slices.h"

namespace sn {
namespace SN_ISA_NAME {

// The state of kernels that have none.
struct Nothing {};

// How a slice is quantized.
struct Step {
  float scale;
  int zero_point;
  sn_scheme scheme;

  template <class Quantizer>
  Quantizer with() const {
    return quantizer<Quantizer>(scale, zero_point, scheme);
  }
};

// Elements [col, col + n) of a row, and the scales and zero points of all slices. What computes with them is a function
// of its own for each kind, so that short slices cost little beside their elements.
struct Piece {
  const Slices* slices;
  int64_t row, col, n;
  const float* scales;
  const int8_t* zero_points;  // or null

  Step step(int64_t slice, sn_scheme scheme) const {
    return {scales[slice], zero_points == nullptr ? 0 : zero_points[slice], scheme};
  }
};
// The runs of one slice within a piece: `n` elements from `first` on, counted from where the piece begins.
struct SliceRun {
  int64_t first, n;
  float scale;
  int zero_point;

  // From element `begin` on, where a slice begins unless it is 0.
  SN_INLINE explicit SliceRun(const Piece& p, int64_t begin = 0)
      : first(begin), n(0), left_(p.n - begin), whole_(p.slices->group), next_(whole_) {
    if (begin == 0) next_ = p.slices->end(p.col) - p.col;
    const int64_t slice = p.slices->index(p.row, p.col + begin);
    scales_ = p.scales + slice;
    zero_points_ = p.zero_points == nullptr ? nullptr : p.zero_points + slice;
  }
  SN_INLINE bool next() {
    if (left_ == 0) return false;
    first += n;
    n = min_of(next_, left_);
    next_ = whole_;
    left_ -= n;
    scale = *scales_++;
    zero_point = zero_points_ == nullptr ? 0 : *zero_points_++;
    return true;
  }
  // Scales of the runs that are left, this one included, and their number.
  SN_INLINE const float* scales() const { return scales_ - 1; }
  SN_INLINE int64_t count() const { return 1 + ceil_div(left_, whole_); }

 private:
  int64_t left_, whole_, next_;
  const float* scales_;
  const int8_t* zero_points_;
};
inline const int8_t* points_of(const sn_tensor* zero_point) {
  return zero_point == nullptr ? nullptr : data_of<int8_t>(zero_point);
}

// A single slice over the tensor, without padded rows, is one long row.
inline void flatten(Slices& s) {
  if (!s.shared) return;
  s.cols *= s.rows;
  s.rows = 1;
  s.group = s.cols;
}

}  // namespace SN_ISA_NAME
}  // namespace sn
