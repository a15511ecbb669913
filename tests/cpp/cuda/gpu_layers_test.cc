// Layers of a GPU beside those of the CPU, where both promise the same bits.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdlib>
#include <string>
#include <vector>

#include "gpu.h"
#include "support/quantizing.h"
#include "support/reals.h"
#include "support/tensor.h"
#include "support/values.h"

namespace sinew_test {
namespace {

struct Layer {
  sn_dtype weight_dtype;              // F32, or I8 with a scale and a zero point a row
  std::vector<int64_t> x, weight, y;  // shapes
  std::array<int64_t, 8> window;      // of convolutions, whose x has four dimensions
  int64_t groups;

  bool convolves() const { return x.size() == 4; }
};

std::vector<float> result(bool on_gpu, const Layer& layer, int32_t index = 0) {
  sn_device* device = opened(on_gpu, index);
  Tensor x(device, SN_F32, layer.x), weight(device, layer.weight_dtype, layer.weight), y(device, SN_F32, layer.y);
  const int64_t out = layer.weight[0];
  Tensor scale(device, SN_F32, {out}), zero_point(device, SN_I8, {out}), bias(device, SN_F32, {out});
  const std::vector<uint8_t> numbers = uniform_elements(SN_F32, static_cast<int64_t>(x.size()) / 4, 2, 5);
  const std::vector<uint8_t> biases = uniform_elements(SN_F32, out, 1, 6), zeros = random_bytes(out, 7);
  write(x, numbers.data(), numbers.size());
  write(bias, biases.data(), biases.size());
  sn_weights* packed = nullptr;
  if (layer.weight_dtype == SN_F32) {
    const std::vector<uint8_t> weights = uniform_elements(SN_F32, static_cast<int64_t>(weight.size()) / 4, 1, 8);
    write(weight, weights.data(), weights.size());
    EXPECT_EQ(sn_pack_float(weight, &packed), SN_OK) << sn_last_error();
  } else {
    const std::vector<uint8_t> weights = random_bytes(static_cast<int64_t>(weight.size()), 8);
    const std::vector<float> scales(static_cast<size_t>(out), 0.01f);
    write(weight, weights.data(), weights.size());
    write(scale, scales.data(), scales.size() * sizeof(float));
    write(zero_point, zeros.data(), zeros.size());
    EXPECT_EQ(sn_pack_w8a8(weight, scale, zero_point, &packed), SN_OK) << sn_last_error();
  }
  const sn_status status = layer.convolves() ? sn_conv2d(x, packed, layer.window.data(), layer.groups, bias, SN_SILU, y)
                                             : sn_linear(x, packed, bias, SN_SILU, y);
  EXPECT_EQ(status, SN_OK) << sn_last_error();
  std::vector<float> values(y.size() / sizeof(float));
  EXPECT_EQ(sn_tensor_read(y, 0, values.data(), static_cast<int64_t>(y.size())), SN_OK) << sn_last_error();
  sn_weights_close(packed);
  sn_device_close(device);
  return values;
}

void expect_same(const Layer& layer, int32_t index = 0) {
  const std::vector<float> expected = result(false, layer), found = result(true, layer, index);
  for (size_t i = 0; i < expected.size(); ++i)
    ASSERT_EQ(expected[i], found[i]) << "element " << i << " of " << expected.size();
}

TEST(GpuLayers, ConvolveFloatsAsVectorUnits) {
  if (std::string(sn_cpu_isa()) == "scalar") GTEST_SKIP() << "the scalar tier rounds products";
  expect_same({SN_F32, {2, 5, 9, 11}, {70, 5, 3, 2}, {2, 70, 9, 4}, {3, 2, 1, 3, 2, 1, 2, 1}, 1});
  expect_same({SN_F32, {1, 6, 10, 9}, {18, 3, 3, 3}, {1, 18, 10, 9}, {3, 3, 1, 1, 1, 1, 1, 1}, 2});
  expect_same({SN_F32, {1, 7, 14, 15}, {7, 1, 3, 3}, {1, 7, 7, 8}, {3, 3, 2, 2, 1, 1, 1, 1}, 7});
}

TEST(GpuLayers, MultiplyManyRowsAsVectorUnits) {
  if (std::string(sn_cpu_isa()) == "scalar") GTEST_SKIP() << "the scalar tier rounds products";
  for (int64_t rows : {32, 65}) expect_same({SN_F32, {rows, 131}, {70, 131}, {rows, 70}, {}, 1});
}

int64_t products_of_stub() {
  const int64_t* count = of_stub<int64_t>("SINEW_CUBLASLT", "sn_lt_stub_products");
  return count == nullptr ? 0 : *count;
}

std::vector<uint8_t> product(bool on_gpu, sn_dtype dtype, bool transposed, const std::vector<int64_t>& a_shape,
                             const std::vector<int64_t>& b_shape, const std::vector<int64_t>& y_shape) {
  sn_device* device = opened(on_gpu);
  Tensor a(device, dtype, a_shape), b(device, dtype, b_shape), y(device, SN_F32, y_shape);
  const std::vector<uint8_t> left = uniform_elements(dtype, static_cast<int64_t>(a.size()) / size_of(dtype), 1, 3);
  const std::vector<uint8_t> right = uniform_elements(dtype, static_cast<int64_t>(b.size()) / size_of(dtype), 1, 4);
  write(a, left.data(), left.size());
  write(b, right.data(), right.size());
  EXPECT_EQ(sn_matmul(a, b, transposed, y), SN_OK) << sn_last_error();
  std::vector<uint8_t> bytes(y.size());
  EXPECT_EQ(sn_tensor_read(y, 0, bytes.data(), static_cast<int64_t>(y.size())), SN_OK) << sn_last_error();
  sn_device_close(device);
  return bytes;
}

void expect_close(const std::vector<double>& expected, const std::vector<double>& found) {
  ASSERT_EQ(expected.size(), found.size());
  for (size_t i = 0; i < expected.size(); ++i) ASSERT_NEAR(expected[i], found[i], 1e-4) << "element " << i;
}

// A name is taken until the library is looked for, which the description does at the latest.
TEST(GpuLayers, CublasLtIsNamedBeforeItIsLookedFor) {
  sn_device_close(opened(true));  // loads the plug-in
  const std::string longest(4095, 'x');
  EXPECT_EQ(sn_cuda_cublaslt((longest + "x").c_str()), SN_INVALID_ARGUMENT);
  EXPECT_STREQ(sn_last_error(), "the name of cuBLASLt's file has more than 4095 bytes");
  const std::string found = sn_cuda_cublaslt_description();
  EXPECT_TRUE(found.rfind("cuBLASLt 13.", 0) == 0 || found.rfind("Sinew, as ", 0) == 0) << found;
  const char* path = std::getenv("SINEW_CUBLASLT");
  const std::string named = path == nullptr ? "" : path;
  EXPECT_NE(found.find(named == "none" ? "no cuBLASLt was asked for" : named), std::string::npos) << found;
  EXPECT_EQ(sn_cuda_cublaslt("none"), SN_INVALID_ARGUMENT);
  EXPECT_STREQ(sn_last_error(), "cuBLASLt was looked for before its file was named");
  EXPECT_EQ(sn_cuda_cublaslt_description(), found);
}

// What cuBLASLt is told of shapes, pitches, transposes and batches.
TEST(GpuLayers, LargeProductsAreThoseOfTheCpu) {
  const int64_t before = products_of_stub();
  for (sn_dtype dtype : {SN_F32, SN_BF16}) {
    for (bool transposed : {false, true}) {
      const std::vector<int64_t> b = transposed ? std::vector<int64_t>{72, 80} : std::vector<int64_t>{80, 72};
      std::vector<int64_t> batch = b;
      batch.insert(batch.begin(), 3);
      for (const auto& right : {b, batch}) {
        const auto run = [&](bool on_gpu) {
          return doubles_of(SN_F32, product(on_gpu, dtype, transposed, {3, 64, 80}, right, {3, 64, 72}));
        };
        expect_close(run(false), run(true));
        expect_close(run(false), run(true));  // as chosen before
      }
    }
  }
  const int64_t large = products_of_stub();
  // Pitches that are not multiples of 16 bytes are for our own kernel.
  const auto odd = [&](bool on_gpu) {
    return doubles_of(SN_F32, product(on_gpu, SN_BF16, false, {100, 81}, {81, 75}, {100, 75}));
  };
  expect_close(odd(false), odd(true));
  EXPECT_EQ(products_of_stub(), large);
  EXPECT_TRUE(large == 0 || large - before >= 16) << large - before;
}

// Their columns are in the order of convolutions, also for layers that are none.
TEST(GpuLayers, TakeWeightsOfWindows) {
  for (int64_t rows : {1, 40}) expect_same({SN_I8, {rows, 3 * 9}, {21, 3, 3, 3}, {rows, 21}, {}, 1});
  for (int64_t rows : {1, 33}) expect_same({SN_I8, {rows, 17 * 2}, {5, 17, 1, 2}, {rows, 5}, {}, 1});
  expect_same({SN_I8, {2, 17, 6, 5}, {21, 17, 3, 3}, {2, 21, 6, 5}, {3, 3, 1, 1, 1, 1, 1, 1}, 1});
}

// Of the stand-in's GPUs the last one does not have all that Hopper has.
TEST(GpuLayers, OfEveryGpuAreThoseOfTheCpu) {
  sn_device_close(opened(true));
  int32_t count = 0;
  ASSERT_EQ(sn_cuda_count(&count), SN_OK) << sn_last_error();
  for (int32_t index = 0; index < count; ++index)
    expect_same({SN_I8, {261, 333}, {270, 333}, {261, 270}, {}, 1}, index);
}

// Bytes of a handle packed from such weights on the GPU.
int64_t packed_bytes(const std::vector<uint8_t>& weights, const std::vector<int64_t>& shape) {
  sn_device* device = opened(true);
  Tensor weight(device, SN_I8, shape), scale(device, SN_F32, {shape[0]});
  write(weight, weights.data(), weights.size());
  sn_weights* packed = nullptr;
  EXPECT_EQ(sn_pack_w8a8(weight, scale, nullptr, &packed), SN_OK) << sn_last_error();
  const int64_t bytes = sn_weights_bytes(packed);
  sn_weights_close(packed);
  sn_device_close(device);
  return bytes;
}

// Half of the values and two bits for each, of whole steps of 64 columns and 16 rows.
TEST(GpuLayers, PackTwoOfFourInLessMemory) {
  constexpr int64_t kRows = 33, kCols = 250, kScales = 4 * kRows;
  const int64_t dense = kRows * 256 + kScales, sparse = kRows * 128 + 48 * 256 / 8 + kScales;
  std::vector<uint8_t> weights = random_two_of_four(kRows, kCols, 3);
  EXPECT_EQ(packed_bytes(weights, {kRows, kCols}), sparse);
  for (size_t group : {size_t{0}, size_t{250}, size_t{32 * 250 + 244}}) {
    std::vector<uint8_t> others = weights;
    for (size_t i = 0; i < 3; ++i) others[group + i] = 1;
    EXPECT_EQ(packed_bytes(others, {kRows, kCols}), dense) << group;
  }
  // Groups begin anew with each row: two at the end of one and two at the beginning of the next are no four.
  for (size_t i = 248; i < 254; ++i) weights[i] = i < 252;
  EXPECT_EQ(packed_bytes(weights, {kRows, kCols}), sparse);
  // Along the channels, which are innermost.
  std::vector<uint8_t> kernels(20 * 64 * 9);
  for (size_t i = 0; i < 9; ++i) kernels[i] = 1;
  EXPECT_EQ(packed_bytes(kernels, {20, 64, 3, 3}), 20 * 288 + 32 * 576 / 8 + 80);
  kernels[9] = kernels[18] = 1;
  EXPECT_EQ(packed_bytes(kernels, {20, 64, 3, 3}), 20 * 576 + 80);
  // Of a single row the places would take more than the values save.
  EXPECT_EQ(packed_bytes(std::vector<uint8_t>(33), {1, 33}), 48 + 4);
}

}  // namespace
}  // namespace sinew_test
