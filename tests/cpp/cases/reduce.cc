// Reductions across tensors: sums, averages, minima and maxima in the order of the ranks.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "support/merging.h"
#include "support/values.h"

namespace sinew_test {
namespace {

constexpr sn_dtype kExchanged[] = {SN_F32, SN_F16, SN_BF16, SN_I32, SN_I8};
constexpr sn_reduction kReductions[] = {SN_SUM, SN_AVERAGE, SN_MIN, SN_MAX};
const char* const kNames[] = {"sum", "average", "min", "max"};

bool is_integer(sn_dtype dtype) { return dtype == SN_I32 || dtype == SN_I8; }

int64_t integer_at(sn_dtype dtype, const uint8_t* p) {
  if (dtype == SN_I8) return static_cast<int8_t>(*p);
  int32_t x;
  std::memcpy(&x, p, sizeof x);
  return x;
}

// Exact, with the quotient's rounding decided by integers.
int64_t reduce_integers(const std::vector<int64_t>& x, sn_reduction reduction, int64_t lowest, int64_t highest) {
  if (reduction == SN_MIN) return *std::min_element(x.begin(), x.end());
  if (reduction == SN_MAX) return *std::max_element(x.begin(), x.end());
  int64_t sum = 0;
  for (int64_t v : x) sum += v;
  if (reduction == SN_SUM) return std::min(std::max(sum, lowest), highest);
  const int64_t n = static_cast<int64_t>(x.size());
  int64_t quotient = sum / n;
  if (sum % n < 0) --quotient;
  const int64_t rest = sum - quotient * n;
  if (2 * rest > n || (2 * rest == n && quotient % 2 != 0)) ++quotient;
  return quotient;
}

float reduce_floats(const std::vector<float>& x, sn_reduction reduction) {
  float result = x[0];
  bool nan = std::isnan(x[0]);
  for (size_t m = 1; m < x.size(); ++m) {
    nan = nan || std::isnan(x[m]);
    if (reduction == SN_MIN) {
      if (x[m] < result) result = x[m];
    } else if (reduction == SN_MAX) {
      if (x[m] > result) result = x[m];
    } else {
      result = result + x[m];
    }
  }
  if (reduction == SN_AVERAGE) result = result / static_cast<float>(x.size());
  return nan || std::isnan(result) ? float_of(0x7fc00000) : result;
}

Call reduce_call(const std::vector<std::vector<uint8_t>>& inputs, sn_dtype dtype, int64_t n, sn_reduction reduction,
                 int outs, const std::string& what) {
  const int64_t size = size_of(dtype);
  std::vector<uint8_t> expected(static_cast<size_t>(n * size));
  std::vector<int64_t> integers(inputs.size());
  std::vector<float> floats(inputs.size());
  for (int64_t i = 0; i < n; ++i) {
    uint8_t* to = expected.data() + i * size;
    if (is_integer(dtype)) {
      for (size_t m = 0; m < inputs.size(); ++m) integers[m] = integer_at(dtype, inputs[m].data() + i * size);
      const int64_t lowest = dtype == SN_I8 ? INT8_MIN : INT32_MIN, highest = dtype == SN_I8 ? INT8_MAX : INT32_MAX;
      const int32_t y = static_cast<int32_t>(reduce_integers(integers, reduction, lowest, highest));
      std::memcpy(to, &y, static_cast<size_t>(size));  // little-endian: the low bytes come first
    } else {
      for (size_t m = 0; m < inputs.size(); ++m) floats[m] = as_f32(dtype, inputs[m].data() + i * size);
      put_f32(dtype, reduce_floats(floats, reduction), to);
    }
  }
  Call call;
  call.label = std::string("reduce ") + kNames[reduction] + " of " + std::to_string(inputs.size()) + " " +
               name_of(dtype) + " " + std::to_string(n) + " to " + std::to_string(outs) + " " + what;
  for (const auto& input : inputs) call.inputs.push_back({dtype, {n}, input, true});
  for (int j = 0; j < outs; ++j) {
    call.outputs.push_back({dtype, {n}, {}, true});
    call.expected.push_back(expected);
  }
  call.in_place = true;
  call.run = [reduction](const Tensors& in, const Tensors& out, int64_t*) {
    const std::vector<const sn_tensor*> x(in.begin(), in.end());
    return sn_reduce(x.data(), static_cast<int32_t>(x.size()), reduction, out.data(), static_cast<int32_t>(out.size()));
  };
  return call;
}

std::vector<std::vector<uint8_t>> inputs_of(sn_dtype dtype, int64_t n, int count, Fill fill, uint64_t seed) {
  if (!is_integer(dtype)) return random_inputs(dtype, n, count, fill, seed);
  std::vector<std::vector<uint8_t>> inputs;
  for (int m = 0; m < count; ++m)
    inputs.push_back(random_bytes(n * size_of(dtype), seed * 1000 + static_cast<uint64_t>(m)));
  return inputs;
}

void random_call(const Emit& emit, sn_dtype dtype, int64_t n, int count, sn_reduction reduction, int outs, Fill fill) {
  const uint64_t seed = next_seed();
  emit(reduce_call(inputs_of(dtype, n, count, fill, seed), dtype, n, reduction, outs,
                   std::string(name_of(fill)) + " seed " + std::to_string(seed)));
}

void tails(const Emit& emit) {
  for (sn_dtype dtype : kExchanged) {
    for (sn_reduction reduction : kReductions) {
      for (int64_t n : kSizes) random_call(emit, dtype, n, 2, reduction, static_cast<int>(1 + n % 3), Fill::kWeights);
    }
  }
}

void counts(const Emit& emit) {
  for (sn_dtype dtype : kExchanged) {
    for (sn_reduction reduction : kReductions) {
      for (int count : {1, 3, 4, 5, 8, 128}) random_call(emit, dtype, 133, count, reduction, 1, Fill::kWeights);
    }
  }
}

void fills(const Emit& emit) {
  for (sn_dtype dtype : {SN_F32, SN_F16, SN_BF16}) {
    for (sn_reduction reduction : kReductions) {
      for (Fill fill : kFills) random_call(emit, dtype, 301, 3, reduction, 1, fill);
    }
  }
}

// NaN of any bits, infinities that cancel, and zeros of both signs, in each place of two lanes.
void specials(const Emit& emit) {
  const std::vector<uint32_t> words = {0x7fc00000, 0xffc12345, 0x7f800001, 0x7f800000, 0xff800000,
                                       0,          0x80000000, 0x3f800000, 0xbf800000};
  for (sn_dtype dtype : {SN_F32, SN_F16, SN_BF16}) {
    std::vector<double> a, b;
    for (uint32_t p : words) {
      for (uint32_t q : words) {
        a.push_back(static_cast<double>(float_of(p)));
        b.push_back(static_cast<double>(float_of(q)));
      }
    }
    for (sn_reduction reduction : kReductions) {
      emit(reduce_call({elements(dtype, a), elements(dtype, b)}, dtype, static_cast<int64_t>(a.size()), reduction, 1,
                       "specials"));
    }
  }
}

// Sums at the ends of the range, and averages halfway between integers.
void borders(const Emit& emit) {
  for (sn_dtype dtype : {SN_I8, SN_I32}) {
    const int64_t lowest = dtype == SN_I8 ? INT8_MIN : INT32_MIN, highest = dtype == SN_I8 ? INT8_MAX : INT32_MAX;
    std::vector<uint8_t> a, b;
    const std::vector<int64_t> numbers = {lowest, lowest + 1, -3, -2, -1, 0, 1, 2, 3, highest - 1, highest};
    const auto append = [&](std::vector<uint8_t>& to, int64_t x) {
      const int32_t word = static_cast<int32_t>(x);
      const uint8_t* bytes = reinterpret_cast<const uint8_t*>(&word);
      to.insert(to.end(), bytes, bytes + size_of(dtype));
    };
    for (int64_t x : numbers) {
      for (int64_t y : numbers) {
        append(a, x);
        append(b, y);
      }
    }
    const int64_t n = static_cast<int64_t>(numbers.size() * numbers.size());
    for (sn_reduction reduction : kReductions) {
      emit(reduce_call({a, b}, dtype, n, reduction, 1, "borders"));
      emit(reduce_call({a, b, b, a}, dtype, n, reduction, 1, "borders"));
    }
  }
}

void large(const Emit& emit) {
  if (!quick()) random_call(emit, SN_BF16, large_count(SN_BF16), 2, SN_SUM, 2, Fill::kWeights);
  random_call(emit, SN_F32, large_count(SN_F32), 2, SN_SUM, 2, Fill::kWeights);
}

template <sn_dtype kDtype, sn_reduction kReduction, int kCount, int kOuts>
Call timed() {
  const int64_t n = 1024 * 4096;
  Call call = reduce_call(inputs_of(kDtype, n, kCount, Fill::kWeights, 7), kDtype, n, kReduction, kOuts, "timed");
  call.in_place = false;
  return call;
}

const Register registered({"reduce",
                           {{"tails", tails},
                            {"counts", counts},
                            {"fills", fills},
                            {"specials", specials},
                            {"borders", borders},
                            {"large", large}},
                           {{"sum f32 2", timed<SN_F32, SN_SUM, 2, 1>},
                            {"sum f32 2 to 2", timed<SN_F32, SN_SUM, 2, 2>},
                            {"sum bf16 2", timed<SN_BF16, SN_SUM, 2, 1>},
                            {"average f16 4", timed<SN_F16, SN_AVERAGE, 4, 1>},
                            {"max f32 2", timed<SN_F32, SN_MAX, 2, 1>},
                            {"sum int8 2", timed<SN_I8, SN_SUM, 2, 1>},
                            {"average i32 2", timed<SN_I32, SN_AVERAGE, 2, 1>}}});

}  // namespace
}  // namespace sinew_test
