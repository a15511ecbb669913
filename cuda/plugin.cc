// The entry of libsinew_cuda.so: which GPUs there are, or why there are none.
#include "core/plugin.h"

#include <cuda_runtime_api.h>
#include <stdarg.h>
#include <stdio.h>

#include "cuda_device.h"
#include "description.h"
#include "dnn.h"
#include "lt.h"

namespace sn {
namespace cuda {
namespace {

const sn_host* host = nullptr;

sn_status count(int32_t* devices) {
  int driver = 0, found = 0;
  const cudaError_t driver_error = cudaDriverGetVersion(&driver);
  if (driver_error != cudaSuccess || driver == 0)
    return fail(SN_UNSUPPORTED, "no GPU can be used, as there is no NVIDIA driver: libcuda.so.1 cannot be loaded");
  const cudaError_t error = cudaGetDeviceCount(&found);
  cudaGetLastError();
  if (error == cudaErrorInsufficientDriver) {
    return fail(SN_UNSUPPORTED,
                "no GPU can be used, as the NVIDIA driver is for CUDA %d.%d, and %d.%d or later is needed",
                driver / 1000, driver % 1000 / 10, CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10);
  }
  if (error == cudaErrorNoDevice || (error == cudaSuccess && found == 0)) {
    return fail(SN_UNSUPPORTED,
                "no GPU can be used, as the NVIDIA driver sees none: is CUDA_VISIBLE_DEVICES set, or a "
                "container without access to GPUs?");
  }
  if (error != cudaSuccess) return fail(SN_UNSUPPORTED, "no GPU can be used: %s", cudaGetErrorString(error));
  *devices = found;
  return SN_OK;
}

sn_status describe(int32_t index, char* text, int64_t capacity) {
  cudaDeviceProp properties;
  const cudaError_t error = cudaGetDeviceProperties(&properties, index);
  int driver = 0;
  cudaDriverGetVersion(&driver);
  cudaGetLastError();
  if (error != cudaSuccess) return fail(SN_UNSUPPORTED, "GPU %d cannot be used: %s", index, cudaGetErrorString(error));
  describe_gpu({properties.name, properties.major, properties.minor, properties.multiProcessorCount,
                static_cast<double>(properties.totalGlobalMem) / (1 << 30), driver, "/proc/driver/nvidia/version",
                SINEW_CUDA_ARCHITECTURES},
               text, capacity);
  return SN_OK;
}

}  // namespace

sn_status fail(sn_status status, const char* format, ...) {
  char sentence[1024];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(sentence, sizeof sentence, format, arguments);
  va_end(arguments);
  return host->fail(status, sentence);
}

}  // namespace cuda
}  // namespace sn

__attribute__((visibility("default"))) const sn_plugin* sn_cuda_plugin(const sn_host* caller) {
  if (caller->layout != sn::backend_layout()) return nullptr;
  sn::cuda::host = caller;
  static const sn_plugin plugin = {sn::backend_layout(),  sn::cuda::count,          sn::cuda::describe,
                                   sn::cuda::open_device, sn::cuda::lt_name,        sn::cuda::lt_description,
                                   sn::cuda::dnn_name,    sn::cuda::dnn_description};
  return &plugin;
}
