// Squared errors of candidates, one row of results a block of 4096 elements of a row.
#include "support/pruning.h"
#include "support/quantizing.h"
#include "support/values.h"

namespace sinew_test {
namespace {

Call error_call(sn_dtype dtype, const std::vector<int64_t>& shape, std::vector<uint8_t> bytes, sn_scheme scheme,
                const Scales& candidates, const std::string& what) {
  const std::vector<float> x = as_f32s(dtype, bytes);
  const int64_t rows = rows_of(shape), cols = cols_of(shape), c = static_cast<int64_t>(candidates.scale.size());
  std::vector<double> errors;
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t first = 0; first < cols; first += 4096) {
      for (size_t j = 0; j < candidates.scale.size(); ++j) {
        errors.push_back(oracle_block_error(x.data() + row * cols + first, std::min<int64_t>(4096, cols - first),
                                            candidates.scale[j], is_asymmetric(scheme) ? candidates.zero_point[j] : 0,
                                            scheme));
      }
    }
  }
  Call call;
  call.label = std::string("quantization_error ") + name_of(dtype) + text_of(shape) + " " + scheme_name(scheme) + " " +
               std::to_string(c) + " candidates " + what;
  call.inputs = {{dtype, shape, std::move(bytes), true}, {SN_F32, {c}, bytes_of(candidates.scale), false}};
  if (is_asymmetric(scheme)) call.inputs.push_back({SN_I8, {c}, bytes_of(candidates.zero_point), false});
  call.outputs = {{SN_F64, {rows * ((cols + 4095) / 4096), c}, {}, true}};
  call.expected = {bytes_of(errors)};
  call.any_nan = true;
  call.run = [scheme](const Tensors& in, const Tensors& out, int64_t*) {
    return sn_quantization_error(in[0], in[1], zero_points_of(in), scheme, out[0]);
  };
  return call;
}

void random_call(const Emit& emit, sn_dtype dtype, const std::vector<int64_t>& shape, Fill fill, sn_scheme scheme,
                 int64_t c) {
  const uint64_t seed = next_seed();
  Scales candidates;
  for (int64_t j = 0; j < c; ++j)
    candidates.scale.push_back(j == 5 ? 0x1p-149f : 0.05f * static_cast<float>(j + 1) / 127.0f);
  if (is_asymmetric(scheme)) {
    for (int64_t j = 0; j < c; ++j) candidates.zero_point.push_back(static_cast<int8_t>(j % 16 - 8));
  }
  emit(error_call(dtype, shape, random_elements(dtype, count_of(shape), fill, seed), scheme, candidates,
                  std::string(name_of(fill)) + " seed " + std::to_string(seed)));
}

void tails(const Emit& emit) {
  for (sn_dtype dtype : kFloats) {
    for (sn_scheme scheme : kSchemes) {
      for (int64_t n : kSizes) random_call(emit, dtype, {n}, Fill::kWeights, scheme, 3);
    }
  }
}

void shapes(const Emit& emit) {
  for (sn_dtype dtype : kFloats) {
    for (const auto& shape : kShapes) random_call(emit, dtype, shape, Fill::kWeights, SN_INT8_SYMMETRIC, 2);
  }
  for (int64_t c : {0, 1, 61}) random_call(emit, SN_F32, {3, 5003}, Fill::kWeights, SN_INT4_ASYMMETRIC, c);
}

void special_values(const Emit& emit) {
  for (sn_dtype dtype : kFloats) {
    for (sn_scheme scheme : kSchemes) {
      for (Fill fill : kFills) random_call(emit, dtype, {3, 157}, fill, scheme, 7);
    }
  }
}

void large(const Emit& emit) { random_call(emit, SN_F32, {3, 400009}, Fill::kWeights, SN_INT8_SYMMETRIC, 2); }

const Register registered({"quantization_error",
                           {{"tails", tails}, {"shapes", shapes}, {"special_values", special_values}, {"large", large}},
                           {}});

}  // namespace
}  // namespace sinew_test
