// The oracle of layers whose weights have few bits or are sparse: dense float64 weights, and for integers the
// fixed-point arithmetic of sn_linear.
#pragma once

#include <string>
#include <vector>

#include "support/layer.h"
#include "support/quantizing.h"

namespace sinew_test {

// Weights [out, in] as integers less their zero points, and what they are multiplied by.
struct IntegerWeights {
  std::vector<int> q;  // as stored
  Scales scales;
  Slicing slicing;

  int zero_point(int64_t row, int64_t col) const {
    return scales.zero_point.empty() ? 0 : scales.zero_point[static_cast<size_t>(slicing.slice_of(row, col))];
  }
  float scale(int64_t row, int64_t col) const { return scales.scale[static_cast<size_t>(slicing.slice_of(row, col))]; }
  int at(int64_t row, int64_t col) const {
    return q[static_cast<size_t>(row * slicing.cols + col)] - zero_point(row, col);
  }
};
// Random integers of the scheme's whole range with scales of either sign.
IntegerWeights random_integers(const LayerShape& s, int64_t grain, sn_scheme scheme, uint64_t seed);

// Everything about a call but its weights.
struct LayerData {
  LayerShape shape;
  std::vector<uint8_t> x;
  std::vector<float> bias;
};
LayerData random_layer(const LayerShape& s, uint64_t seed);

// Fills in what a layer with such weights gives: once the exact bits of fixed-point arithmetic, where the activation
// allows, and once the float64 result with the bound of the error. `base` has the sources and how to pack them.
void emit_integer_layer(const Emit& emit, const char* op, const LayerData& data, const IntegerWeights& weights,
                        const Call& base, const std::string& what);
// The same for float weights [out, in], whose products are summed in any order.
void emit_float_layer(const Emit& emit, const char* op, const LayerData& data, const std::vector<double>& weights,
                      const Call& base, const std::string& what);

// Shapes to go through with every variant of a kind.
extern const std::vector<LayerShape> kFewLayerShapes;
// What a layer does to activations of NaN and infinity: x with some in a few rows.
LayerData special_layer(const LayerShape& s, uint64_t seed);

}  // namespace sinew_test
