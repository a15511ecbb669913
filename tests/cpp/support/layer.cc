#include "support/layer.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "support/quantizing.h"

namespace sinew_test {

const std::vector<LayerShape> kLayerShapes = {
    {1, 1, 1},     {1, 1, 37},   {2, 3, 5},    {1, 7, 16},    {3, 4, 17},   {4, 5, 15},     {5, 31, 33},
    {6, 64, 16},   {7, 63, 31},  {11, 65, 32}, {12, 128, 48}, {13, 127, 1}, {1, 1031, 67},  {2, 1024, 64},
    {17, 129, 47}, {25, 257, 3}, {33, 64, 65}, {49, 97, 101}, {64, 64, 64}, {65, 1100, 19}, {131, 67, 35}};

std::string describe_layer(const char* op, const LayerShape& s, const std::string& what) {
  static const char* const activations[] = {"", " relu", " gelu", " silu", " gelu_tanh", " sigmoid", " tanh"};
  return std::string(op) + " " + name_of(s.x_dtype) + " [" + std::to_string(s.rows) + "," + std::to_string(s.in) +
         "] x [" + std::to_string(s.out) + "," + std::to_string(s.in) + "] -> " + name_of(s.y_dtype) +
         (s.bias ? " bias" : "") + activations[s.activation] + " " + what;
}

std::vector<uint8_t> random_activations(const LayerShape& s, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal(0.0, 1.5);
  std::vector<double> values(static_cast<size_t>(s.rows * s.in));
  for (double& v : values) {
    const uint64_t kind = random() % 64;
    v = kind == 0 ? 0.0 : kind == 1 ? normal(random) * 8 : normal(random);
  }
  return elements(s.x_dtype, values);
}

std::vector<float> random_bias(const LayerShape& s, uint64_t seed) {
  if (!s.bias) return {};
  std::mt19937_64 random(seed + 1);
  std::normal_distribution<float> normal(0.0f, 0.7f);
  std::vector<float> bias(static_cast<size_t>(s.out));
  for (float& b : bias) b = normal(random);
  return bias;
}

Call layer_call(const LayerShape& s, std::vector<uint8_t> x, const std::vector<float>& bias, std::string label) {
  Call call;
  call.label = std::move(label);
  call.inputs = {{s.x_dtype, {s.rows, s.in}, std::move(x), true}};
  if (s.bias) call.inputs.push_back({SN_F32, {s.out}, bytes_of(bias)});
  call.outputs = {{s.y_dtype, {s.rows, s.out}, {}, true}};
  call.operations = 2.0 * static_cast<double>(s.rows) * static_cast<double>(s.in) * static_cast<double>(s.out);
  const sn_activation activation = s.activation;
  call.run_packed = [activation](const Tensors& in, const sn_weights* weights, const Tensors& out) {
    return sn_linear(in[0], weights, in.size() > 1 ? in[1] : nullptr, activation, out[0]);
  };
  return call;
}

double oracle_activation(double v, sn_activation activation) {
  const bool vanishes = activation == SN_GELU || activation == SN_SILU || activation == SN_GELU_TANH;
  if (vanishes && v < 0 && std::isinf(v)) return 0;  // the limit; the formula would give NaN
  switch (activation) {
    case SN_RELU:
      return v < 0 ? 0.0 : v;
    case SN_GELU:
      return v * 0.5 * std::erfc(-v / std::sqrt(2.0));
    case SN_SILU:
      return v / (1 + std::exp(-v));
    case SN_GELU_TANH:
      return v / (1 + std::exp(-2 * std::sqrt(2 / std::acos(-1.0)) * (v + 0.044715 * v * v * v)));
    case SN_SIGMOID:
      return 1 / (1 + std::exp(-v));
    case SN_TANH:
      return std::tanh(v);
    default:
      return v;
  }
}

double activation_bound(double v, sn_activation activation) {
  if (activation == SN_NONE || activation == SN_RELU) return 0;
  // The argument of the exponential is rounded: an error in proportion to it.
  const double argument = activation == SN_GELU        ? v * v / 2
                          : activation == SN_GELU_TANH ? 1.6 * std::fabs(v) + 0.0714 * std::fabs(v * v * v)
                                                       : 2 * std::fabs(v);
  return std::fabs(oracle_activation(v, activation)) * std::ldexp(16 + 4 * std::min(argument, 200.0), -24) + 1e-37;
}

Bounded bounded_layer(const LayerShape& s, const std::vector<double>& v, const std::vector<double>& error) {
  Bounded result;
  for (size_t i = 0; i < v.size(); ++i) {
    const double y = oracle_activation(v[i], s.activation);
    // No activation here is steeper than 1.13.
    double bound = 1.13 * error[i] + activation_bound(v[i], s.activation);
    bound += (std::fabs(y) + bound) * std::ldexp(1.0, s.y_dtype == SN_BF16 ? -8 : -24);
    result.value.push_back(y);
    result.bound.push_back(bound);
  }
  return result;
}

}  // namespace sinew_test
