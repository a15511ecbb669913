// Convolutions with dense weights, with int8 weights and quantized images and, window by window, with other kinds.
#include <array>
#include <cmath>
#include <functional>
#include <limits>

#include "support/clustering.h"
#include "support/layer.h"
#include "support/lowbit.h"
#include "support/quantizing.h"
#include "support/reals.h"
#include "support/sparse.h"

namespace sinew_test {
namespace {

struct Shape {
  std::vector<int64_t> x;  // [batch, channels, height, width]
  int64_t out, groups;
  std::array<int64_t, 8> window;  // as sinew.h has it
  bool bias = true;
  sn_activation activation = SN_NONE;
  sn_dtype x_dtype = SN_F32, y_dtype = SN_F32;

  int64_t size(int i) const {
    return (x[2 + i] + 2 * window[4 + i] - window[6 + i] * (window[i] - 1) - 1) / window[2 + i] + 1;
  }
  int64_t inner() const { return x[1] / groups * window[0] * window[1]; }
  std::vector<int64_t> y() const { return {x[0], out, size(0), size(1)}; }
};

// f(columns of x, channel, image) for every element of y in order: the elements of its window in the order of the
// weights' columns, 0 in the padding.
template <class F>
void each_window(const Shape& s, const std::vector<double>& x, F f) {
  const auto y = s.y();
  const auto& w = s.window;
  const int64_t in_group = s.x[1] / s.groups, out_group = s.out / s.groups;
  for (int64_t n = 0; n < y[0]; ++n) {
    for (int64_t o = 0; o < s.out; ++o) {
      for (int64_t row = 0; row < y[2]; ++row) {
        for (int64_t col = 0; col < y[3]; ++col) {
          std::vector<double> elements;
          for (int64_t c = o / out_group * in_group; c < (o / out_group + 1) * in_group; ++c) {
            for (int64_t i = 0; i < w[0]; ++i) {
              for (int64_t j = 0; j < w[1]; ++j) {
                const int64_t a = row * w[2] - w[4] + i * w[6], b = col * w[3] - w[5] + j * w[7];
                const bool inside = a >= 0 && a < s.x[2] && b >= 0 && b < s.x[3];
                elements.push_back(inside ? x[static_cast<size_t>(((n * s.x[1] + c) * s.x[2] + a) * s.x[3] + b)] : 0.0);
              }
            }
          }
          f(elements, o, n);
        }
      }
    }
  }
}

std::string describe(const Shape& s, const std::string& what) {
  std::string label =
      "conv2d " + text_of(s.x) + " to " + std::to_string(s.out) + " in " + std::to_string(s.groups) + " groups, window";
  for (int64_t n : s.window) label += " " + std::to_string(n);
  label += std::string(" ") + name_of(s.x_dtype) + " to " + name_of(s.y_dtype);
  return label + (s.bias ? " bias" : "") + " activation " + std::to_string(s.activation) + " " + what;
}

// The call with everything but its weights; `weight` is what they amount to. `extra` is the error of a window's product
// sum beyond that of its roundings, given the elements and the weights of the channel.
template <class Extra>
Call conv_call(const Shape& s, std::vector<uint8_t> x, const std::vector<double>& weight, const std::string& what,
               Extra extra) {
  const std::vector<uint8_t> bias = s.bias ? uniform_elements(SN_F32, s.out, 1, 77) : std::vector<uint8_t>();
  const std::vector<double> b = doubles_of(SN_F32, bias);
  std::vector<double> before, error;
  each_window(s, doubles_of(s.x_dtype, x), [&](const std::vector<double>& elements, int64_t channel, int64_t) {
    const double* w = weight.data() + channel * s.inner();
    double sum = s.bias ? b[static_cast<size_t>(channel)] : 0, magnitude = 0;
    for (size_t k = 0; k < elements.size(); ++k) {
      sum += elements[k] * w[k];
      magnitude += std::fabs(elements[k] * w[k]);
    }
    before.push_back(sum);
    error.push_back(1.01 * kHalf * (static_cast<double>(elements.size() + 1) * magnitude + std::fabs(sum)) +
                    extra(elements, w) + 1e-37);
  });
  Call call;
  call.label = describe(s, what);
  call.inputs = {operand_of(s.x_dtype, s.x, std::move(x))};
  if (s.bias) call.inputs.push_back(operand_of(SN_F32, {s.out}, bias));
  call.outputs = {operand_of(s.y_dtype, s.y(), {})};
  LayerShape layer = {count_of(s.y()), s.inner(), 1, s.x_dtype, s.y_dtype};
  layer.activation = s.activation;
  call.bounded = {bounded_layer(layer, before, error)};
  call.run_packed = [s](const Tensors& in, const sn_weights* weights, const Tensors& out) {
    return sn_conv2d(in[0], weights, s.window.data(), s.groups, s.bias ? in[1] : nullptr, s.activation, out[0]);
  };
  return call;
}

std::vector<int64_t> weight_shape(const Shape& s) { return {s.out, s.x[1] / s.groups, s.window[0], s.window[1]}; }

Call dense_call(const Shape& s, sn_dtype dtype, double bad = 0) {
  const uint64_t seed = next_seed();
  std::vector<uint8_t> x = uniform_elements(s.x_dtype, count_of(s.x), 2, seed);
  if (bad != 0) put_f32(s.x_dtype, static_cast<float>(bad), x.data() + size_of(s.x_dtype) * (count_of(s.x) / 2));
  const std::vector<uint8_t> weight = uniform_elements(dtype, s.out * s.inner(), 0.5, seed + 1);
  Call call = conv_call(s, std::move(x), doubles_of(dtype, weight),
                        std::string(name_of(dtype)) + " seed " + std::to_string(seed),
                        [](const std::vector<double>&, const double*) { return 0.0; });
  call.sources = {operand_of(dtype, weight_shape(s), weight)};
  call.pack = [](const Tensors& t, sn_weights** weights) { return sn_pack_float(t[0], weights); };
  return call;
}

struct Int8Weights {
  std::vector<uint8_t> q;
  std::vector<float> scale;
  std::vector<int8_t> zero_point;  // or none

  int zero_of(int64_t channel) const { return zero_point.empty() ? 0 : zero_point[static_cast<size_t>(channel)]; }
};

enum class Values { kAny, kTwoOfFour };

// Values that are 2:4 are so along the channels, at each place of the kernel.
std::vector<uint8_t> int8_values(const Shape& s, Values values, uint64_t seed) {
  if (values == Values::kAny) return random_bytes(s.out * s.inner(), seed);
  const int64_t places = s.window[0] * s.window[1], channels = s.inner() / places;
  const std::vector<uint8_t> rows = random_two_of_four(s.out * places, channels, seed);
  std::vector<uint8_t> q(rows.size());
  for (int64_t o = 0; o < s.out; ++o) {
    for (int64_t c = 0; c < channels; ++c) {
      for (int64_t p = 0; p < places; ++p)
        q[static_cast<size_t>((o * channels + c) * places + p)] =
            rows[static_cast<size_t>((o * places + p) * channels + c)];
    }
  }
  return q;
}

Int8Weights int8_weights(const Shape& s, bool asymmetric, Values values, uint64_t seed) {
  Int8Weights w = {int8_values(s, values, seed), {}, {}};
  for (int64_t o = 0; o < s.out; ++o) {
    w.scale.push_back(0.001f + 0.0003f * static_cast<float>(o % 7));
    if (asymmetric) w.zero_point.push_back(static_cast<int8_t>(o * 37 % 256 - 128));
  }
  return w;
}

void give_int8(const Shape& s, const Int8Weights& w, Call& call) {
  call.sources = {operand_of(SN_I8, weight_shape(s), w.q), operand_of(SN_F32, {s.out}, bytes_of(w.scale))};
  if (!w.zero_point.empty()) call.sources.push_back(operand_of(SN_I8, {s.out}, bytes_of(w.zero_point)));
  call.pack = [](const Tensors& t, sn_weights** weights) {
    return sn_pack_w8a8(t[0], t[1], t.size() > 2 ? t[2] : nullptr, weights);
  };
}

// int8 weights in groups, which become floats.
Call grouped_int8_call(const Shape& s, const Int8Weights& w, uint64_t seed) {
  std::vector<double> weight;
  for (int64_t i = 0; i < s.out * s.inner(); ++i) {
    const int64_t o = i / s.inner();
    weight.push_back(static_cast<double>(w.scale[static_cast<size_t>(o)]) *
                     (static_cast<int8_t>(w.q[static_cast<size_t>(i)]) - w.zero_of(o)));
  }
  Call call =
      conv_call(s, uniform_elements(s.x_dtype, count_of(s.x), 2, seed + 1), weight, "int8 seed " + std::to_string(seed),
                [](const std::vector<double>& elements, const double* row) {
                  double sum = 0;
                  for (size_t k = 0; k < elements.size(); ++k)
                    sum += std::fabs(row[k]) * (std::fabs(elements[k]) * 4 * kUlp);
                  return sum;
                });
  give_int8(s, w, call);
  return call;
}

// Without groups: each image is quantized as a whole, and then all is exact.
Call int8_call(const Shape& s, bool asymmetric = false, double bad = 0, Values values = Values::kAny) {
  const uint64_t seed = next_seed();
  const Int8Weights w = int8_weights(s, asymmetric, values, seed);
  if (s.groups != 1) return grouped_int8_call(s, w, seed);
  std::vector<uint8_t> x = uniform_elements(s.x_dtype, count_of(s.x), 2, seed + 1);
  if (bad != 0 && !x.empty())
    put_f32(s.x_dtype, static_cast<float>(bad), x.data() + size_of(s.x_dtype) * (count_of(s.x) / 2));
  const std::vector<float> numbers = as_f32s(s.x_dtype, x);
  const size_t image = s.x[0] == 0 ? 0 : numbers.size() / static_cast<size_t>(s.x[0]);
  std::vector<float> scales;
  std::vector<double> q;
  for (int64_t n = 0; n < s.x[0]; ++n) {
    const float* from = numbers.data() + static_cast<size_t>(n) * image;
    float largest = 0;
    bool finite = true;
    for (size_t i = 0; i < image; ++i) {
      finite = finite && std::isfinite(from[i]);
      largest = std::fmax(largest, std::fabs(from[i]));
    }
    scales.push_back(finite ? oracle_scale({{-largest}, {largest}}, SN_INT8_SYMMETRIC).scale[0] : std::nanf(""));
    for (size_t i = 0; i < image; ++i)
      q.push_back(finite ? oracle_quantize(from[i], scales.back(), 0, SN_INT8_SYMMETRIC) : 0);
  }
  const std::vector<uint8_t> bias = uniform_elements(SN_F32, s.out, 1, 77);
  const std::vector<float> b = as_f32s(SN_F32, bias);
  std::vector<uint8_t> expected(static_cast<size_t>(count_of(s.y()) * size_of(s.y_dtype)));
  std::vector<double> before;
  each_window(s, q, [&](const std::vector<double>& elements, int64_t channel, int64_t n) {
    int64_t sum = 0;
    for (size_t k = 0; k < elements.size(); ++k) {
      const auto weight = static_cast<int8_t>(w.q[static_cast<size_t>(channel * s.inner()) + k]);
      sum += static_cast<int64_t>(elements[k]) * (weight - w.zero_of(channel));
    }
    float v = static_cast<float>(static_cast<int32_t>(sum)) * w.scale[static_cast<size_t>(channel)];
    v = v * scales[static_cast<size_t>(n)];
    if (s.bias) v = v + b[static_cast<size_t>(channel)];
    if (s.activation == SN_RELU && v < 0) v = 0;
    put_f32(s.y_dtype, v, expected.data() + static_cast<int64_t>(before.size()) * size_of(s.y_dtype));
    before.push_back(static_cast<double>(v));
  });
  Call call = conv_call(s, std::move(x), std::vector<double>(static_cast<size_t>(s.out * s.inner())),
                        std::string(asymmetric ? "int8, zero points, seed " : "int8 seed ") + std::to_string(seed),
                        [](const std::vector<double>&, const double*) { return 0.0; });
  give_int8(s, w, call);
  call.bounded.clear();
  call.any_nan = true;
  if (s.activation == SN_NONE || s.activation == SN_RELU) {
    call.expected = {std::move(expected)};
  } else {
    LayerShape layer = {count_of(s.y()), s.inner(), 1, s.x_dtype, s.y_dtype};
    layer.activation = s.activation;
    call.bounded = {bounded_layer(layer, before, std::vector<double>(before.size(), 0.0))};
  }
  return call;
}

// What is packed, and the numbers that it stands for.
struct Stored {
  std::string what;
  std::vector<Operand> sources;
  std::function<sn_status(const Tensors&, sn_weights**)> pack;
  std::vector<double> weight;
  bool words;  // activations become 16-bit fixed point
};

// Weights of integers: int8 or int4, or int8 with a bitmap, of which half are zero.
Stored stored_integers(const Shape& s, sn_scheme scheme, int64_t grain, bool sparse, uint64_t seed) {
  const LayerShape matrix = {1, s.inner(), s.out};
  IntegerWeights w = random_integers(matrix, grain, scheme, seed);
  Stored stored;
  std::vector<uint8_t> bytes;
  for (int64_t i = 0; i < s.out * s.inner(); ++i) {
    int& q = w.q[static_cast<size_t>(i)];
    if (sparse && (static_cast<uint64_t>(i) * 2654435761U + seed) >> 7 & 1) q = 0;
    bytes.push_back(static_cast<uint8_t>(q));
    const int64_t row = i / s.inner(), col = i % s.inner();
    stored.weight.push_back(w.at(row, col) * static_cast<double>(w.scale(row, col)));
  }
  const int64_t group = w.slicing.argument(), cols = s.inner();
  const Operand scale = {SN_F32, w.slicing.shape(), bytes_of(w.scales.scale)};
  stored.words = true;
  if (sparse) {
    stored.what = "sparse int8";
    stored.sources = sparse_operands(SN_I8, {s.out, cols}, sparse_oracle(SN_I8, {s.out, cols}, bytes, 0));
    stored.sources.push_back(scale);
    stored.pack = [group, cols](const Tensors& t, sn_weights** weights) {
      return sn_pack_sparse(t[0], t[1], t[2], t[3], group, cols, weights);
    };
    return stored;
  }
  const bool int4 = scheme == SN_INT4_SYMMETRIC || scheme == SN_INT4_ASYMMETRIC;
  stored.what = int4 ? "int4" : "int8 weights";
  stored.sources = {integers_operand(w.q, {s.out, cols}, scheme), scale};
  if (!w.scales.zero_point.empty()) stored.sources.push_back({SN_I8, w.slicing.shape(), bytes_of(w.scales.zero_point)});
  stored.pack = [group, cols, int4](const Tensors& t, sn_weights** weights) {
    const sn_tensor* zero_point = t.size() > 2 ? t[2] : nullptr;
    return int4 ? sn_pack_w4(t[0], cols, t[1], zero_point, group, weights)
                : sn_pack_w8(t[0], t[1], zero_point, group, weights);
  };
  return stored;
}

Stored stored_clustered(const Shape& s, int bits, uint64_t seed) {
  const std::vector<float> book = make_codebook(Book::kWeights, bits, seed);
  const int64_t cols = s.inner();
  Stored stored;
  std::vector<int> indices;
  for (int64_t i = 0; i < s.out * cols; ++i) {
    indices.push_back(static_cast<int>((static_cast<uint64_t>(i) * 2654435761U + seed) >> 5 & ((1U << bits) - 1)));
    stored.weight.push_back(static_cast<double>(book[static_cast<size_t>(indices.back())]));
  }
  stored.what = "clustered";
  stored.sources = {indices_operand(indices, {s.out, cols}, bits), {SN_F32, {1, int64_t{1} << bits}, bytes_of(book)}};
  stored.pack = [cols](const Tensors& t, sn_weights** weights) { return sn_pack_clustered(t[0], t[1], cols, weights); };
  stored.words = false;
  return stored;
}

// Products are summed in any order, weights may be rounded once when they are dequantized, and in 16-bit fixed point
// activations move by half a step.
Call stored_call(const Shape& s, const Stored& stored, uint64_t seed) {
  const bool words = stored.words && s.groups == 1;
  Call call = conv_call(
      s, uniform_elements(s.x_dtype, count_of(s.x), 2, seed + 1), stored.weight,
      stored.what + " seed " + std::to_string(seed), [words](const std::vector<double>& elements, const double* w) {
        double largest = 0, sum = 0;
        for (double element : elements) largest = std::fmax(largest, std::fabs(element));
        for (size_t k = 0; k < elements.size(); ++k)
          sum += std::fabs(w[k]) * (std::fabs(elements[k]) * 16 * kUlp + (words ? largest / 32512 * 0.51 : 0));
        return sum;
      });
  call.sources = stored.sources;
  call.pack = stored.pack;
  return call;
}

std::vector<Shape> all_shapes() {
  return {
      {{1, 1, 1, 1}, 1, 1, {1, 1, 1, 1, 0, 0, 1, 1}},
      {{2, 1, 28, 28}, 8, 1, {3, 3, 1, 1, 1, 1, 1, 1}, true, SN_RELU},
      {{1, 3, 33, 35}, 17, 1, {3, 3, 2, 2, 1, 1, 1, 1}, false, SN_RELU},
      {{1, 5, 9, 11}, 7, 1, {3, 2, 1, 3, 2, 1, 2, 1}},
      {{2, 8, 7, 7}, 33, 1, {1, 1, 1, 1, 0, 0, 1, 1}, true, SN_SILU},
      {{1, 70, 5, 13}, 40, 1, {1, 1, 1, 1, 0, 0, 1, 1}},
      {{1, 300, 3, 3}, 18, 1, {3, 3, 1, 1, 1, 1, 1, 1}},
      {{1, 4, 12, 40}, 6, 1, {1, 1, 2, 2, 0, 0, 1, 1}},
      {{1, 2, 6, 6}, 3, 1, {6, 6, 1, 1, 0, 0, 1, 1}},
      {{1, 2, 4, 4}, 3, 1, {3, 3, 1, 1, 4, 5, 1, 1}},
      {{1, 1, 40, 40}, 2, 1, {17, 19, 1, 1, 3, 0, 1, 1}},
      {{1, 6, 10, 9}, 10, 2, {3, 3, 1, 1, 1, 1, 1, 1}},
      {{2, 8, 6, 7}, 72, 4, {3, 3, 2, 1, 1, 1, 1, 1}, true, SN_GELU},
      {{0, 3, 5, 5}, 4, 1, {3, 3, 1, 1, 1, 1, 1, 1}},
      {{1, 3, 9, 26}, 8, 1, {3, 3, 1, 1, 0, 0, 1, 1}},
      {{2, 2, 7, 21}, 7, 1, {3, 3, 2, 2, 1, 0, 1, 1}},
      // Read where they lie: several blocks of rows, rows shorter than a vector, of one element, of more than a block,
      // gaps as wide as they may be, several channels of one.
      {{2, 3, 60, 9}, 17, 1, {2, 2, 1, 1, 0, 0, 1, 1}, true, SN_GELU},
      {{1, 3, 37, 5}, 7, 1, {3, 1, 1, 1, 0, 0, 1, 1}},
      {{1, 2, 450, 1}, 3, 1, {3, 1, 1, 1, 1, 0, 1, 1}},
      {{1, 2, 5, 500}, 6, 1, {3, 3, 1, 1, 1, 1, 1, 1}},
      {{1, 2, 30, 15}, 5, 1, {3, 4, 1, 1, 2, 0, 2, 1}},
      {{2, 3, 30, 31}, 12, 3, {3, 3, 1, 1, 1, 2, 1, 2}, true, SN_RELU},
      // Depthwise.
      {{1, 7, 14, 14}, 7, 7, {3, 3, 1, 1, 1, 1, 1, 1}, true, SN_RELU},
      {{2, 5, 15, 70}, 5, 5, {3, 3, 2, 2, 1, 1, 1, 1}},
      {{1, 3, 20, 33}, 9, 3, {5, 4, 3, 2, 2, 1, 1, 2}},
      {{1, 18, 3, 3}, 18, 18, {3, 3, 1, 1, 1, 1, 1, 1}},
      {{1, 2, 300, 40}, 2, 2, {3, 3, 1, 1, 1, 1, 1, 1}},
      {{1, 2, 9, 200}, 2, 2, {1, 7, 1, 1, 0, 6, 1, 2}},
      {{1, 2, 31, 31}, 4, 2, {3, 3, 2, 2, 1, 1, 2, 2}},
  };
}

void dense(const Emit& emit) {
  for (const Shape& s : all_shapes()) {
    for (sn_dtype dtype : kReals) emit(dense_call(s, dtype));
  }
}

void int8(const Emit& emit) {
  for (const Shape& s : all_shapes()) {
    for (bool asymmetric : {false, true}) emit(int8_call(s, asymmetric));
  }
  emit(int8_call({{1, 2, 3, 3}, 3, 1, {3, 3, 1, 1, 40, 70, 1, 1}}));        // windows without an element
  emit(int8_call({{3, 4, 9, 11}, 5, 1, {3, 3, 50, 3, 1, 1, 1, 1}}));        // strides beyond the image
  emit(int8_call({{2, 3, 8, 30}, 19, 1, {3, 3, 1, 1, 2, 2, 2, 3}}, true));  // dilated
  emit(int8_call({{1, 1, 5, 130}, 16, 1, {1, 5, 1, 1, 0, 2, 1, 1}, true, SN_RELU}));
}

// Which a GPU gives to its sparse tensor cores, and the last two, which it dequantizes.
void two_of_four(const Emit& emit) {
  for (const Shape& s : {Shape{{2, 64, 7, 9}, 33, 1, {1, 1, 1, 1, 0, 0, 1, 1}, true, SN_SILU},
                         {{1, 20, 9, 16}, 40, 1, {3, 3, 1, 1, 1, 1, 1, 1}, true, SN_RELU},
                         {{1, 70, 12, 11}, 131, 1, {3, 2, 1, 1, 1, 1, 1, 1}, false},
                         {{1, 256, 5, 6}, 36, 2, {1, 1, 1, 1, 0, 0, 1, 1}},
                         {{1, 128, 5, 4}, 20, 2, {3, 3, 1, 1, 1, 1, 1, 1}}}) {
    for (bool asymmetric : {false, true}) emit(int8_call(s, asymmetric, 0, Values::kTwoOfFour));
  }
}

void bf16(const Emit& emit) {
  for (sn_dtype x : {SN_F32, SN_BF16}) {
    for (sn_dtype y : {SN_F32, SN_BF16}) {
      if (x == SN_F32 && y == SN_F32) continue;
      for (Shape s : {Shape{{2, 3, 9, 21}, 17, 1, {3, 3, 1, 1, 1, 1, 1, 1}, true, SN_RELU},
                      {{3, 4, 11, 9}, 4, 4, {3, 3, 2, 2, 1, 1, 1, 1}, false},
                      {{2, 4, 7, 7}, 6, 2, {3, 3, 1, 1, 1, 1, 1, 1}, true, SN_GELU},
                      {{0, 3, 5, 5}, 4, 1, {3, 3, 1, 1, 1, 1, 1, 1}}}) {
        s.x_dtype = x;
        s.y_dtype = y;
        for (sn_dtype weights : {SN_F32, SN_BF16}) emit(dense_call(s, weights));
        emit(int8_call(s, true));
        const uint64_t seed = next_seed();
        emit(stored_call(s, stored_integers(s, SN_INT4_SYMMETRIC, 32, false, seed), seed));
      }
    }
  }
}

void stored(const Emit& emit) {
  int64_t i = 0;
  for (const Shape& s : all_shapes()) {
    const int64_t grain = ++i % 2 == 0 ? kPerChannel : 32;
    uint64_t seed = next_seed();
    emit(stored_call(s, stored_integers(s, i % 3 == 0 ? SN_INT8_ASYMMETRIC : SN_INT8_SYMMETRIC, grain, false, seed),
                     seed));
    seed = next_seed();
    emit(stored_call(s, stored_integers(s, i % 3 == 0 ? SN_INT4_ASYMMETRIC : SN_INT4_SYMMETRIC, grain, false, seed),
                     seed));
    seed = next_seed();
    emit(stored_call(s, stored_integers(s, SN_INT8_SYMMETRIC, grain, true, seed), seed));
    seed = next_seed();
    emit(stored_call(s, stored_clustered(s, 2 + static_cast<int>(i % 7), seed), seed));
  }
}

void not_finite(const Emit& emit) {
  for (const Shape& s :
       {Shape{{1, 3, 9, 9}, 5, 1, {3, 3, 1, 1, 0, 0, 1, 1}}, {{1, 5, 9, 9}, 5, 5, {3, 3, 1, 1, 0, 0, 1, 1}}}) {
    emit(dense_call(s, SN_F32, std::nan("")));
    emit(dense_call(s, SN_F32, std::numeric_limits<double>::infinity()));
  }
  // An image with NaN does not touch the others.
  for (double bad : {std::nan(""), -std::numeric_limits<double>::infinity()})
    emit(int8_call({{3, 3, 9, 9}, 5, 1, {3, 3, 1, 1, 0, 0, 1, 1}}, false, bad));
}

void large(const Emit& emit) {
  if (quick()) {
    emit(dense_call({{1, 33, 20, 20}, 20, 1, {3, 3, 1, 1, 1, 1, 1, 1}, true, SN_RELU}, SN_F32));
  } else {
    emit(dense_call({{2, 65, 28, 30}, 48, 1, {3, 3, 1, 1, 1, 1, 1, 1}, true, SN_RELU}, SN_F32));
    emit(int8_call({{2, 65, 28, 30}, 48, 1, {3, 3, 1, 1, 1, 1, 1, 1}, true, SN_RELU}));
    emit(dense_call({{1, 32, 100, 100}, 32, 32, {3, 3, 1, 1, 1, 1, 1, 1}, true, SN_RELU}, SN_F32));
  }
}

const Register registered({"conv2d",
                           {{"dense", dense},
                            {"int8", int8},
                            {"two_of_four", two_of_four},
                            {"bf16", bf16},
                            {"stored", stored},
                            {"not_finite", not_finite},
                            {"large", large}},
                           {}});

}  // namespace
}  // namespace sinew_test
