// Counts of values in equal parts of an interval.
#include <cmath>
#include <limits>

#include "support/pruning.h"
#include "support/quantizing.h"
#include "support/values.h"

namespace sinew_test {
namespace {

struct Interval {
  double lo, hi;
  int64_t bins;
};

Call histogram_call(sn_dtype dtype, const std::vector<int64_t>& shape, std::vector<uint8_t> bytes, Interval interval,
                    const std::string& what) {
  std::vector<int64_t> counts(static_cast<size_t>(interval.bins));
  for (size_t i = 0; i < counts.size(); ++i) counts[i] = static_cast<int64_t>(i) + 3;  // counts are added to
  Call call;
  call.outputs = {{SN_I64, {interval.bins}, bytes_of(counts), false}};
  const double bins = static_cast<double>(interval.bins);
  // The width of the widest interval is not a finite float64; that of its parts is.
  const double width = std::isinf(interval.hi - interval.lo) ? interval.hi / bins - interval.lo / bins
                                                             : (interval.hi - interval.lo) / bins;
  for (float x : as_f32s(dtype, bytes)) {
    const double v = static_cast<double>(x);
    if (!std::isfinite(v) || v < interval.lo || v > interval.hi) continue;
    const double part = width > 0 ? std::floor((v - interval.lo) / width) : 0;
    ++counts[static_cast<size_t>(std::min(part, bins - 1))];
  }
  call.inputs = {{dtype, shape, std::move(bytes), true}};
  call.expected = {bytes_of(counts)};
  call.label = std::string("value_histogram ") + name_of(dtype) + text_of(shape) + " [" + std::to_string(interval.lo) +
               ", " + std::to_string(interval.hi) + "] in " + std::to_string(interval.bins) + " " + what;
  call.run = [interval](const Tensors& in, const Tensors& out, int64_t*) {
    return sn_value_histogram(in[0], interval.lo, interval.hi, out[0]);
  };
  return call;
}

void random_call(const Emit& emit, sn_dtype dtype, const std::vector<int64_t>& shape, Fill fill, Interval interval) {
  const uint64_t seed = next_seed();
  emit(histogram_call(dtype, shape, random_elements(dtype, count_of(shape), fill, seed), interval,
                      std::string(name_of(fill)) + " seed " + std::to_string(seed)));
}

void tails(const Emit& emit) {
  for (sn_dtype dtype : kFloats) {
    for (int64_t n : kSizes) random_call(emit, dtype, {n}, Fill::kWeights, {-0.1, 0.1, 20});
  }
}

void special_values(const Emit& emit) {
  const double most = std::numeric_limits<double>::max(), least = std::numeric_limits<double>::denorm_min();
  const Interval intervals[] = {{-1, 1, 1},         {-1, 1, 3},         {0, 0, 4},
                                {-0.0, 0.0, 4},     {0.5, 0.5, 2},      {-most, most, 10},
                                {0, least, 10},     {-1e-45, 1e-45, 7}, {-3.5e38, 3.5e38, 64},
                                {0.1, 0.3, 100000}, {-most, -most, 3}};
  for (sn_dtype dtype : kFloats) {
    for (Fill fill : kFills) {
      for (Interval interval : intervals) random_call(emit, dtype, {3, 101}, fill, interval);
    }
    const double infinity = std::numeric_limits<double>::infinity();
    emit(histogram_call(dtype, {6}, elements(dtype, {infinity, -infinity, std::nan(""), 0.0, 1.0, -1.0}), {-1, 1, 2},
                        "not finite"));
  }
}

void large(const Emit& emit) {
  for (sn_dtype dtype : large_dtypes()) random_call(emit, dtype, {kManyTasks}, Fill::kWeights, {-0.2, 0.2, 61});
}

const Register registered({"value_histogram",
                           {{"tails", tails}, {"special_values", special_values}, {"large", large}},
                           {}});

}  // namespace
}  // namespace sinew_test
