// q = clamp(round_half_even(x / scale) + zero_point).
#include <cmath>
#include <limits>

#include "support/pruning.h"
#include "support/quantizing.h"
#include "support/values.h"

namespace sinew_test {
namespace {

Call quantize_call(sn_dtype dtype, const std::vector<int64_t>& shape, std::vector<uint8_t> bytes, int64_t grain,
                   sn_scheme scheme, const Scales& scales, const std::string& what) {
  const Slicing slicing(shape, grain);
  const std::vector<float> x = as_f32s(dtype, bytes);
  std::vector<int> q(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    const int64_t at = static_cast<int64_t>(i);
    const size_t slice = static_cast<size_t>(slicing.slice_of(at / slicing.cols, at % slicing.cols));
    if (std::isfinite(x[i]))
      q[i] = oracle_quantize(x[i], scales.scale[slice], is_asymmetric(scheme) ? scales.zero_point[slice] : 0, scheme);
  }
  Call call;
  call.label = describe("quantize", dtype, shape, grain, scheme) + " " + what;
  call.inputs = {{dtype, shape, std::move(bytes), true}};
  add_scales(call, slicing, scales, scheme);
  Operand out = integers_operand(q, shape, scheme);
  call.expected = {std::move(out.bytes)};
  out.bytes.clear();
  call.outputs = {out};
  const int64_t group = slicing.argument();
  call.run = [group](const Tensors& in, const Tensors& to, int64_t*) {
    return sn_quantize(in[0], in[1], zero_points_of(in), group, to[0]);
  };
  return call;
}

Call random_call(sn_dtype dtype, const std::vector<int64_t>& shape, Fill fill, int64_t grain, sn_scheme scheme) {
  const uint64_t seed = next_seed();
  auto bytes = random_elements(dtype, count_of(shape), fill, seed);
  const Scales scales = scales_for(as_f32s(dtype, bytes), Slicing(shape, grain), scheme);
  return quantize_call(dtype, shape, std::move(bytes), grain, scheme, scales,
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
      for (const auto& shape : dtype == SN_F32 ? kShapes : kFewShapes) {
        for (int64_t grain : grains_for(shape, scheme)) emit(random_call(dtype, shape, Fill::kWeights, grain, scheme));
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

// Quotients that are exactly k + 0.5, around and beyond the ends of every range, and scales that no real slice has.
void ties_and_scales(const Emit& emit) {
  for (sn_dtype dtype : {SN_F32, SN_F64, SN_F16, SN_BF16}) {
    for (sn_scheme scheme : kSchemes) {
      for (float scale : kOddScales) {
        std::vector<double> values;
        for (int k = -150; k <= 150; ++k) values.push_back((k + 0.5) * static_cast<double>(scale));
        std::vector<uint8_t> bytes = elements(dtype, values);
        const std::vector<float> stored = as_f32s(dtype, bytes);
        std::vector<double> finite;
        for (size_t i = 0; i < values.size(); ++i) {
          if (std::isfinite(stored[i])) finite.push_back(values[i]);
        }
        const int64_t n = static_cast<int64_t>(finite.size());
        for (int zero_point : {-128, -8, 0, 5, 127}) {
          Scales scales = {{scale}, {}};
          if (is_asymmetric(scheme)) scales.zero_point = {static_cast<int8_t>(zero_point)};
          if (!is_asymmetric(scheme) && zero_point != 0) continue;
          emit(quantize_call(
              dtype, {n}, elements(dtype, finite), kPerTensor, scheme, scales,
              "ties, scale " + std::to_string(bits_of(scale)) + ", zero point " + std::to_string(zero_point)));
        }
      }
    }
  }
}

// Quotients where multiplying by the reciprocal of the scale would round differently.
void true_division(const Emit& emit) {
  std::vector<double> values;
  std::vector<uint64_t> seeds = {next_seed()};
  const float scale = 0.013671875f * 1.1f;
  const float reciprocal = 1.0f / scale;
  for (uint32_t i = 0; i < 2000000 && values.size() < 500; ++i) {
    const float x = float_of(bits_of(1.0f) + i * 7u);
    if (std::nearbyint(x / scale) != std::nearbyint(x * reciprocal)) values.push_back(static_cast<double>(x));
  }
  const int64_t n = static_cast<int64_t>(values.size());
  emit(quantize_call(SN_F32, {n}, elements(SN_F32, values), kPerTensor, SN_INT8_SYMMETRIC, {{scale}, {}},
                     "reciprocal traps, " + std::to_string(n)));
}

void near_rounding(const Emit& emit) {
  for (sn_dtype dtype : kFloats) {
    const NearTies ties = near_ties(dtype);
    for (sn_scheme scheme : kSchemes) {
      Scales scales = {ties.scale, {}};
      if (is_asymmetric(scheme)) scales.zero_point.assign(ties.scale.size(), is_int4(scheme) ? -5 : -101);
      emit(quantize_call(dtype, ties.shape, elements(dtype, ties.values), kPerChannel, scheme, scales, "near ties"));
    }
  }
}

// For every border between two neighbouring values of fp8, and around each value itself: the numbers on it and those
// next to it; and what saturates.
void float8_borders(const Emit& emit) {
  std::vector<float> points;
  for (int code = 0; code < 0x7e; ++code) {
    const uint8_t here = static_cast<uint8_t>(code), next = static_cast<uint8_t>(code + 1);
    const float low = as_f32(SN_F8_E4M3, &here), high = as_f32(SN_F8_E4M3, &next);
    points.insert(points.end(), {low, low + (high - low) / 2, high});
  }
  points.insert(points.end(), {464.0f, 480.0f, 512.0f, 1e10f, std::numeric_limits<float>::max(), 0x1p-149f, 0x1p-126f});
  std::vector<float> x;
  for (float point : points) {
    float down = point, up = point;
    x.push_back(point);
    for (int i = 0; i < 3; ++i) {
      down = std::nextafter(down, 0.0f);
      up = std::nextafter(up, std::numeric_limits<float>::max());
      x.insert(x.end(), {down, up});
    }
  }
  const size_t count = x.size();
  for (size_t i = 0; i < count; ++i) x.push_back(-x[i]);
  for (float scale : {1.0f, 0x1p-12f, 0x1p30f, 0.1f}) {
    std::vector<float> scaled;
    for (float v : x) {
      if (std::isfinite(v * scale)) scaled.push_back(v * scale);
    }
    const int64_t n = static_cast<int64_t>(scaled.size());
    emit(quantize_call(SN_F32, {n}, bytes_of(scaled), kPerTensor, SN_FP8, {{scale}, {}},
                       "borders, scale " + std::to_string(bits_of(scale))));
  }
}

// Rows quantized in two calls give the bytes of one call.
void tiles(const Emit& emit) {
  for (sn_scheme scheme : kSchemes) {
    for (int64_t grain : {kPerTensor, kPerChannel, int64_t{32}}) {
      const std::vector<int64_t> shape = {9, 77};
      Call call = random_call(SN_F32, shape, Fill::kWeights, grain, scheme);
      call.label += " in two calls";
      const Slicing slicing(shape, grain);
      const int64_t width = is_int4(scheme) ? 39 : 77, scales = slicing.one ? 1 : slicing.per_row;
      const bool one = slicing.one;
      const int64_t group = slicing.argument();
      call.run = [width, scales, group, one](const Tensors& in, const Tensors& out, int64_t*) {
        sn_status status = SN_OK;
        for (int64_t first : {0, 4}) {
          const int64_t rows = first == 0 ? 4 : 5;
          const int64_t x_shape[] = {rows, 77}, q_shape[] = {rows, width}, scale_shape[] = {one ? 1 : rows, scales};
          sn_tensor *x = nullptr, *q = nullptr, *scale = nullptr, *zero_point = nullptr;
          sn_tensor_view(in[0], first * 77, 2, x_shape, &x);
          sn_tensor_view(out[0], first * width, 2, q_shape, &q);
          sn_tensor_view(in[1], one ? 0 : first * scales, 2, scale_shape, &scale);
          if (in.size() > 2) sn_tensor_view(in[2], one ? 0 : first * scales, 2, scale_shape, &zero_point);
          const sn_status here = sn_quantize(x, scale, zero_point, group, q);
          if (here != SN_OK) status = here;
          for (sn_tensor* t : {x, q, scale, zero_point}) sn_tensor_close(t);
        }
        return status;
      };
      emit(call);
    }
  }
}

void not_finite(const Emit& emit) {
  for (sn_scheme scheme : kSchemes) {
    const auto make = [&](sn_dtype dtype, const std::vector<int64_t>& shape, const std::vector<uint8_t>& bytes,
                          float scale, bool, const std::string& what) {
      return quantize_call(dtype, shape, bytes, kPerTensor, scheme,
                           {{scale}, std::vector<int8_t>(is_asymmetric(scheme) ? 1 : 0, 3)}, what);
    };
    not_finite_calls(emit, make, 0.01f);
  }
}

void large(const Emit& emit) {
  const int64_t n = large_count(SN_I8);
  emit(random_call(SN_BF16, {n}, Fill::kWeights, kPerTensor, SN_INT8_SYMMETRIC));
  if (!quick()) {
    // 131 does not divide into cache lines, so pieces begin and end inside of them.
    emit(random_call(SN_F32, {29, n / 29 + 1}, Fill::kWeights, 131, SN_INT8_ASYMMETRIC));
    emit(random_call(SN_BF16, {2 * n + 1}, Fill::kWeights, 128, SN_INT4_SYMMETRIC));
    emit(random_call(SN_F32, {29, n / 29 + 1}, Fill::kWeights, 131, SN_FP8));
  }
  for (sn_dtype dtype : large_dtypes())
    emit(random_call(dtype, {3, kManyTasks / 3}, Fill::kWeights, kPerChannel, SN_INT8_SYMMETRIC));
}

template <sn_dtype kDtype, sn_scheme kScheme, int64_t kGrain>
Call timed() {
  return random_call(kDtype, {1024, 4096}, Fill::kWeights, kGrain, kScheme);
}

const Register registered({"quantize",
                           {{"tails", tails},
                            {"shapes", shapes},
                            {"special_values", special_values},
                            {"ties_and_scales", ties_and_scales},
                            {"true_division", true_division},
                            {"near_rounding", near_rounding},
                            {"float8_borders", float8_borders},
                            {"tiles", tiles},
                            {"not_finite", not_finite},
                            {"large", large}},
                           {{"f32 int8 tensor", timed<SN_F32, SN_INT8_SYMMETRIC, kPerTensor>},
                            {"f32 int8 channel", timed<SN_F32, SN_INT8_SYMMETRIC, kPerChannel>},
                            {"f32 int8 group 128", timed<SN_F32, SN_INT8_SYMMETRIC, 128>},
                            {"f32 int8 asym channel", timed<SN_F32, SN_INT8_ASYMMETRIC, kPerChannel>},
                            {"f32 int4 tensor", timed<SN_F32, SN_INT4_SYMMETRIC, kPerTensor>},
                            {"f32 int4 channel", timed<SN_F32, SN_INT4_SYMMETRIC, kPerChannel>},
                            {"f32 int4 group 128", timed<SN_F32, SN_INT4_SYMMETRIC, 128>},
                            {"f32 fp8 tensor", timed<SN_F32, SN_FP8, kPerTensor>},
                            {"f32 fp8 channel", timed<SN_F32, SN_FP8, kPerChannel>},
                            {"bf16 fp8 channel", timed<SN_BF16, SN_FP8, kPerChannel>},
                            {"bf16 int8 channel", timed<SN_BF16, SN_INT8_SYMMETRIC, kPerChannel>},
                            {"f16 int8 channel", timed<SN_F16, SN_INT8_SYMMETRIC, kPerChannel>},
                            {"bf16 int4 group 128", timed<SN_BF16, SN_INT4_SYMMETRIC, 128>}}});

}  // namespace
}  // namespace sinew_test
