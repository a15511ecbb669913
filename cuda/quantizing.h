// The arithmetic of quantizing one element, and which elements share a scale; docs/numerics.md has the rules. For the
// GPU and, in tests, the CPU.
#pragma once

#include "device.h"
#include "elements.h"

namespace sn {
namespace cuda {

// Rounds half to even. |a| must be below 2^22: adding 1.5 x 2^23 leaves the rounded integer in the low bits.
SN_HD SN_LOCAL int to_int(float a) {
  return static_cast<int>(bits_of(a + 12582912.0f)) - static_cast<int>(bits_of(12582912.0f));
}

// How one slice is quantized: `low` and `high` bound x / scale, so that the sum with the zero point cannot leave the
// range.
struct Quantizer {
  float scale, low, high;
  int zero_point;
};
SN_HD SN_LOCAL Quantizer quantizer(float scale, int zero_point, sn_scheme scheme) {
  if (scheme == SN_FP8) return {scale, -kLargestF8, kLargestF8, 0};
  return {scale, static_cast<float>(qmin(scheme) - zero_point), static_cast<float>(qmax(scheme) - zero_point),
          zero_point};
}

// x / scale, clamped; NaN becomes the lower bound.
SN_HD SN_LOCAL float clamped(const Quantizer& z, float x) {
  const float v = x / z.scale;
  const float raised = v > z.low ? v : z.low;
  return raised < z.high ? raised : z.high;
}

// E4M3 has 8 steps in each power of two down to 2^-6, and smaller ones of 2^-9 below. Adding 2^20 times that power,
// whose last place is such a step, rounds a magnitude to whole steps, half to even.
struct Steps {
  uint32_t power;  // of two, as the bits of its float
  float shift, sum;
};
SN_HD SN_LOCAL Steps steps_of(float v) {
  const uint32_t exponent = bits_of(v) & 0x7f800000u;
  const uint32_t least = 0x3c800000u;  // 2^-6
  const uint32_t power = exponent > least ? exponent : least;
  const float shift = float_of(power + (20u << 23));
  return {power, shift, float_of(key_of(v)) + shift};
}

// The stored byte.
template <bool kFloat8>
SN_HD SN_LOCAL int quantized(const Quantizer& z, float x) {
  const float v = clamped(z, x);
  if (!kFloat8) return to_int(v) + z.zero_point;
  const Steps s = steps_of(v);
  const uint32_t below = (s.power >> 20) - ((127u - 6u) << 3);  // 8 codes for each power from 2^-6 on
  const uint32_t code = bits_of(s.sum) - bits_of(s.shift) + below;
  return static_cast<int8_t>(code | (bits_of(v) >> 24 & 0x80u));
}

// What dequantizing gives back; NaN stays.
template <bool kFloat8>
SN_HD SN_LOCAL float faked(const Quantizer& z, float x) {
  if (is_nan(x)) return x;
  const float v = clamped(z, x);
  if (!kFloat8) return product(static_cast<float>(to_int(v)), z.scale);
  const Steps s = steps_of(v);
  const float magnitude = s.sum - s.shift;
  return product(float_of(bits_of(magnitude) ^ (bits_of(v) & 0x80000000u)), z.scale);
}

SN_HD SN_LOCAL float dequantized(int q, float scale, int zero_point) {
  return product(static_cast<float>(q - zero_point), scale);
}
SN_HD SN_LOCAL float dequantized(f8e4m3 q, float scale) {
  const float v = to_float(q);
  return is_nan(v) ? v : product(v, scale);
}

// The scale and zero point of the range [lo, hi], lo <= 0 <= hi.
struct Parameters {
  float scale;
  int zero_point;
};
SN_HD SN_LOCAL Parameters parameters_of(float lo, float hi, sn_scheme scheme) {
  const double low = static_cast<double>(lo), high = static_cast<double>(hi);
  const double width = is_asymmetric(scheme) ? (high - low) / (is_int4(scheme) ? 15.0 : 255.0)
                                             : (-low > high ? -low : high) / symmetric_steps(scheme);
  float step = static_cast<float>(width);
  if (width == 0) step = 1.0f;
  // A range so narrow that the scale would vanish takes the smallest scale there is.
  if (step == 0) step = float_of(1);
  if (!is_asymmetric(scheme)) return {step, 0};
  const double least = qmin(scheme), most = qmax(scheme);
  const double z = least - low / static_cast<double>(step);
  const double bounded = z < least ? least : z > most ? most : z;
  // Half to even, by the same addition as in to_int.
  return {step, static_cast<int>((bounded + 6755399441055744.0) - 6755399441055744.0)};
}

// The largest key of numbers and of one more.
SN_HD SN_LOCAL uint32_t largest_key(const Elements<float>& x, uint32_t largest) {
  SN_UNROLL
  for (int j = 0; j < kStep; ++j) largest = key_of(x.of[j]) > largest ? key_of(x.of[j]) : largest;
  return largest;
}

// Symmetric int8 for numbers of this largest key. Where it is that of NaN or infinity, the scale is NaN and all are 0.
class SymmetricBytes {
 public:
  SN_HD explicit SymmetricBytes(uint32_t largest)
      : finite_(largest < kInfinityKey),
        quantizer_(quantizer(finite_ ? symmetric_scale(static_cast<int32_t>(largest)) : 1.0f, 0, SN_INT8_SYMMETRIC)) {}
  SN_HD float scale() const { return finite_ ? quantizer_.scale : float_of(0x7fc00000u); }
  SN_HD Elements<int8_t> operator()(const Elements<float>& x) const {
    Elements<int8_t> q;
    SN_UNROLL
    for (int j = 0; j < kStep; ++j) q.of[j] = static_cast<int8_t>(finite_ ? quantized<false>(quantizer_, x.of[j]) : 0);
    return q;
  }

 private:
  bool finite_;
  Quantizer quantizer_;
};

// x as [rows, cols] with a slice for every `group` columns of a row, or one for all.
struct Slices {
  int64_t rows, cols, group, per_row;
  bool shared;
};
SN_LOCAL Slices slices_of(const sn_tensor* x, int64_t group, int64_t scales) {
  // A group longer than a row is the row; more could overflow the arithmetic of places.
  const int64_t wanted = group == 0 || group > x->cols ? x->cols : group;
  const int64_t length = wanted > 0 ? wanted : 1;
  const int64_t per_row = group == 0 ? 1 : (x->cols + length - 1) / length;
  Slices s = {x->rows, x->cols, length, per_row, group == 0 && scales == 1};
  if (!s.shared) return s;
  s.cols *= s.rows;
  s.rows = s.rows > 0 ? 1 : 0;
  s.group = s.cols > 0 ? s.cols : 1;
  return s;
}

// Walks from an element of [rows, cols] to the following ones and knows the slice of each.
class Walk {
 public:
  SN_HD Walk(const Slices& s, int64_t element) : group_(s.group), cols_(s.cols) {
    if (s.shared) {
      slice_ = 0;
      left_ = s.cols - element;
      row_left_ = left_;
      return;
    }
    const int64_t row = element / s.cols, col = element - row * s.cols, part = col / s.group;
    slice_ = row * s.per_row + part;
    row_left_ = s.cols - col;
    left_ = (part + 1) * s.group - col;
    if (left_ > row_left_) left_ = row_left_;
  }
  SN_HD int64_t slice() const { return slice_; }
  // Elements from here on that have this slice, this one included.
  SN_HD int64_t left() const { return left_; }
  // Goes on to the first element of the next slice.
  SN_HD void next() {
    ++slice_;
    row_left_ -= left_;
    if (row_left_ == 0) row_left_ = cols_;
    left_ = group_ < row_left_ ? group_ : row_left_;
  }

 private:
  int64_t slice_, left_, row_left_, group_, cols_;
};

// Calls f(slice, from, to) for the parts [from, to) of n elements, the first of which is `first`, that have one slice.
template <class F>
SN_HD inline void for_slices(const Slices& s, int64_t first, int n, F f) {
  Walk walk(s, first);
  for (int from = 0;;) {
    const int64_t left = walk.left();
    const int to = left < n - from ? from + static_cast<int>(left) : n;
    f(walk.slice(), from, to);
    if (to == n) return;
    from = to;
    walk.next();
  }
}

}  // namespace cuda
}  // namespace sn
