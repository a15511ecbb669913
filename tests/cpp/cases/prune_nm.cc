// N:M sparsity along each row.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "support/pruning.h"
#include "support/values.h"

namespace sinew_test {
namespace {

struct Pattern {
  int32_t n, m;
};

Call nm_call(sn_dtype dtype, const std::vector<int64_t>& shape, std::vector<uint8_t> bytes, Pattern pattern, bool mask,
             const std::string& what) {
  const std::vector<float> x = as_f32s(dtype, bytes);
  const int64_t cols = cols_of(shape);
  std::vector<bool> kept(x.size(), true);
  for (int64_t row = 0; row < rows_of(shape); ++row) {
    for (int64_t first = 0; first < cols; first += pattern.m) {
      const int64_t length = std::min<int64_t>(pattern.m, cols - first);
      std::vector<int64_t> order(static_cast<size_t>(length));
      std::iota(order.begin(), order.end(), row * cols + first);
      // A stable sort leaves the first of equal magnitudes first, and those are pruned.
      std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
        return std::fabs(x[static_cast<size_t>(a)]) < std::fabs(x[static_cast<size_t>(b)]);
      });
      const int64_t drop = length * (pattern.m - pattern.n) / pattern.m;
      for (int64_t i = 0; i < drop; ++i) kept[static_cast<size_t>(order[static_cast<size_t>(i)])] = false;
    }
  }
  Call call = pruning_call(dtype, shape, std::move(bytes), kept, mask);
  call.label = std::string("prune_nm ") + name_of(dtype) + text_of(shape) + (mask ? " mask " : " ") +
               std::to_string(pattern.n) + ":" + std::to_string(pattern.m) + " " + what;
  call.run = [pattern](const Tensors& in, const Tensors& out, int64_t* numbers) {
    return sn_prune_nm(in[0], pattern.n, pattern.m, out[0], numbers);
  };
  return call;
}

constexpr Pattern kPatterns[] = {{1, 2}, {2, 4},  {1, 4},  {3, 4},     {4, 8}, {1, 8}, {1, 16},   {9, 16},
                                 {3, 5}, {7, 12}, {5, 32}, {100, 300}, {1, 1}, {4, 4}, {1, 4096}, {4095, 4096}};

void random_call(const Emit& emit, sn_dtype dtype, const std::vector<int64_t>& shape, Fill fill, Pattern pattern) {
  const uint64_t seed = next_seed();
  emit(nm_call(dtype, shape, random_elements(dtype, count_of(shape), fill, seed), pattern, seed % 2 == 0,
               std::string(name_of(fill)) + " seed " + std::to_string(seed)));
}

void tails(const Emit& emit) {
  for (sn_dtype dtype : kFloats) {
    for (Pattern pattern : kPatterns) {
      for (int64_t n : kSizes) random_call(emit, dtype, {n}, n % 2 == 0 ? Fill::kWeights : Fill::kFew, pattern);
    }
  }
}

void shapes(const Emit& emit) {
  for (sn_dtype dtype : kFloats) {
    for (Pattern pattern : kPatterns) {
      for (const auto& shape : kShapes) random_call(emit, dtype, shape, Fill::kFew, pattern);
    }
  }
}

void special_values(const Emit& emit) {
  for (sn_dtype dtype : kFloats) {
    for (Pattern pattern : kPatterns) {
      for (Fill fill : kFills) random_call(emit, dtype, {3, 157}, fill, pattern);
    }
  }
}

// All magnitudes equal, ascending and descending: the orders that break a careless selection.
void orders(const Emit& emit) {
  for (Pattern pattern : kPatterns) {
    for (int slope : {-1, 0, 1}) {
      std::vector<double> values;
      for (int i = 0; i < 9000; ++i) values.push_back((i % 3 == 0 ? -1.0 : 1.0) * (10000 + slope * i));
      emit(nm_call(SN_F32, {9000}, elements(SN_F32, values), pattern, false, "slope " + std::to_string(slope)));
    }
  }
}

void not_finite(const Emit& emit) {
  for (Pattern pattern : {Pattern{2, 4}, Pattern{3, 5}, Pattern{16, 16}}) not_finite_calls(emit, nm_call, pattern);
}

void large(const Emit& emit) {
  for (sn_dtype dtype : large_dtypes()) {
    const int64_t n = large_count(dtype);
    random_call(emit, dtype, {n}, Fill::kWeights, {2, 4});
    random_call(emit, dtype, {17, n / 17}, Fill::kWeights, {7, 12});
  }
}

template <int32_t kN, int32_t kM>
Call timed() {
  return nm_call(SN_F32, {1024, 4096}, random_elements(SN_F32, 1024 * 4096, Fill::kWeights, 7), {kN, kM}, false,
                 "timed");
}

const Register registered({"prune_nm",
                           {{"tails", tails},
                            {"shapes", shapes},
                            {"special_values", special_values},
                            {"orders", orders},
                            {"not_finite", not_finite},
                            {"large", large}},
                           {{"f32 2:4", timed<2, 4>}, {"f32 4:8", timed<4, 8>}}});

}  // namespace
}  // namespace sinew_test
