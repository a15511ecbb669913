// Layers of int8 and fp8 weights, whose activations keep their precision.
#include <cmath>

#include "support/lowbit.h"
#include "support/values.h"

namespace sinew_test {
namespace {

constexpr int64_t kGrains[] = {kPerTensor, kPerChannel, 1, 7, 32, 64, 128, 300, INT64_MAX};

Call packing(const Operand& weight, const Slicing& slicing, const Scales& scales) {
  Call call;
  call.sources = {weight, {SN_F32, slicing.shape(), bytes_of(scales.scale)}};
  if (!scales.zero_point.empty()) call.sources.push_back({SN_I8, slicing.shape(), bytes_of(scales.zero_point)});
  const int64_t group = slicing.argument();
  call.pack = [group](const Tensors& t, sn_weights** weights) {
    return sn_pack_w8(t[0], t[1], t.size() > 2 ? t[2] : nullptr, group, weights);
  };
  return call;
}

std::string text_of(int64_t grain, sn_scheme scheme, uint64_t seed) {
  return describe("", SN_I8, {}, grain, scheme) + ", seed " + std::to_string(seed);
}

void emit_int8(const Emit& emit, const LayerData& data, int64_t grain, bool asymmetric, uint64_t seed) {
  const LayerShape& s = data.shape;
  const sn_scheme scheme = asymmetric ? SN_INT8_ASYMMETRIC : SN_INT8_SYMMETRIC;
  const IntegerWeights w = random_integers(s, grain, scheme, seed);
  const Call base = packing(integers_operand(w.q, {s.out, s.in}, scheme), w.slicing, w.scales);
  emit_integer_layer(emit, "linear_w8", data, w, base, text_of(grain, scheme, seed));
}

void emit_fp8(const Emit& emit, const LayerData& data, int64_t grain, bool with_nan, uint64_t seed) {
  const LayerShape& s = data.shape;
  IntegerWeights w = random_integers(s, grain, SN_INT8_SYMMETRIC, seed);
  std::vector<double> weights;
  for (int64_t i = 0; i < s.out * s.in; ++i) {
    int& code = w.q[static_cast<size_t>(i)];
    if ((code & 127) == 127 && !with_nan) code -= 1;  // of these codes two are NaN
    const auto byte = static_cast<uint8_t>(code);
    weights.push_back(static_cast<double>(as_f32(SN_F8_E4M3, &byte)) *
                      static_cast<double>(w.scale(i / s.in, i % s.in)));
  }
  const Call base = packing(integers_operand(w.q, {s.out, s.in}, SN_FP8), w.slicing, w.scales);
  emit_float_layer(emit, "linear_w8", data, weights, base, text_of(grain, SN_FP8, seed));
}

void shapes(const Emit& emit) {
  for (LayerShape s : kLayerShapes) {
    for (bool asymmetric : {false, true}) {
      s.bias = !asymmetric;
      const uint64_t seed = next_seed();
      emit_int8(emit, random_layer(s, seed), asymmetric ? kPerTensor : kPerChannel, asymmetric, seed);
    }
    const uint64_t seed = next_seed();
    emit_fp8(emit, random_layer(s, seed), kPerChannel, false, seed);
  }
}

void groups(const Emit& emit) {
  for (const LayerShape& s : kFewLayerShapes) {
    for (int64_t grain : kGrains) {
      for (bool asymmetric : {false, true}) {
        const uint64_t seed = next_seed();
        emit_int8(emit, random_layer(s, seed), grain, asymmetric, seed);
      }
      const uint64_t seed = next_seed();
      emit_fp8(emit, random_layer(s, seed), grain, false, seed);
    }
  }
}

void types(const Emit& emit) {
  for (sn_dtype x : {SN_F32, SN_BF16}) {
    for (sn_dtype y : {SN_F32, SN_BF16}) {
      for (sn_activation a = SN_NONE; a <= SN_TANH; ++a) {
        const uint64_t seed = next_seed();
        const LayerData data = random_layer({a % 2 == 0 ? 7 : 1, 131, 37, x, y, a % 2 == 0, a}, seed);
        emit_int8(emit, data, a % 3 == 0 ? 32 : kPerChannel, a % 2 == 1, seed);
        emit_fp8(emit, data, kPerChannel, false, seed);
      }
    }
  }
}

void empty(const Emit& emit) {
  for (const LayerShape& s : {LayerShape{0, 5, 7}, {3, 5, 0}, {3, 0, 7}, {0, 0, 0}}) {
    for (int64_t grain : {kPerChannel, int64_t{32}}) {
      emit_int8(emit, random_layer(s, 1), grain, true, 1);
      emit_fp8(emit, random_layer(s, 1), grain, false, 1);
    }
  }
}

// The largest sums that a block can have, of each sign.
void edges(const Emit& emit) {
  for (int64_t in : {2, 128, 300}) {
    for (int weight : {-128, 127}) {
      for (int zero_point : {-128, 0, 127}) {
        for (float sign : {-1.0f, 1.0f}) {
          const LayerShape s = {5, in, 17};
          IntegerWeights w = {{}, {{0.5f}, {}}, Slicing({s.out, s.in}, kPerTensor)};
          w.q.assign(static_cast<size_t>(s.out * in), weight);
          if (zero_point != 0) w.scales.zero_point = {static_cast<int8_t>(zero_point)};
          const sn_scheme scheme = zero_point == 0 ? SN_INT8_SYMMETRIC : SN_INT8_ASYMMETRIC;
          const LayerData data = {s, bytes_of(std::vector<float>(static_cast<size_t>(5 * in), sign * 3)),
                                  std::vector<float>(17, 0.5f)};
          const Call base = packing(integers_operand(w.q, {s.out, in}, scheme), w.slicing, w.scales);
          emit_integer_layer(emit, "linear_w8", data, w, base,
                             "all " + std::to_string(weight) + ", zero point " + std::to_string(zero_point));
        }
      }
    }
  }
}

void special_values(const Emit& emit) {
  for (sn_dtype dtype : {SN_F32, SN_BF16}) {
    for (int64_t rows : {3, 9}) {
      const uint64_t seed = next_seed();
      const LayerData data = special_layer({rows, 150, 35, dtype, dtype}, seed);
      emit_int8(emit, data, kPerChannel, true, seed);
      emit_int8(emit, data, 64, false, seed);
      emit_fp8(emit, data, 64, true, seed);
    }
  }
}

void large(const Emit& emit) {
  const uint64_t seed = next_seed();
  if (quick()) {
    emit_int8(emit, random_layer({5, 1025, 333, SN_BF16, SN_BF16}, seed), 128, true, seed);
  } else {
    emit_int8(emit, random_layer({1, 4099, 1031}, seed), kPerChannel, false, seed);
    emit_int8(emit, random_layer({150, 1025, 261, SN_BF16, SN_BF16}, seed), 128, true, seed);
    emit_fp8(emit, random_layer({70, 1025, 261}, seed), 128, false, seed);
  }
}

Call timed_int8() {
  Call last;
  emit_int8([&last](const Call& call) { last = call; }, random_layer({1, 4096, 4096}, 1), kPerChannel, false, 1);
  return last;
}
Call timed_fp8() {
  Call last;
  emit_fp8([&last](const Call& call) { last = call; }, random_layer({1, 4096, 4096}, 1), kPerChannel, false, 1);
  return last;
}

const Register registered({"linear_w8",
                           {{"shapes", shapes},
                            {"groups", groups},
                            {"types", types},
                            {"empty", empty},
                            {"edges", edges},
                            {"special_values", special_values},
                            {"large", large}},
                           {{"1 x 4096 x 4096", timed_int8}, {"1 x 4096 x 4096, fp8", timed_fp8}},
                           "pack_w8"});

}  // namespace
}  // namespace sinew_test
