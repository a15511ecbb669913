// Hard shrinkage: x where |x| > threshold, else +0.
#include <cmath>
#include <limits>

#include "support/pruning.h"
#include "support/values.h"

namespace sinew_test {
namespace {

Call threshold_call(sn_dtype dtype, const std::vector<int64_t>& shape, std::vector<uint8_t> bytes, float threshold,
                    bool mask, const std::string& what) {
  const std::vector<float> x = as_f32s(dtype, bytes);
  std::vector<bool> kept;
  for (float v : x) kept.push_back(std::fabs(v) > threshold);
  Call call = pruning_call(dtype, shape, std::move(bytes), kept, mask);
  call.label = std::string("prune_threshold ") + name_of(dtype) + text_of(shape) + (mask ? " mask " : " ") + what +
               ", threshold " + std::to_string(threshold);
  call.run = [threshold](const Tensors& in, const Tensors& out, int64_t* numbers) {
    return sn_prune_threshold(in[0], threshold, out[0], numbers);
  };
  return call;
}

void random_call(const Emit& emit, sn_dtype dtype, const std::vector<int64_t>& shape, Fill fill, float threshold) {
  const uint64_t seed = next_seed();
  for (bool mask : {false, true}) {
    emit(threshold_call(dtype, shape, random_elements(dtype, count_of(shape), fill, seed), threshold, mask,
                        std::string(name_of(fill)) + " seed " + std::to_string(seed)));
  }
}

void tails(const Emit& emit) {
  for (sn_dtype dtype : kFloats) {
    for (int64_t n : kSizes) random_call(emit, dtype, {n}, Fill::kWeights, 0.05f);
  }
}

void shapes(const Emit& emit) {
  for (sn_dtype dtype : kFloats) {
    for (const auto& shape : kShapes) random_call(emit, dtype, shape, Fill::kFew, 0.5f);
  }
}

void special_values(const Emit& emit) {
  const float thresholds[] = {0.0f,     -0.0f, 0x1p-149f, 0x1p-133f,
                              0x3p-24f, 0.5f,  65504.0f,  std::numeric_limits<float>::max()};
  for (sn_dtype dtype : kFloats) {
    for (Fill fill : kFills) {
      for (float threshold : thresholds) random_call(emit, dtype, {301}, fill, threshold);
    }
  }
}

// Elements one bit below, at and above the threshold, both signs.
void borders(const Emit& emit) {
  for (sn_dtype dtype : kFloats) {
    for (double t : {0.01, 1.0, 0.1}) {
      uint8_t stored[8];
      put(dtype, t, stored);
      const float threshold = as_f32(dtype, stored);
      std::vector<double> values;
      for (int step = -20; step <= 20; ++step) {
        // Steps below the last place of the narrow formats round back to the threshold itself.
        const double v = static_cast<double>(threshold) * (1 + std::ldexp(step, -11));
        values.push_back(v);
        values.push_back(-v);
        values.push_back(static_cast<double>(threshold));
      }
      emit(threshold_call(dtype, {static_cast<int64_t>(values.size())}, elements(dtype, values), threshold, false,
                          "borders"));
    }
  }
  // F64 elements are compared as F32: these differ from the threshold only beyond F32's precision.
  const double t = 0.1f;
  emit(threshold_call(SN_F64, {4}, elements(SN_F64, {t * (1 + 1e-12), t * (1 - 1e-12), -t * (1 + 1e-12), t * 1.0001}),
                      0.1f, false, "f64 rounding"));
}

void not_finite(const Emit& emit) { not_finite_calls(emit, threshold_call, 0.25f); }

void large(const Emit& emit) {
  for (sn_dtype dtype : large_dtypes()) random_call(emit, dtype, {large_count(dtype)}, Fill::kWeights, 0.02f);
}

template <sn_dtype kDtype, bool kInPlace>
Call timed() {
  Call call = threshold_call(kDtype, {1024, 4096}, random_elements(kDtype, 1024 * 4096, Fill::kWeights, 7), 0.02f,
                             false, "timed");
  call.in_place = kInPlace;
  return call;
}

const Register registered({"prune_threshold",
                           {{"tails", tails},
                            {"shapes", shapes},
                            {"special_values", special_values},
                            {"borders", borders},
                            {"not_finite", not_finite},
                            {"large", large}},
                           {{"f32", timed<SN_F32, false>},
                            {"f32 in place", timed<SN_F32, true>},
                            {"bf16", timed<SN_BF16, false>},
                            {"bf16 in place", timed<SN_BF16, true>}}});

}  // namespace
}  // namespace sinew_test
