#include "gpu_products.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

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
bool report(const std::string& name, sn_device* gpu, double operations, int rounds, const std::function<void()>& call,
            const Tensor& y, const std::vector<uint8_t>& expected, double far) {
  call();  // warms up, and chooses an algorithm
  std::vector<double> rates;
  for (int round = 0; round < rounds; ++round) {
    require(sn_device_synchronize(gpu));
    const double seconds = seconds_of([&] {
      for (int i = 0; i < kCalls; ++i) call();
      require(sn_device_synchronize(gpu));
    });
    rates.push_back(operations * kCalls / seconds);
  }
  const std::vector<double> wanted = sinew_test::doubles_of(SN_F32, expected);
  const std::vector<double> found = sinew_test::doubles_of(SN_F32, read(y, expected.size()));
  bool right = true;
  for (size_t i = 0; i < wanted.size(); ++i) right = right && std::fabs(wanted[i] - found[i]) <= far;
  std::printf("  %-42s %10.2f TOPS  %s\n", name.c_str(), median(rates) * 1e-12, right ? "right" : "WRONG");
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
      "matmul " + std::string(dtype == SN_F32 ? "F32 " : "BF16 ") + std::to_string(side), gpu, operations, rounds,
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
      right = report("linear_w8a8 " + std::to_string(rows) + (two_of_four ? " rows, 2:4" : " rows"), gpu, operations,
                     rounds, call, y, expected, 0);
    }
    sn_weights_close(packed);
  }
  return right;
}

// 3 x 3 kernels over images of 56 x 56, of which the CPU computes the first.
bool convolution(sn_device* gpu, sn_device* cpu, bool int8, int rounds) {
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
      right = report(int8 ? "conv2d int8 3x3" : "conv2d F32 3x3", gpu, operations, rounds, call, y, expected,
                     int8 ? 0 : 0.01);
    }
    sn_weights_close(packed);
  }
  return right;
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
  right = convolution(gpu, cpu, true, rounds) && right;
  right = convolution(gpu, cpu, false, rounds) && right;
  sn_device_close(cpu);
  return right;
}

}  // namespace sinew_bench
