#include "support/reals.h"

#include <cmath>
#include <random>

#include "support/number.h"

namespace sinew_test {

const std::vector<std::vector<int64_t>> kRowShapes = {
    {1},     {17},     {0},       {3, 0},  {0, 7},   {5, 1},       {4, 15},     {3, 16},   {2, 3, 33},
    {7, 64}, {2, 997}, {1, 4096}, {3, 65}, {37, 31}, {2, 2, 2, 9}, {300, 1031}, {2, 1, 5}, {2, 8209}};

std::vector<double> doubles_of(sn_dtype dtype, const std::vector<uint8_t>& bytes) {
  std::vector<double> values;
  for (float f : as_f32s(dtype, bytes)) values.push_back(static_cast<double>(f));
  return values;
}

std::vector<uint8_t> uniform_elements(sn_dtype dtype, int64_t count, double range, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<double> values;
  for (int64_t i = 0; i < count; ++i) values.push_back(range * (static_cast<double>(random() >> 11) * 0x1p-52 - 1));
  return elements(dtype, values);
}

Operand operand_of(sn_dtype dtype, const std::vector<int64_t>& shape, std::vector<uint8_t> bytes) {
  Operand operand;
  operand.dtype = dtype;
  operand.shape = shape;
  operand.bytes = std::move(bytes);
  return operand;
}

Operand random_operand(sn_dtype dtype, const std::vector<int64_t>& shape, double range, uint64_t seed) {
  return operand_of(dtype, shape, uniform_elements(dtype, count_of(shape), range, seed));
}

double product_error(int64_t n, double magnitude, bool both_bf16) {
  static const bool has_tiles = std::string(sn_cpu_isa()) == "amx";
  const double count = static_cast<double>(n), tiles = static_cast<double>((n + 31) / 32);
  const double lost = both_bf16 && has_tiles ? (count + 2 * tiles - 1) * 0x1p-126 : 2 * count * 0x1p-150;
  return 1.01 * (kHalf * (count + 1) * magnitude + (n > 0 ? lost : 0));
}

void round_to(sn_dtype dtype, Bounded& close) {
  const double relative = dtype == SN_F16 ? 0x1p-11 : dtype == SN_BF16 ? 0x1p-8 : 0;
  const double least = dtype == SN_F16 ? 0x1p-25 : dtype == SN_BF16 ? 0x1p-134 : 0x1p-148;
  for (size_t i = 0; i < close.value.size(); ++i)
    close.bound[i] += relative * (std::abs(close.value[i]) + close.bound[i]) + least;
}

Call close_call(const std::string& label, std::vector<Operand> inputs, sn_dtype dtype,
                const std::vector<int64_t>& shape, Bounded close) {
  round_to(dtype, close);
  Call call;
  call.label = label;
  call.inputs = std::move(inputs);
  call.outputs = {operand_of(dtype, shape, {})};
  call.bounded = {std::move(close)};
  return call;
}

}  // namespace sinew_test
