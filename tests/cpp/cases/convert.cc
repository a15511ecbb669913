// Every pair of floating dtypes.
#include <cmath>
#include <cstring>
#include <limits>

#include "support/pruning.h"
#include "support/values.h"

namespace sinew_test {
namespace {

Call convert_call(sn_dtype from, const std::vector<int64_t>& shape, std::vector<uint8_t> bytes, sn_dtype to,
                  const std::string& what) {
  const int64_t n = count_of(shape);
  std::vector<uint8_t> expected = bytes;  // one dtype: the bits stay, those of NaN too
  if (from != to) {
    expected.assign(static_cast<size_t>(n * size_of(to)), 0);
    for (int64_t i = 0; i < n; ++i)
      put_f32(to, as_f32(from, bytes.data() + i * size_of(from)), expected.data() + i * size_of(to));
  }
  Call call;
  call.label = std::string("convert ") + name_of(from) + text_of(shape) + " to " + name_of(to) + " " + what;
  call.inputs = {{from, shape, std::move(bytes), true}};
  call.outputs = {{to, shape, {}, true}};
  call.expected = {std::move(expected)};
  call.run = [](const Tensors& in, const Tensors& out, int64_t*) { return sn_convert(in[0], out[0]); };
  return call;
}

template <class F>
void for_pairs(F f) {
  for (sn_dtype from : kFloats) {
    for (sn_dtype to : kFloats) f(from, to);
  }
}

void random_call(const Emit& emit, sn_dtype from, sn_dtype to, const std::vector<int64_t>& shape, Fill fill) {
  const uint64_t seed = next_seed();
  emit(convert_call(from, shape, random_elements(from, count_of(shape), fill, seed), to,
                    std::string(name_of(fill)) + " seed " + std::to_string(seed)));
}

void tails(const Emit& emit) {
  for_pairs([&](sn_dtype from, sn_dtype to) {
    for (int64_t n : kSizes) random_call(emit, from, to, {n}, Fill::kWeights);
  });
}

void special_values(const Emit& emit) {
  for_pairs([&](sn_dtype from, sn_dtype to) {
    for (Fill fill : kFills) random_call(emit, from, to, {3, 1009}, fill);
  });
}

// All 65,536 bit patterns of the narrow formats, NaN with every payload among them.
void exhaustive(const Emit& emit) {
  std::vector<uint8_t> bytes(2 * 65536);
  for (uint32_t i = 0; i < 65536; ++i) {
    const uint16_t bits = static_cast<uint16_t>(i);
    std::memcpy(bytes.data() + 2 * i, &bits, 2);
  }
  for (sn_dtype from : {SN_F16, SN_BF16}) {
    for (sn_dtype to : kFloats) emit(convert_call(from, {65536}, bytes, to, "all bit patterns"));
  }
}

// F32 values exactly between two neighbours of a narrow format, one last place to each side, and at both ends of its
// range.
void halfway(const Emit& emit) {
  for (sn_dtype to : {SN_F16, SN_BF16}) {
    std::vector<float> values;
    for (uint32_t i = 0; i < 0x7f80; ++i) {
      const uint16_t low = static_cast<uint16_t>(i), high = static_cast<uint16_t>(i + 1);
      const float a = as_f32(to, &low), b = as_f32(to, &high);
      // Past the largest finite number, the border is where the next step would have been.
      const double middle = std::isinf(b) ? static_cast<double>(a) * (1 + 0.25 / 1024)
                                          : (static_cast<double>(a) + static_cast<double>(b)) / 2;
      const float tie = static_cast<float>(middle);
      for (float v : {std::nextafterf(tie, 0.0f), tie, std::nextafterf(tie, std::numeric_limits<float>::infinity())}) {
        values.push_back(v);
        values.push_back(-v);
      }
      if (std::isinf(b)) break;
    }
    for (float v :
         {65504.0f, 65519.996f, 65520.0f, 65536.0f, 3.3895314e38f, 3.3961775e38f, std::numeric_limits<float>::max()}) {
      values.push_back(v);
      values.push_back(-v);
    }
    const auto* p = reinterpret_cast<const uint8_t*>(values.data());
    const int64_t n = static_cast<int64_t>(values.size());
    emit(convert_call(SN_F32, {n}, std::vector<uint8_t>(p, p + values.size() * 4), to, "halfway"));
  }
}

void not_numbers(const Emit& emit) {
  const double infinity = std::numeric_limits<double>::infinity();
  const uint32_t f32[] = {0x7f800001, 0xff800001, 0x7fc00000, 0xffffffff, 0x7fbfffff, 0x7f812345, 0xffc54321};
  const uint64_t f64[] = {0x7ff0000000000001, 0xfff0000020000000, 0x7ff8000000000000, 0xffffffffffffffff,
                          0x7ff7ffffffffffff, 0x7ff0123456789abc, 0xfff8123456789abc};
  for (sn_dtype to : kFloats) {
    std::vector<uint8_t> bytes(sizeof f32);
    std::memcpy(bytes.data(), f32, sizeof f32);
    emit(convert_call(SN_F32, {7}, bytes, to, "NaN"));
    bytes.resize(sizeof f64);
    std::memcpy(bytes.data(), f64, sizeof f64);
    emit(convert_call(SN_F64, {7}, bytes, to, "NaN"));
  }
  for_pairs([&](sn_dtype from, sn_dtype to) {
    std::vector<double> values = {infinity, -infinity};
    if (from == SN_F64)
      values.insert(values.end(), {1e39, -1e300, 3.4028235677973366e38, 3.4028235677973362e38, 1e-320, 7e-46, 7.1e-46});
    const int64_t n = static_cast<int64_t>(values.size());
    emit(convert_call(from, {n}, elements(from, values), to, "infinities"));
  });
}

void large(const Emit& emit) {
  for_pairs([&](sn_dtype from, sn_dtype to) {
    if (quick() && (from != SN_F32 || to != SN_BF16)) return;
    if (from == SN_F64 && to != SN_F32) return;
    random_call(emit, from, to, {large_count(to)}, Fill::kWeights);
  });
}

template <sn_dtype kFrom, sn_dtype kTo>
Call timed() {
  return convert_call(kFrom, {1024, 4096}, random_elements(kFrom, 1024 * 4096, Fill::kWeights, 7), kTo, "timed");
}

const Register registered({"convert",
                           {{"tails", tails},
                            {"special_values", special_values},
                            {"exhaustive", exhaustive},
                            {"halfway", halfway},
                            {"not_numbers", not_numbers},
                            {"large", large}},
                           {{"f32 to bf16", timed<SN_F32, SN_BF16>},
                            {"bf16 to f32", timed<SN_BF16, SN_F32>},
                            {"f32 to f16", timed<SN_F32, SN_F16>}}});

}  // namespace
}  // namespace sinew_test
