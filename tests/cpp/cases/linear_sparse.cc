// Layers of pruned weights as a bitmap and values.
#include <cmath>
#include <random>

#include "support/lowbit.h"
#include "support/sparse.h"
#include "support/values.h"

namespace sinew_test {
namespace {

constexpr sn_dtype kFloatValues[] = {SN_F32, SN_BF16, SN_F16, SN_F64, SN_F8_E4M3};

Call packing(const LayerShape& s, sn_dtype dtype, const std::vector<uint8_t>& bytes, const Slicing* slicing,
             const Scales& scales) {
  Call call;
  call.sources = sparse_operands(dtype, {s.out, s.in}, sparse_oracle(dtype, {s.out, s.in}, bytes, 0));
  if (slicing != nullptr) call.sources.push_back({SN_F32, slicing->shape(), bytes_of(scales.scale)});
  const int64_t group = slicing == nullptr ? 0 : slicing->argument(), cols = s.in;
  call.pack = [group, cols](const Tensors& t, sn_weights** weights) {
    return sn_pack_sparse(t[0], t[1], t[2], t.size() > 3 ? t[3] : nullptr, group, cols, weights);
  };
  return call;
}

std::string label(sn_dtype dtype, double share, int64_t grain, uint64_t seed) {
  return std::string(name_of(dtype)) + " " + std::to_string(share) + describe("", SN_I8, {}, grain, SN_INT8_SYMMETRIC) +
         ", seed " + std::to_string(seed);
}

// Weights stay where kept(row, col) says so.
template <class Kept>
void emit_pattern(const Emit& emit, const LayerData& data, IntegerWeights w, const std::string& label, Kept kept) {
  const LayerShape& s = data.shape;
  std::vector<uint8_t> bytes;
  for (int64_t i = 0; i < s.out * s.in; ++i) {
    int& q = w.q[static_cast<size_t>(i)];
    if (!kept(i / s.in, i % s.in)) q = 0;
    bytes.push_back(static_cast<uint8_t>(q));
  }
  emit_integer_layer(emit, "linear_sparse", data, w, packing(s, SN_I8, bytes, &w.slicing, w.scales), label);
}

void emit_int8(const Emit& emit, const LayerData& data, double share, int64_t grain, uint64_t seed) {
  std::mt19937_64 random(seed + 11);
  emit_pattern(emit, data, random_integers(data.shape, grain, SN_INT8_SYMMETRIC, seed),
               label(SN_I8, share, grain, seed),
               [&](int64_t, int64_t) { return static_cast<double>(random() % 1000) < share * 1000; });
}

void emit_float(const Emit& emit, const LayerData& data, sn_dtype dtype, double share, int64_t grain, uint64_t seed) {
  const LayerShape& s = data.shape;
  std::mt19937_64 random(seed + 12);
  const bool scaled = dtype == SN_F8_E4M3;
  const IntegerWeights like = random_integers(s, scaled ? grain : kPerTensor, SN_INT8_SYMMETRIC, seed);
  std::normal_distribution<double> normal(0.0, scaled ? 50 : 0.05);
  std::vector<double> weights(static_cast<size_t>(s.out * s.in));
  for (double& v : weights) v = static_cast<double>(random() % 1000) >= share * 1000 ? 0.0 : normal(random);
  const std::vector<uint8_t> bytes = elements(dtype, weights);
  const std::vector<float> stored = as_f32s(dtype, bytes);  // F64 values are rounded to F32 too
  for (int64_t i = 0; i < s.out * s.in; ++i) {
    weights[static_cast<size_t>(i)] = static_cast<double>(stored[static_cast<size_t>(i)]) *
                                      (scaled ? static_cast<double>(like.scale(i / s.in, i % s.in)) : 1.0);
  }
  emit_float_layer(emit, "linear_sparse", data, weights,
                   packing(s, dtype, bytes, scaled ? &like.slicing : nullptr, like.scales),
                   label(dtype, share, grain, seed));
}

void shapes(const Emit& emit) {
  for (const LayerShape& s : kLayerShapes) {
    for (double share : {0.0, 0.1, 0.5, 1.0}) {
      const uint64_t seed = next_seed();
      emit_int8(emit, random_layer(s, seed), share, kPerChannel, seed);
    }
    for (sn_dtype dtype : kFloatValues) {
      const uint64_t seed = next_seed();
      emit_float(emit, random_layer(s, seed), dtype, 0.5, kPerChannel, seed);
    }
  }
}

void groups(const Emit& emit) {
  for (const LayerShape& s : kFewLayerShapes) {
    for (int64_t grain : {kPerTensor, int64_t{1}, int64_t{7}, int64_t{64}, int64_t{300}, INT64_MAX}) {
      const uint64_t seed = next_seed();
      emit_int8(emit, random_layer(s, seed), 0.4, grain, seed);
      emit_float(emit, random_layer(s, seed), SN_F8_E4M3, 0.4, grain, seed);
    }
    for (double share : {0.0, 0.05, 1.0}) {
      const uint64_t seed = next_seed();
      for (sn_dtype dtype : kFloatValues) emit_float(emit, random_layer(s, seed), dtype, share, kPerChannel, seed);
    }
  }
}

// What decides how many slots stay empty where values are packed in those: 64 channels that share windows of 16 of the
// 128 columns of a block.
void patterns(const Emit& emit) {
  struct Pattern {
    const char* name;
    bool (*kept)(int64_t row, int64_t col);
  };
  static const Pattern all[] = {
      {"every third column", [](int64_t, int64_t col) { return col % 3 == 0; }},
      {"a diagonal", [](int64_t row, int64_t col) { return (row + col) % 4 == 0; }},
      {"blocks of columns in turn", [](int64_t row, int64_t col) { return col / 8 % 3 == row % 3; }},
      {"one channel of all columns", [](int64_t row, int64_t col) { return row % 16 == 5 || col % 40 == row % 40; }},
      {"the first column of each block", [](int64_t, int64_t col) { return col % 128 == 0; }},
      {"the last column of each block", [](int64_t, int64_t col) { return col % 128 == 127; }},
      {"two columns far apart", [](int64_t row, int64_t col) { return col % 128 == (row % 2 == 0 ? 0 : 120); }},
      {"rows that end early", [](int64_t row, int64_t col) { return col < row && col % 2 == 0; }},
      {"empty blocks", [](int64_t row, int64_t col) { return col / 128 % 2 == 1 && (row + col) % 2 == 0; }},
  };
  for (const Pattern& pattern : all) {
    for (int64_t rows : {1, 3, 16, 17}) {
      const uint64_t seed = next_seed();
      const LayerShape s = {rows, 301, rows == 3 ? 192 : 200};
      IntegerWeights w = random_integers(s, kPerChannel, SN_INT8_SYMMETRIC, seed);
      for (size_t i = 0; i < w.q.size(); i += 3) w.q[i] = i % 2 == 0 ? -128 : 127;
      emit_pattern(emit, random_layer(s, seed), w, pattern.name, pattern.kept);
    }
  }
  for (double share : {0.05, 0.3, 0.5, 0.6}) {
    for (int64_t grain : {kPerChannel, int64_t{7}, int64_t{32}, int64_t{130}}) {
      const uint64_t seed = next_seed();
      emit_int8(emit, random_layer({1 + static_cast<int64_t>(seed % 19), 333, 128}, seed), share, grain, seed);
    }
  }
}

void types(const Emit& emit) {
  for (sn_dtype x : {SN_F32, SN_BF16}) {
    for (sn_dtype y : {SN_F32, SN_BF16}) {
      for (sn_activation a = SN_NONE; a <= SN_TANH; ++a) {
        const uint64_t seed = next_seed();
        const LayerData data = random_layer({a % 2 == 0 ? 7 : 1, 131, 37, x, y, a % 2 == 0, a}, seed);
        emit_int8(emit, data, 0.5, kPerChannel, seed);
        emit_float(emit, data, SN_BF16, 0.5, kPerChannel, seed);
      }
    }
  }
}

void empty(const Emit& emit) {
  for (const LayerShape& s : {LayerShape{0, 5, 7}, {3, 5, 0}, {3, 0, 7}, {0, 0, 0}}) {
    emit_int8(emit, random_layer(s, 1), 0.5, kPerChannel, 1);
    emit_float(emit, random_layer(s, 1), SN_F32, 0.5, kPerChannel, 1);
  }
}

void special_values(const Emit& emit) {
  for (sn_dtype dtype : {SN_F32, SN_BF16}) {
    for (int64_t rows : {3, 9}) {
      const uint64_t seed = next_seed();
      const LayerData data = special_layer({rows, 150, 35, dtype, dtype}, seed);
      emit_int8(emit, data, 0.5, kPerChannel, seed);
      for (sn_dtype values : kFloatValues) emit_float(emit, data, values, 0.5, 64, seed);
    }
  }
}

void large(const Emit& emit) {
  const uint64_t seed = next_seed();
  if (quick()) {
    emit_int8(emit, random_layer({5, 1025, 333}, seed), 0.3, 128, seed);
  } else {
    emit_int8(emit, random_layer({1, 4099, 1031}, seed), 0.5, kPerChannel, seed);
    emit_int8(emit, random_layer({70, 1025, 261}, seed), 0.3, 128, seed);
    emit_float(emit, random_layer({1, 4099, 1031}, seed), SN_BF16, 0.5, kPerChannel, seed);
  }
}

template <int kPercent>
Call timed_int8() {
  Call last;
  emit_int8([&last](const Call& call) { last = call; }, random_layer({1, 4096, 4096}, 1), 1 - kPercent * 0.01,
            kPerChannel, 1);
  return last;
}
template <int kPercent>
Call timed_bf16() {
  Call last;
  emit_float([&last](const Call& call) { last = call; }, random_layer({1, 4096, 4096}, 1), SN_BF16, 1 - kPercent * 0.01,
             kPerChannel, 1);
  return last;
}

const Register registered({"linear_sparse",
                           {{"shapes", shapes},
                            {"groups", groups},
                            {"patterns", patterns},
                            {"types", types},
                            {"empty", empty},
                            {"special_values", special_values},
                            {"large", large}},
                           {{"1 x 4096 x 4096, int8 half zero", timed_int8<50>},
                            {"1 x 4096 x 4096, int8 70% zero", timed_int8<70>},
                            {"1 x 4096 x 4096, int8 90% zero", timed_int8<90>},
                            {"1 x 4096 x 4096, bf16 half zero", timed_bf16<50>},
                            {"1 x 4096 x 4096, bf16 90% zero", timed_bf16<90>}},
                           "pack_sparse"});

}  // namespace
}  // namespace sinew_test
