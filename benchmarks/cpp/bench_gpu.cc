// Times the kernels of a GPU beside a copy in its memory that moves as many bytes, in the same run, layers and products
// also beside NVIDIA's libraries where they are found, and says which of the targets are met. Usage: sinew_bench_gpu
// [--mib N] [--pairs N] [--calls N] [--side N] [--filter REGEX], or --describe for the GPU alone.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "gpu_cublaslt.h"
#include "gpu_memory.h"
#include "gpu_products.h"
#include "gpu_report.h"
#include "gpu_stream.h"
#include "layer.h"
#include "measure.h"
#include "support/call.h"
#include "support/reals.h"
#include "support/tensor.h"
#include "support/values.h"

namespace sinew_bench {
namespace {

using sinew_test::Call;
using sinew_test::Operand;
using sinew_test::Tensor;
using sinew_test::Tensors;

// Operations whose time is that of the memory, and what share of a copy's speed they are to reach; 0 where none is set.
const struct {
  const char* op;
  double target;
} kStreams[] = {{"prune_threshold", 0.9},
                {"prune_nm", 0.9},
                {"prune_smallest", 0},
                {"quantize", 0.9},
                {"quantize_per_token", 0.9},
                {"dequantize", 0.9},
                {"fake_quantize", 0.9},
                {"weighted_sum", 0.9},
                {"range", 0},
                {"convert", 0},
                {"count_nonzeros", 0},
                {"magnitude_count", 0},
                {"key_histogram", 0},
                {"bitmap_encode", 0},
                {"bitmap_decode", 0},
                {"cluster_assign", 0},
                {"cluster_decode", 0},
                {"cluster_sums", 0},
                {"difference", 0},
                {"merge_ties", 0},
                {"merge_dare", 0},
                {"block_products", 0},
                {"reduce", 0},
                {"reduce_compressed", 0},
                {"compress", 0},
                {"expand", 0}};

// A call whose rows are repeated until its operands take so many MiB.
class RepeatedCall {
 public:
  RepeatedCall(sn_device* device, const std::string& op, const Call& call, int64_t mib, int calls)
      : device_(device),
        call_(call),
        calls_(calls),
        // Of what is counted over all rows only extremes stay the same.
        whole_is_known_(op == "range"),
        times_(std::max<int64_t>((mib << 20) / (bytes_read(call) + bytes_written(call)), 1)) {
    for (const Operand& operand : call.inputs) inputs_.push_back(make(operand));
    for (size_t i = 0; i < call.outputs.size(); ++i)
      outputs_.push_back(i == 0 && call.in_place ? inputs_[0] : make(call.outputs[i]));
    require(sn_device_synchronize(device));
    require_cuda(cudaDeviceSynchronize());
  }
  ~RepeatedCall() {
    for (sn_tensor* tensor : all_) sn_tensor_close(tensor);
  }
  RepeatedCall(const RepeatedCall&) = delete;
  RepeatedCall& operator=(const RepeatedCall&) = delete;

  double bytes() const { return static_cast<double>(times_ * (bytes_read(call_) + bytes_written(call_))); }
  double bytes_a_second() {
    require(sn_device_synchronize(device_));
    return bytes() * calls_ / seconds_of([&] {
             int64_t numbers[4];
             for (int i = 0; i < calls_; ++i) require(call_.run(inputs_, outputs_, numbers));
             require(sn_device_synchronize(device_));
           });
  }
  bool is_right() const {
    for (size_t i = 0; i < outputs_.size(); ++i) {
      const Operand& operand = call_.outputs[i];
      if (!operand.per_row && !whole_is_known_) continue;
      const std::vector<uint8_t>& expected = call_.expected[i];
      std::vector<uint8_t> part(expected.size());
      const int64_t size = static_cast<int64_t>(part.size());
      for (int64_t t : {int64_t{0}, (operand.per_row ? times_ : 1) - 1}) {
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
    if (operand.running) {
      shape[0] = (shape[0] - 1) * times_ + 1;
    } else if (!shape.empty()) {
      shape[0] *= times;
    }
    sn_tensor* tensor = nullptr;
    require(sn_tensor_create(device_, operand.dtype, static_cast<int32_t>(shape.size()), shape.data(), &tensor));
    all_.push_back(tensor);
    if (operand.bytes.empty()) return tensor;
    if (operand.running) {
      write_running(tensor, operand, shape[0]);
      return tensor;
    }
    // What is there already is copied behind itself.
    const int64_t all = operand.size() * times;
    require(sn_tensor_write(tensor, 0, operand.bytes.data(), operand.size()));
    auto* data = static_cast<uint8_t*>(sn_tensor_data(tensor));
    for (int64_t done = operand.size(); done < all; done *= 2) {
      require_cuda(cudaMemcpyAsync(data + done, data, static_cast<size_t>(std::min(done, all - done)),
                                   cudaMemcpyDeviceToDevice, nullptr));
    }
    return tensor;
  }
  void write_running(sn_tensor* tensor, const Operand& operand, int64_t count) {
    const int64_t rows = operand.count() - 1;
    std::vector<int64_t> part(static_cast<size_t>(rows + 1)), numbers(static_cast<size_t>(count));
    std::memcpy(part.data(), operand.bytes.data(), operand.bytes.size());
    for (int64_t i = 0; i < count; ++i)
      numbers[static_cast<size_t>(i)] = i / rows * (part.back() - part.front()) + part[static_cast<size_t>(i % rows)];
    require(sn_tensor_write(tensor, 0, numbers.data(), count * 8));
  }

  sn_device* device_;
  const Call& call_;
  int calls_;
  bool whole_is_known_;
  int64_t times_;
  Tensors inputs_, outputs_, all_;
};

void measure_streams(sn_device* device, const GpuOptions& options, int64_t mib, Report& report) {
  for (const auto& stream : kStreams) {
    for (const sinew_test::Case& c : sinew_test::all_cases()) {
      if (std::strcmp(c.op, stream.op) != 0) continue;
      for (const sinew_test::Timed& timed : c.timed) {
        const std::string name = std::string(c.op) + " " + timed.name;
        if (!report.wants(name)) continue;
        const Call call = timed.make();
        RepeatedCall repeated(device, c.op, call, mib, options.calls);
        DeviceCopy copy(device, repeated.bytes(), options.calls);
        const Pair found = in_turn(
            options.pairs, [&] { return repeated.bytes_a_second(); }, [&] { return copy.bytes_a_second(); });
        report.row(name, "GB/s", found.first * 1e-9, found.second * 1e-9, found.ratio, stream.target,
                   repeated.is_right());
      }
    }
  }
}

// Layers of one row or few, whose weights come from memory and not from the cache.
const struct {
  const char* name;  // what the row's name begins with
  double of_copy;    // the target: of a copy's bytes a second
  double of_bf16;  // the target: of the calls a second of cuBLASLt with dense BF16 weights of as many rows and columns
} kLayers[] = {{"linear_w8a8 1 x ", 0.85, 0},
               {"linear_w8a8 32 x ", 0, 0},
               {"linear_w8 1 x ", 0, 0},
               {"linear_w4 1 x 4096 x 4096, groups of 128", 0.8, 0},
               {"linear_w4 1 x 4096 x 4096, groups of 32", 0, 0},
               {"linear_sparse 1 x 4096 x 4096, int8 half zero", 0, 1.4},
               {"linear_sparse 1 x 4096 x 4096, ", 0, 0},
               {"linear_clustered 1 x ", 0, 0}};

// Dense BF16 weights by cuBLASLt, copies of them in turn. Their product with one row is checked against sums in double.
class DenseLayer {
 public:
  DenseLayer(sn_device* device, CublasLt& library, int64_t side, int64_t mib) : device_(device), side_(side) {
    using sinew_test::uniform_elements;
    const std::vector<uint8_t> weight = uniform_elements(SN_BF16, side * side, 1, 11),
                               row = uniform_elements(SN_BF16, side, 1, 12);
    const int64_t copies = std::max<int64_t>((mib << 20) / (2 * side * side), 1);
    x_ = std::make_unique<Tensor>(device, SN_BF16, std::vector<int64_t>{1, side});
    y_ = std::make_unique<Tensor>(device, SN_F32, std::vector<int64_t>{1, side});
    require(sn_tensor_write(*x_, 0, row.data(), 2 * side));
    std::vector<const void*> addresses;
    for (int64_t i = 0; i < copies; ++i) {
      weights_.push_back(std::make_unique<Tensor>(device, SN_BF16, std::vector<int64_t>{side, side}));
      require(sn_tensor_write(*weights_.back(), 0, weight.data(), static_cast<int64_t>(weight.size())));
      addresses.push_back(sn_tensor_data(*weights_.back()));
    }
    require(sn_device_synchronize(device));
    call_ = library.product(LtKind::kBf16ToF32, {1, side, side}, sn_tensor_data(*x_), addresses, sn_tensor_data(*y_));
    const std::vector<double> w = sinew_test::doubles_of(SN_BF16, weight), x = sinew_test::doubles_of(SN_BF16, row);
    for (int64_t c = 0; c < side; ++c) {
      double sum = 0;
      for (int64_t k = 0; k < side; ++k) sum += w[static_cast<size_t>(c * side + k)] * x[static_cast<size_t>(k)];
      expected_.push_back(sum);
    }
  }

  bool found() const { return call_ != nullptr; }
  double calls_a_second(int calls) {
    require_cuda(cudaDeviceSynchronize());
    return calls / seconds_of([&] {
             for (int i = 0; i < calls; ++i) call_();
             require_cuda(cudaDeviceSynchronize());
           });
  }
  bool is_right() const {
    std::vector<float> y(static_cast<size_t>(side_));
    require(sn_device_synchronize(device_));
    require(sn_tensor_read(*y_, 0, y.data(), 4 * side_));
    for (size_t i = 0; i < y.size(); ++i) {
      if (!(std::fabs(static_cast<double>(y[i]) - expected_[i]) <= 0.001 * std::sqrt(static_cast<double>(side_))))
        return false;
    }
    return true;
  }

 private:
  sn_device* device_;
  int64_t side_;
  std::unique_ptr<Tensor> x_, y_;
  std::vector<std::unique_ptr<Tensor>> weights_;
  std::function<void()> call_;
  std::vector<double> expected_;
};

void measure_layer(sn_device* device, const std::string& name, const Call& call, double of_copy, double of_bf16,
                   CublasLt* library, const GpuOptions& options, int64_t mib, Report& report) {
  const int calls = 2 * options.calls;
  ColdLayer layer(device, call, mib, calls);
  DeviceCopy copy(device, static_cast<double>(mib << 20), options.calls);
  const Pair found = in_turn(
      options.pairs, [&] { return layer.weight_bytes() / layer.time_layer(); }, [&] { return copy.bytes_a_second(); });
  const bool right = layer.output_is_right();
  report.row(name, "GB/s", found.first * 1e-9, found.second * 1e-9, found.ratio, of_copy, right);
  if (of_bf16 == 0) return;
  const std::string beside = "  beside dense BF16 by cuBLASLt";
  const double own = 1 / layer.time_layer();
  if (library == nullptr) {
    report.row(beside, "calls/ms", own * 1e-3, 0, 0, of_bf16, right);
    return;
  }
  DenseLayer dense(device, *library, call.outputs[0].shape.back(), mib);
  if (!dense.found()) {
    report.row(beside, "calls/ms", own * 1e-3, 0, 0, of_bf16, right);
    return;
  }
  const Pair both = in_turn(
      options.pairs, [&] { return 1 / layer.time_layer(); }, [&] { return dense.calls_a_second(10 * calls); });
  report.row(beside, "calls/ms", both.first * 1e-3, both.second * 1e-3, both.ratio, of_bf16, right && dense.is_right());
}

void measure_layers(sn_device* device, CublasLt* library, const GpuOptions& options, int64_t mib, Report& report) {
  for (const sinew_test::Case& c : sinew_test::all_cases()) {
    for (const sinew_test::Timed& timed : c.timed) {
      const std::string name = std::string(c.op) + " " + timed.name;
      for (const auto& layer : kLayers) {
        if (name.compare(0, std::strlen(layer.name), layer.name) != 0) continue;
        if (report.wants(name))
          measure_layer(device, name, timed.make(), layer.of_copy, layer.of_bf16, library, options, mib, report);
        break;
      }
    }
  }
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

int run(const GpuOptions& options) {
  sn_device* device = nullptr;
  if (sn_cuda_load(std::getenv("SINEW_CUDA_PLUGIN")) != SN_OK || sn_cuda_open(0, &device) != SN_OK) {
    std::printf("NOT RUN: %s\n", sn_last_error());
    return 77;
  }
  const int64_t mib = fitting_mib(options.mib);
  std::printf("%s\nSinew's products are of: %s\n", sn_cuda_description(0), sn_cuda_cublaslt_description());
  std::printf(
      "Operands of %lld MiB, of layers of %lld MiB; medians of %d pairs of %d calls in a row. A call that gives a "
      "number "
      "waits for it: about 20 us, in its time.\n",
      static_cast<long long>(mib), static_cast<long long>(std::min<int64_t>(mib, 512)), options.pairs, options.calls);
  const std::unique_ptr<CublasLt> library = CublasLt::open();
  Report report(options.filter);
  report.line("Beside a copy of as many bytes, read and written, in the GPU's memory:");
  measure_streams(device, options, mib, report);
  report.line("Layers, weights from memory, beside such a copy:");
  measure_layers(device, library.get(), options, std::min<int64_t>(mib, 512), report);
  report.line("Products:");
  measure_products(device, library.get(), options, report);
  report.line("Tiles from the host and back, beside copies of both directions at once from page-locked memory:");
  measure_stream(device, options, std::min<int64_t>(mib, 1024), report);
  const bool right = report.finish();
  sn_device_close(device);
  return right ? 0 : 1;
}

}  // namespace
}  // namespace sinew_bench

int main(int argc, char** argv) {
  if (argc == 2 && std::strcmp(argv[1], "--describe") == 0) return sinew_bench::describe();
  sinew_bench::GpuOptions options;
  bool understood = argc % 2 == 1;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string option = argv[i];
    if (option == "--filter") {
      options.filter = argv[i + 1];
      continue;
    }
    const int64_t number = std::atoll(argv[i + 1]);
    understood = understood && number >= 1;
    if (option == "--mib") {
      options.mib = number;
    } else if (option == "--pairs") {
      options.pairs = static_cast<int>(number);
    } else if (option == "--calls") {
      options.calls = static_cast<int>(number);
    } else if (option == "--side") {
      options.side = number;
    } else {
      understood = false;
    }
  }
  if (!understood || options.side % 64 != 0) {
    std::fprintf(
        stderr,
        "usage: sinew_bench_gpu [--mib N] [--pairs N] [--calls N] [--side N, a multiple of 64] [--filter REGEX] | "
        "--describe\n");
    return 2;
  }
  return sinew_bench::run(options);
}
