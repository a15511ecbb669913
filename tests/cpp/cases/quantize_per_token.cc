// Rows with a scale each by symmetric int8, exact.
#include <cmath>
#include <limits>

#include "support/quantizing.h"
#include "support/reals.h"

namespace sinew_test {
namespace {

Call token_call(sn_dtype dtype, const std::vector<int64_t>& shape, std::vector<uint8_t> bytes,
                const std::string& what) {
  const int64_t n = shape.back();
  const std::vector<int64_t> rows(shape.begin(), shape.end() - 1);
  const std::vector<float> x = as_f32s(dtype, bytes);
  std::vector<int8_t> q;
  std::vector<float> scale;
  for (int64_t row = 0; row < count_of(rows); ++row) {
    const QuantizedRow token = oracle_quantize_row({x.begin() + row * n, x.begin() + (row + 1) * n});
    q.insert(q.end(), token.q.begin(), token.q.end());
    scale.push_back(token.scale);
  }
  Call call;
  call.label = std::string("quantize_per_token ") + name_of(dtype) + text_of(shape) + " " + what;
  call.inputs = {operand_of(dtype, shape, std::move(bytes))};
  call.outputs = {operand_of(SN_I8, shape, {}), operand_of(SN_F32, rows, {})};
  call.inputs[0].per_row = call.outputs[0].per_row = call.outputs[1].per_row = true;
  call.expected = {bytes_of(q), bytes_of(scale)};
  call.run = [](const Tensors& in, const Tensors& out, int64_t*) {
    return sn_quantize_per_token(in[0], out[0], out[1]);
  };
  return call;
}

Call random_call(sn_dtype dtype, const std::vector<int64_t>& shape, Fill fill) {
  const uint64_t seed = next_seed();
  return token_call(dtype, shape, random_elements(dtype, count_of(shape), fill, seed),
                    std::string(name_of(fill)) + " seed " + std::to_string(seed));
}

void shapes(const Emit& emit) {
  for (sn_dtype dtype : kReals) {
    for (const auto& shape : kRowShapes) emit(random_call(dtype, shape, Fill::kWeights));
  }
}

void fills(const Emit& emit) {
  for (sn_dtype dtype : kReals) {
    for (Fill fill : kFills) emit(random_call(dtype, {7, 131}, fill));
  }
}

// What the scale of a row depends on: its largest element, wherever that is, of either sign.
void largest(const Emit& emit) {
  for (sn_dtype dtype : kReals) {
    const int64_t n = 4099;  // a GPU keeps 4096 columns
    std::vector<double> values;
    for (int64_t at : {0, 15, 16, 63, 64, 4079, 4095, 4096, 4098}) {
      std::vector<double> row(static_cast<size_t>(n), 0.25);
      row[static_cast<size_t>(at)] = at % 2 == 0 ? -3 : 3;
      values.insert(values.end(), row.begin(), row.end());
    }
    emit(token_call(dtype, {9, n}, elements(dtype, values), "one large element a row"));
  }
}

void special_values(const Emit& emit) {
  const double infinity = std::numeric_limits<double>::infinity();
  for (sn_dtype dtype : kReals) {
    // Between rows that are quantized as ever.
    std::vector<double> values;
    for (double bad : {std::nan(""), infinity, -infinity}) {
      for (int64_t at : {0, 66, 82}) {
        std::vector<double> rows(2 * 83, 0.25);
        rows[static_cast<size_t>(83 + at)] = bad;
        values.insert(values.end(), rows.begin(), rows.end());
      }
    }
    emit(token_call(dtype, {18, 83}, elements(dtype, values), "not finite"));
  }
  // The scale would vanish; it is one denormal, so that integers have to be clamped; quotients of k + 0.5.
  for (double value : {1.0, 60.0, 190.0, 191.0})
    emit(token_call(SN_F32, {2, 33}, elements(SN_F32, std::vector<double>(66, value * 0x1p-149)), "denormals"));
  for (sn_dtype dtype : kReals) {
    std::vector<double> ties = {127};
    for (int k = -127; k < 127; ++k) ties.push_back(k + 0.5);
    emit(token_call(dtype, {static_cast<int64_t>(ties.size())}, elements(dtype, ties), "ties"));
  }
}

void large(const Emit& emit) {
  emit(random_call(SN_F32, {1009, 1031}, Fill::kWeights));
  emit(random_call(SN_BF16, {3, kManyTasks / 3}, Fill::kWeights));
}

template <sn_dtype kDtype>
Call timed() {
  return random_call(kDtype, {1024, 4096}, Fill::kWeights);
}

const Register registered(
    {"quantize_per_token",
     {{"shapes", shapes}, {"fills", fills}, {"largest", largest}, {"special_values", special_values}, {"large", large}},
     {{"f32", timed<SN_F32>}, {"bf16", timed<SN_BF16>}}});

}  // namespace
}  // namespace sinew_test
