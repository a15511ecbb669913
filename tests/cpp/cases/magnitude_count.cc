// How many magnitudes are below a threshold and how many equal it.
#include <cmath>
#include <limits>

#include "support/pruning.h"
#include "support/values.h"

namespace sinew_test {
namespace {

Call count_call(sn_dtype dtype, const std::vector<int64_t>& shape, std::vector<uint8_t> bytes, float threshold, bool,
                const std::string& what) {
  Call call;
  call.numbers = {0, 0};
  for (float v : as_f32s(dtype, bytes)) {
    call.numbers[0] += std::fabs(v) < threshold;
    call.numbers[1] += std::fabs(v) == threshold;
  }
  call.inputs = {{dtype, shape, std::move(bytes), true}};
  call.label = std::string("magnitude_count ") + name_of(dtype) + text_of(shape) + " " + what + ", threshold " +
               std::to_string(threshold);
  call.run = [threshold](const Tensors& in, const Tensors&, int64_t* numbers) {
    return sn_magnitude_count(in[0], threshold, numbers, numbers + 1);
  };
  return call;
}

void random_call(const Emit& emit, sn_dtype dtype, const std::vector<int64_t>& shape, Fill fill, float threshold) {
  const uint64_t seed = next_seed();
  emit(count_call(dtype, shape, random_elements(dtype, count_of(shape), fill, seed), threshold, false,
                  std::string(name_of(fill)) + " seed " + std::to_string(seed)));
}

void tails(const Emit& emit) {
  for (sn_dtype dtype : kFloats) {
    for (int64_t n : kSizes) random_call(emit, dtype, {n}, Fill::kFew, 0.5f);
  }
}

void special_values(const Emit& emit) {
  for (sn_dtype dtype : kFloats) {
    for (Fill fill : kFills) {
      for (float threshold :
           {0.0f, -0.0f, 0x1p-149f, 0x1p-133f, 0x3p-24f, 0.5f, 65504.0f, std::numeric_limits<float>::max()}) {
        random_call(emit, dtype, {3, 101}, fill, threshold);
      }
    }
  }
}

void not_finite(const Emit& emit) { not_finite_calls(emit, count_call, 0.25f); }

void large(const Emit& emit) {
  for (sn_dtype dtype : large_dtypes()) random_call(emit, dtype, {kManyTasks}, Fill::kWeights, 0.02f);
}

Call timed() {
  return count_call(SN_F32, {1024, 4096}, random_elements(SN_F32, 1024 * 4096, Fill::kWeights, 7), 0.02f, false,
                    "timed");
}

const Register registered(
    {"magnitude_count",
     {{"tails", tails}, {"special_values", special_values}, {"not_finite", not_finite}, {"large", large}},
     {{"f32", timed}}});

}  // namespace
}  // namespace sinew_test
