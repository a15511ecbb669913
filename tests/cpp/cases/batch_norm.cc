// Batch norm with fixed statistics, per channel.
#include <cmath>
#include <limits>

#include "support/reals.h"

namespace sinew_test {
namespace {

const double kEps = 1e-5;

// y = x a + b: a, b, the product and the sum are rounded once each.
Call batch_norm_call(sn_dtype dtype, const std::vector<int64_t>& shape, std::vector<uint8_t> bytes, bool affine,
                     const std::string& what) {
  const int64_t channels = shape[1];
  const Operand mean = random_operand(SN_F32, {channels}, 2, 21), variance = [&] {
    Operand v = random_operand(SN_F32, {channels}, 1, 22);
    std::vector<double> positive;
    for (double x : doubles_of(SN_F32, v.bytes)) positive.push_back(std::abs(x));
    v.bytes = elements(SN_F32, positive);
    return v;
  }();
  const Operand weight = affine ? random_operand(SN_F32, {channels}, 2, 23) : Operand{SN_F32, {0}, {}};
  const Operand bias = affine ? random_operand(SN_F32, {channels}, 2, 24) : Operand{SN_F32, {0}, {}};
  const auto m = doubles_of(SN_F32, mean.bytes), v = doubles_of(SN_F32, variance.bytes);
  const auto w = doubles_of(SN_F32, weight.bytes), b = doubles_of(SN_F32, bias.bytes);
  Bounded close;
  const int64_t spatial = count_of(shape) == 0 ? 1 : count_of(shape) / shape[0] / channels;
  int64_t i = 0;
  for (double x : doubles_of(dtype, bytes)) {
    const size_t c = static_cast<size_t>(i++ / spatial % channels);
    const double factor = (affine ? w[c] : 1) / std::sqrt(v[c] + kEps), term = (affine ? b[c] : 0) - m[c] * factor;
    close.value.push_back(x * factor + term);
    close.bound.push_back(1.1 * kHalf * (2 * std::abs(x * factor) + std::abs(term) + std::abs(close.value.back())));
  }
  Call call = close_call(
      std::string("batch_norm ") + name_of(dtype) + text_of(shape) + (affine ? " affine " : " ") + what,
      {operand_of(dtype, shape, std::move(bytes)), mean, variance, weight, bias}, dtype, shape, std::move(close));
  call.in_place = true;
  call.run = [affine](const Tensors& in, const Tensors& out, int64_t*) {
    return sn_batch_norm(in[0], in[1], in[2], affine ? in[3] : nullptr, affine ? in[4] : nullptr, kEps, out[0]);
  };
  return call;
}

void shapes(const Emit& emit) {
  const std::vector<std::vector<int64_t>> all = {{1, 1},       {5, 7},          {2, 3, 1},      {2, 3, 16},
                                                 {3, 5, 4, 5}, {0, 3, 4, 4},    {2, 0, 3, 3},   {2, 3, 0, 3},
                                                 {1, 65, 33},  {2, 2, 2, 2, 5}, {2, 13, 71, 67}};
  for (sn_dtype dtype : kReals) {
    for (const auto& shape : all) {
      for (bool affine : {false, true}) {
        const uint64_t seed = next_seed();
        emit(batch_norm_call(dtype, shape, uniform_elements(dtype, count_of(shape), 3, seed), affine,
                             "seed " + std::to_string(seed)));
      }
    }
  }
}

void not_finite(const Emit& emit) {
  const double infinity = std::numeric_limits<double>::infinity();
  std::vector<double> values(2 * 3 * 20, 0.5);
  values[3] = std::nan("");
  values[50] = infinity;
  values[90] = -infinity;
  emit(batch_norm_call(SN_F32, {2, 3, 20}, elements(SN_F32, values), true, "not finite"));
}

void same_everywhere(const Emit& emit) {
  Call call =
      batch_norm_call(SN_F32, {2, 31, 33, 35}, uniform_elements(SN_F32, 2 * 31 * 33 * 35, 9, 3), true, "everywhere");
  call.fingerprint = 0xed981b80d2c74723;
  emit(call);
}

const Register registered({"batch_norm",
                           {{"shapes", shapes}, {"not_finite", not_finite}, {"same_everywhere", same_everywhere}},
                           {}});

}  // namespace
}  // namespace sinew_test
