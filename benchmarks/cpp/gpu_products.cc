#include "gpu_products.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "gpu_cudnn.h"
#include "gpu_memory.h"
#include "measure.h"
#include "support/reals.h"
#include "support/tensor.h"
#include "support/values.h"

namespace sinew_bench {
namespace {

using sinew_test::Tensor;

std::vector<uint8_t> read(const Tensor& tensor, size_t bytes) {
  std::vector<uint8_t> data(bytes);
  require(sn_tensor_read(tensor, 0, data.data(), static_cast<int64_t>(bytes)));
  return data;
}

void fill(const Tensor& tensor, const std::vector<uint8_t>& bytes) {
  require(sn_tensor_write(tensor, 0, bytes.data(), static_cast<int64_t>(tensor.size())));
}

float* floats_of(const Tensor& tensor) { return static_cast<float*>(sn_tensor_data(tensor)); }

// Whether the first elements of y are these, or as near.
bool is_near(const Tensor& y, const std::vector<uint8_t>& expected, double far) {
  const std::vector<double> wanted = sinew_test::doubles_of(SN_F32, expected);
  const std::vector<double> found = sinew_test::doubles_of(SN_F32, read(y, expected.size()));
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (!(std::fabs(wanted[i] - found[i]) <= far)) return false;
  }
  return true;
}

// An operation of ours, and those of others that do the same. Rates are `amount` a second, in units of 10^12.
class Operation {
 public:
  Operation(Report& report, const GpuOptions& options, const char* unit, double amount)
      : report_(report), options_(options), unit_(unit), amount_(amount) {}

  void ours(const std::string& name, const std::function<void()>& call, const std::function<bool()>& is_right) {
    ours_ = call;
    call();  // warms up, and chooses an algorithm
    std::vector<double> rates;
    for (int i = 0; i < options_.pairs; ++i) rates.push_back(rate(call));
    right_ = is_right();
    own_rate_ = median(rates);
    report_.row(name, unit_, own_rate_, 0, 0, 0, right_);
  }
  // Ours beside a peer, whose answer is checked: an empty call is one that there is not.
  void beside(const std::string& name, const std::function<void()>& peer, const std::function<bool()>& is_right,
              double target) {
    if (peer == nullptr) {
      if (target > 0) report_.row("  beside " + name, unit_, own_rate_, 0, 0, target, right_);
      return;
    }
    const Pair found = in_turn(
        options_.pairs, [&] { return rate(ours_) * 1e12; }, [&] { return rate(peer) * 1e12; });
    peer();
    require_cuda(cudaDeviceSynchronize());
    report_.row("  beside " + name, unit_, found.first * 1e-12, found.second * 1e-12, found.ratio, target,
                right_ && is_right());
  }

 private:
  double rate(const std::function<void()>& call) {
    require_cuda(cudaDeviceSynchronize());  // others' calls are in another stream than the device's
    return 1e-12 * amount_ * options_.calls / seconds_of([&] {
             for (int i = 0; i < options_.calls; ++i) call();
             require_cuda(cudaDeviceSynchronize());
           });
  }

  Report& report_;
  const GpuOptions& options_;
  const char* unit_;
  double amount_;
  std::function<void()> ours_;
  double own_rate_ = 0;
  bool right_ = false;
};

// A square product, whose first rows the CPU computes as well.
void product(sn_device* gpu, sn_device* cpu, sn_dtype dtype, int64_t side, const GpuOptions& options, Report& report) {
  const std::string name = std::string("matmul ") + (dtype == SN_F32 ? "F32 " : "BF16 ") + std::to_string(side);
  if (!report.wants(name)) return;
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
  const std::vector<uint8_t> expected = read(answer, answer.size());
  const double operations = 2.0 * static_cast<double>(side) * static_cast<double>(side) * static_cast<double>(side);
  Operation operation(report, options, "TFLOPS", operations);
  operation.ours(
      name, [&] { require(sn_matmul(x, w, 1, y)); },
      [&] { return is_near(y, expected, 0.001 * std::sqrt(static_cast<double>(side))); });
}

// Integers by cuBLASLt, of which the first rows are checked: for layers that have their weights, as int8.
class Int8Product {
 public:
  Int8Product(sn_device* gpu, CublasLt* library, int64_t rows, int64_t side, const std::vector<uint8_t>& weights)
      : rows_(rows),
        side_(side),
        weights_(weights),
        activations_(sinew_test::random_bytes(rows * side, 9)),
        a_(gpu, SN_I8, {rows, side}),
        b_(gpu, SN_I8, {side, side}),
        y_(gpu, SN_I32, {rows, side}),
        copy_(gpu, SN_I32, {rows, side}) {
    fill(a_, activations_);
    fill(b_, weights);
    require(sn_device_synchronize(gpu));
    if (library != nullptr)
      call_ = library->product(LtKind::kInt8ToInt32, {rows, side, side}, sn_tensor_data(a_), {sn_tensor_data(b_)},
                               sn_tensor_data(y_));
  }

  const std::function<void()>& call() const { return call_; }
  // And a copy of the result, the least that turning its integers into floats takes.
  std::function<void()> call_and_copy() const {
    if (call_ == nullptr) return {};
    return [this] {
      call_();
      require_cuda(
          cudaMemcpyAsync(sn_tensor_data(copy_), sn_tensor_data(y_), y_.size(), cudaMemcpyDeviceToDevice, nullptr));
    };
  }
  bool is_right() const { return holds(y_); }
  bool copy_is_right() const { return holds(copy_); }

 private:
  bool holds(const Tensor& y) const {
    const int64_t few = std::min<int64_t>(rows_, 2);
    std::vector<int32_t> found(static_cast<size_t>(few * side_));
    require(sn_tensor_read(y, 0, found.data(), static_cast<int64_t>(found.size()) * 4));
    for (int64_t r = 0; r < few; ++r) {
      for (int64_t c = 0; c < side_; ++c) {
        int32_t sum = 0;
        for (int64_t k = 0; k < side_; ++k) {
          sum += static_cast<int8_t>(activations_[static_cast<size_t>(r * side_ + k)]) *
                 static_cast<int8_t>(weights_[static_cast<size_t>(c * side_ + k)]);
        }
        if (sum != found[static_cast<size_t>(r * side_ + c)]) return false;
      }
    }
    return true;
  }

  int64_t rows_, side_;
  const std::vector<uint8_t>& weights_;
  std::vector<uint8_t> activations_;
  Tensor a_, b_, y_, copy_;
  std::function<void()> call_;
};

// A square layer of int8 weights and activations, from F32 to F32, of which the CPU computes the first rows.
void int8_layer(sn_device* gpu, sn_device* cpu, CublasLt* library, bool two_of_four, int64_t rows,
                const GpuOptions& options, Report& report) {
  const int64_t side = options.side, few = std::min<int64_t>(rows, 32);
  const std::string name = "linear_w8a8 " + std::to_string(rows) + " x " + std::to_string(side) + " x " +
                           std::to_string(side) + (two_of_four ? ", 2:4" : "");
  if (!report.wants(name)) return;
  const std::vector<uint8_t> activations = sinew_test::uniform_elements(SN_F32, rows * side, 1, 6);
  const std::vector<uint8_t> bytes =
      two_of_four ? sinew_test::random_two_of_four(side, side, 7) : sinew_test::random_bytes(side * side, 7);
  std::vector<uint8_t> expected;
  for (sn_device* device : {cpu, gpu}) {
    const int64_t n = device == cpu ? few : rows;
    Tensor x(device, SN_F32, {n, side}), y(device, SN_F32, {n, side});
    Tensor weight(device, SN_I8, {side, side}), scale(device, SN_F32, {1});
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
      const double operations = 2.0 * static_cast<double>(rows) * static_cast<double>(side) * static_cast<double>(side);
      Operation operation(report, options, "TOPS", operations);
      operation.ours(name, call, [&] { return is_near(y, expected, 0); });
      const Int8Product peer(gpu, library, rows, side, bytes);
      // Ours also quantizes its input, which is counted against it.
      operation.beside(
          "raw int8 cuBLASLt", peer.call(), [&] { return peer.is_right(); }, two_of_four ? 0 : 0.8);
      operation.beside(
          "int8 cuBLASLt and a copy of its result", peer.call_and_copy(), [&] { return peer.copy_is_right(); },
          two_of_four ? 0 : 1.0);
    }
    sn_weights_close(packed);
  }
}

// 3 x 3 kernels over images of 56 x 56, of which the CPU computes the first.
void convolution(sn_device* gpu, sn_device* cpu, Cudnn* cudnn, bool int8, const GpuOptions& options, Report& report) {
  const std::string name = int8 ? "conv2d int8 3x3" : "conv2d F32 3x3";
  if (!report.wants(name)) return;
  const int64_t images_of_gpu = std::max<int64_t>(options.side / 128, 1);
  constexpr int64_t kChannels = 128, kSide = 56;
  const std::array<int64_t, 8> window = {3, 3, 1, 1, 1, 1, 1, 1};
  const std::vector<uint8_t> images =
      sinew_test::uniform_elements(SN_F32, images_of_gpu * kChannels * kSide * kSide, 1, 3);
  const std::vector<uint8_t> floats = sinew_test::uniform_elements(SN_F32, kChannels * kChannels * 9, 1, 4);
  const std::vector<uint8_t> bytes = sinew_test::random_bytes(kChannels * kChannels * 9, 5);
  std::vector<uint8_t> expected;
  for (sn_device* device : {cpu, gpu}) {
    const int64_t n = device == cpu ? 1 : images_of_gpu;
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
      const double operations = 2.0 * 9 * static_cast<double>(n) * kChannels * kChannels * kSide * kSide;
      Operation operation(report, options, int8 ? "TOPS" : "TFLOPS", operations);
      operation.ours(name, call, [&] { return is_near(y, expected, int8 ? 0 : 0.01); });
      for (bool tf32 : {false, true}) {
        if (int8 || cudnn == nullptr) continue;
        require(sn_device_synchronize(gpu));
        Tensor other(gpu, SN_F32, {n, kChannels, kSide, kSide});
        const auto peer = cudnn->convolution({static_cast<int>(n), kChannels, kSide, 3}, tf32, floats_of(x),
                                             floats_of(weight), floats_of(other));
        // Elements of TF32 have 10 bits: each of the 1152 products is off by at most 2^-10 of itself, which is below 1.
        operation.beside(
            tf32 ? "cuDNN, TF32" : "cuDNN, F32", peer, [&] { return is_near(other, expected, tf32 ? 1.13 : 0.01); }, 0);
      }
    }
    sn_weights_close(packed);
  }
}

// Rows of 4096, in bytes read and written.
void softmax(sn_device* gpu, sn_device* cpu, Cudnn* cudnn, const GpuOptions& options, Report& report) {
  const std::string name = "softmax F32";
  if (!report.wants(name)) return;
  constexpr int64_t kCols = 4096, kFew = 32;
  const int64_t rows = std::max<int64_t>(options.side * 4, kFew);
  const std::vector<uint8_t> elements = sinew_test::uniform_elements(SN_F32, rows * kCols, 4, 8);
  Tensor few(cpu, SN_F32, {kFew, kCols}), answer(cpu, SN_F32, {kFew, kCols});
  Tensor x(gpu, SN_F32, {rows, kCols}), y(gpu, SN_F32, {rows, kCols}), other(gpu, SN_F32, {rows, kCols});
  fill(few, elements);
  fill(x, elements);
  require(sn_softmax(few, answer));
  const std::vector<uint8_t> expected = read(answer, answer.size());
  Operation operation(report, options, "TB/s", 2.0 * static_cast<double>(x.size()));
  operation.ours(
      name, [&] { require(sn_softmax(x, y)); }, [&] { return is_near(y, expected, 0); });
  if (cudnn == nullptr) return;
  require(sn_device_synchronize(gpu));
  operation.beside(
      "cuDNN", cudnn->softmax(static_cast<int>(rows), kCols, floats_of(x), floats_of(other)),
      [&] { return is_near(other, expected, 1e-6); }, 0);
}

// Windows of 2 x 2 and batch norm of images that do not fit in the caches, in bytes read and written. The CPU computes
// the first image.
void images(sn_device* gpu, sn_device* cpu, Cudnn* cudnn, const GpuOptions& options, Report& report) {
  constexpr int64_t kChannels = 128, kSide = 56, kHalf = kSide / 2;
  constexpr double kEpsilon = 1e-5;
  const int64_t n = std::max<int64_t>(options.side / 128, 1);
  const std::array<int64_t, 8> window = {2, 2, 2, 2, 0, 0, 1, 1};
  const std::vector<uint8_t> elements = sinew_test::uniform_elements(SN_F32, n * kChannels * kSide * kSide, 4, 14);
  Tensor few(cpu, SN_F32, {1, kChannels, kSide, kSide}), x(gpu, SN_F32, {n, kChannels, kSide, kSide});
  fill(few, elements);
  fill(x, elements);
  for (bool largest : {true, false}) {
    const std::string name = largest ? "max_pool2d F32 2x2" : "avg_pool2d F32 2x2";
    if (!report.wants(name)) continue;
    Tensor answer(cpu, SN_F32, {1, kChannels, kHalf, kHalf}), y(gpu, SN_F32, {n, kChannels, kHalf, kHalf});
    const auto pool = [&](const Tensor& from, const Tensor& to) {
      require(largest ? sn_max_pool2d(from, window.data(), to) : sn_avg_pool2d(from, window.data(), 1, to));
    };
    pool(few, answer);
    const std::vector<uint8_t> expected = read(answer, answer.size());
    Operation operation(report, options, "TB/s", static_cast<double>(x.size() + y.size()));
    operation.ours(
        name, [&] { pool(x, y); }, [&] { return is_near(y, expected, 0); });
    if (cudnn == nullptr) continue;
    require(sn_device_synchronize(gpu));
    Tensor other(gpu, SN_F32, {n, kChannels, kHalf, kHalf});
    operation.beside(
        "cuDNN", cudnn->pooling(largest, static_cast<int>(n), kChannels, kSide, floats_of(x), floats_of(other)),
        [&] { return is_near(other, expected, 2e-6); }, 0);
  }
  const std::string name = "batch_norm F32";
  if (!report.wants(name)) return;
  const std::vector<uint8_t> numbers = sinew_test::uniform_elements(SN_F32, kChannels, 1, 15);
  std::vector<uint8_t> variance = numbers;  // not negative
  for (size_t i = 3; i < variance.size(); i += 4) variance[i] &= 0x7f;
  Tensor answer(cpu, SN_F32, {1, kChannels, kSide, kSide}), y(gpu, SN_F32, {n, kChannels, kSide, kSide});
  std::vector<uint8_t> expected;
  for (sn_device* device : {cpu, gpu}) {
    Tensor weight(device, SN_F32, {kChannels}), bias(device, SN_F32, {kChannels}), mean(device, SN_F32, {kChannels});
    Tensor spread(device, SN_F32, {kChannels});
    for (const Tensor* tensor : {&weight, &bias, &mean}) fill(*tensor, numbers);
    fill(spread, variance);
    if (device == cpu) {
      require(sn_batch_norm(few, mean, spread, weight, bias, kEpsilon, answer));
      expected = read(answer, answer.size());
      continue;
    }
    Operation operation(report, options, "TB/s", 2.0 * static_cast<double>(x.size()));
    operation.ours(
        name, [&] { require(sn_batch_norm(x, mean, spread, weight, bias, kEpsilon, y)); },
        [&] { return is_near(y, expected, 0); });
    if (cudnn == nullptr) continue;
    require(sn_device_synchronize(gpu));
    Tensor other(gpu, SN_F32, {n, kChannels, kSide, kSide});
    // Up to 4 + 1 times the reciprocal root of the smallest variance and epsilon, some 300, in F32.
    operation.beside(
        "cuDNN",
        cudnn->batch_norm(static_cast<int>(n), kChannels, kSide, floats_of(x), floats_of(weight), floats_of(bias),
                          floats_of(mean), floats_of(spread), kEpsilon, floats_of(other)),
        [&] { return is_near(other, expected, 1e-3); }, 0);
  }
}

}  // namespace

void measure_products(sn_device* gpu, CublasLt* library, const GpuOptions& options, Report& report) {
  sn_device* cpu = nullptr;
  require(sn_cpu_open(0, &cpu));
  product(gpu, cpu, SN_F32, options.side / 2, options, report);
  product(gpu, cpu, SN_BF16, options.side, options, report);
  // 128 rows are for mma.sync everywhere, more for wgmma where the GPU has it.
  for (int64_t rows : {std::min<int64_t>(128, options.side), std::min<int64_t>(512, options.side), options.side}) {
    for (bool two_of_four : {false, true}) int8_layer(gpu, cpu, library, two_of_four, rows, options, report);
  }
  std::string why;
  const std::unique_ptr<Cudnn> cudnn = Cudnn::open(&why);
  // Else Sinew might take it for what it is compared with.
  require(sn_cuda_cudnn("none"));
  report.line("cuDNN: " + (cudnn == nullptr ? why : cudnn->version()));
  convolution(gpu, cpu, cudnn.get(), true, options, report);
  convolution(gpu, cpu, cudnn.get(), false, options, report);
  softmax(gpu, cpu, cudnn.get(), options, report);
  images(gpu, cpu, cudnn.get(), options, report);
  sn_device_close(cpu);
}

}  // namespace sinew_bench
