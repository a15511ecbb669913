// RMS norm whose result is quantized at once: exact, by the same roundings in the same order.
#include <cmath>
#include <cstring>
#include <limits>

#include "support/quantizing.h"
#include "support/reals.h"

namespace sinew_test {
namespace {

const double kEps = 1e-6;

Call fused_call(sn_dtype dtype, const std::vector<int64_t>& shape, std::vector<uint8_t> bytes, bool with_weight,
                const std::string& what) {
  const int64_t n = shape.back();
  int64_t rows = 1;
  for (size_t i = 0; i + 1 < shape.size(); ++i) rows *= shape[i];
  const Operand weight = with_weight ? random_operand(SN_F32, {n}, 2, 11) : Operand{SN_F32, {0}, {}};
  const std::vector<float> x = as_f32s(dtype, bytes), w = as_f32s(SN_F32, weight.bytes);
  std::vector<uint8_t> q(x.size()), scales(static_cast<size_t>(rows) * 4);
  for (size_t row = 0; row < static_cast<size_t>(rows); ++row) {
    long double squares = 0;
    std::vector<float> v(x.begin() + static_cast<int64_t>(row) * n, x.begin() + static_cast<int64_t>(row + 1) * n);
    for (float f : v) squares += static_cast<long double>(f) * static_cast<long double>(f);
    const float factor =
        static_cast<float>(1 / std::sqrt(static_cast<double>(squares / static_cast<long double>(n)) + kEps));
    for (size_t i = 0; i < v.size(); ++i) {
      v[i] *= factor;
      if (with_weight) v[i] *= w[i];
    }
    const QuantizedRow quantized = oracle_quantize_row(v);
    std::memcpy(q.data() + row * v.size(), quantized.q.data(), v.size());
    std::memcpy(scales.data() + row * 4, &quantized.scale, 4);
  }
  Call call;
  call.label =
      std::string("rms_norm_quantize ") + name_of(dtype) + text_of(shape) + (with_weight ? " weight " : " ") + what;
  call.inputs = {operand_of(dtype, shape, std::move(bytes)), weight};
  call.outputs = {operand_of(SN_I8, shape, {}), operand_of(SN_F32, {rows}, {})};
  call.expected = {std::move(q), std::move(scales)};
  call.any_nan = true;
  call.run = [with_weight](const Tensors& in, const Tensors& out, int64_t*) {
    return sn_rms_norm_quantize(in[0], with_weight ? in[1] : nullptr, kEps, out[0], out[1]);
  };
  return call;
}

void shapes(const Emit& emit) {
  for (sn_dtype dtype : kReals) {
    for (const auto& shape : kRowShapes) {
      for (bool weight : {false, true}) {
        const uint64_t seed = next_seed();
        emit(fused_call(dtype, shape, uniform_elements(dtype, count_of(shape), 3, seed), weight,
                        "seed " + std::to_string(seed)));
      }
    }
  }
}

void special_values(const Emit& emit) {
  for (sn_dtype dtype : {SN_F32, SN_BF16}) {
    emit(fused_call(dtype, {2, 33}, elements(dtype, std::vector<double>(66, 0.0)), true, "zeros"));
    for (double bad : {std::nan(""), std::numeric_limits<double>::infinity()}) {
      std::vector<double> values(3 * 83, 0.25);
      values[100] = bad;
      emit(fused_call(dtype, {3, 83}, elements(dtype, values), true, "not finite"));
    }
  }
}

const Register registered({"rms_norm_quantize", {{"shapes", shapes}, {"special_values", special_values}}, {}});

}  // namespace
}  // namespace sinew_test
