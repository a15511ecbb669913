// Exact selection: every magnitude below the threshold and the first `ties` equal to it become +0.
#include <algorithm>
#include <cmath>
#include <limits>

#include "support/pruning.h"
#include "support/values.h"

namespace sinew_test {
namespace {

struct Selection {
  float threshold;
  int64_t ties;
};

Call smallest_call(sn_dtype dtype, const std::vector<int64_t>& shape, std::vector<uint8_t> bytes, Selection selection,
                   bool mask, const std::string& what) {
  std::vector<bool> kept;
  int64_t left = selection.ties;
  for (float v : as_f32s(dtype, bytes)) {
    const float magnitude = std::fabs(v);
    const bool tie = magnitude == selection.threshold && left > 0;
    left -= tie;
    kept.push_back(!(magnitude < selection.threshold || tie));
  }
  Call call = pruning_call(dtype, shape, std::move(bytes), kept, mask);
  call.label = std::string("prune_smallest ") + name_of(dtype) + text_of(shape) + (mask ? " mask " : " ") + what +
               ", threshold " + std::to_string(selection.threshold) + ", ties " + std::to_string(selection.ties);
  call.run = [selection](const Tensors& in, const Tensors& out, int64_t* numbers) {
    return sn_prune_smallest(in[0], selection.threshold, selection.ties, out[0], numbers);
  };
  return call;
}

// The threshold and ties that prune exactly the k smallest.
Selection select(std::vector<float> x, int64_t k) {
  for (float& v : x) v = std::fabs(v);
  std::sort(x.begin(), x.end());
  if (k == 0) return {x.empty() ? 0.0f : x[0], 0};
  const float threshold = x[static_cast<size_t>(k - 1)];
  const auto first = std::lower_bound(x.begin(), x.end(), threshold) - x.begin();
  return {threshold, k - first};
}

void by_count(const Emit& emit, sn_dtype dtype, const std::vector<int64_t>& shape, Fill fill) {
  const uint64_t seed = next_seed();
  const int64_t n = count_of(shape);
  const auto bytes = random_elements(dtype, n, fill, seed);
  const auto x = as_f32s(dtype, bytes);
  int64_t last = -1;
  for (int64_t k : {int64_t{0}, int64_t{1}, n / 3, n / 2, n - 1, n}) {
    if (k < 0 || k > n || k == last) continue;
    last = k;
    emit(smallest_call(dtype, shape, bytes, select(x, k), k % 2 == 1,
                       std::string(name_of(fill)) + " seed " + std::to_string(seed) + ", k " + std::to_string(k)));
  }
}

void tails(const Emit& emit) {
  for (sn_dtype dtype : kFloats) {
    for (int64_t n : kSizes) by_count(emit, dtype, {n}, Fill::kFew);
  }
}

void shapes(const Emit& emit) {
  for (sn_dtype dtype : kFloats) {
    for (const auto& shape : kShapes) by_count(emit, dtype, shape, Fill::kWeights);
  }
}

void special_values(const Emit& emit) {
  for (sn_dtype dtype : kFloats) {
    for (Fill fill : kFills) by_count(emit, dtype, {4099}, fill);
  }
}

// Ties that end at the border of every vector, part and piece, and numbers of ties beyond what there is.
void ties(const Emit& emit) {
  for (sn_dtype dtype : kFloats) {
    for (int64_t n : {17, 64, 4097, 20011}) {
      const std::vector<double> equal(static_cast<size_t>(n), -0.75);
      for (int64_t t :
           {int64_t{0}, int64_t{1}, int64_t{15}, int64_t{16}, int64_t{17}, int64_t{4096}, n - 1, n, n + 1, INT64_MAX}) {
        emit(smallest_call(dtype, {n}, elements(dtype, equal), {0.75f, t}, t % 2 == 0, "all equal"));
      }
    }
    emit(smallest_call(dtype, {0}, {}, {0.5f, 5}, false, "nothing to find"));
    emit(smallest_call(dtype, {40}, elements(dtype, std::vector<double>(40, 2.0)), {0.5f, 5}, false, "no ties there"));
    emit(smallest_call(dtype, {40}, random_elements(dtype, 40, Fill::kZeros, 3), {0.0f, 7}, false,
                       "zeros of both signs"));
    emit(smallest_call(dtype, {40}, random_elements(dtype, 40, Fill::kFew, 3), {std::numeric_limits<float>::max(), 1},
                       false, "everything"));
  }
}

void not_finite(const Emit& emit) {
  not_finite_calls(emit, smallest_call, Selection{0.05f, 0});
  not_finite_calls(emit, smallest_call, Selection{0.05f, 100});
}

void large(const Emit& emit) {
  for (sn_dtype dtype : large_dtypes()) {
    const int64_t n = large_count(dtype);
    const auto bytes = random_elements(dtype, n, Fill::kFew, 11);
    emit(smallest_call(dtype, {n}, bytes, select(as_f32s(dtype, bytes), n / 2), false, "large"));
  }
}

Call timed() {
  const auto bytes = random_elements(SN_F32, 1024 * 4096, Fill::kWeights, 7);
  return smallest_call(SN_F32, {1024, 4096}, bytes, {0.02f, 0}, false, "timed");
}

const Register registered({"prune_smallest",
                           {{"tails", tails},
                            {"shapes", shapes},
                            {"special_values", special_values},
                            {"ties", ties},
                            {"not_finite", not_finite},
                            {"large", large}},
                           {{"f32", timed}}});

}  // namespace
}  // namespace sinew_test
