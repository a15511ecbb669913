#include "gpu_stream.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <thread>
#include <vector>

#include "gpu_memory.h"
#include "measure.h"
#include "support/reals.h"
#include "support/tensor.h"
#include "support/values.h"

namespace sinew_bench {
namespace {

using sinew_test::Tensor;

constexpr int64_t kMostTile = 16 << 20;  // bytes: what `optimize` takes at a time
constexpr float kThreshold = 0.5f;

// Both directions at once, each on a stream of its own; bytes a second of one of them.
class HostCopies {
 public:
  explicit HostCopies(int64_t bytes) : bytes_(static_cast<size_t>(bytes)) {
    for (int i = 0; i < 2; ++i) {
      require_cuda(cudaMallocHost(&host_[i], bytes_));
      require_cuda(cudaMalloc(&gpu_[i], bytes_));
      require_cuda(cudaStreamCreateWithFlags(&streams_[i], cudaStreamNonBlocking));
    }
  }
  ~HostCopies() {
    for (int i = 0; i < 2; ++i) {
      cudaFreeHost(host_[i]);
      cudaFree(gpu_[i]);
      cudaStreamDestroy(streams_[i]);
    }
  }
  HostCopies(const HostCopies&) = delete;
  HostCopies& operator=(const HostCopies&) = delete;

  double bytes_a_second(int times) {
    return static_cast<double>(bytes_) * times / seconds_of([&] {
             for (int i = 0; i < times; ++i) {
               require_cuda(cudaMemcpyAsync(gpu_[0], host_[0], bytes_, cudaMemcpyHostToDevice, streams_[0]));
               require_cuda(cudaMemcpyAsync(host_[1], gpu_[1], bytes_, cudaMemcpyDeviceToHost, streams_[1]));
             }
             require_cuda(cudaDeviceSynchronize());
           });
  }

 private:
  size_t bytes_;
  void *host_[2] = {}, *gpu_[2] = {};
  cudaStream_t streams_[2] = {};
};

void measure_threads(sn_device* gpu, const std::string& name, size_t count, const GpuOptions& options, int64_t mib,
                     Report& report) {
  const int64_t tile = std::min(kMostTile, (mib << 20) / 8), elements = tile / 4;
  const int64_t tiles = std::max<int64_t>((mib << 20) / tile, 8);
  const std::vector<uint8_t> source = sinew_test::uniform_elements(SN_F32, elements, 1, 13);
  std::vector<std::vector<uint8_t>> results(count, std::vector<uint8_t>(source.size()));
  HostCopies copies(tile);
  const auto stream = [&] {
    std::atomic<int64_t> next{0};
    const double seconds = seconds_of([&] {
      std::vector<std::thread> threads;
      for (size_t t = 0; t < count; ++t) {
        threads.emplace_back([&, t] {
          while (next++ < tiles) {
            Tensor x;
            require(sn_tensor_create_from(gpu, SN_F32, 1, &elements, source.data(), x.out()));
            require(sn_prune_threshold(x, kThreshold, x, nullptr));
            require(sn_tensor_read(x, 0, results[t].data(), tile));
          }
        });
      }
      for (std::thread& thread : threads) thread.join();
    });
    return static_cast<double>(tile * tiles) / seconds;
  };
  const Pair found = in_turn(options.pairs, stream, [&] { return copies.bytes_a_second(static_cast<int>(tiles)); });
  bool right = false;
  const std::vector<double> x = sinew_test::doubles_of(SN_F32, source);
  for (const std::vector<uint8_t>& result : results) {
    const std::vector<double> y = sinew_test::doubles_of(SN_F32, result);
    // A thread may have come too late for any tile, but not all.
    if (std::all_of(result.begin(), result.end(), [](uint8_t b) { return b == 0; })) continue;
    right = true;
    for (size_t i = 0; i < x.size() && right; ++i) right = y[i] == (std::fabs(x[i]) <= kThreshold ? 0 : x[i]);
    if (!right) break;
  }
  report.row(name, "GB/s", found.first * 1e-9, found.second * 1e-9, found.ratio, 0, right);
}

}  // namespace

void measure_stream(sn_device* gpu, const GpuOptions& options, int64_t mib, Report& report) {
  for (size_t threads : {1, 3}) {
    const std::string name =
        "prune_threshold of the host's memory, " + std::to_string(threads) + (threads == 1 ? " thread" : " threads");
    if (report.wants(name)) measure_threads(gpu, name, threads, options, mib, report);
  }
}

}  // namespace sinew_bench
