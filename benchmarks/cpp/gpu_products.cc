#include "gpu_products.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "gpu_cudnn.h"
#include "measure.h"
#include "support/reals.h"
#include "support/tensor.h"
#include "support/values.h"

namespace sinew_bench {
namespace {

using sinew_test::Tensor;

constexpr int kCalls = 10;  // in a row, as one may take less time than starting it

std::vector<uint8_t> read(const Tensor& tensor, size_t bytes) {
  std::vector<uint8_t> data(bytes);
  require(sn_tensor_read(tensor, 0, data.data(), static_cast<int64_t>(bytes)));
  return data;
}

// Times the call on the GPU and prints it; `expected` are the first of y's elements, and `far` how far they may be off.
// The unit is of 10^12 of what `amount` counts.
bool report(const std::string& name, const char* unit, double amount, int rounds, const std::function<void()>& call,
            const Tensor& y, const std::vector<uint8_t>& expected, double far) {
  call();  // warms up, and chooses an algorithm
  std::vector<double> rates;
  for (int round = 0; round < rounds; ++round) {
    cudaDeviceSynchronize();  // cuDNN is in another stream than the device
    const double seconds = seconds_of([&] {
      for (int i = 0; i < kCalls; ++i) call();
      cudaDeviceSynchronize();
    });
    rates.push_back(amount * kCalls / seconds);
  }
  const std::vector<double> wanted = sinew_test::doubles_of(SN_F32, expected);
  const std::vector<double> found = sinew_test::doubles_of(SN_F32, read(y, expected.size()));
  bool right = true;
  for (size_t i = 0; i < wanted.size(); ++i) right = right && std::fabs(wanted[i] - found[i]) <= far;
  std::printf("  %-42s %10.2f %s  %s\n", name.c_str(), median(rates) * 1e-12, unit, right ? "right" : "WRONG");
  std::fflush(stdout);
  return right;
}

void fill(const Tensor& tensor, const std::vector<uint8_t>& bytes) {
  require(sn_tensor_write(tensor, 0, bytes.data(), static_cast<int64_t>(tensor.size())));
}

// A square product, whose first rows the CPU computes as well.
bool product(sn_device* gpu, sn_device* cpu, sn_dtype dtype, int64_t side, int rounds) {
  constexpr int64_t kRows = 32;
  const std::vector<uint8_t> a = sinew_test::uniform_elements(dtype, side * side, 1, 1);
  const std::vector<uint8_t> b = sinew_test::uniform_elements(dtype, side * side, 1, 2);
  Tensor x(gpu, dtype, {side, side}), w(gpu, dtype, {side, side}), y(gpu, SN_F32, {side, side});
  Tensor few(cpu, dtype, {kRows, side}), same(cpu, dtype, {side, side}), answer(cpu, SN_F32, {kRows, side});
  fill(x, a);
  fill(w, b);
  fill(few, a);
  fill(same, b);
  require(sn_matmul(few, same, 1, answer));
  const double operations = 2.0 * static_cast<double>(side) * static_cast<double>(side) * static_cast<double>(side);
  return report(
      "matmul " + std::string(dtype == SN_F32 ? "F32 " : "BF16 ") + std::to_string(side), "TOPS", operations, rounds,
      [&] { require(sn_matmul(x, w, 1, y)); }, y, read(answer, answer.size()),
      0.001 * std::sqrt(static_cast<double>(side)));
}

// A square layer of int8 weights and activations, of which the CPU computes the first rows.
bool int8_layer(sn_device* gpu, sn_device* cpu, bool two_of_four, int64_t rows, int rounds) {
  constexpr int64_t kSide = 4096, kRows = 32;
  const std::vector<uint8_t> activations = sinew_test::uniform_elements(SN_F32, rows * kSide, 1, 6);
  const std::vector<uint8_t> bytes =
      two_of_four ? sinew_test::random_two_of_four(kSide, kSide, 7) : sinew_test::random_bytes(kSide * kSide, 7);
  std::vector<uint8_t> expected;
  bool right = true;
  for (sn_device* device : {cpu, gpu}) {
    const int64_t n = device == cpu ? kRows : rows;
    Tensor x(device, SN_F32, {n, kSide}), y(device, SN_F32, {n, kSide});
    Tensor weight(device, SN_I8, {kSide, kSide}), scale(device, SN_F32, {1});
    const float one = 0.01f;
    fill(x, activations);
    fill(weight, bytes);
    require(sn_tensor_write(scale, 0, &one, sizeof one));
    sn_weights* packed = nullptr;
    require(sn_pack_w8a8(weight, scale, nullptr, &packed));
    const auto call = [&] { require(sn_linear(x, packed, nullptr, SN_NONE, y)); };
    if (device == cpu) {
      call();
      expected = read(y, y.size());
    } else {
      const double operations = 2.0 * static_cast<double>(rows) * kSide * kSide;
      right = report("linear_w8a8 " + std::to_string(rows) + (two_of_four ? " rows, 2:4" : " rows"), "TOPS", operations,
                     rounds, call, y, expected, 0);
    }
    sn_weights_close(packed);
  }
  return right;
}

// The call of another library on the same memory: nothing where there is none. Its sums have another order.
bool report_peer(const std::string& name, const char* unit, double amount, int rounds,
                 const std::function<void()>& call, const Tensor& y, const std::vector<uint8_t>& expected, double far) {
  if (call == nullptr) return true;
  fill(y, std::vector<uint8_t>(y.size()));
  return report(name, unit, amount, rounds, call, y, expected, far);
}

float* floats_of(const Tensor& tensor) { return static_cast<float*>(sn_tensor_data(tensor)); }

// 3 x 3 kernels over images of 56 x 56, of which the CPU computes the first.
bool convolution(sn_device* gpu, sn_device* cpu, Cudnn* cudnn, bool int8, int rounds) {
  constexpr int64_t kImages = 32, kChannels = 128, kSide = 56;
  const std::array<int64_t, 8> window = {3, 3, 1, 1, 1, 1, 1, 1};
  const std::vector<uint8_t> images = sinew_test::uniform_elements(SN_F32, kImages * kChannels * kSide * kSide, 1, 3);
  const std::vector<uint8_t> floats = sinew_test::uniform_elements(SN_F32, kChannels * kChannels * 9, 1, 4);
  const std::vector<uint8_t> bytes = sinew_test::random_bytes(kChannels * kChannels * 9, 5);
  std::vector<uint8_t> expected;
  bool right = true;
  for (sn_device* device : {cpu, gpu}) {
    const int64_t n = device == cpu ? 1 : kImages;
    Tensor x(device, SN_F32, {n, kChannels, kSide, kSide}), y(device, SN_F32, {n, kChannels, kSide, kSide});
    Tensor weight(device, int8 ? SN_I8 : SN_F32, {kChannels, kChannels, 3, 3}), scale(device, SN_F32, {1});
    const float one = 0.01f;
    fill(x, images);
    fill(weight, int8 ? bytes : floats);
    require(sn_tensor_write(scale, 0, &one, sizeof one));
    sn_weights* packed = nullptr;
    require(int8 ? sn_pack_w8a8(weight, scale, nullptr, &packed) : sn_pack_float(weight, &packed));
    const auto call = [&] { require(sn_conv2d(x, packed, window.data(), 1, nullptr, SN_NONE, y)); };
    if (device == cpu) {
      call();
      expected = read(y, y.size());
    } else {
      const double operations = 2.0 * 9 * kImages * kChannels * kChannels * kSide * kSide;
      right = report(int8 ? "conv2d int8 3x3" : "conv2d F32 3x3", "TOPS", operations, rounds, call, y, expected,
                     int8 ? 0 : 0.01);
      for (bool tf32 : {false, true}) {
        if (int8 || cudnn == nullptr) continue;
        require(sn_device_synchronize(gpu));
        const auto peer = cudnn->convolution({static_cast<int>(n), kChannels, kSide, 3}, tf32, floats_of(x),
                                             floats_of(weight), floats_of(y));
        // Elements of TF32 have 10 bits: each of the 1152 products is off by at most 2^-10 of itself, which is below 1.
        right = report_peer(tf32 ? "  cuDNN, TF32" : "  cuDNN, F32", "TOPS", operations, rounds, peer, y, expected,
                            tf32 ? 1.13 : 0.01) &&
                right;
      }
    }
    sn_weights_close(packed);
  }
  return right;
}

// Rows of 4096, in bytes read and written.
bool softmax(sn_device* gpu, sn_device* cpu, Cudnn* cudnn, int rounds) {
  constexpr int64_t kRows = 16384, kCols = 4096, kFew = 32;
  const std::vector<uint8_t> elements = sinew_test::uniform_elements(SN_F32, kRows * kCols, 4, 8);
  Tensor few(cpu, SN_F32, {kFew, kCols}), answer(cpu, SN_F32, {kFew, kCols});
  Tensor x(gpu, SN_F32, {kRows, kCols}), y(gpu, SN_F32, {kRows, kCols});
  fill(few, elements);
  fill(x, elements);
  require(sn_softmax(few, answer));
  const std::vector<uint8_t> expected = read(answer, answer.size());
  const double bytes = 2.0 * static_cast<double>(x.size());
  const bool right = report(
      "softmax F32", "TB/s", bytes, rounds, [&] { require(sn_softmax(x, y)); }, y, expected, 0);
  if (cudnn == nullptr) return right;
  require(sn_device_synchronize(gpu));
  return report_peer("  cuDNN", "TB/s", bytes, rounds, cudnn->softmax(kRows, kCols, floats_of(x), floats_of(y)), y,
                     expected, 1e-6) &&
         right;
}

// Windows of 2 x 2 and batch norm of images that do not fit in the caches, in bytes read and written. The CPU computes
// the first image.
bool images(sn_device* gpu, sn_device* cpu, Cudnn* cudnn, int rounds) {
  constexpr int64_t kImages = 32, kChannels = 128, kSide = 56, kHalf = kSide / 2;
  constexpr double kEpsilon = 1e-5;
  const std::array<int64_t, 8> window = {2, 2, 2, 2, 0, 0, 1, 1};
  const std::vector<uint8_t> elements = sinew_test::uniform_elements(SN_F32, kImages * kChannels * kSide * kSide, 4, 9);
  Tensor few(cpu, SN_F32, {1, kChannels, kSide, kSide}), x(gpu, SN_F32, {kImages, kChannels, kSide, kSide});
  fill(few, elements);
  fill(x, elements);
  bool right = true;
  for (bool largest : {true, false}) {
    Tensor answer(cpu, SN_F32, {1, kChannels, kHalf, kHalf}), y(gpu, SN_F32, {kImages, kChannels, kHalf, kHalf});
    const auto pool = [&](const Tensor& from, const Tensor& to) {
      require(largest ? sn_max_pool2d(from, window.data(), to) : sn_avg_pool2d(from, window.data(), 1, to));
    };
    pool(few, answer);
    const std::vector<uint8_t> expected = read(answer, answer.size());
    const double bytes = static_cast<double>(x.size() + y.size());
    right = report(
                largest ? "max_pool2d F32 2x2" : "avg_pool2d F32 2x2", "TB/s", bytes, rounds, [&] { pool(x, y); }, y,
                expected, 0) &&
            right;
    if (cudnn == nullptr) continue;
    require(sn_device_synchronize(gpu));
    const auto peer = cudnn->pooling(largest, kImages, kChannels, kSide, floats_of(x), floats_of(y));
    right = report_peer("  cuDNN", "TB/s", bytes, rounds, peer, y, expected, 2e-6) && right;
  }
  const std::vector<uint8_t> ones = sinew_test::uniform_elements(SN_F32, kChannels, 1, 10);
  std::vector<uint8_t> variance = ones;  // not negative
  for (size_t i = 3; i < variance.size(); i += 4) variance[i] &= 0x7f;
  Tensor answer(cpu, SN_F32, {1, kChannels, kSide, kSide}), y(gpu, SN_F32, {kImages, kChannels, kSide, kSide});
  Tensor weight(gpu, SN_F32, {kChannels}), bias(gpu, SN_F32, {kChannels}), mean(gpu, SN_F32, {kChannels});
  Tensor spread(gpu, SN_F32, {kChannels});
  Tensor own_weight(cpu, SN_F32, {kChannels}), own_bias(cpu, SN_F32, {kChannels}), own_mean(cpu, SN_F32, {kChannels});
  Tensor own_spread(cpu, SN_F32, {kChannels});
  for (const Tensor* tensor : {&weight, &bias, &mean, &own_weight, &own_bias, &own_mean}) fill(*tensor, ones);
  fill(spread, variance);
  fill(own_spread, variance);
  require(sn_batch_norm(few, own_mean, own_spread, own_weight, own_bias, kEpsilon, answer));
  const std::vector<uint8_t> expected = read(answer, answer.size());
  const double bytes = 2.0 * static_cast<double>(x.size());
  right = report(
              "batch_norm F32", "TB/s", bytes, rounds,
              [&] { require(sn_batch_norm(x, mean, spread, weight, bias, kEpsilon, y)); }, y, expected, 0) &&
          right;
  if (cudnn == nullptr) return right;
  require(sn_device_synchronize(gpu));
  const auto peer = cudnn->batch_norm(kImages, kChannels, kSide, floats_of(x), floats_of(weight), floats_of(bias),
                                      floats_of(mean), floats_of(spread), kEpsilon, floats_of(y));
  // Up to 4 + 1 times the reciprocal root of the smallest variance and epsilon, some 300, in F32.
  return report_peer("  cuDNN", "TB/s", bytes, rounds, peer, y, expected, 1e-3) && right;
}

}  // namespace

bool measure_products(sn_device* gpu, int rounds) {
  sn_device* cpu = nullptr;
  require(sn_cpu_open(0, &cpu));
  bool right = product(gpu, cpu, SN_F32, 2048, rounds);
  right = product(gpu, cpu, SN_BF16, 4096, rounds) && right;
  // 128 rows are for mma.sync everywhere, the others for wgmma where the GPU has it.
  for (int64_t rows : {128, 4096}) {
    for (bool two_of_four : {false, true}) right = int8_layer(gpu, cpu, two_of_four, rows, rounds) && right;
  }
  std::string why;
  const std::unique_ptr<Cudnn> cudnn = Cudnn::open(&why);
  std::printf("  cuDNN: %s\n", cudnn == nullptr ? why.c_str() : cudnn->version().c_str());
  right = convolution(gpu, cpu, cudnn.get(), true, rounds) && right;
  right = convolution(gpu, cpu, cudnn.get(), false, rounds) && right;
  right = softmax(gpu, cpu, cudnn.get(), rounds) && right;
  right = images(gpu, cpu, cudnn.get(), rounds) && right;
  sn_device_close(cpu);
  return right;
}

}  // namespace sinew_bench
