// Linear merges and task arithmetic: sums of weighted models, or of weighted differences from a base.
#include <limits>

#include "support/merging.h"
#include "support/pruning.h"

namespace sinew_test {
namespace {

Call sum_call(std::vector<std::vector<uint8_t>> inputs, sn_dtype in, sn_dtype out, int64_t n,
              const std::vector<float>& weights, bool with_base, const std::string& what) {
  const size_t count = weights.size();
  const std::vector<sn_dtype> dtypes(inputs.size(), in);
  Call call = merge_call(dtypes, std::move(inputs), out, n, [&](const std::vector<float>& x, int64_t) {
    float sum = 0;
    for (size_t m = 0; m < count; ++m) {
      const float value = with_base ? x[m] - x[count] : x[m];
      const float product = weights[m] * value;
      sum = m == 0 ? product : sum + product;
    }
    return with_base ? x[count] + sum : sum;
  });
  call.label = std::string("weighted_sum of ") + std::to_string(count) + " " + name_of(in) + " " + std::to_string(n) +
               (with_base ? " with base" : "") + " to " + name_of(out) + " " + what;
  call.run = [weights, with_base](const Tensors& tensors, const Tensors& outputs, int64_t*) {
    const std::vector<const sn_tensor*> x(tensors.begin(), tensors.end());
    const int32_t number = static_cast<int32_t>(weights.size());
    return sn_weighted_sum(x.data(), number, weights.data(), with_base ? tensors[weights.size()] : nullptr, outputs[0]);
  };
  return call;
}

void random_call(const Emit& emit, const Mix& mix, int64_t n, Fill fill) {
  for (bool base : {false, true}) {
    const uint64_t seed = next_seed();
    emit(sum_call(random_inputs(mix.in, n, mix.count + base, fill, seed), mix.in, mix.out, n,
                  random_weights(mix.count, false, seed), base,
                  std::string(name_of(fill)) + " seed " + std::to_string(seed)));
  }
}

void tails(const Emit& emit) {
  for (const Mix& mix : mixes()) {
    if (mix.count > 2) continue;
    for (int64_t n : kSizes) random_call(emit, mix, n, Fill::kWeights);
  }
}

void fills(const Emit& emit) {
  for (const Mix& mix : mixes()) {
    for (Fill fill : kFills) random_call(emit, mix, 301, fill);
  }
}

void most_inputs(const Emit& emit) { random_call(emit, {SN_BF16, SN_BF16, 64}, 133, Fill::kWeights); }

void special_weights(const Emit& emit) {
  const float largest = std::numeric_limits<float>::max();
  for (sn_dtype dtype : kFloats) {
    for (const std::vector<float>& weights : {std::vector<float>{0, 1},
                                              {1, 0},
                                              {-0.0f, 0},
                                              {1, -1},
                                              {0x1p-149f, 1},
                                              {largest, -largest},
                                              {0x1p-14f, 0x1p-14f}}) {
      for (bool base : {false, true}) {
        const uint64_t seed = next_seed();
        emit(sum_call(random_inputs(dtype, 77, 2 + base, Fill::kBits, seed), dtype, dtype, 77, weights, base,
                      "weights " + std::to_string(weights[0]) + " " + std::to_string(weights[1]) + " seed " +
                          std::to_string(seed)));
      }
    }
  }
}

// Results just below and at the border from which they round to infinity.
void overflow(const Emit& emit) {
  for (double value : {65504.0, 65519.0, 65520.0, 65521.0}) {
    emit(sum_call({elements(SN_F32, {1, value, 2})}, SN_F32, SN_F16, 3, {1}, false, std::to_string(value)));
    emit(sum_call({elements(SN_F32, {-value})}, SN_F32, SN_F16, 1, {1}, false, std::to_string(value)));
  }
  for (uint32_t bits : {0x7f7f7fffu, 0x7f7f8000u, 0x7f7fffffu}) {
    const double value = static_cast<double>(float_of(bits));
    emit(sum_call({elements(SN_F32, {value})}, SN_F32, SN_BF16, 1, {1}, false, std::to_string(value)));
    emit(sum_call({elements(SN_F32, {value})}, SN_F32, SN_F32, 1, {1.0000001f}, false, std::to_string(value)));
  }
}

void not_finite(const Emit& emit) {
  for (int64_t n : {1, 39, 4099}) {
    for (const Spoiled& spoiled : spoiled_elements(n)) {
      // In each of two models, and in the base.
      for (size_t place = 0; place < 3; ++place) {
        std::vector<std::vector<uint8_t>> inputs = random_inputs(spoiled.dtype, n, 3, Fill::kWeights, 5);
        inputs[place] = spoiled.bytes;
        emit(sum_call(std::move(inputs), spoiled.dtype, spoiled.dtype, n, {0, 1}, true, spoiled.what));
      }
    }
  }
}

void large(const Emit& emit) {
  for (sn_dtype dtype : large_dtypes()) random_call(emit, {dtype, dtype, 2}, large_count(dtype), Fill::kWeights);
}

template <sn_dtype kDtype, int kCount, bool kBase>
Call timed() {
  const int64_t n = 1024 * 4096;
  Call call = sum_call(random_inputs(kDtype, n, kCount + kBase, Fill::kWeights, 7), kDtype, kDtype, n,
                       std::vector<float>(kCount, 1.0f / kCount), kBase, "timed");
  call.in_place = false;
  return call;
}

const Register registered({"weighted_sum",
                           {{"tails", tails},
                            {"fills", fills},
                            {"most_inputs", most_inputs},
                            {"special_weights", special_weights},
                            {"overflow", overflow},
                            {"not_finite", not_finite},
                            {"large", large}},
                           {{"f32 2", timed<SN_F32, 2, false>},
                            {"bf16 2", timed<SN_BF16, 2, false>},
                            {"f32 4", timed<SN_F32, 4, false>},
                            {"f32 2 and base", timed<SN_F32, 2, true>},
                            {"bf16 2 and base", timed<SN_BF16, 2, true>}}});

}  // namespace
}  // namespace sinew_test
