// TIES: the sign that has more weight is elected, and what agrees with it is averaged.
#include <algorithm>

#include "support/merging.h"
#include "support/pruning.h"

namespace sinew_test {
namespace {

struct Options {
  std::vector<float> weights;
  float lambda;
  bool normalize;
};

float ties(const std::vector<float>& x, const Options& options) {
  float all = 0, sum = 0, weight = 0;
  for (size_t m = 0; m < options.weights.size(); ++m) all += options.weights[m] * x[m + 1];
  const bool positive = all >= 0;
  for (size_t m = 0; m < options.weights.size(); ++m) {
    const float value = options.weights[m] * x[m + 1];
    if (positive ? value > 0 : value < 0) {
      sum += value;
      weight += options.weights[m];
    }
  }
  if (options.normalize && weight != 0) sum = sum / weight;
  return x[0] + options.lambda * sum;
}

// inputs: the base, then the differences.
Call ties_call(std::vector<std::vector<uint8_t>> inputs, sn_dtype in, sn_dtype out, int64_t n, const Options& options,
               const std::string& what) {
  std::vector<sn_dtype> dtypes(inputs.size(), SN_F32);
  dtypes[0] = in;
  Call call = merge_call(dtypes, std::move(inputs), out, n,
                         [&](const std::vector<float>& x, int64_t) { return ties(x, options); });
  call.label = std::string("merge_ties of ") + std::to_string(options.weights.size()) + " " + name_of(in) + " " +
               std::to_string(n) + " to " + name_of(out) + (options.normalize ? " normalized, " : ", ") + what;
  call.run = [options](const Tensors& tensors, const Tensors& outputs, int64_t*) {
    const std::vector<const sn_tensor*> differences(tensors.begin() + 1, tensors.end());
    return sn_merge_ties(tensors[0], differences.data(), static_cast<int32_t>(differences.size()),
                         options.weights.data(), options.lambda, options.normalize, outputs[0]);
  };
  return call;
}

// About half of each difference is zero, as after trimming.
std::vector<uint8_t> trimmed(int64_t n, Fill fill, uint64_t seed) {
  std::vector<uint8_t> bytes = random_elements(SN_F32, n, fill, seed), coins = random_bytes(n, seed + 1);
  for (size_t i = 0; i < coins.size(); ++i) {
    if (coins[i] & 1) std::fill_n(bytes.begin() + static_cast<int64_t>(4 * i), 4, uint8_t{0});
  }
  return bytes;
}

std::vector<std::vector<uint8_t>> trimmed_inputs(const Mix& mix, int64_t n, Fill fill, uint64_t seed) {
  std::vector<std::vector<uint8_t>> inputs = {random_elements(mix.in, n, fill, seed)};
  for (int m = 0; m < mix.count; ++m) inputs.push_back(trimmed(n, fill, 1000 * seed + static_cast<uint64_t>(m)));
  return inputs;
}

void random_call(const Emit& emit, const Mix& mix, int64_t n, Fill fill) {
  for (bool normalize : {false, true}) {
    const uint64_t seed = next_seed();
    emit(ties_call(trimmed_inputs(mix, n, fill, seed), mix.in, mix.out, n,
                   {random_weights(mix.count, normalize, seed), normalize ? 1.0f : 0.7f, normalize},
                   std::string(name_of(fill)) + " seed " + std::to_string(seed)));
  }
}

void tails(const Emit& emit) {
  for (const Mix& mix : mixes()) {
    if (mix.count != 2) continue;
    for (int64_t n : kSizes) random_call(emit, mix, n, Fill::kWeights);
  }
}

void fills(const Emit& emit) {
  for (const Mix& mix : mixes()) {
    for (Fill fill : kFills) random_call(emit, mix, 301, fill);
  }
}

// Sums that cancel, zeros of both signs, nobody that agrees, weights of 0.
void elections(const Emit& emit) {
  const std::vector<double> a = {1, -1, 0, -0.0, 1, 2, -3, 0x1p-149, -0x1p-149, 0, -1, 5};
  const std::vector<double> b = {-1, 1, 0, -0.0, 0, -1, 1, -0x1p-149, 0, -0x1p-149, -2, 5};
  const std::vector<double> base = {1, 2, -0.0, 0, -1, 0.5, 3, 0, 0, -0.0, 4, 6};
  for (const std::vector<float>& weights :
       {std::vector<float>{1, 1}, {0.5f, 0.25f}, {0, 0}, {1, 0}, {0, 2}, {1, 3}, {-1, 1}, {-1, -0.5f}}) {
    for (float lambda : {1.0f, 0.0f, -0.5f, 2.0f}) {
      for (bool normalize : {false, true}) {
        if (normalize && *std::min_element(weights.begin(), weights.end()) < 0) continue;
        emit(ties_call({elements(SN_F32, base), elements(SN_F32, a), elements(SN_F32, b)}, SN_F32, SN_F32,
                       static_cast<int64_t>(a.size()), {weights, lambda, normalize}, "elections"));
      }
    }
  }
}

void most_inputs(const Emit& emit) { random_call(emit, {SN_F16, SN_F16, 64}, 133, Fill::kWeights); }

void not_finite(const Emit& emit) {
  for (int64_t n : {1, 39, 4099}) {
    for (const Spoiled& spoiled : spoiled_elements(n)) {
      std::vector<std::vector<uint8_t>> inputs = trimmed_inputs({spoiled.dtype, SN_F32, 2}, n, Fill::kWeights, 5);
      const std::vector<uint8_t> sound = inputs[0];
      inputs[0] = spoiled.bytes;
      emit(ties_call(inputs, spoiled.dtype, spoiled.dtype, n, {{1, 1}, 1, true}, spoiled.what));
      if (spoiled.dtype != SN_F32) continue;
      inputs[0] = sound;
      inputs[2] = spoiled.bytes;
      emit(ties_call(inputs, SN_F32, SN_F32, n, {{1, 0}, 1, true}, spoiled.what));
    }
  }
}

void large(const Emit& emit) {
  for (sn_dtype dtype : large_dtypes()) random_call(emit, {dtype, dtype, 2}, large_count(dtype), Fill::kWeights);
}

template <sn_dtype kDtype>
Call timed() {
  const int64_t n = 1024 * 4096;
  Call call = ties_call(trimmed_inputs({kDtype, kDtype, 2}, n, Fill::kWeights, 7), kDtype, kDtype, n,
                        {{0.5f, 0.5f}, 1, true}, "timed");
  call.in_place = false;
  return call;
}

const Register registered({"merge_ties",
                           {{"tails", tails},
                            {"fills", fills},
                            {"elections", elections},
                            {"most_inputs", most_inputs},
                            {"not_finite", not_finite},
                            {"large", large}},
                           {{"f32 2", timed<SN_F32>}, {"bf16 2", timed<SN_BF16>}}});

}  // namespace
}  // namespace sinew_test
