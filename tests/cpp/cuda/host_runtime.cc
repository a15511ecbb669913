// In the place of the CUDA run-time library for the benchmark of GPUs, which so runs on the stand-in of host_cudart.cc:
// what it calls, done at once. Its times mean nothing; its answers do.
#include <cuda_runtime_api.h>
#include <dlfcn.h>

#include <cstdlib>
#include <cstring>

// Lets the process reach the stand-in's memory, or no more.
void sn_host_reach_memory(bool reach);
void sn_host_reach_memory(bool reach) {
  static void* const plugin = dlopen(std::getenv("SINEW_CUDA_PLUGIN"), RTLD_NOW | RTLD_NOLOAD);
  void* const function =
      plugin == nullptr ? nullptr : dlsym(plugin, reach ? "sn_host_open_memory" : "sn_host_close_memory");
  if (function == nullptr) std::abort();
  reinterpret_cast<void (*)()>(function)();
}

extern "C" {

const char* cudaGetErrorString(cudaError_t) { return "an error of the stand-in for CUDA"; }
cudaError_t cudaDeviceSynchronize() { return cudaSuccess; }
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  *free = *total = size_t{64} << 20;
  return cudaSuccess;
}
cudaError_t cudaMalloc(void** data, size_t bytes) {
  *data = std::malloc(bytes);
  return *data == nullptr ? cudaErrorMemoryAllocation : cudaSuccess;
}
cudaError_t cudaFree(void* data) {
  std::free(data);
  return cudaSuccess;
}
cudaError_t cudaMallocHost(void** data, size_t bytes) { return cudaMalloc(data, bytes); }
cudaError_t cudaFreeHost(void* data) { return cudaFree(data); }
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind, cudaStream_t) {
  sn_host_reach_memory(true);
  std::memcpy(to, from, bytes);
  sn_host_reach_memory(false);
  return cudaSuccess;
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = nullptr;
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t) { return cudaSuccess; }
cudaError_t cudaEventCreate(cudaEvent_t* event) {
  *event = nullptr;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t) { return cudaSuccess; }
cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t, cudaEvent_t) {
  *milliseconds = 1;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t) { return cudaSuccess; }

}  // extern "C"
