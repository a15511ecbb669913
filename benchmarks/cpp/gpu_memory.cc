#include "gpu_memory.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "measure.h"

namespace sinew_bench {

void require_cuda(int error) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "%s\n", cudaGetErrorString(static_cast<cudaError_t>(error)));
  std::exit(1);
}

int64_t fitting_mib(int64_t mib) {
  size_t free = 0, total = 0;
  require_cuda(cudaMemGetInfo(&free, &total));
  return std::max<int64_t>(std::min(mib, static_cast<int64_t>(free >> 22)), 1);
}

DeviceCopy::DeviceCopy(sn_device* device, double bytes, int calls)
    : half_(std::max<int64_t>(static_cast<int64_t>(bytes / 2) / 4096, 1) * 4096), calls_(calls) {
  require(sn_tensor_create(device, SN_U8, 1, &half_, &from_));
  require(sn_tensor_create(device, SN_U8, 1, &half_, &to_));
  require(sn_device_synchronize(device));
}

DeviceCopy::~DeviceCopy() {
  sn_tensor_close(from_);
  sn_tensor_close(to_);
}

double DeviceCopy::bytes_a_second() {
  require_cuda(cudaDeviceSynchronize());
  const double seconds = seconds_of([&] {
    for (int i = 0; i < calls_; ++i) {
      require_cuda(cudaMemcpyAsync(sn_tensor_data(to_), sn_tensor_data(from_), static_cast<size_t>(half_),
                                   cudaMemcpyDeviceToDevice, nullptr));
    }
    require_cuda(cudaDeviceSynchronize());
  });
  return 2.0 * static_cast<double>(half_) * calls_ / seconds;
}

}  // namespace sinew_bench
