// Layer norm along the last dimension.
#include <cmath>
#include <limits>

#include "support/norms.h"

namespace sinew_test {
namespace {

const double kEps = 1e-5;

// With m the mean and f = 1 / sqrt(variance + eps): rounding m costs |m|, subtracting it |x - m|; f and each product
// cost one more rounding, the bias another.
Bounded layer_norm_oracle(const std::vector<double>& x, int64_t n, const std::vector<double>& weight,
                          const std::vector<double>& bias) {
  Bounded close;
  for (size_t row = 0; row < x.size(); row += static_cast<size_t>(n)) {
    long double sum = 0, squares = 0;
    for (size_t i = row; i < row + static_cast<size_t>(n); ++i) sum += static_cast<long double>(x[i]);
    const long double mean = sum / static_cast<long double>(n);
    for (size_t i = row; i < row + static_cast<size_t>(n); ++i)
      squares += (static_cast<long double>(x[i]) - mean) * (static_cast<long double>(x[i]) - mean);
    const double m = static_cast<double>(mean);
    const double factor = 1 / std::sqrt(static_cast<double>(squares / static_cast<long double>(n)) + kEps);
    for (size_t i = 0; i < static_cast<size_t>(n); ++i) {
      const double v = (x[row + i] - m) * factor, w = weight.empty() ? 1 : weight[i], b = bias.empty() ? 0 : bias[i];
      close.value.push_back(v * w + b);
      close.bound.push_back(1.1 * kHalf *
                            (std::abs(w) * (5 * std::abs(v) + factor * std::abs(m)) + std::abs(v * w + b)));
    }
  }
  return close;
}

Call layer_norm_call(sn_dtype dtype, const std::vector<int64_t>& shape, std::vector<uint8_t> bytes, bool with_weight,
                     bool with_bias, const std::string& what) {
  const int64_t n = shape.back();
  const Operand weight = with_weight ? random_operand(SN_F32, {n}, 2, 11) : Operand{SN_F32, {0}, {}};
  const Operand bias = with_bias ? random_operand(SN_F32, {n}, 1, 12) : Operand{SN_F32, {0}, {}};
  Bounded close = layer_norm_oracle(doubles_of(dtype, bytes), std::max<int64_t>(n, 1), doubles_of(SN_F32, weight.bytes),
                                    doubles_of(SN_F32, bias.bytes));
  Call call = close_call(std::string("layer_norm ") + name_of(dtype) + text_of(shape) + (with_weight ? " weight" : "") +
                             (with_bias ? " bias " : " ") + what,
                         {operand_of(dtype, shape, std::move(bytes)), weight, bias}, dtype, shape, std::move(close));
  call.in_place = true;
  call.run = [with_weight, with_bias](const Tensors& in, const Tensors& out, int64_t*) {
    return sn_layer_norm(in[0], with_weight ? in[1] : nullptr, with_bias ? in[2] : nullptr, kEps, out[0]);
  };
  return call;
}

void shapes(const Emit& emit) {
  for (sn_dtype dtype : kReals) {
    for (const auto& shape : kRowShapes) {
      for (int with = 0; with < 4; ++with) {
        const uint64_t seed = next_seed();
        emit(layer_norm_call(dtype, shape, uniform_elements(dtype, count_of(shape), 3, seed), with & 1, with & 2,
                             "seed " + std::to_string(seed)));
      }
    }
  }
}

// A mean far from 0, rows of one value, and rows that have no norm.
void special_values(const Emit& emit) {
  const double infinity = std::numeric_limits<double>::infinity();
  for (sn_dtype dtype : {SN_F32, SN_BF16}) {
    for (double offset : {0.0, 100.0, -30.0}) {
      std::vector<double> values;
      for (int i = 0; i < 130; ++i) values.push_back(offset + 0.5 * (i % 7));
      emit(layer_norm_call(dtype, {2, 65}, elements(dtype, values), true, true, "offset " + std::to_string(offset)));
    }
    emit(layer_norm_call(dtype, {2, 33}, elements(dtype, std::vector<double>(66, 0.0)), true, true, "zeros"));
    emit(layer_norm_call(dtype, {2, 33}, elements(dtype, std::vector<double>(66, 5.0)), false, true, "fives"));
  }
  emit(spoiled_norm(layer_norm_call(SN_F32, {3, 37}, uniform_elements(SN_F32, 111, 3, 1), true, true, "NaN"),
                    std::nan("")));
  emit(spoiled_norm(layer_norm_call(SN_F32, {3, 37}, uniform_elements(SN_F32, 111, 3, 1), true, true, "infinity"),
                    infinity));
}

void same_everywhere(const Emit& emit) {
  Call call = layer_norm_call(SN_F32, {61, 1013}, uniform_elements(SN_F32, 61 * 1013, 9, 3), true, true, "everywhere");
  call.fingerprint = 0xd4f7e3e26f4a255c;
  emit(call);
}

const Register registered(
    {"layer_norm", {{"shapes", shapes}, {"special_values", special_values}, {"same_everywhere", same_everywhere}}, {}});

}  // namespace
}  // namespace sinew_test
