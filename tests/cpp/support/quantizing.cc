#include "support/quantizing.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace sinew_test {

bool is_int4(sn_scheme scheme) { return scheme == SN_INT4_SYMMETRIC || scheme == SN_INT4_ASYMMETRIC; }
bool is_asymmetric(sn_scheme scheme) { return scheme == SN_INT8_ASYMMETRIC || scheme == SN_INT4_ASYMMETRIC; }
int least_integer(sn_scheme scheme) {
  static const int least[] = {-127, -128, -8, -8};
  return least[scheme];
}
int largest_integer(sn_scheme scheme) {
  static const int largest[] = {127, 127, 7, 7};
  return largest[scheme];
}
const char* scheme_name(sn_scheme scheme) {
  static const char* const names[] = {"int8", "asymmetric int8", "int4", "asymmetric int4", "fp8"};
  return names[scheme];
}

Slicing::Slicing(const std::vector<int64_t>& shape, int64_t grain)
    : rows(rows_of(shape)),
      cols(cols_of(shape)),
      group(grain > 0 ? grain : std::max<int64_t>(cols, 1)),
      one(grain == kPerTensor),
      grouped(std::max<int64_t>(grain, 0)) {
  per_row = grain > 0 ? cols / group + (cols % group != 0) : 1;
}

std::vector<int64_t> Slicing::shape() const {
  return one ? std::vector<int64_t>{1} : std::vector<int64_t>{rows, per_row};
}

std::vector<std::vector<std::vector<float>>> slices_of(const std::vector<float>& x, const Slicing& s) {
  std::vector<std::vector<std::vector<float>>> slices(static_cast<size_t>(s.count()));
  for (int64_t row = 0; row < s.rows; ++row) {
    for (int64_t col = 0; col < s.cols; ++col) {
      auto& slice = slices[static_cast<size_t>(s.slice_of(row, col))];
      if (s.one ? col == 0 : col % s.group == 0) slice.emplace_back();
      slice.back().push_back(x[static_cast<size_t>(row * s.cols + col)]);
    }
  }
  return slices;
}

namespace {

// The least rank r (from 1) with r / n >= percentile / 100, exactly: a long double holds the products.
int64_t nearest_rank(int64_t n, float percentile) {
  const long double wanted = static_cast<long double>(n) * static_cast<long double>(percentile);
  int64_t rank = static_cast<int64_t>(wanted / 100.0L);
  while (rank > 0 && 100.0L * static_cast<long double>(rank) >= wanted) --rank;
  while (100.0L * static_cast<long double>(rank) < wanted) ++rank;
  return std::min(std::max<int64_t>(rank, 1), n);
}

std::vector<float> flat(const std::vector<std::vector<float>>& rows) {
  std::vector<float> all;
  for (const auto& row : rows) all.insert(all.end(), row.begin(), row.end());
  return all;
}

double slice_error(const std::vector<std::vector<float>>& rows, float lo, float hi, sn_scheme scheme) {
  const Scales s = oracle_scale({{lo}, {hi}}, scheme);
  double sum = 0;
  for (const auto& row : rows) {
    for (size_t first = 0; first < row.size(); first += 4096) {
      const int64_t n = static_cast<int64_t>(std::min<size_t>(4096, row.size() - first));
      sum += oracle_block_error(row.data() + first, n, s.scale[0], s.zero_point.empty() ? 0 : s.zero_point[0], scheme);
    }
  }
  return sum;
}

}  // namespace

Ranges oracle_range(const std::vector<float>& x, const Slicing& slicing, sn_scheme scheme, sn_range_method method,
                    float percentile) {
  Ranges ranges;
  for (const auto& slice : slices_of(x, slicing)) {
    std::vector<float> all = flat(slice);
    float lo = 0, hi = 0;
    for (float v : all) {
      if (v < lo) lo = v;
      if (v > hi) hi = v;
    }
    if (!is_asymmetric(scheme)) {
      hi = std::max(hi, -lo);  // +0 before -0, of which max takes the first
      lo = 0.0f - hi;
    }
    if (method == SN_RANGE_PERCENTILE && !all.empty()) {
      const int64_t n = static_cast<int64_t>(all.size()), rank = nearest_rank(n, percentile);
      if (is_asymmetric(scheme)) {
        std::sort(all.begin(), all.end());
        const float high = std::max(all[static_cast<size_t>(rank - 1)], 0.0f),
                    low = std::min(all[static_cast<size_t>(n - rank)], 0.0f);
        if (high > 0 || low < 0) {
          lo = low < 0 ? low : 0.0f;
          hi = high > 0 ? high : 0.0f;
        }
      } else {
        for (float& v : all) v = std::fabs(v);
        std::sort(all.begin(), all.end());
        const float bound = all[static_cast<size_t>(rank - 1)];
        if (bound > 0) {
          lo = -bound;
          hi = bound;
        }
      }
    }
    if (method == SN_RANGE_MSE && !all.empty()) {
      float best_lo = lo, best_hi = hi;
      double best = 0;
      for (int j = 0; j <= 60; ++j) {
        const float low = static_cast<float>(static_cast<double>(lo) * (100 - j) / 100.0);
        const float high = static_cast<float>(static_cast<double>(hi) * (100 - j) / 100.0);
        const double error = slice_error(slice, low, high, scheme);
        if (j == 0 || error < best) {
          best = error;
          best_lo = low;
          best_hi = high;
        }
      }
      lo = best_lo;
      hi = best_hi;
    }
    ranges.lo.push_back(lo);
    ranges.hi.push_back(hi);
  }
  return ranges;
}

Scales oracle_scale(const Ranges& ranges, sn_scheme scheme) {
  Scales s;
  for (size_t i = 0; i < ranges.lo.size(); ++i) {
    const double lo = static_cast<double>(ranges.lo[i]), hi = static_cast<double>(ranges.hi[i]);
    const double steps = scheme == SN_FP8  ? 448.0
                         : is_int4(scheme) ? (is_asymmetric(scheme) ? 15.0 : 7.5)
                                           : (is_asymmetric(scheme) ? 255.0 : 127.0);
    const double width = is_asymmetric(scheme) ? hi - lo : std::max(-lo, hi);
    float scale = static_cast<float>(width / steps);
    if (scale == 0) scale = width == 0 ? 1.0f : 0x1p-149f;
    s.scale.push_back(scale);
    if (is_asymmetric(scheme)) {
      const double z = std::nearbyint(least_integer(scheme) - lo / static_cast<double>(scale));
      s.zero_point.push_back(
          static_cast<int8_t>(std::min<double>(std::max<double>(z, least_integer(scheme)), largest_integer(scheme))));
    }
  }
  return s;
}

Scales scales_for(const std::vector<float>& x, const Slicing& slicing, sn_scheme scheme) {
  return oracle_scale(oracle_range(x, slicing, scheme, SN_RANGE_MINMAX, 0), scheme);
}

int oracle_quantize(float x, float scale, int zero_point, sn_scheme scheme) {
  const float quotient = x / scale;
  if (scheme == SN_FP8) {
    uint8_t code;
    put_f32(SN_F8_E4M3, std::isnan(quotient) ? -448.0f : quotient, &code);
    return static_cast<int8_t>(code);
  }
  if (std::isnan(quotient)) return least_integer(scheme);  // 0 / 0 and worse, from scales that no file should hold
  const double q = std::nearbyint(static_cast<double>(quotient)) + zero_point;
  return static_cast<int>(std::min<double>(std::max<double>(q, least_integer(scheme)), largest_integer(scheme)));
}

QuantizedRow oracle_quantize_row(const std::vector<float>& x) {
  float absmax = 0;
  for (float v : x) {
    if (!std::isfinite(v)) return {float_of(0x7fc00000), std::vector<int8_t>(x.size(), 0)};
    absmax = std::max(absmax, std::abs(v));
  }
  QuantizedRow row;
  row.scale = absmax == 0 ? 1.0f : static_cast<float>(static_cast<double>(absmax) / 127.0);
  if (row.scale == 0) row.scale = float_of(1);
  for (float v : x) row.q.push_back(static_cast<int8_t>(oracle_quantize(v, row.scale, 0, SN_INT8_SYMMETRIC)));
  return row;
}

float oracle_dequantize(int q, float scale, int zero_point, sn_scheme scheme) {
  if (scheme != SN_FP8) return static_cast<float>(q - zero_point) * scale;
  const uint8_t code = static_cast<uint8_t>(q);
  const float value = as_f32(SN_F8_E4M3, &code);
  return std::isnan(value) ? value : value * scale;
}

double fold16(double* lanes) {
  for (int half = 8; half >= 1; half /= 2) {
    for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  }
  return lanes[0];
}

double oracle_block_error(const float* x, int64_t n, float scale, int zero_point, sn_scheme scheme) {
  double lanes[16] = {};
  for (int64_t i = 0; i < n; ++i) {
    const int q = oracle_quantize(x[i], scale, zero_point, scheme);
    const float error = x[i] - oracle_dequantize(q, scale, zero_point, scheme);
    lanes[i % 16] += static_cast<double>(error) * static_cast<double>(error);
  }
  return fold16(lanes);
}

void add_scales(Call& call, const Slicing& slicing, const Scales& scales, sn_scheme scheme) {
  call.inputs.push_back({SN_F32, slicing.shape(), bytes_of(scales.scale), !slicing.one});
  if (is_asymmetric(scheme)) call.inputs.push_back({SN_I8, slicing.shape(), bytes_of(scales.zero_point), !slicing.one});
}

sn_tensor* zero_points_of(const Tensors& in) { return in.size() > 2 ? in[2] : nullptr; }

Operand integers_operand(const std::vector<int>& q, const std::vector<int64_t>& shape, sn_scheme scheme) {
  std::vector<uint8_t> bytes;
  if (!is_int4(scheme)) {
    for (int v : q) bytes.push_back(static_cast<uint8_t>(v));
    return {scheme == SN_FP8 ? SN_F8_E4M3 : SN_I8, shape, std::move(bytes), true};
  }
  const int64_t rows = rows_of(shape), cols = cols_of(shape);
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t col = 0; col < cols; col += 2) {
      const int first = q[static_cast<size_t>(row * cols + col)] + 8;
      const int second = col + 1 < cols ? q[static_cast<size_t>(row * cols + col + 1)] + 8 : 8;
      bytes.push_back(static_cast<uint8_t>(first + 16 * second));
    }
  }
  return {SN_U8, {rows, (cols + 1) / 2}, std::move(bytes), true};
}

std::string describe(const char* op, sn_dtype dtype, const std::vector<int64_t>& shape, int64_t grain,
                     sn_scheme scheme) {
  return std::string(op) + " " + name_of(dtype) + text_of(shape) + " " + scheme_name(scheme) + " per " +
         (grain == kPerTensor    ? "tensor"
          : grain == kPerChannel ? "channel"
                                 : "group of " + std::to_string(grain));
}

namespace {

// A row for x / scale, its neighbours, and more halves.
void add_near_tie(NearTies& ties, float x, float scale) {
  ties.scale.push_back(scale);
  float below = x, above = x;
  const size_t end = ties.values.size() + 64;
  for (int i = 0; i < 4; ++i) {
    for (float v : {below, -below, above, -above}) ties.values.push_back(static_cast<double>(v));
    below = std::nextafter(below, 0.0f);
    above = std::nextafter(above, std::numeric_limits<float>::max());
  }
  for (int i = 0; ties.values.size() < end; ++i) ties.values.push_back((i * 6 - 143.5) * static_cast<double>(scale));
}

// x and scale, of 24 bits each, with x / scale = m + r / (scale 2^bits), where m is the middle between half and its
// neighbour: from m scale = r modulo 2^bits.
void add_near_middle(NearTies& ties, float half, int side, int64_t r, int bits) {
  int exponent;
  const int64_t m = 2 * static_cast<int64_t>(std::ldexp(std::frexp(half, &exponent), 24)) + side;
  const int64_t modulus = int64_t{1} << bits;
  int64_t inverse = 1;
  for (int i = 0; i < 6; ++i) inverse = inverse * (2 - m * inverse % modulus) % modulus;
  const int64_t scale = ((r * inverse) % modulus + modulus) % modulus;
  const int64_t x = (m * scale - r) / modulus;
  if (scale >> 23 != 1 || x >> 23 != 1) return;
  add_near_tie(ties, static_cast<float>(std::ldexp(static_cast<double>(x), bits + exponent - 25 - 30)),
               static_cast<float>(std::ldexp(static_cast<double>(scale), -30)));
}

}  // namespace

NearTies near_ties(sn_dtype dtype) {
  NearTies ties;
  for (int k = 0; k < 256; ++k) {
    const float half = static_cast<float>(k) + 0.5f;
    if (dtype == SN_F32) {
      for (int side : {-1, 1}) {
        for (int64_t r : {-3, -1, 1, 3}) {
          for (int bits : {24, 25}) add_near_middle(ties, half, side, r, bits);
        }
      }
      continue;
    }
    for (int i = 0; i < 4; ++i) {
      const float x = static_cast<float>(129 + (k * 37 + i * 41) % 127) * 0x1p-9f;
      const float scale = x / half;
      for (float s : {scale, std::nextafter(scale, 0.0f), std::nextafter(scale, 1.0f)}) add_near_tie(ties, x, s);
    }
  }
  ties.shape = {static_cast<int64_t>(ties.scale.size()), 64};
  return ties;
}

const std::vector<float> kOddScales = {0x1p-149f,
                                       0x3p-149f,
                                       0x1p-126f,
                                       1e-30f,
                                       0x1p-10f,
                                       0.1f,
                                       1.0f,
                                       3.0f,
                                       1e30f,
                                       0x1p127f,
                                       0x1.fffffep127f,
                                       0.0f,
                                       -0.0f,
                                       -0.25f,
                                       std::numeric_limits<float>::infinity(),
                                       std::nanf("")};

std::vector<int64_t> grains_for(const std::vector<int64_t>& shape, sn_scheme scheme) {
  const int64_t cols = cols_of(shape);
  std::vector<int64_t> grains = {kPerTensor, kPerChannel, 2, 32, 128, 1000, INT64_MAX};
  if (!is_int4(scheme)) grains.insert(grains.end(), {1, 7, 63});
  if (!is_int4(scheme) || cols <= 65) grains.push_back(65);
  // One slice for each row is told from one for the tensor by the number of scales, which is 1 for both with a single
  // row.
  return grains;
}

}  // namespace sinew_test
