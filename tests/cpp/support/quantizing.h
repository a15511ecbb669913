// The oracle of quantization: slices, ranges, scales and the rounding, element by element as sinew.h words them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "support/call.h"

namespace sinew_test {

constexpr sn_scheme kSchemes[] = {SN_INT8_SYMMETRIC, SN_INT8_ASYMMETRIC, SN_INT4_SYMMETRIC, SN_INT4_ASYMMETRIC, SN_FP8};

bool is_int4(sn_scheme scheme);
bool is_asymmetric(sn_scheme scheme);
int least_integer(sn_scheme scheme);
int largest_integer(sn_scheme scheme);
const char* scheme_name(sn_scheme scheme);

// What shares a scale: the tensor, a row, or (a positive number) so many elements of a row.
constexpr int64_t kPerTensor = -1;
constexpr int64_t kPerChannel = 0;

struct Slicing {
  Slicing(const std::vector<int64_t>& shape, int64_t grain);

  int64_t rows, cols, group, per_row;
  bool one;  // for all rows

  int64_t count() const { return one ? 1 : rows * per_row; }
  int64_t slice_of(int64_t row, int64_t col) const { return one ? 0 : row * per_row + col / group; }
  int64_t argument() const { return one || grouped == 0 ? 0 : grouped; }
  std::vector<int64_t> shape() const;  // of scales
  int64_t grouped;
};

struct Scales {
  std::vector<float> scale;
  std::vector<int8_t> zero_point;  // empty for symmetric schemes
};

struct Ranges {
  std::vector<float> lo, hi;
};

// x as the slices' pieces: for each slice, its elements of each row.
std::vector<std::vector<std::vector<float>>> slices_of(const std::vector<float>& x, const Slicing& slicing);

Ranges oracle_range(const std::vector<float>& x, const Slicing& slicing, sn_scheme scheme, sn_range_method method,
                    float percentile);
Scales oracle_scale(const Ranges& ranges, sn_scheme scheme);
// Scales of the extremes of each slice, as a user would choose them.
Scales scales_for(const std::vector<float>& x, const Slicing& slicing, sn_scheme scheme);

// The stored byte or nibble of x as a number; for fp8 the code in a signed byte.
int oracle_quantize(float x, float scale, int zero_point, sn_scheme scheme);
float oracle_dequantize(int q, float scale, int zero_point, sn_scheme scheme);
// Numbers with a scale of their own by symmetric int8; among them NaN or infinity, that is NaN and all are 0.
struct QuantizedRow {
  float scale;
  std::vector<int8_t> q;
};
QuantizedRow oracle_quantize_row(const std::vector<float>& x);
// The sum of squares over at most 4096 elements, in the documented order: 16 running sums, folded by halves.
double oracle_block_error(const float* x, int64_t n, float scale, int zero_point, sn_scheme scheme);
double fold16(double* lanes);

// Operands: the scales, and with an asymmetric scheme the zero points.
void add_scales(Call& call, const Slicing& slicing, const Scales& scales, sn_scheme scheme);
sn_tensor* zero_points_of(const Tensors& in);

// Stored integers: I8 or F8_E4M3, or nibbles in U8 rows.
Operand integers_operand(const std::vector<int>& q, const std::vector<int64_t>& shape, sn_scheme scheme);
std::string describe(const char* op, sn_dtype dtype, const std::vector<int64_t>& shape, int64_t grain,
                     sn_scheme scheme);

template <class T>
std::vector<uint8_t> bytes_of(const std::vector<T>& values) {
  const auto* p = reinterpret_cast<const uint8_t*>(values.data());
  return std::vector<uint8_t>(p, p + values.size() * sizeof(T));
}

// Rows of 64 elements, each with a scale of its own, whose quotients are as near as possible to where rounding turns:
// for F32 those that lie a few 2^-48 beside the middle of k + 1/2 and its neighbour among the floats, for other types
// those within a float's last place of k + 1/2.
struct NearTies {
  std::vector<int64_t> shape;
  std::vector<double> values;
  std::vector<float> scale;
};
NearTies near_ties(sn_dtype dtype);

// Scales that a real slice would not have: denormal, tiny, huge, powers of two that make ties exact; and those
// that only a broken file has: zero, negative, infinite, NaN.
extern const std::vector<float> kOddScales;
// Grains for a shape: the tensor, a row, groups that divide a row, leave a short rest, and are longer than a row.
std::vector<int64_t> grains_for(const std::vector<int64_t>& shape, sn_scheme scheme);

}  // namespace sinew_test
