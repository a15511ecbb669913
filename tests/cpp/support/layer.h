// What the cases of linear layers have in common: seeded activations, biases, and the oracle's epilogue.
#pragma once

#include <string>
#include <vector>

#include "support/call.h"

namespace sinew_test {

// A layer's shape and types. Rows of x are one dimension unless `dimensions` says otherwise.
struct LayerShape {
  int64_t rows, in, out;
  sn_dtype x_dtype = SN_F32, y_dtype = SN_F32;
  bool bias = true;
  sn_activation activation = SN_NONE;
};
// M, in and out around every tile that a tier has: 1, primes, one less and one more.
extern const std::vector<LayerShape> kLayerShapes;
std::string describe_layer(const char* op, const LayerShape& shape, const std::string& what);

// Activations as a layer sees them: normal, with a few outliers and zeros.
std::vector<uint8_t> random_activations(const LayerShape& shape, uint64_t seed);
std::vector<float> random_bias(const LayerShape& shape, uint64_t seed);

// A call without sources, pack and expected results: input 0 is x, input 1 the bias if there is one, output 0 y, and
// run_packed is sn_linear.
Call layer_call(const LayerShape& shape, std::vector<uint8_t> x, const std::vector<float>& bias, std::string label);

// The activation function in float64.
double oracle_activation(double v, sn_activation activation);
// How far the library's may be from it, for an argument that itself is exact; see docs/numerics.md.
double activation_bound(double v, sn_activation activation);

// The results of a layer from the float64 values v before the activation, in [rows, out] order, which the library
// may have computed with errors of at most `error` each: exact bits are not expected.
Bounded bounded_layer(const LayerShape& shape, const std::vector<double>& v, const std::vector<double>& error);

}  // namespace sinew_test
