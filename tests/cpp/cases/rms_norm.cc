// RMS norm along the last dimension.
#include <algorithm>
#include <cmath>
#include <limits>

#include "support/norms.h"

namespace sinew_test {
namespace {

const double kEps = 1e-6;

// The factor's rounding and two products.
Bounded rms_norm_oracle(const std::vector<double>& x, int64_t n, const std::vector<double>& weight) {
  Bounded close;
  for (size_t row = 0; row < x.size(); row += static_cast<size_t>(n)) {
    long double squares = 0;
    for (size_t i = row; i < row + static_cast<size_t>(n); ++i)
      squares += static_cast<long double>(x[i]) * static_cast<long double>(x[i]);
    const double factor = 1 / std::sqrt(static_cast<double>(squares / static_cast<long double>(n)) + kEps);
    for (size_t i = 0; i < static_cast<size_t>(n); ++i) {
      const double y = x[row + i] * factor * (weight.empty() ? 1 : weight[i]);
      close.value.push_back(y);
      close.bound.push_back(3.1 * kHalf * std::abs(y));
    }
  }
  return close;
}

Call rms_norm_call(sn_dtype dtype, const std::vector<int64_t>& shape, std::vector<uint8_t> bytes, bool with_weight,
                   const std::string& what) {
  const int64_t n = shape.back();
  const Operand weight = with_weight ? random_operand(SN_F32, {n}, 2, 11) : Operand{SN_F32, {0}, {}};
  Bounded close = rms_norm_oracle(doubles_of(dtype, bytes), std::max<int64_t>(n, 1), doubles_of(SN_F32, weight.bytes));
  Call call =
      close_call(std::string("rms_norm ") + name_of(dtype) + text_of(shape) + (with_weight ? " weight " : " ") + what,
                 {operand_of(dtype, shape, std::move(bytes)), weight}, dtype, shape, std::move(close));
  call.in_place = true;
  call.run = [with_weight](const Tensors& in, const Tensors& out, int64_t*) {
    return sn_rms_norm(in[0], with_weight ? in[1] : nullptr, kEps, out[0]);
  };
  return call;
}

void shapes(const Emit& emit) {
  for (sn_dtype dtype : kReals) {
    for (const auto& shape : kRowShapes) {
      for (bool weight : {false, true}) {
        const uint64_t seed = next_seed();
        emit(rms_norm_call(dtype, shape, uniform_elements(dtype, count_of(shape), 3, seed), weight,
                           "seed " + std::to_string(seed)));
      }
    }
  }
}

void special_values(const Emit& emit) {
  for (sn_dtype dtype : {SN_F32, SN_BF16}) {
    emit(rms_norm_call(dtype, {2, 33}, elements(dtype, std::vector<double>(66, 0.0)), true, "zeros"));
    // Squares beyond the range of F32.
    emit(rms_norm_call(dtype, {2, 33}, elements(dtype, std::vector<double>(66, 1e30)), true, "1e30"));
    emit(rms_norm_call(dtype, {2, 33}, elements(dtype, std::vector<double>(66, -1e-30)), true, "-1e-30"));
  }
  emit(spoiled_norm(rms_norm_call(SN_F32, {3, 37}, uniform_elements(SN_F32, 111, 3, 1), true, "NaN"), std::nan("")));
  // Infinity makes the others of its row 0.
  Call infinite = rms_norm_call(SN_F32, {3, 37}, uniform_elements(SN_F32, 111, 3, 1), true, "infinity");
  infinite = spoiled_norm(infinite, std::numeric_limits<double>::infinity());
  for (size_t i = 37; i < 74; ++i) infinite.bounded[0].value[i] = i == 40 ? std::nan("") : 0;
  emit(infinite);
}

void same_everywhere(const Emit& emit) {
  Call call = rms_norm_call(SN_F32, {61, 1013}, uniform_elements(SN_F32, 61 * 1013, 9, 3), true, "everywhere");
  call.fingerprint = 0xee3f4304b68069f5;
  emit(call);
}

const Register registered(
    {"rms_norm", {{"shapes", shapes}, {"special_values", special_values}, {"same_everywhere", same_everywhere}}, {}});

}  // namespace
}  // namespace sinew_test
