// Counts of F32 keys, by the upper 16 bits or by the lower ones under a given upper half.
#include "support/pruning.h"
#include "support/values.h"

namespace sinew_test {
namespace {

struct Digit {
  sn_order order;
  int32_t prefix;
};

// The key by its meaning: an unsigned number that orders elements as the order says.
uint32_t key_of(float x, sn_order order) {
  const uint32_t b = bits_of(x);
  const uint32_t magnitude = b % 0x80000000u;
  if (order == SN_ORDER_MAGNITUDE) return magnitude;
  return b >= 0x80000000u ? 0x7fffffffu - magnitude : 0x80000000u + magnitude;
}

Call histogram_call(sn_dtype dtype, const std::vector<int64_t>& shape, std::vector<uint8_t> bytes, Digit digit, bool,
                    const std::string& what) {
  std::vector<int64_t> counts(65536);
  for (size_t i = 0; i < counts.size(); ++i) counts[i] = static_cast<int64_t>(i % 7);  // counts are added to
  Call call;
  const auto* before = reinterpret_cast<const uint8_t*>(counts.data());
  call.outputs = {{SN_I64, {65536}, std::vector<uint8_t>(before, before + 65536 * 8), false}};
  for (float v : as_f32s(dtype, bytes)) {
    const uint32_t key = key_of(v, digit.order);
    if (digit.prefix < 0) {
      ++counts[key / 65536];
    } else if (key / 65536 == static_cast<uint32_t>(digit.prefix)) {
      ++counts[key % 65536];
    }
  }
  call.inputs = {{dtype, shape, std::move(bytes), true}};
  const auto* after = reinterpret_cast<const uint8_t*>(counts.data());
  call.expected = {std::vector<uint8_t>(after, after + 65536 * 8)};
  call.label = std::string("key_histogram ") + name_of(dtype) + text_of(shape) + " order " +
               std::to_string(digit.order) + " prefix " + std::to_string(digit.prefix) + " " + what;
  call.run = [digit](const Tensors& in, const Tensors& out, int64_t*) {
    return sn_key_histogram(in[0], digit.order, digit.prefix, out[0]);
  };
  return call;
}

void random_call(const Emit& emit, sn_dtype dtype, const std::vector<int64_t>& shape, Fill fill) {
  const uint64_t seed = next_seed();
  const auto bytes = random_elements(dtype, count_of(shape), fill, seed);
  for (sn_order order : {SN_ORDER_MAGNITUDE, SN_ORDER_VALUE}) {
    // Without a prefix, then under the upper half of one of the elements.
    const int32_t prefix =
        bytes.empty() ? 16256 : static_cast<int32_t>(key_of(as_f32(dtype, bytes.data()), order) / 65536);
    for (int32_t p : {-1, prefix})
      emit(histogram_call(dtype, shape, bytes, {order, p}, false,
                          std::string(name_of(fill)) + " seed " + std::to_string(seed)));
  }
}

void tails(const Emit& emit) {
  for (sn_dtype dtype : kFloats) {
    for (int64_t n : {0, 1, 15, 16, 17, 63, 65, 4097}) random_call(emit, dtype, {n}, Fill::kBits);
    random_call(emit, dtype, {3, 1001}, Fill::kFew);
  }
}

void special_values(const Emit& emit) {
  for (sn_dtype dtype : kFloats) {
    for (Fill fill : kFills) random_call(emit, dtype, {301}, fill);
  }
  for (int32_t prefix : {0, 65535})
    emit(histogram_call(SN_F32, {40}, random_elements(SN_F32, 40, Fill::kTiny, 5), {SN_ORDER_MAGNITUDE, prefix}, false,
                        "prefix"));
}

void not_finite(const Emit& emit) {
  not_finite_calls(emit, histogram_call, Digit{SN_ORDER_MAGNITUDE, -1});
  not_finite_calls(emit, histogram_call, Digit{SN_ORDER_VALUE, 5});
}

void large(const Emit& emit) {
  for (sn_dtype dtype : large_dtypes()) {
    emit(histogram_call(dtype, {kManyTasks}, random_elements(dtype, kManyTasks, Fill::kWeights, 5),
                        {SN_ORDER_MAGNITUDE, -1}, false, "large"));
  }
}

template <sn_dtype kDtype>
Call timed() {
  return histogram_call(kDtype, {1024, 4096}, random_elements(kDtype, 1024 * 4096, Fill::kWeights, 7),
                        {SN_ORDER_MAGNITUDE, -1}, false, "timed");
}

const Register registered(
    {"key_histogram",
     {{"tails", tails}, {"special_values", special_values}, {"not_finite", not_finite}, {"large", large}},
     {{"f32", timed<SN_F32>}, {"bf16", timed<SN_BF16>}}});

}  // namespace
}  // namespace sinew_test
