// Task vectors: a model less its base.
#include "support/merging.h"
#include "support/pruning.h"

namespace sinew_test {
namespace {

Call difference_call(sn_dtype dtype, std::vector<std::vector<uint8_t>> inputs, int64_t n, const std::string& what) {
  Call call = merge_call({dtype, dtype}, std::move(inputs), SN_F32, n,
                         [](const std::vector<float>& x, int64_t) { return x[0] - x[1]; });
  call.label = std::string("difference ") + name_of(dtype) + " " + std::to_string(n) + " " + what;
  call.run = [](const Tensors& in, const Tensors& out, int64_t*) { return sn_difference(in[0], in[1], out[0]); };
  return call;
}

void random_call(const Emit& emit, sn_dtype dtype, int64_t n, Fill fill) {
  const uint64_t seed = next_seed();
  emit(difference_call(dtype, random_inputs(dtype, n, 2, fill, seed), n,
                       std::string(name_of(fill)) + " seed " + std::to_string(seed)));
}

void tails(const Emit& emit) {
  for (sn_dtype dtype : kFloats) {
    for (int64_t n : kSizes) random_call(emit, dtype, n, Fill::kWeights);
  }
}

void fills(const Emit& emit) {
  for (sn_dtype dtype : kFloats) {
    for (Fill fill : kFills) random_call(emit, dtype, 301, fill);
  }
}

// Two finite numbers whose difference is none.
void overflow(const Emit& emit) {
  emit(difference_call(SN_F32, {elements(SN_F32, {1, 3e38}), elements(SN_F32, {1, -3e38})}, 2, "overflow"));
}

void not_finite(const Emit& emit) {
  for (int64_t n : {1, 39, 4099}) {
    for (const Spoiled& spoiled : spoiled_elements(n)) {
      for (size_t place = 0; place < 2; ++place) {
        std::vector<std::vector<uint8_t>> inputs = random_inputs(spoiled.dtype, n, 2, Fill::kWeights, 5);
        inputs[place] = spoiled.bytes;
        emit(difference_call(spoiled.dtype, std::move(inputs), n, spoiled.what));
      }
    }
  }
}

void large(const Emit& emit) {
  for (sn_dtype dtype : large_dtypes()) random_call(emit, dtype, large_count(SN_F32), Fill::kWeights);
}

template <sn_dtype kDtype>
Call timed() {
  const int64_t n = 1024 * 4096;
  Call call = difference_call(kDtype, random_inputs(kDtype, n, 2, Fill::kWeights, 7), n, "timed");
  call.in_place = false;
  return call;
}

const Register registered(
    {"difference",
     {{"tails", tails}, {"fills", fills}, {"overflow", overflow}, {"not_finite", not_finite}, {"large", large}},
     {{"f32", timed<SN_F32>}, {"bf16", timed<SN_BF16>}}});

}  // namespace
}  // namespace sinew_test
