// y = activation(((F32(sum q (w - zero_point)) scale) s) + bias), every operation rounded to F32.
#include <cmath>
#include <limits>
#include <random>

#include "support/layer.h"
#include "support/quantizing.h"
#include "support/values.h"

namespace sinew_test {
namespace {

struct Int8Weights {
  std::vector<int8_t> weight;  // [out, in]
  std::vector<float> scale;    // one, or one a channel
  std::vector<int8_t> zero_point;
};

Int8Weights random_weights(const LayerShape& s, bool per_channel, bool asymmetric, uint64_t seed) {
  std::mt19937_64 random(seed + 2);
  Int8Weights w;
  for (uint8_t b : random_bytes(s.out * s.in, seed + 3)) w.weight.push_back(static_cast<int8_t>(b));
  const size_t scales = per_channel ? static_cast<size_t>(s.out) : 1;
  for (size_t i = 0; i < scales; ++i) {
    w.scale.push_back(0.001f + 0.0001f * static_cast<float>(random() % 100));
    if (asymmetric) w.zero_point.push_back(static_cast<int8_t>(random() % 256 - 128));
  }
  return w;
}

// The same with weights that are 2:4, but for three nonzeros at the end of the last row, if so asked.
Int8Weights two_of_four_weights(const LayerShape& s, bool asymmetric, bool almost, uint64_t seed) {
  Int8Weights w = random_weights(s, true, asymmetric, seed);
  const std::vector<uint8_t> bytes = random_two_of_four(s.out, s.in, seed + 3);
  for (size_t i = 0; i < bytes.size(); ++i) w.weight[i] = static_cast<int8_t>(bytes[i]);
  for (size_t i = 1; almost && i <= 3; ++i) w.weight[bytes.size() - i] = static_cast<int8_t>(i);
  return w;
}

// The float before the activation, of exact integers.
struct Row {
  float scale;
  std::vector<int> q;
};
Row quantize_row(const float* x, int64_t n) {
  float largest = 0;
  bool finite = true;
  for (int64_t i = 0; i < n; ++i) {
    finite = finite && std::isfinite(x[i]);
    largest = std::max(largest, std::fabs(x[i]));
  }
  Row row;
  if (!finite) {
    row.scale = std::nanf("");
    row.q.assign(static_cast<size_t>(n), 0);
    return row;
  }
  row.scale = oracle_scale({{-largest}, {largest}}, SN_INT8_SYMMETRIC).scale[0];
  for (int64_t i = 0; i < n; ++i) row.q.push_back(oracle_quantize(x[i], row.scale, 0, SN_INT8_SYMMETRIC));
  return row;
}

Call make_call(const LayerShape& s, std::vector<uint8_t> x, const std::vector<float>& bias, const Int8Weights& w,
               const std::string& what) {
  const std::vector<float> numbers = as_f32s(s.x_dtype, x);
  std::vector<uint8_t> expected(static_cast<size_t>(s.rows * s.out * size_of(s.y_dtype)));
  std::vector<double> before, exact;
  for (int64_t m = 0; m < s.rows; ++m) {
    const Row row = quantize_row(numbers.data() + m * s.in, s.in);
    for (int64_t n = 0; n < s.out; ++n) {
      const size_t c = w.scale.size() == 1 ? 0 : static_cast<size_t>(n);
      const int zero_point = w.zero_point.empty() ? 0 : w.zero_point[c];
      int64_t sum = 0;
      for (int64_t k = 0; k < s.in; ++k)
        sum += row.q[static_cast<size_t>(k)] * (w.weight[static_cast<size_t>(n * s.in + k)] - zero_point);
      float v = static_cast<float>(static_cast<int32_t>(sum)) * w.scale[c];
      v = v * row.scale;
      if (s.bias) v = v + bias[static_cast<size_t>(n)];
      if (s.activation == SN_RELU && v < 0) v = 0;
      before.push_back(static_cast<double>(v));
      put_f32(s.y_dtype, v, expected.data() + (m * s.out + n) * size_of(s.y_dtype));
    }
  }
  Call call = layer_call(s, std::move(x), bias, describe_layer("linear_w8a8", s, what));
  const std::vector<int64_t> slices = {static_cast<int64_t>(w.scale.size())};
  call.sources = {{SN_I8, {s.out, s.in}, bytes_of(w.weight)}, {SN_F32, slices, bytes_of(w.scale)}};
  if (!w.zero_point.empty()) call.sources.push_back({SN_I8, slices, bytes_of(w.zero_point)});
  call.pack = [](const Tensors& t, sn_weights** weights) {
    return sn_pack_w8a8(t[0], t[1], t.size() > 2 ? t[2] : nullptr, weights);
  };
  call.any_nan = true;
  if (s.activation == SN_NONE || s.activation == SN_RELU) {
    call.expected = {std::move(expected)};
  } else {
    call.bounded = {bounded_layer(s, before, std::vector<double>(before.size(), 0.0))};
  }
  return call;
}

Call random_call(const LayerShape& s, bool per_channel, bool asymmetric) {
  const uint64_t seed = next_seed();
  std::string what = per_channel ? "per channel" : "per tensor";
  what += (asymmetric ? ", zero points, seed " : ", seed ") + std::to_string(seed);
  return make_call(s, random_activations(s, seed), random_bias(s, seed),
                   random_weights(s, per_channel, asymmetric, seed), what);
}

void shapes(const Emit& emit) {
  for (LayerShape s : kLayerShapes) {
    for (bool asymmetric : {false, true}) {
      s.bias = !asymmetric;
      emit(random_call(s, true, asymmetric));
    }
  }
}

// Rows and channels beyond one tile of a GPU's tensor cores, for every type and way to finish.
void tiles(const Emit& emit) {
  emit(random_call({32, 0, 5}, true, true));
  emit(random_call({33, 80, 131, SN_BF16, SN_BF16, true, SN_GELU}, true, false));
  emit(random_call({128, 64, 260, SN_F32, SN_BF16, false, SN_NONE}, true, true));
  const LayerShape s = {140, 200, 132, SN_F32, SN_F32, true, SN_RELU};
  const uint64_t seed = next_seed();
  std::vector<uint8_t> x = random_activations(s, seed);
  put_f32(SN_F32, std::nanf(""), x.data() + (130 * s.in + 3) * 4);
  emit(make_call(s, x, random_bias(s, seed), random_weights(s, true, true, seed), "seed " + std::to_string(seed)));
}

Call two_of_four_call(const LayerShape& s, bool asymmetric, bool almost = false) {
  const uint64_t seed = next_seed();
  std::vector<uint8_t> x = random_activations(s, seed);
  if (s.rows > 100) put_f32(s.x_dtype, std::nanf(""), x.data() + 100 * s.in * size_of(s.x_dtype));
  return make_call(s, std::move(x), random_bias(s, seed), two_of_four_weights(s, asymmetric, almost, seed),
                   (almost ? "almost 2:4, seed " : "2:4, seed ") + std::to_string(seed));
}

// Weights that a GPU gives to its sparse tensor cores: a row and many, columns and channels beyond what they take at
// once, and beyond one tile.
void two_of_four(const Emit& emit) {
  for (bool asymmetric : {false, true}) {
    emit(two_of_four_call({1, 200, 33}, asymmetric));
    emit(two_of_four_call({5, 64, 16, SN_BF16, SN_BF16, true, SN_TANH}, asymmetric));
    emit(two_of_four_call({32, 259, 21, SN_F32, SN_F32, false}, asymmetric));
    emit(two_of_four_call({33, 192, 131, SN_BF16, SN_BF16, true, SN_GELU}, asymmetric));
    emit(two_of_four_call({140, 515, 150, SN_F32, SN_BF16, true, SN_RELU}, asymmetric));
  }
  for (int64_t rows : {2, 130}) emit(two_of_four_call({rows, 128, 260}, false, true));
}

// Rows and channels for which a GPU has tiles of 128 by 256: some in a last tile, and columns that go round in the
// buffers or fill none.
void many_rows(const Emit& emit) {
  emit(random_call({260, 333, 280}, true, true));
  emit(random_call({129, 1100, 530, SN_BF16, SN_BF16, true, SN_SILU}, true, false));
  emit(random_call({300, 64, 257, SN_F32, SN_BF16, false, SN_RELU}, false, true));
  emit(random_call({385, 0, 200}, true, true));
}

void types(const Emit& emit) {
  for (sn_dtype x : {SN_F32, SN_BF16}) {
    for (sn_dtype y : {SN_F32, SN_BF16}) {
      for (sn_activation a = SN_NONE; a <= SN_TANH; ++a) {
        emit(random_call({7, 131, 37, x, y, a % 2 == 0, a}, a % 3 == 0, a % 2 == 1));
        emit(random_call({1, 70, 16, x, y, a % 2 == 1, a}, a % 2 == 0, a % 3 == 0));
      }
    }
  }
}

void empty(const Emit& emit) {
  for (bool asymmetric : {false, true}) {
    emit(random_call({0, 5, 7}, true, asymmetric));
    emit(random_call({3, 5, 0}, true, asymmetric));
    emit(random_call({0, 0, 0}, false, asymmetric));
    emit(random_call({3, 0, 7}, true, asymmetric));
    emit(random_call({3, 0, 7, SN_BF16, SN_BF16, false, SN_GELU}, true, asymmetric));
  }
}

// Sums at the edges of int8: pairs of products that would saturate in 16 bits, and the largest sums of all.
void edges(const Emit& emit) {
  for (int64_t in : {2, 64, 1031, 65536}) {
    const LayerShape s = {3, in, in > 2000 ? 5 : 33};
    for (int weight : {-128, -127, 127}) {
      for (float sign : {-1.0f, 1.0f}) {
        for (int zero_point : {-128, 0, 127}) {
          Int8Weights w;
          w.weight.assign(static_cast<size_t>(s.out * in), static_cast<int8_t>(weight));
          w.scale = {0.01f};
          if (zero_point != 0) w.zero_point = {static_cast<int8_t>(zero_point)};
          emit(make_call(s, bytes_of(std::vector<float>(static_cast<size_t>(3 * in), sign * 2)),
                         std::vector<float>(static_cast<size_t>(s.out), 0.5f), w,
                         "all " + std::to_string(weight) + ", zero point " + std::to_string(zero_point)));
        }
      }
    }
  }
}

// Rows with NaN and infinity do not touch the others; magnitudes at both ends of F32 work.
void special_values(const Emit& emit) {
  const float infinity = std::numeric_limits<float>::infinity();
  for (sn_activation a : {SN_NONE, SN_RELU, SN_GELU, SN_SILU, SN_TANH}) {
    for (sn_dtype dtype : {SN_F32, SN_BF16}) {
      const LayerShape s = {9, 67, 35, dtype, dtype, true, a};
      const uint64_t seed = next_seed();
      std::vector<uint8_t> x = random_activations(s, seed);
      const auto set = [&](int64_t row, int64_t col, float v) {
        put_f32(dtype, v, x.data() + (row * s.in + col) * size_of(dtype));
      };
      set(1, 0, std::nanf(""));
      set(2, 66, infinity);
      set(4, 33, -infinity);
      set(5, 64, -std::nanf(""));
      set(8, 1, 2e38f);
      for (int64_t k = 0; k < s.in; ++k) {
        set(3, k, 0.0f);
        set(6, k, static_cast<float>(k - 33) * 0x1p-133f);
        set(7, k, static_cast<float>(k % 3 - 1) * 0x1p-126f);
      }
      emit(make_call(s, x, random_bias(s, seed), random_weights(s, true, true, seed), "seed " + std::to_string(seed)));
    }
  }
}

// Quotients that are exactly k + 0.5: the largest is 127 times a power of two, so the scale is that power.
void ties(const Emit& emit) {
  std::vector<float> x = {127};
  for (int k = -127; k < 127; ++k) x.push_back(static_cast<float>(k) + 0.5f);
  const LayerShape s = {1, static_cast<int64_t>(x.size()), 18};
  const uint64_t seed = next_seed();
  emit(make_call(s, bytes_of(x), random_bias(s, seed), random_weights(s, true, false, seed), "ties"));
}

// Results of so many bytes go past the caches, if their rows are whole lines.
void large(const Emit& emit) {
  const int64_t rows = large_count(SN_F32) / 4096 + 1;
  for (int64_t out : {4096, 4100}) emit(random_call({rows, 70, out}, true, out == 4096));
  if (quick()) {
    emit(random_call({5, 2100, 333}, true, true));
  } else {
    emit(random_call({1, 4099, 1031}, true, false));
    emit(random_call({150, 2053, 261, SN_BF16, SN_BF16, true, SN_RELU}, true, true));
  }
}

template <int64_t kRows, int64_t kIn, int64_t kOut>
Call timed() {
  return random_call({kRows, kIn, kOut}, true, false);
}

Call timed_two_of_four() { return two_of_four_call({1, 4096, 4096}, false); }

const Register registered({"linear_w8a8",
                           {{"shapes", shapes},
                            {"tiles", tiles},
                            {"two_of_four", two_of_four},
                            {"many_rows", many_rows},
                            {"types", types},
                            {"empty", empty},
                            {"edges", edges},
                            {"special_values", special_values},
                            {"ties", ties},
                            {"large", large}},
                           {{"1 x 4096 x 4096", timed<1, 4096, 4096>},
                            {"1 x 4096 x 11008", timed<1, 4096, 11008>},
                            {"1 x 11008 x 4096", timed<1, 11008, 4096>},
                            {"32 x 4096 x 4096", timed<32, 4096, 4096>},
                            {"128 x 4096 x 4096", timed<128, 4096, 4096>},
                            {"512 x 4096 x 4096", timed<512, 4096, 4096>},
                            {"128 x 768 x 768", timed<128, 768, 768>},
                            {"128 x 768 x 3072", timed<128, 768, 3072>},
                            {"128 x 3072 x 768", timed<128, 3072, 768>},
                            {"1 x 4096 x 4096 2:4", timed_two_of_four}},
                           "pack_w8a8"});

}  // namespace
}  // namespace sinew_test
