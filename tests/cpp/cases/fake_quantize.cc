// Quantize and dequantize in one pass, in the dtype of x.
#include <cmath>
#include <cstring>
#include <limits>

#include "support/pruning.h"
#include "support/quantizing.h"
#include "support/values.h"

namespace sinew_test {
namespace {

Call fake_call(sn_dtype dtype, const std::vector<int64_t>& shape, std::vector<uint8_t> bytes, int64_t grain,
               sn_scheme scheme, const Scales& scales, const std::string& what) {
  const Slicing slicing(shape, grain);
  const std::vector<float> x = as_f32s(dtype, bytes);
  std::vector<uint8_t> expected(bytes.size());
  for (size_t i = 0; i < x.size(); ++i) {
    const int64_t at = static_cast<int64_t>(i);
    const size_t slice = static_cast<size_t>(slicing.slice_of(at / slicing.cols, at % slicing.cols));
    const int zero_point = is_asymmetric(scheme) ? scales.zero_point[slice] : 0;
    float y = x[i];
    if (!std::isnan(y))
      y = oracle_dequantize(oracle_quantize(y, scales.scale[slice], zero_point, scheme), scales.scale[slice],
                            zero_point, scheme);
    put_f32(dtype, y, expected.data() + at * size_of(dtype));
  }
  Call call;
  call.label = describe("fake_quantize", dtype, shape, grain, scheme) + " " + what;
  call.inputs = {{dtype, shape, std::move(bytes), true}};
  add_scales(call, slicing, scales, scheme);
  call.outputs = {{dtype, shape, {}, true}};
  call.expected = {std::move(expected)};
  call.in_place = true;
  const int64_t group = slicing.argument();
  call.run = [group, scheme](const Tensors& in, const Tensors& out, int64_t*) {
    return sn_fake_quantize(in[0], in[1], zero_points_of(in), group, scheme, out[0]);
  };
  return call;
}

Call random_call(sn_dtype dtype, const std::vector<int64_t>& shape, Fill fill, int64_t grain, sn_scheme scheme) {
  const uint64_t seed = next_seed();
  auto bytes = random_elements(dtype, count_of(shape), fill, seed);
  const Scales scales = scales_for(as_f32s(dtype, bytes), Slicing(shape, grain), scheme);
  return fake_call(dtype, shape, std::move(bytes), grain, scheme, scales,
                   std::string(name_of(fill)) + " seed " + std::to_string(seed));
}

void tails(const Emit& emit) {
  for (sn_dtype dtype : kFloats) {
    for (sn_scheme scheme : kSchemes) {
      for (int64_t n : kSizes) emit(random_call(dtype, {n}, Fill::kWeights, kPerTensor, scheme));
    }
  }
}

void shapes(const Emit& emit) {
  for (sn_dtype dtype : kFloats) {
    for (sn_scheme scheme : kSchemes) {
      for (const auto& shape : kFewShapes) {
        // Nibbles are not stored here, so groups of odd sizes are allowed in every scheme.
        for (int64_t grain : grains_for(shape, SN_INT8_SYMMETRIC))
          emit(random_call(dtype, shape, Fill::kWeights, grain, scheme));
      }
    }
  }
}

void special_values(const Emit& emit) {
  for (sn_dtype dtype : kFloats) {
    for (sn_scheme scheme : kSchemes) {
      for (Fill fill : kFills) {
        for (int64_t grain : {kPerTensor, kPerChannel, int64_t{32}})
          emit(random_call(dtype, {3, 157}, fill, grain, scheme));
      }
    }
  }
}

// NaN stays NaN with its payload, infinity saturates, and results may be infinite.
void not_numbers(const Emit& emit) {
  const double infinity = std::numeric_limits<double>::infinity();
  for (sn_dtype dtype : kFloats) {
    std::vector<double> values;
    for (int i = 0; i < 83; ++i)
      values.push_back(i % 5 == 0 ? infinity : i % 7 == 0 ? -infinity : i % 3 == 0 ? std::nan("") : 0.1 * i);
    std::vector<uint8_t> bytes = elements(dtype, values);
    // Signalling NaNs of both signs, with payloads.
    if (dtype == SN_F32) {
      const uint32_t nans[] = {0x7f800001, 0xff812345, 0x7fc00001, 0xffffffff};
      std::memcpy(bytes.data(), nans, sizeof nans);
    } else if (dtype == SN_F64) {
      const uint64_t nans[] = {0x7ff0000000000001, 0xfff2345678912345, 0x7ff8000000000001, 0xffffffffffffffff};
      std::memcpy(bytes.data(), nans, sizeof nans);
    } else {
      const uint16_t nans[] = {0x7f81, 0xffa1, 0x7fff, 0xfffe};
      std::memcpy(bytes.data(), nans, sizeof nans);
    }
    for (sn_scheme scheme : kSchemes) {
      for (float scale : kOddScales) {
        Scales scales = {{scale}, {}};
        if (is_asymmetric(scheme)) scales.zero_point = {-3};
        emit(fake_call(dtype, {83}, bytes, kPerTensor, scheme, scales,
                       "not finite, scale " + std::to_string(bits_of(scale))));
      }
    }
  }
}

void near_rounding(const Emit& emit) {
  for (sn_dtype dtype : kFloats) {
    const NearTies ties = near_ties(dtype);
    for (sn_scheme scheme : kSchemes) {
      Scales scales = {ties.scale, {}};
      if (is_asymmetric(scheme)) scales.zero_point.assign(ties.scale.size(), is_int4(scheme) ? -5 : -101);
      emit(fake_call(dtype, ties.shape, elements(dtype, ties.values), kPerChannel, scheme, scales, "near ties"));
    }
  }
}

void large(const Emit& emit) {
  for (sn_dtype dtype : large_dtypes()) {
    const int64_t n = large_count(dtype);
    emit(random_call(dtype, {n}, Fill::kWeights, kPerTensor, SN_INT8_SYMMETRIC));
    emit(random_call(dtype, {29, n / 29}, Fill::kWeights, 131, SN_INT4_ASYMMETRIC));
    emit(random_call(dtype, {29, n / 29}, Fill::kWeights, kPerChannel, SN_FP8));
  }
}

template <sn_dtype kDtype, int64_t kGrain, bool kInPlace, sn_scheme kScheme = SN_INT8_SYMMETRIC>
Call timed() {
  Call call = random_call(kDtype, {1024, 4096}, Fill::kWeights, kGrain, kScheme);
  call.in_place = kInPlace;
  return call;
}

const Register registered({"fake_quantize",
                           {{"tails", tails},
                            {"shapes", shapes},
                            {"special_values", special_values},
                            {"not_numbers", not_numbers},
                            {"near_rounding", near_rounding},
                            {"large", large}},
                           {{"f32 tensor", timed<SN_F32, kPerTensor, false>},
                            {"f32 channel", timed<SN_F32, kPerChannel, false>},
                            {"f32 group 128", timed<SN_F32, 128, false>},
                            {"f32 channel in place", timed<SN_F32, kPerChannel, true>},
                            {"bf16 channel", timed<SN_BF16, kPerChannel, false>},
                            {"f16 channel", timed<SN_F16, kPerChannel, false>},
                            {"f32 fp8 channel", timed<SN_F32, kPerChannel, false, SN_FP8>}}});

}  // namespace
}  // namespace sinew_test
