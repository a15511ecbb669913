// How two tensors differ.
#include <cmath>
#include <limits>

#include "support/pruning.h"
#include "support/quantizing.h"
#include "support/values.h"

namespace sinew_test {
namespace {

Call compare_call(sn_dtype a_dtype, std::vector<uint8_t> a_bytes, sn_dtype b_dtype, std::vector<uint8_t> b_bytes,
                  int64_t n, const std::string& what) {
  const std::vector<float> a = as_f32s(a_dtype, a_bytes), b = as_f32s(b_dtype, b_bytes);
  std::vector<double> result(5, 0.0);
  for (int64_t first = 0; first < n; first += 4096) {
    double lanes[4][16] = {};
    for (int64_t i = first; i < std::min(n, first + 4096); ++i) {
      const float x = a[static_cast<size_t>(i)], y = b[static_cast<size_t>(i)];
      if (!std::isfinite(x) || !std::isfinite(y)) continue;
      const float e = x - y;
      result[0] = std::max(result[0], static_cast<double>(std::fabs(e)));
      const double dx = static_cast<double>(x), dy = static_cast<double>(y), de = static_cast<double>(e);
      const double terms[] = {de * de, dx * dx, dy * dy, dx * dy};
      for (int k = 0; k < 4; ++k) lanes[k][(i - first) % 16] += terms[k];
    }
    for (int k = 0; k < 4; ++k) result[static_cast<size_t>(k) + 1] += fold16(lanes[k]);
  }
  Call call;
  call.label =
      std::string("compare ") + name_of(a_dtype) + " " + name_of(b_dtype) + " " + std::to_string(n) + " " + what;
  call.inputs = {{a_dtype, {n}, std::move(a_bytes), true}, {b_dtype, {n}, std::move(b_bytes), true}};
  call.outputs = {{SN_F64, {5}, {}, false}};
  call.expected = {bytes_of(result)};
  call.run = [](const Tensors& in, const Tensors& out, int64_t*) { return sn_compare(in[0], in[1], out[0]); };
  return call;
}

void random_call(const Emit& emit, sn_dtype a, sn_dtype b, int64_t n, Fill fill) {
  const uint64_t seed = next_seed();
  emit(compare_call(a, random_elements(a, n, fill, seed), b, random_elements(b, n, fill, seed + 1), n,
                    std::string(name_of(fill)) + " seed " + std::to_string(seed)));
}

void tails(const Emit& emit) {
  for (sn_dtype dtype : kFloats) {
    for (int64_t n : kSizes) random_call(emit, dtype, dtype, n, Fill::kWeights);
  }
}

void pairs_of_dtypes(const Emit& emit) {
  for (sn_dtype a : kFloats) {
    for (sn_dtype b : kFloats) {
      for (Fill fill : kFills) random_call(emit, a, b, 4133, fill);
    }
  }
}

void not_numbers(const Emit& emit) {
  const double infinity = std::numeric_limits<double>::infinity(), nan = std::nan("");
  for (sn_dtype a : kFloats) {
    for (sn_dtype b : kFloats) {
      const std::vector<double> x = {infinity, 1, nan, 2, -infinity, 3, 0.5, infinity},
                                y = {1, nan, 2, 2.5, 5, -infinity, 0.25, infinity};
      emit(compare_call(a, elements(a, x), b, elements(b, y), 8, "not finite"));
      emit(compare_call(a, elements(a, {nan}), b, elements(b, {nan}), 1, "nothing to compare"));
    }
  }
}

void large(const Emit& emit) { random_call(emit, SN_F32, SN_BF16, kManyTasks, Fill::kWeights); }

Call timed() {
  const int64_t n = 1024 * 4096;
  return compare_call(SN_F32, random_elements(SN_F32, n, Fill::kWeights, 7), SN_F32,
                      random_elements(SN_F32, n, Fill::kWeights, 8), n, "timed");
}

const Register registered(
    {"compare",
     {{"tails", tails}, {"pairs_of_dtypes", pairs_of_dtypes}, {"not_numbers", not_numbers}, {"large", large}},
     {{"f32 f32", timed}}});

}  // namespace
}  // namespace sinew_test
