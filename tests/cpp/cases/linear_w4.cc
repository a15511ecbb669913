// Layers of int4 weights, whose activations keep their precision.
#include "support/lowbit.h"
#include "support/values.h"

namespace sinew_test {
namespace {

constexpr int64_t kGrains[] = {kPerTensor, kPerChannel, 2, 6, 32, 64, 100, 128, 300, INT64_MAX};

void emit_int4(const Emit& emit, const LayerData& data, int64_t grain, bool asymmetric, uint64_t seed) {
  const LayerShape& s = data.shape;
  if (grain > 0 && grain % 2 != 0 && grain < s.in) return;
  const sn_scheme scheme = asymmetric ? SN_INT4_ASYMMETRIC : SN_INT4_SYMMETRIC;
  const IntegerWeights w = random_integers(s, grain, scheme, seed);
  Call base;
  base.sources = {integers_operand(w.q, {s.out, s.in}, scheme), {SN_F32, w.slicing.shape(), bytes_of(w.scales.scale)}};
  if (asymmetric) base.sources.push_back({SN_I8, w.slicing.shape(), bytes_of(w.scales.zero_point)});
  const int64_t group = w.slicing.argument(), cols = s.in;
  base.pack = [group, cols](const Tensors& t, sn_weights** weights) {
    return sn_pack_w4(t[0], cols, t[1], t.size() > 2 ? t[2] : nullptr, group, weights);
  };
  emit_integer_layer(emit, "linear_w4", data, w, base,
                     describe("", SN_U8, {}, grain, scheme) + ", seed " + std::to_string(seed));
}

void shapes(const Emit& emit) {
  for (LayerShape s : kLayerShapes) {
    for (bool asymmetric : {false, true}) {
      s.bias = !asymmetric;
      const uint64_t seed = next_seed();
      emit_int4(emit, random_layer(s, seed), asymmetric ? kPerTensor : kPerChannel, asymmetric, seed);
    }
  }
}

void groups(const Emit& emit) {
  for (const LayerShape& s : kFewLayerShapes) {
    for (int64_t grain : kGrains) {
      for (bool asymmetric : {false, true}) {
        const uint64_t seed = next_seed();
        emit_int4(emit, random_layer(s, seed), grain, asymmetric, seed);
      }
    }
  }
}

// Groups of many rows: whole tiles of them and rests, groups of one tile, of two, and between.
void tiles(const Emit& emit) {
  for (const LayerShape& s : {LayerShape{16, 128, 16}, {17, 160, 19}, {70, 456, 35}}) {
    for (int64_t grain : {int64_t{32}, int64_t{64}, int64_t{100}, int64_t{128}, int64_t{192}}) {
      const uint64_t seed = next_seed();
      emit_int4(emit, random_layer(s, seed), grain, grain % 64 == 0, seed);
    }
  }
}

void types(const Emit& emit) {
  for (sn_dtype x : {SN_F32, SN_BF16}) {
    for (sn_dtype y : {SN_F32, SN_BF16}) {
      for (sn_activation a = SN_NONE; a <= SN_TANH; ++a) {
        const uint64_t seed = next_seed();
        emit_int4(emit, random_layer({a % 2 == 0 ? 7 : 1, 131, 37, x, y, a % 2 == 0, a}, seed),
                  a % 3 == 0 ? 32 : kPerChannel, a % 2 == 1, seed);
      }
    }
  }
}

void empty(const Emit& emit) {
  for (const LayerShape& s : {LayerShape{0, 5, 7}, {3, 5, 0}, {3, 0, 7}, {0, 0, 0}}) {
    for (int64_t grain : {kPerChannel, int64_t{32}}) emit_int4(emit, random_layer(s, 1), grain, true, 1);
  }
}

void special_values(const Emit& emit) {
  for (sn_dtype dtype : {SN_F32, SN_BF16}) {
    for (int64_t rows : {3, 9}) {
      const uint64_t seed = next_seed();
      const LayerData data = special_layer({rows, 150, 35, dtype, dtype}, seed);
      emit_int4(emit, data, kPerChannel, true, seed);
      emit_int4(emit, data, 64, false, seed);
    }
  }
}

void large(const Emit& emit) {
  const uint64_t seed = next_seed();
  if (quick()) {
    emit_int4(emit, random_layer({5, 1025, 333, SN_BF16, SN_BF16}, seed), 128, true, seed);
  } else {
    emit_int4(emit, random_layer({1, 4099, 1031}, seed), 128, false, seed);
    emit_int4(emit, random_layer({150, 1025, 261, SN_BF16, SN_BF16}, seed), 128, true, seed);
  }
}

// The second of the two calls is the one with a bound.
template <int64_t kGroup>
Call timed() {
  Call last;
  emit_int4([&last](const Call& call) { last = call; }, random_layer({1, 4096, 4096}, 1), kGroup, false, 1);
  return last;
}

const Register registered({"linear_w4",
                           {{"shapes", shapes},
                            {"groups", groups},
                            {"tiles", tiles},
                            {"types", types},
                            {"empty", empty},
                            {"special_values", special_values},
                            {"large", large}},
                           {{"1 x 4096 x 4096, groups of 128", timed<128>},
                            {"1 x 4096 x 4096, groups of 32", timed<32>}},
                           "pack_w4"});

}  // namespace
}  // namespace sinew_test
