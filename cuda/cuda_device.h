// The object behind an sn_device that is a GPU.
#pragma once

#include <cuda_runtime_api.h>
#include <pthread.h>

#include <atomic>

#include "device.h"
#include "staging.h"

namespace sn {
namespace cuda {

struct CudaDevice : sn_device {
  int index = 0;
  int64_t multiprocessors = 0, blocks = 0;
  bool has_wgmma = false;
  pthread_mutex_t mutex;          // held by a call while it uses the stream and the findings
  cudaStream_t stream = nullptr;  // null once the device is closed
  cudaMemPool_t pool = nullptr;
  Findings* findings = nullptr;  // on the GPU
  Findings* found = nullptr;     // pinned
  Staging staging;
  std::atomic<cudaError_t> failure{cudaSuccess};  // what has ended the context; set under the mutex
};

sn_status open_device(int32_t index, sn_device** device);

}  // namespace cuda
}  // namespace sn
