// y = (q - zero_point) * scale.
#include <cmath>

#include "support/pruning.h"
#include "support/quantizing.h"
#include "support/values.h"

namespace sinew_test {
namespace {

Call dequantize_call(sn_dtype dtype, const std::vector<int64_t>& shape, int64_t grain, sn_scheme scheme,
                     const Scales& scales, uint64_t seed, const std::string& what) {
  const Slicing slicing(shape, grain);
  const int64_t n = count_of(shape), size = size_of(dtype);
  // All integers that the type can hold, those outside of the scheme's range too: -128 is a legal byte.
  const std::vector<uint8_t> random = random_bytes(n, seed);
  std::vector<int> q;
  for (uint8_t b : random) q.push_back(is_int4(scheme) ? b % 16 - 8 : static_cast<int8_t>(b));
  std::vector<uint8_t> expected(static_cast<size_t>(n * size));
  for (int64_t i = 0; i < n; ++i) {
    const size_t slice = static_cast<size_t>(slicing.slice_of(i / slicing.cols, i % slicing.cols));
    const int zero_point = is_asymmetric(scheme) ? scales.zero_point[slice] : 0;
    put_f32(dtype, oracle_dequantize(q[static_cast<size_t>(i)], scales.scale[slice], zero_point, scheme),
            expected.data() + i * size);
  }
  Call call;
  call.label = describe("dequantize", dtype, shape, grain, scheme) + " " + what + " seed " + std::to_string(seed);
  call.inputs = {integers_operand(q, shape, scheme)};
  // The nibble beside the last odd one means nothing.
  if (is_int4(scheme) && slicing.cols % 2 == 1 && slicing.rows > 0) call.inputs[0].bytes.back() ^= 0x70;
  add_scales(call, slicing, scales, scheme);
  call.outputs = {{dtype, shape, {}, true}};
  call.expected = {std::move(expected)};
  const int64_t group = slicing.argument();
  call.run = [group](const Tensors& in, const Tensors& out, int64_t*) {
    return sn_dequantize(in[0], in[1], zero_points_of(in), group, out[0]);
  };
  return call;
}

Scales random_scales(int64_t count, sn_scheme scheme, uint64_t seed) {
  Scales scales;
  for (float s : as_f32s(SN_F32, random_elements(SN_F32, count, Fill::kWeights, seed)))
    scales.scale.push_back(s * s + 0x1p-20f);
  if (is_asymmetric(scheme)) {
    for (uint8_t b : random_bytes(count, seed))
      scales.zero_point.push_back(static_cast<int8_t>(is_int4(scheme) ? b % 16 - 8 : b));
  }
  return scales;
}

Call random_call(sn_dtype dtype, const std::vector<int64_t>& shape, int64_t grain, sn_scheme scheme) {
  const uint64_t seed = next_seed();
  return dequantize_call(dtype, shape, grain, scheme, random_scales(Slicing(shape, grain).count(), scheme, seed), seed,
                         "");
}

void tails(const Emit& emit) {
  for (sn_dtype dtype : kFloats) {
    for (sn_scheme scheme : kSchemes) {
      for (int64_t n : kSizes) emit(random_call(dtype, {n}, kPerTensor, scheme));
    }
  }
}

void shapes(const Emit& emit) {
  for (sn_dtype dtype : kFloats) {
    for (sn_scheme scheme : kSchemes) {
      for (const auto& shape : dtype == SN_F32 ? kShapes : kFewShapes) {
        for (int64_t grain : grains_for(shape, scheme)) emit(random_call(dtype, shape, grain, scheme));
      }
    }
  }
}

// Results that are denormal, round to the ends of the range, or are infinite.
void scales(const Emit& emit) {
  for (sn_dtype dtype : kFloats) {
    for (sn_scheme scheme : kSchemes) {
      std::vector<float> odd = kOddScales;
      odd.insert(odd.end(), {0.0f, -0.5f, 0x1p-24f, 0x1p-14f, 512.0f, 65504.0f / 127.0f});
      for (float scale : odd) {
        for (int zero_point : {-128, 0, 127}) {
          if (zero_point != 0 && !is_asymmetric(scheme)) continue;
          Scales s = {{scale}, {}};
          if (is_asymmetric(scheme)) s.zero_point = {static_cast<int8_t>(zero_point)};
          emit(dequantize_call(dtype, {301}, kPerTensor, scheme, s, next_seed(),
                               "scale " + std::to_string(bits_of(scale))));
        }
      }
    }
  }
}

// Every code of fp8, in every lane, against the values' formula.
void every_code(const Emit& emit) {
  for (sn_dtype dtype : kFloats) {
    for (int rotation = 0; rotation < 16; ++rotation) {
      std::vector<int> codes;
      for (int i = 0; i < 256; ++i) codes.push_back(static_cast<int8_t>(i + rotation));
      std::vector<uint8_t> expected(static_cast<size_t>(256 * size_of(dtype)));
      for (int i = 0; i < 256; ++i) {
        const int code = (i + rotation) % 256, exponent = code >> 3 & 15, fraction = code & 7;
        const double magnitude = exponent > 0 ? (1 + fraction / 8.0) * std::pow(2.0, exponent - 7) : fraction / 512.0;
        float value = static_cast<float>(code < 128 ? magnitude : -magnitude);
        if (exponent == 15 && fraction == 7) value = float_of(code < 128 ? 0x7ff00000u : 0xfff00000u);
        put_f32(dtype, value, expected.data() + i * size_of(dtype));
      }
      Call call;
      call.label = std::string("dequantize every code to ") + name_of(dtype) + " from " + std::to_string(rotation);
      call.inputs = {integers_operand(codes, {256}, SN_FP8), {SN_F32, {1}, bytes_of(std::vector<float>{1}), false}};
      call.outputs = {{dtype, {256}, {}, true}};
      call.expected = {expected};
      call.run = [](const Tensors& in, const Tensors& out, int64_t*) {
        return sn_dequantize(in[0], in[1], nullptr, 0, out[0]);
      };
      emit(call);
    }
  }
}

void large(const Emit& emit) {
  for (sn_dtype dtype : large_dtypes()) {
    const int64_t n = large_count(dtype);
    emit(random_call(dtype, {n}, kPerTensor, SN_INT8_SYMMETRIC));
    emit(random_call(dtype, {29, n / 29}, 131, SN_INT8_ASYMMETRIC));
    emit(random_call(dtype, {29, n / 29}, kPerChannel, SN_INT4_SYMMETRIC));
    emit(random_call(dtype, {n}, 32, SN_INT4_ASYMMETRIC));
    emit(random_call(dtype, {29, n / 29}, kPerChannel, SN_FP8));
  }
}

template <sn_dtype kDtype, sn_scheme kScheme, int64_t kGrain>
Call timed() {
  return random_call(kDtype, {1024, 4096}, kGrain, kScheme);
}

const Register registered(
    {"dequantize",
     {{"tails", tails}, {"shapes", shapes}, {"scales", scales}, {"every_code", every_code}, {"large", large}},
     {{"int8 tensor f32", timed<SN_F32, SN_INT8_SYMMETRIC, kPerTensor>},
      {"int8 channel f32", timed<SN_F32, SN_INT8_SYMMETRIC, kPerChannel>},
      {"int8 group 128 f32", timed<SN_F32, SN_INT8_SYMMETRIC, 128>},
      {"int8 channel bf16", timed<SN_BF16, SN_INT8_SYMMETRIC, kPerChannel>},
      {"int8 channel f16", timed<SN_F16, SN_INT8_SYMMETRIC, kPerChannel>},
      {"int4 tensor f32", timed<SN_F32, SN_INT4_SYMMETRIC, kPerTensor>},
      {"int4 group 128 f32", timed<SN_F32, SN_INT4_SYMMETRIC, 128>},
      {"fp8 tensor f32", timed<SN_F32, SN_FP8, kPerTensor>},
      {"fp8 channel f32", timed<SN_F32, SN_FP8, kPerChannel>},
      {"fp8 channel bf16", timed<SN_BF16, SN_FP8, kPerChannel>},
      {"int4 group 128 bf16", timed<SN_BF16, SN_INT4_SYMMETRIC, 128>}}});

}  // namespace
}  // namespace sinew_test
