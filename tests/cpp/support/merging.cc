#include "support/merging.h"

#include <cmath>
#include <random>

namespace sinew_test {

std::vector<Mix> mixes() {
  std::vector<Mix> all;
  for (int count : {1, 2, 5}) {
    for (sn_dtype dtype : kFloats) {
      all.push_back({dtype, dtype, count});
      if (dtype != SN_F32) all.push_back({SN_F32, dtype, count});
    }
  }
  return all;
}

std::vector<std::vector<uint8_t>> random_inputs(sn_dtype dtype, int64_t n, int count, Fill fill, uint64_t seed) {
  std::vector<std::vector<uint8_t>> inputs;
  for (int i = 0; i < count; ++i)
    inputs.push_back(random_elements(dtype, n, fill, seed * 1000 + static_cast<uint64_t>(i)));
  return inputs;
}

Call merge_call(const std::vector<sn_dtype>& dtypes, std::vector<std::vector<uint8_t>> inputs, sn_dtype out, int64_t n,
                const std::function<float(const std::vector<float>& values, int64_t index)>& result) {
  std::vector<std::vector<float>> values;
  for (size_t m = 0; m < inputs.size(); ++m) values.push_back(as_f32s(dtypes[m], inputs[m]));
  std::vector<uint8_t> expected(static_cast<size_t>(n * size_of(out)));
  Call call;
  std::vector<float> at(inputs.size());
  for (int64_t i = 0; i < n; ++i) {
    for (size_t m = 0; m < inputs.size(); ++m) {
      at[m] = values[m][static_cast<size_t>(i)];
      if (!std::isfinite(at[m])) call.status = SN_NOT_FINITE;
    }
    uint8_t* stored = expected.data() + i * size_of(out);
    put_f32(out, result(at, i), stored);
    if (!std::isfinite(as_f32(out, stored))) call.status = SN_NOT_FINITE;
  }
  for (size_t m = 0; m < inputs.size(); ++m) call.inputs.push_back({dtypes[m], {n}, std::move(inputs[m]), true});
  call.outputs = {{out, {n}, {}, true}};
  call.expected = {std::move(expected)};
  call.in_place = dtypes[0] == out;
  return call;
}

std::vector<float> random_weights(int count, bool positive, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<float> uniform(positive ? 0.0f : -1.5f, 1.5f);
  std::vector<float> weights;
  for (int i = 0; i < count; ++i) weights.push_back(uniform(random));
  return weights;
}

}  // namespace sinew_test
