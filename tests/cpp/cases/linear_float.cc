// y = activation(x W^T + bias) with dense weights: one chain of multiply-adds over the columns for each element.
#include <cmath>
#include <limits>
#include <random>

#include "support/layer.h"
#include "support/quantizing.h"
#include "support/reals.h"

namespace sinew_test {
namespace {

Call make_call(const LayerShape& s, sn_dtype w_dtype, std::vector<uint8_t> x, const std::vector<float>& bias,
               std::vector<uint8_t> weight, const std::string& what) {
  const std::vector<double> a = doubles_of(s.x_dtype, x), w = doubles_of(w_dtype, weight);
  std::vector<double> before, error;
  for (int64_t m = 0; m < s.rows; ++m) {
    for (int64_t n = 0; n < s.out; ++n) {
      double sum = 0, magnitude = 0;
      for (int64_t k = 0; k < s.in; ++k) {
        const double product = a[static_cast<size_t>(m * s.in + k)] * w[static_cast<size_t>(n * s.in + k)];
        sum += product;
        magnitude += std::fabs(product);
      }
      if (s.bias) sum += static_cast<double>(bias[static_cast<size_t>(n)]);
      before.push_back(sum);
      error.push_back(product_error(s.in, magnitude, s.x_dtype == SN_BF16 && w_dtype == SN_BF16) +
                      1.01 * kHalf * std::fabs(sum) + 0x1p-149);
    }
  }
  Call call = layer_call(s, std::move(x), bias, describe_layer("linear_float", s, name_of(w_dtype) + (" " + what)));
  call.sources = {operand_of(w_dtype, {s.out, s.in}, std::move(weight))};
  call.pack = [](const Tensors& t, sn_weights** weights) { return sn_pack_float(t[0], weights); };
  call.bounded = {bounded_layer(s, before, error)};
  return call;
}

Call random_call(const LayerShape& s, sn_dtype w_dtype) {
  const uint64_t seed = next_seed();
  return make_call(s, w_dtype, random_activations(s, seed), random_bias(s, seed),
                   uniform_elements(w_dtype, s.out * s.in, 0.2, seed + 5), "seed " + std::to_string(seed));
}

void shapes(const Emit& emit) {
  for (LayerShape s : kLayerShapes) {
    for (sn_dtype dtype : kReals) emit(random_call(s, dtype));
    s.x_dtype = SN_BF16;
    emit(random_call(s, SN_BF16));
    s.x_dtype = SN_F32;
    s.bias = false;
    emit(random_call(s, SN_F32));
  }
}

void types(const Emit& emit) {
  for (sn_dtype x : {SN_F32, SN_BF16}) {
    for (sn_dtype y : {SN_F32, SN_BF16}) {
      for (sn_dtype w : kReals) {
        for (int64_t rows : {1, 2, 3, 4, 7, 25}) {
          emit(random_call({rows, 600, 37, x, y, true, SN_RELU}, w));
          emit(random_call({rows, 70, 130, x, y, false, SN_SILU}, w));
        }
      }
    }
  }
}

void empty(const Emit& emit) {
  for (const LayerShape& s : {LayerShape{0, 5, 7}, {3, 5, 0}, {0, 0, 0}, {3, 0, 7}, {9, 0, 17, SN_F32, SN_BF16}})
    emit(random_call(s, SN_F32));
}

// Rows with NaN and infinity do not touch the others.
void special_values(const Emit& emit) {
  for (int64_t rows : {3, 9}) {
    const LayerShape s = {rows, 67, 35};
    const uint64_t seed = next_seed();
    std::vector<uint8_t> x = random_activations(s, seed);
    put_f32(SN_F32, std::nanf(""), x.data() + 4 * 67);
    put_f32(SN_F32, std::numeric_limits<float>::infinity(), x.data() + 4 * 67 * 2);
    emit(
        make_call(s, SN_F32, x, random_bias(s, seed), uniform_elements(SN_F32, s.out * s.in, 0.2, seed), "not finite"));
  }
}

// Elements below 2^-126 count in BF16 activations and weights, alone and in one sum.
void subnormal(const Emit& emit) {
  for (int64_t rows : {3, 20, 150}) {
    for (bool in_weights : {false, true}) {
      LayerShape s = {rows, 45, 35, SN_BF16};
      s.bias = false;
      const uint64_t seed = next_seed();
      std::vector<uint8_t> x = random_activations(s, seed), weight = uniform_elements(SN_BF16, s.out * s.in, 0.2, seed);
      const int64_t row = rows - 1, channel = 17, col = 44;
      put(SN_BF16, in_weights ? 0x1p122 : -0x1p-128, x.data() + 2 * (row * s.in + col));
      put(SN_BF16, in_weights ? 0x1p-127 : 0x1p122, weight.data() + 2 * (channel * s.in + col));
      put(SN_BF16, 0x1p-129, x.data() + 2 * (row / 2 * s.in));
      emit(make_call(s, SN_BF16, std::move(x), {}, std::move(weight), in_weights ? "small weight" : "small element"));
    }
  }
}

// More rows than are packed at once, more columns than a block, more channels than a task.
void large(const Emit& emit) {
  if (!quick()) {
    emit(random_call({1, 4099, 1031}, SN_BF16));
    emit(random_call({400, 2600, 41}, SN_F32));
  }
  emit(random_call({109, 517, 300, SN_F32, SN_F32, true, SN_GELU}, SN_F32));
}

template <int64_t kRows>
Call timed() {
  return random_call({kRows, 4096, 4096}, SN_F32);
}

const Register registered({"linear_float",
                           {{"shapes", shapes},
                            {"types", types},
                            {"empty", empty},
                            {"special_values", special_values},
                            {"subnormal", subnormal},
                            {"large", large}},
                           {{"1 x 4096 x 4096", timed<1>}, {"128 x 4096 x 4096", timed<128>}},
                           "pack_float"});

}  // namespace
}  // namespace sinew_test
