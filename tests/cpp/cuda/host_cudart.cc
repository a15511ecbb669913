// The CUDA run-time library for machines without a GPU: two "GPUs" (host_gpus.h) whose kernels are the bodies of
// cuda/*.cu, compiled by g++ and run one thread after the other. Memory that is asked for has anything in it. Calls can
// be told to fail. Events tell as the time what kernels and libraries say that they take.
#include <cuda_runtime_api.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "dnn.h"
#include "host_gpus.h"
#include "launch.h"

namespace {

thread_local int current = 0;
thread_local cudaError_t last = cudaSuccess;

// Only the failure of what has run ends a context; CUDA's numbers from 700 on are those.
bool ends_context(cudaError_t error) { return error >= cudaErrorIllegalAddress && error != cudaErrorNotSupported; }

cudaError_t result(cudaError_t error) {
  if (error != cudaSuccess) last = error;
  return error;
}
// How a call of the function begins.
cudaError_t begin(const char* function, int device) {
  const cudaError_t asked = Failures::all().of(function);
  if (ends_context(asked)) Failures::all().end(device, asked);
  const cudaError_t ended = Failures::all().ended(device);
  return result(ended != cudaSuccess ? ended : asked);
}
#define SN_BEGIN(device)                                 \
  do {                                                   \
    const cudaError_t begun = begin(__func__, (device)); \
    if (begun != cudaSuccess) return begun;              \
  } while (false)

}  // namespace

// For tests: how many kernels have run, which those do that something has waited for.
extern "C" {
__attribute__((visibility("default"))) std::atomic<int64_t> sn_host_kernels_run{0};
}

namespace sn {
namespace cuda {

// Other libraries know nothing of these streams.
void open_memory() {
  CUstream_st::run_all_of(current);
  Memory::all().open();
}
void close_memory() { Memory::all().close(); }

int64_t dnn_least() {
  const char* least = std::getenv("SINEW_HOST_CUDNN_LEAST");
  return least == nullptr ? SN_CUDNN_LEAST : std::atoll(least);
}

void launch_on_host(cudaStream_t stream, int64_t steps, std::function<void()> kernel) {
  const cudaError_t asked = Failures::all().of("kernel"), ended = Failures::all().ended(stream->device);
  if (ended != cudaSuccess || (asked != cudaSuccess && !ends_context(asked))) {
    last = ended != cudaSuccess ? ended : asked;  // it does not begin
    return;
  }
  ++stream->kernels;
  stream->add([stream, steps, asked, run = std::move(kernel)] {
    if (asked != cudaSuccess) return Failures::all().end(stream->device, asked);
    run();
    spent(stream->device) += steps;
    --stream->kernels;
    ++sn_host_kernels_run;
  });
}

}  // namespace cuda
}  // namespace sn

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorIllegalAddress:
      return "an illegal memory access was encountered";
    case cudaErrorInvalidValue:
      return "invalid argument";
    default:
      return "another error";
  }
}
// An error that has ended the context is not forgotten.
cudaError_t cudaGetLastError() {
  const cudaError_t ended = Failures::all().ended(current), error = last;
  last = cudaSuccess;
  return ended != cudaSuccess ? ended : error;
}

cudaError_t cudaDriverGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceCount(int* count) {
  *count = kDevices;
  return cudaSuccess;
}
// The first one has what Hopper has, the other what all GPUs have.
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  SN_BEGIN(device);
  *value = attribute == cudaDevAttrMultiProcessorCount      ? 4
           : attribute == cudaDevAttrComputeCapabilityMajor ? (device == 0 ? 9 : 8)
                                                            : 0;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (device < 0 || device >= kDevices) return result(cudaErrorInvalidDevice);
  std::snprintf(properties->name, sizeof properties->name, "no GPU, but the processor in the place of GPU %d", device);
  properties->totalGlobalMem = kMemory;
  properties->minor = 0;
  properties->multiProcessorCount = 4;
  return cudaDeviceGetAttribute(&properties->major, cudaDevAttrComputeCapabilityMajor, device);
}
cudaError_t cudaGetDevice(int* device) {
  *device = current;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  if (device < 0 || device >= kDevices) return result(cudaErrorInvalidDevice);
  SN_BEGIN(device);
  current = device;
  return cudaSuccess;
}
cudaError_t cudaDeviceCanAccessPeer(int* possible, int, int) {
  SN_BEGIN(current);
  *possible = 1;
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  SN_BEGIN(current);
  *stream = new CUstream_st(current);
  return cudaSuccess;
}
// After what is in it; of a context that has ended it goes all the same.
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  if (stream == nullptr) return result(cudaErrorInvalidValue);
  delete stream;
  return begin(__func__, current);
}
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  SN_BEGIN(stream->device);
  return result(stream->is_idle() ? cudaSuccess : cudaErrorNotReady);
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (stream == nullptr) return begin(__func__, current);
  stream->run_all();
  return begin(__func__, stream->device);
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  SN_BEGIN(stream->device);
  const std::lock_guard<std::mutex> lock(event->mutex);
  CUstream_st* const other = event->stream;
  const int64_t number = event->number;
  if (other != nullptr && other != stream) stream->add([other, number] { other->run(number); });
  return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, 0); }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  SN_BEGIN(current);
  *event = new CUevent_st;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return begin(__func__, current);
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  SN_BEGIN(stream->device);
  const std::lock_guard<std::mutex> lock(event->mutex);
  event->stream = stream;
  event->time = std::make_shared<std::atomic<int64_t>>(0);
  event->number = stream->add([time = event->time, stream] { *time = spent(stream->device).load(); });
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  CUstream_st* stream;
  int64_t number;
  {
    const std::lock_guard<std::mutex> lock(event->mutex);
    stream = event->stream;
    number = event->number;
  }
  if (stream == nullptr) return begin(__func__, current);
  stream->run(number);
  return begin(__func__, stream->device);
}
// Of events that have happened.
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  SN_BEGIN(current);
  const std::scoped_lock lock(start->mutex, end->mutex);
  if (start->stream == nullptr || end->stream == nullptr) return result(cudaErrorInvalidValue);
  *milliseconds = static_cast<float>(*end->time - *start->time);
  return cudaSuccess;
}

cudaError_t cudaMemPoolCreate(cudaMemPool_t* pool, const cudaMemPoolProps* properties) {
  SN_BEGIN(current);
  *pool = new CUmemPoolHandle_st{properties->location.id};
  return cudaSuccess;
}
cudaError_t cudaMemPoolDestroy(cudaMemPool_t pool) {
  if (pool == nullptr) return result(cudaErrorInvalidValue);
  delete pool;
  return begin(__func__, current);
}
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void*) {
  SN_BEGIN(current);
  return cudaSuccess;
}
cudaError_t cudaMemPoolSetAccess(cudaMemPool_t pool, const cudaMemAccessDesc*, size_t) {
  SN_BEGIN(pool->device);
  return cudaSuccess;
}
cudaError_t cudaMemPoolTrimTo(cudaMemPool_t pool, size_t) {
  SN_BEGIN(pool->device);
  return cudaSuccess;
}
cudaError_t cudaMalloc(void** data, size_t bytes) {
  SN_BEGIN(current);
  *data = Memory::all().take(bytes, current);
  return result(*data == nullptr ? cudaErrorMemoryAllocation : cudaSuccess);
}
cudaError_t cudaFree(void* data) {
  SN_BEGIN(current);
  if (data != nullptr) Memory::all().give_back(data);
  return cudaSuccess;
}
cudaError_t cudaMallocHost(void** data, size_t bytes) {
  SN_BEGIN(current);
  *data = std::malloc(bytes);
  return result(*data == nullptr ? cudaErrorMemoryAllocation : cudaSuccess);
}
cudaError_t cudaFreeHost(void* data) {
  std::free(data);
  return begin(__func__, current);
}
// What was there before may be anything.
cudaError_t cudaMallocFromPoolAsync(void** data, size_t bytes, cudaMemPool_t pool, cudaStream_t stream) {
  SN_BEGIN(pool->device);
  *data = Memory::all().take(bytes, pool->device);
  if (*data == nullptr) return result(cudaErrorMemoryAllocation);
  stream->add([taken = *data, bytes] { std::memset(taken, 0xa5, bytes); });
  return cudaSuccess;
}
cudaError_t cudaFreeAsync(void* data, cudaStream_t stream) {
  SN_BEGIN(stream->device);
  if (!Memory::all().has(data)) return result(cudaErrorInvalidValue);
  // At once where no kernel may use it, as nobody may ever wait for the stream again.
  if (stream->kernels == 0) {
    stream->run_all();
    Memory::all().give_back(data);
  } else {
    stream->add([data] { Memory::all().give_back(data); });
  }
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* data, int value, size_t bytes, cudaStream_t stream) {
  SN_BEGIN(stream->device);
  stream->add([=] { std::memset(data, value, bytes); });
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind, cudaStream_t stream) {
  SN_BEGIN(stream->device);
  stream->add([=] { std::memcpy(to, from, bytes); });
  return cudaSuccess;
}

// For other libraries that stand for those of a GPU.
extern "C" {
__attribute__((visibility("default"))) void sn_host_open_memory() { sn::cuda::open_memory(); }
__attribute__((visibility("default"))) void sn_host_close_memory() { sn::cuda::close_memory(); }
__attribute__((visibility("default"))) void sn_host_spend(int64_t steps) { spent(current) += steps; }
// The next call of a function of the run-time library fails with the error, or with "kernel" the next kernel does; null
// makes all that has failed work again.
__attribute__((visibility("default"))) void sn_host_fail(const char* function, int error) {
  Failures::all().ask(function, error);
}
}
