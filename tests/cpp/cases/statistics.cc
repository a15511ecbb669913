// Minimum, maximum, sum and counts of tensors of every dtype.
#include <cmath>
#include <cstring>
#include <limits>

#include "support/pruning.h"
#include "support/quantizing.h"
#include "support/values.h"

namespace sinew_test {
namespace {

constexpr sn_dtype kAll[] = {SN_F64, SN_F32, SN_F16, SN_BF16, SN_I64,    SN_I32,
                             SN_I16, SN_I8,  SN_U8,  SN_BOOL, SN_F8_E4M3};

template <class T>
double value_at(const uint8_t* p) {
  T value;
  std::memcpy(&value, p, sizeof value);
  return static_cast<double>(value);
}

// The element at its own precision: statistics does not round F64 to F32.
double element(sn_dtype dtype, const uint8_t* p) {
  switch (dtype) {
    case SN_F64:
      return value_at<double>(p);
    case SN_I64:
      return value_at<int64_t>(p);
    case SN_I32:
      return value_at<int32_t>(p);
    case SN_I16:
      return value_at<int16_t>(p);
    case SN_I8:
      return value_at<int8_t>(p);
    case SN_U8:
      return value_at<uint8_t>(p);
    case SN_BOOL:
      return *p != 0 ? 1 : 0;
    default:
      return static_cast<double>(as_f32(dtype, p));
  }
}

Call statistics_call(sn_dtype dtype, const std::vector<int64_t>& shape, std::vector<uint8_t> bytes,
                     const std::string& what) {
  const int64_t n = count_of(shape), size = size_of(dtype);
  const bool in_lanes = dtype == SN_F32 || dtype == SN_F16 || dtype == SN_BF16 || dtype == SN_F8_E4M3;
  double lo = 0, hi = 0, sum = 0, zeros = 0, nans = 0, plus = 0, minus = 0;
  bool any = false;
  for (int64_t first = 0; first < n; first += 4096) {
    double lanes[16] = {}, block = 0;
    for (int64_t i = first; i < std::min(n, first + 4096); ++i) {
      const double v = element(dtype, bytes.data() + i * size);
      zeros += v == 0;
      nans += std::isnan(v);
      plus += std::isinf(v) && v > 0;
      minus += std::isinf(v) && v < 0;
      if (!std::isfinite(v)) continue;
      lo = any ? std::min(lo, v) : v;
      hi = any ? std::max(hi, v) : v;
      any = true;
      lanes[(i - first) % 16] += v;
      block += v;
    }
    sum += in_lanes ? fold16(lanes) : block;
  }
  const double nan = std::nan("");
  // A zero is reported as +0 whichever sign it has.
  const std::vector<double> result = {any ? lo + 0.0 : nan,
                                      any ? hi + 0.0 : nan,
                                      std::max(std::fabs(lo), std::fabs(hi)),
                                      sum,
                                      zeros,
                                      nans,
                                      plus,
                                      minus};
  Call call;
  call.label = std::string("statistics ") + name_of(dtype) + text_of(shape) + " " + what;
  call.inputs = {{dtype, shape, std::move(bytes), true}};
  call.outputs = {{SN_F64, {8}, {}, false}};
  call.expected = {bytes_of(result)};
  call.any_nan = true;
  call.run = [](const Tensors& in, const Tensors& out, int64_t*) { return sn_statistics(in[0], out[0]); };
  return call;
}

std::vector<uint8_t> contents(sn_dtype dtype, int64_t n, Fill fill, uint64_t seed) {
  if (dtype <= SN_BF16) return random_elements(dtype, n, fill, seed);
  std::vector<uint8_t> bytes = random_bytes(n * size_of(dtype), seed);
  if (dtype == SN_BOOL) {
    for (uint8_t& b : bytes) b = b % 2;
  }
  return bytes;
}

void tails(const Emit& emit) {
  for (sn_dtype dtype : kAll) {
    for (int64_t n : kSizes) {
      const uint64_t seed = next_seed();
      emit(statistics_call(dtype, {n}, contents(dtype, n, Fill::kWeights, seed), "seed " + std::to_string(seed)));
    }
  }
}

void special_values(const Emit& emit) {
  for (sn_dtype dtype : kFloats) {
    for (Fill fill : kFills) {
      for (int64_t n : {1, 2, 33, 4099}) {
        const uint64_t seed = next_seed();
        emit(statistics_call(dtype, {n}, contents(dtype, n, fill, seed),
                             std::string(name_of(fill)) + " seed " + std::to_string(seed)));
      }
    }
    emit(statistics_call(dtype, {3, 2}, elements(dtype, {-0.0, -0.0, -0.0, -0.0, -0.0, -0.0}), "negative zeros"));
    emit(statistics_call(dtype, {4}, elements(dtype, {5, 7, 6, 8}), "positive"));
    emit(statistics_call(dtype, {4}, elements(dtype, {-5, -7, -6, -8}), "negative"));
  }
  emit(statistics_call(SN_I64, {2}, bytes_of(std::vector<int64_t>{INT64_MIN, INT64_MAX}), "extremes"));
  emit(statistics_call(SN_BOOL, {5}, {0, 1, 2, 255, 0}, "bytes other than 0 and 1"));
  // Sums whose last bit depends on the order of additions.
  std::vector<double> harmonic;
  for (int i = 1; i <= 20000; ++i) harmonic.push_back(1.0 / i);
  for (sn_dtype dtype : kFloats) emit(statistics_call(dtype, {20000}, elements(dtype, harmonic), "harmonic"));
}

void not_numbers(const Emit& emit) {
  const double infinity = std::numeric_limits<double>::infinity();
  for (sn_dtype dtype : kFloats) {
    for (int64_t n : {1, 16, 37, 4100}) {
      for (int kind = 0; kind < 5; ++kind) {
        std::vector<double> values;
        for (int64_t i = 0; i < n; ++i) {
          const double bad[] = {infinity, -infinity, std::nan(""), i % 2 == 0 ? infinity : std::nan(""),
                                i % 3 == 0 ? -infinity : 0.5};
          values.push_back(bad[kind]);
        }
        emit(statistics_call(dtype, {n}, elements(dtype, values), "not finite, kind " + std::to_string(kind)));
      }
    }
  }
  emit(statistics_call(SN_F64, {3}, elements(SN_F64, {1e300, -1e305, 1}), "beyond F32"));
}

void large(const Emit& emit) {
  for (sn_dtype dtype : large_dtypes())
    emit(statistics_call(dtype, {kManyTasks}, random_elements(dtype, kManyTasks, Fill::kWeights, 9), "large"));
  emit(statistics_call(SN_I8, {kManyTasks}, random_bytes(kManyTasks, 9), "large"));
}

Call timed() {
  return statistics_call(SN_F32, {1024, 4096}, random_elements(SN_F32, 1024 * 4096, Fill::kWeights, 7), "timed");
}

const Register registered(
    {"statistics",
     {{"tails", tails}, {"special_values", special_values}, {"not_numbers", not_numbers}, {"large", large}},
     {{"f32", timed}}});

}  // namespace
}  // namespace sinew_test
