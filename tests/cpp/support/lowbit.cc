#include "support/lowbit.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "support/values.h"

namespace sinew_test {
namespace {

constexpr int64_t kBlock = 128;

// One row of activations in fixed point: x = q scale, block by block.
struct FixedBlock {
  int64_t first, size;
  float scale;
  std::vector<int> q;
};

std::vector<FixedBlock> quantize_row(const float* x, const Slicing& slicing) {
  std::vector<FixedBlock> blocks;
  const int64_t group = std::max<int64_t>(1, slicing.one ? slicing.cols : std::min(slicing.group, slicing.cols));
  for (int64_t begin = 0; begin < slicing.cols; begin += group) {
    const int64_t end = std::min(begin + group, slicing.cols);
    for (int64_t first = begin; first < end; first += kBlock) {
      FixedBlock b = {first, std::min(kBlock, end - first), 0, {}};
      float largest = 0;
      bool finite = true;
      for (int64_t i = first; i < first + b.size; ++i) {
        finite = finite && std::isfinite(x[i]);
        largest = std::max(largest, std::fabs(x[i]));
      }
      b.scale = finite ? std::max(largest / 32512.0f, 0x1p-126f) : std::nanf("");
      for (int64_t i = first; i < first + b.size; ++i)
        b.q.push_back(finite ? static_cast<int>(std::nearbyint(x[i] / b.scale)) : 0);
      blocks.push_back(b);
    }
  }
  return blocks;
}

float fixed_point_result(const std::vector<FixedBlock>& x, const IntegerWeights& w, int64_t row) {
  const bool grouped = w.slicing.grouped != 0 && !w.slicing.one;
  float total = 0;
  for (const FixedBlock& b : x) {
    int64_t sum = 0;
    for (int64_t i = 0; i < b.size; ++i) sum += int64_t{b.q[static_cast<size_t>(i)]} * w.at(row, b.first + i);
    float product = static_cast<float>(static_cast<int32_t>(sum)) * b.scale;
    if (grouped) product = product * w.scale(row, b.first);
    total = total + product;
  }
  return grouped ? total : total * w.scale(row, 0);
}

bool is_exact(sn_activation a) { return a == SN_NONE || a == SN_RELU; }

Call call_with(const Call& base, const LayerData& data, const std::string& label) {
  Call call = layer_call(data.shape, data.x, data.bias, label);
  call.sources = base.sources;
  call.pack = base.pack;
  call.any_nan = true;
  return call;
}

}  // namespace

const std::vector<LayerShape> kFewLayerShapes = {{1, 1, 1},
                                                 {1, 7, 16},
                                                 {2, 130, 17},
                                                 {3, 64, 33},
                                                 {4, 257, 15},
                                                 {5, 128, 48},
                                                 {8, 1030, 3},
                                                 {9, 96, 16, SN_BF16, SN_BF16},
                                                 {65, 67, 31},
                                                 {1, 515, 50},
                                                 {130, 33, 18, SN_F32, SN_BF16}};

IntegerWeights random_integers(const LayerShape& s, int64_t grain, sn_scheme scheme, uint64_t seed) {
  std::mt19937_64 random(seed + 7);
  IntegerWeights w = {{}, {}, Slicing({s.out, s.in}, grain)};
  const int low = is_int4(scheme) ? -8 : -128, high = is_int4(scheme) ? 7 : 127;
  for (int64_t i = 0; i < s.out * s.in; ++i)
    w.q.push_back(low + static_cast<int>(random() % static_cast<uint64_t>(high - low + 1)));
  for (int64_t i = 0; i < w.slicing.count(); ++i) {
    const float scale = 0.001f + 0.0001f * static_cast<float>(random() % 100);
    w.scales.scale.push_back(random() % 8 == 0 ? -scale : scale);
    if (is_asymmetric(scheme)) w.scales.zero_point.push_back(static_cast<int8_t>(random() % 256));
  }
  return w;
}

LayerData random_layer(const LayerShape& s, uint64_t seed) {
  return {s, random_activations(s, seed), random_bias(s, seed)};
}

LayerData special_layer(const LayerShape& s, uint64_t seed) {
  LayerData data = random_layer(s, seed);
  const float infinity = std::numeric_limits<float>::infinity();
  const auto set = [&](int64_t row, int64_t col, float v) {
    put_f32(s.x_dtype, v, data.x.data() + (row % s.rows * s.in + col % s.in) * size_of(s.x_dtype));
  };
  set(1, 0, std::nanf(""));
  set(2, s.in - 1, infinity);
  set(4, s.in / 2, -infinity);
  for (int64_t k = 0; k < s.in; ++k) {
    set(3, k, 0.0f);
    set(6, k, static_cast<float>(k % 7 - 3) * 0x1p-130f);
  }
  return data;
}

void emit_integer_layer(const Emit& emit, const char* op, const LayerData& data, const IntegerWeights& weights,
                        const Call& base, const std::string& what) {
  const LayerShape& s = data.shape;
  const std::vector<float> x = as_f32s(s.x_dtype, data.x);
  std::vector<uint8_t> expected(static_cast<size_t>(s.rows * s.out * size_of(s.y_dtype)));
  std::vector<double> truth, error;
  for (int64_t m = 0; m < s.rows; ++m) {
    const float* row = x.data() + m * s.in;
    const std::vector<FixedBlock> blocks = quantize_row(row, weights.slicing);
    const bool finite = std::all_of(row, row + s.in, [](float v) { return std::isfinite(v); });
    for (int64_t n = 0; n < s.out; ++n) {
      float v = fixed_point_result(blocks, weights, n);
      if (s.bias) v = v + data.bias[static_cast<size_t>(n)];
      if (s.activation == SN_RELU && v < 0) v = 0;
      put_f32(s.y_dtype, v, expected.data() + (m * s.out + n) * size_of(s.y_dtype));
      const double bias = s.bias ? static_cast<double>(data.bias[static_cast<size_t>(n)]) : 0.0;
      double sum = bias, moved = 0, size = std::fabs(bias);
      for (const FixedBlock& b : blocks) {
        for (int64_t i = b.first; i < b.first + b.size; ++i) {
          const double w = weights.at(n, i) * static_cast<double>(weights.scale(n, i));
          sum += w * static_cast<double>(row[i]);
          // Half of a step; the quotient, at most 32512, is rounded to F32 before.
          moved += std::fabs(w) * static_cast<double>(b.scale) * (0.5 + 32512 * 0x1p-24);
          size += std::fabs(w) * (std::fabs(static_cast<double>(row[i])) + static_cast<double>(b.scale));
        }
      }
      truth.push_back(finite ? sum : std::nan(""));
      error.push_back(moved + size * static_cast<double>(blocks.size() + 5) * 0x1p-24 + 1e-37);
    }
  }
  const std::string label = describe_layer(op, s, what);
  if (is_exact(s.activation)) {
    Call call = call_with(base, data, label);
    call.expected = {expected};
    emit(call);
  }
  Call call = call_with(base, data, label + " against float64");
  call.bounded = {bounded_layer(s, truth, error)};
  emit(call);
}

void emit_float_layer(const Emit& emit, const char* op, const LayerData& data, const std::vector<double>& weights,
                      const Call& base, const std::string& what) {
  const LayerShape& s = data.shape;
  const std::vector<float> x = as_f32s(s.x_dtype, data.x);
  std::vector<double> truth, error;
  for (int64_t m = 0; m < s.rows; ++m) {
    for (int64_t n = 0; n < s.out; ++n) {
      double sum = s.bias ? static_cast<double>(data.bias[static_cast<size_t>(n)]) : 0.0, size = std::fabs(sum);
      for (int64_t k = 0; k < s.in; ++k) {
        const double product =
            weights[static_cast<size_t>(n * s.in + k)] * static_cast<double>(x[static_cast<size_t>(m * s.in + k)]);
        sum += product;
        size += std::fabs(product);
      }
      truth.push_back(sum);
      error.push_back(std::isfinite(size) ? size * static_cast<double>(s.in + 8) * 0x1p-24 + 1e-37 : 0.0);
    }
  }
  Call call = call_with(base, data, describe_layer(op, s, what));
  call.bounded = {bounded_layer(s, truth, error)};
  emit(call);
}

}  // namespace sinew_test
