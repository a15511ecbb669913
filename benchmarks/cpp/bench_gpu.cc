// Times the kernels of a GPU beside a copy in its memory that moves as many bytes, in the same run. The two are timed
// in turn, and the ratio is the median over the pairs. Usage: sinew_bench_gpu [MIB] [PAIRS]
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "gpu_products.h"
#include "layer.h"
#include "measure.h"
#include "support/call.h"

namespace sinew_bench {
namespace {

using sinew_test::Call;
using sinew_test::Operand;
using sinew_test::Tensors;

constexpr double kTarget = 0.9;
constexpr int kCalls = 10;  // in a row, as one takes less time than starting it

// A call whose rows are repeated until its operands take so many MiB.
class RepeatedCall {
 public:
  RepeatedCall(sn_device* device, const Call& call, int64_t mib)
      : device_(device),
        call_(call),
        times_(std::max<int64_t>((mib << 20) / (bytes_read(call) + bytes_written(call)), 1)) {
    for (const Operand& operand : call.inputs) inputs_.push_back(make(operand));
    for (const Operand& operand : call.outputs) outputs_.push_back(make(operand));
  }
  ~RepeatedCall() {
    for (const Tensors& all : {inputs_, outputs_})
      for (sn_tensor* tensor : all) sn_tensor_close(tensor);
  }
  RepeatedCall(const RepeatedCall&) = delete;
  RepeatedCall& operator=(const RepeatedCall&) = delete;

  double bytes() const { return static_cast<double>(times_ * (bytes_read(call_) + bytes_written(call_))); }
  double seconds() {
    require(sn_device_synchronize(device_));
    return seconds_of([&] {
             int64_t numbers[4];
             for (int i = 0; i < kCalls; ++i) require(call_.run(inputs_, outputs_, numbers));
             require(sn_device_synchronize(device_));
           }) /
           kCalls;
  }
  bool is_right() const {
    for (size_t i = 0; i < outputs_.size(); ++i) {
      const std::vector<uint8_t>& expected = call_.expected[i];
      std::vector<uint8_t> part(expected.size());
      const int64_t size = static_cast<int64_t>(part.size());
      for (int64_t t : {int64_t{0}, (call_.outputs[i].per_row ? times_ : 1) - 1}) {
        require(sn_tensor_read(outputs_[i], t * size, part.data(), size));
        if (part != expected) return false;
      }
    }
    return true;
  }

 private:
  sn_tensor* make(const Operand& operand) {
    std::vector<int64_t> shape = operand.shape;
    const int64_t times = operand.per_row ? times_ : 1;
    shape[0] *= times;
    sn_tensor* tensor = nullptr;
    require(sn_tensor_create(device_, operand.dtype, static_cast<int32_t>(shape.size()), shape.data(), &tensor));
    const int64_t size = static_cast<int64_t>(operand.bytes.size());
    for (int64_t t = 0; t < times && size > 0; ++t)
      require(sn_tensor_write(tensor, t * size, operand.bytes.data(), size));
    return tensor;
  }

  sn_device* device_;
  const Call& call_;
  int64_t times_;
  Tensors inputs_, outputs_;
};

void require_cuda(cudaError_t error) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "%s\n", cudaGetErrorString(error));
  std::exit(1);
}

// The driver's own copy, which reads half of the bytes and writes as many.
class Copy {
 public:
  Copy(sn_device* device, double bytes) : device_(device), half_(static_cast<int64_t>(bytes / 2) / 4096 * 4096) {
    require(sn_tensor_create(device, SN_U8, 1, &half_, &from_));
    require(sn_tensor_create(device, SN_U8, 1, &half_, &to_));
  }
  ~Copy() {
    sn_tensor_close(from_);
    sn_tensor_close(to_);
  }
  Copy(const Copy&) = delete;
  Copy& operator=(const Copy&) = delete;

  double rate() {
    require(sn_device_synchronize(device_));
    const size_t bytes = static_cast<size_t>(half_);
    return 2.0 * static_cast<double>(half_) * kCalls / seconds_of([&] {
             for (int i = 0; i < kCalls; ++i) {
               require_cuda(
                   cudaMemcpyAsync(sn_tensor_data(to_), sn_tensor_data(from_), bytes, cudaMemcpyDeviceToDevice));
             }
             require_cuda(cudaDeviceSynchronize());
           });
  }

 private:
  sn_device* device_;
  int64_t half_;
  sn_tensor *from_ = nullptr, *to_ = nullptr;
};

bool measure(sn_device* device, const std::string& name, const Call& call, int64_t mib, int pairs) {
  RepeatedCall repeated(device, call, mib);
  Copy copy(device, repeated.bytes());
  std::vector<double> rates, copies, ratios;
  for (int i = 0; i <= pairs; ++i) {
    const double c = copy.rate();
    const double k = repeated.bytes() / repeated.seconds();
    if (i == 0) continue;  // warms up
    rates.push_back(k);
    copies.push_back(c);
    ratios.push_back(k / c);
  }
  const bool right = repeated.is_right();
  const double ratio = median(ratios);
  std::printf("  %-42s %10.1f %10.1f %6.2f%s  %s\n", name.c_str(), median(rates) * 1e-9, median(copies) * 1e-9, ratio,
              ratio < kTarget ? "<" : " ", right ? "right" : "WRONG");
  std::fflush(stdout);
  return right;
}

// Weights that are not in the cache, against a copy of as many bytes, and the operations.
bool measure_layer(sn_device* device, const std::string& name, const Call& call, int64_t mib, int pairs) {
  ColdLayer layer(device, call, mib / 2, 2 * kCalls);
  Copy copy(device, static_cast<double>(mib << 20));
  std::vector<double> rates, copies, ratios;
  layer.time_layer();  // warms up
  copy.rate();
  for (int i = 0; i < pairs; ++i) {
    copies.push_back(copy.rate());
    rates.push_back(layer.weight_bytes() / layer.time_layer());
    ratios.push_back(rates.back() / copies.back());
  }
  const bool right = layer.output_is_right();
  const double rate = median(rates);
  std::printf("  %-42s %10.1f %10.1f %6.2f   %s  %.2f TOPS\n", name.c_str(), rate * 1e-9, median(copies) * 1e-9,
              median(ratios), right ? "right" : "WRONG", call.operations * rate / layer.weight_bytes() * 1e-12);
  std::fflush(stdout);
  return right;
}

// Says which GPU there is and which of the plug-in's code it runs.
int describe() {
  if (sn_cuda_load(std::getenv("SINEW_CUDA_PLUGIN")) == SN_OK && *sn_cuda_description(0) != 0) {
    std::printf("%s\n", sn_cuda_description(0));
    return 0;
  }
  std::printf("NOT RUN: %s\n", sn_last_error());
  return 77;
}

int run(int64_t mib, int pairs) {
  sn_device* device = nullptr;
  if (sn_cuda_load(std::getenv("SINEW_CUDA_PLUGIN")) != SN_OK || sn_cuda_open(0, &device) != SN_OK) {
    std::printf("NOT RUN: %s\n", sn_last_error());
    return 77;
  }
  std::printf("%s; %lld MiB, %d pairs\n  %-42s %10s %10s %7s  %s\n", sn_cuda_description(0),
              static_cast<long long>(mib), pairs, "kernel", "GB/s", "copy", "ratio", "answer");
  bool right = true;
  for (const sinew_test::Case& c : sinew_test::all_cases()) {
    for (const char* op : {"prune_threshold", "range", "quantize", "dequantize", "fake_quantize"}) {
      if (std::string(c.op) != op) continue;
      for (const sinew_test::Timed& timed : c.timed)
        right = measure(device, std::string(op) + " " + timed.name, timed.make(), mib, pairs) && right;
    }
  }
  for (const sinew_test::Case& c : sinew_test::all_cases()) {
    for (const char* op : {"linear_w8a8", "linear_w8", "linear_w4", "linear_sparse"}) {
      if (std::string(c.op) != op) continue;
      for (const sinew_test::Timed& timed : c.timed)
        right = measure_layer(device, std::string(op) + " " + timed.name, timed.make(), mib, pairs) && right;
    }
  }
  right = measure_products(device, pairs) && right;
  sn_device_close(device);
  return right ? 0 : 1;
}

}  // namespace
}  // namespace sinew_bench

int main(int argc, char** argv) {
  if (argc == 2 && std::strcmp(argv[1], "--describe") == 0) return sinew_bench::describe();
  const int64_t mib = argc > 1 ? std::atoll(argv[1]) : 1024;
  const int pairs = argc > 2 ? std::atoi(argv[2]) : 7;
  if (mib < 1 || pairs < 1) {
    std::fprintf(stderr, "usage: sinew_bench_gpu [MIB] [PAIRS]\n");
    return 2;
  }
  return sinew_bench::run(mib, pairs);
}
