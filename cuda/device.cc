// GPUs: memory, copies, the stream, and what errors mean.
#include <pthread.h>

#include <new>

#include "core/checks.h"
#include "core/memory.h"
#include "cuda_device.h"
#include "device.h"

namespace sn {
namespace cuda {
namespace {

// Whether the plug-in has machine code for 9.0a; what the driver makes from PTX of 8.0 does not use all of Hopper.
#if defined(SINEW_CUDA_HOPPER)
constexpr bool kCodeForHopper = true;
#else
constexpr bool kCodeForHopper = false;
#endif

// Makes a GPU the thread's current one and gives back the one it had: the thread may belong to another user of CUDA.
class Current {
 public:
  explicit Current(int index) {
    if (cudaGetDevice(&previous_) != cudaSuccess) previous_ = -1;
    error_ = previous_ == index ? cudaSuccess : cudaSetDevice(index);
    if (previous_ == index) previous_ = -1;
  }
  ~Current() {
    if (previous_ >= 0) cudaSetDevice(previous_);
  }
  Current(const Current&) = delete;
  Current& operator=(const Current&) = delete;
  cudaError_t error() const { return error_; }

 private:
  int previous_ = -1;
  cudaError_t error_;
};

CudaDevice* cuda_device(sn_device* device) { return static_cast<CudaDevice*>(device); }

sn_status lost(const CudaDevice* device) {
  return sn::cuda::fail(SN_DEVICE_LOST,
                        "GPU %d has failed (%s) and cannot be used any more in this process: restart it", device->index,
                        cudaGetErrorString(device->failure));
}

// The status of a call of the CUDA run-time library, on the current device. An error that stays has ended the context,
// with all its memory; any other has been dealt with when it is reported.
sn_status check(CudaDevice* device, cudaError_t error, const char* what) {
  if (error == cudaSuccess) return SN_OK;
  cudaGetLastError();
  const cudaError_t after = cudaStreamQuery(device->stream);
  if (after != cudaSuccess && after != cudaErrorNotReady) {
    device->failure = error;
    return lost(device);
  }
  // That the stream is busy is no error, but may be kept as the last one, which the next launch would find.
  cudaGetLastError();
  if (error == cudaErrorMemoryAllocation)
    return sn::cuda::fail(SN_OUT_OF_MEMORY, "no memory on GPU %d for %s", device->index, what);
  return sn::cuda::fail(SN_INTERNAL, "%s failed on GPU %d: %s", what, device->index, cudaGetErrorString(error));
}

// Memory of the device's pool, with anything in it, from here on in the order of `stream`: the pool gives what calls of
// the other streams have used last only behind those. What is free there may lie in pieces: then all of it goes back
// first.
cudaError_t take(CudaDevice* device, cudaStream_t stream, size_t bytes, void** data) {
  const auto try_once = [&] { return cudaMallocFromPoolAsync(data, bytes, device->pool, stream); };
  const cudaError_t error = try_once();
  if (error != cudaErrorMemoryAllocation) return error;
  cudaGetLastError();
  cudaStreamSynchronize(device->stream);
  cudaMemPoolTrimTo(device->pool, 0);
  return try_once();
}

void* allocate(sn_device* base, int64_t bytes) {
  CudaDevice* device = cuda_device(base);
  const size_t size = static_cast<size_t>(bytes);
  pthread_mutex_lock(&device->mutex);
  void* data = nullptr;
  if (device->failure == cudaSuccess) {
    const Current current(device->index);
    cudaError_t error = take(device, device->stream, size, &data);
    if (error == cudaSuccess) error = cudaMemsetAsync(data, 0, size, device->stream);
    if (check(device, error, "a tensor") != SN_OK) data = nullptr;
  }
  pthread_mutex_unlock(&device->mutex);
  return data;
}

void release(sn_device* base, void* data, int64_t) {
  CudaDevice* device = cuda_device(base);
  pthread_mutex_lock(&device->mutex);
  if (device->failure == cudaSuccess) {
    const Current current(device->index);
    // In the order of the stream: kernels under way still use it.
    const cudaError_t error = device->stream != nullptr ? cudaFreeAsync(data, device->stream) : cudaFree(data);
    if (device->stream != nullptr) check(device, error, "freeing memory");
  }
  pthread_mutex_unlock(&device->mutex);
}

void close(sn_device* base) {
  CudaDevice* device = cuda_device(base);
  pthread_mutex_lock(&device->mutex);
  const Current current(device->index);
  if (device->failure == cudaSuccess) cudaStreamSynchronize(device->stream);
  device->staging.close();
  cudaFree(device->findings);
  cudaFreeHost(device->found);
  cudaStreamDestroy(device->stream);
  device->stream = nullptr;
  cudaGetLastError();
  pthread_mutex_unlock(&device->mutex);
}

void destroy(sn_device* base) {
  CudaDevice* device = cuda_device(base);
  {
    const Current current(device->index);
    cudaMemPoolDestroy(device->pool);
    cudaGetLastError();
  }
  pthread_mutex_destroy(&device->mutex);
  sn::destroy(device);
}

constexpr int64_t kStagedFrom = 256 << 10;  // bytes of copies that go by way of page-locked memory

// While it waits, other calls use the device.
cudaError_t copy_staged(CudaDevice* device, void* to, const void* from, int64_t bytes, cudaMemcpyKind kind) {
  const Current current(device->index);
  cudaEvent_t before = nullptr;
  cudaError_t error = current.error();
  if (error == cudaSuccess) error = device->staging.open();
  if (error == cudaSuccess) error = cudaEventCreateWithFlags(&before, cudaEventDisableTiming);
  if (error == cudaSuccess) error = cudaEventRecord(before, device->stream);
  if (error == cudaSuccess) error = device->staging.copy(to, from, bytes, kind, before);
  if (before != nullptr) cudaEventDestroy(before);
  return error;
}

sn_status copy(sn_device* base, void* to, const void* from, int64_t bytes, cudaMemcpyKind kind) {
  CudaDevice* device = cuda_device(base);
  cudaError_t staged = cudaErrorNotSupported;
  if (bytes >= kStagedFrom) {
    // Without a Call, which others may hold until their kernels have ended.
    if (device->failure != cudaSuccess) return lost(device);
    staged = copy_staged(device, to, from, bytes, kind);
    if (staged == cudaSuccess) return SN_OK;
  }
  Call call(base);
  if (call.status() != SN_OK) return call.status();
  if (staged != cudaErrorNotSupported) return check(device, staged, "copying");
  cudaError_t error = cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), kind, device->stream);
  if (error == cudaSuccess) error = cudaStreamSynchronize(device->stream);
  return check(device, error, "copying");
}
sn_status copy_in(sn_device* device, void* to, const void* from, int64_t bytes) {
  return copy(device, to, from, bytes, cudaMemcpyHostToDevice);
}
sn_status copy_out(sn_device* device, void* to, const void* from, int64_t bytes) {
  return copy(device, to, from, bytes, cudaMemcpyDeviceToHost);
}

// Nobody else can use new memory yet, so nothing is waited for but its last use, wherever that was: the stream of
// copies in takes it from the pool.
sn_status allocate_copy(sn_device* base, const void* from, int64_t bytes, void** data) {
  CudaDevice* device = cuda_device(base);
  if (bytes < kStagedFrom) return SN_UNSUPPORTED;
  if (device->failure != cudaSuccess) return lost(device);
  const Current current(device->index);
  cudaError_t error = current.error();
  if (error == cudaSuccess) error = device->staging.open();
  if (error == cudaErrorNotSupported) return SN_UNSUPPORTED;
  void* taken = nullptr;
  if (error == cudaSuccess) error = take(device, device->staging.in(), static_cast<size_t>(bytes), &taken);
  if (error == cudaSuccess) error = device->staging.copy(taken, from, bytes, cudaMemcpyHostToDevice, nullptr);
  if (error == cudaSuccess) {
    *data = taken;
    return SN_OK;
  }
  if (taken != nullptr) cudaFreeAsync(taken, device->staging.in());
  const Call call(base);
  return call.status() != SN_OK ? call.status() : check(device, error, "copying");
}

sn_status synchronize(sn_device* base) {
  Call call(base);
  if (call.status() != SN_OK) return call.status();
  CudaDevice* device = cuda_device(base);
  return check(device, cudaStreamSynchronize(device->stream), "an operation");
}

// From now on, whatever `other` has allocated or will.
sn_status reach(sn_device* base, sn_device* base_of_other) {
  if (base == base_of_other) return SN_OK;
  const int index = cuda_device(base)->index;
  CudaDevice* other = cuda_device(base_of_other);
  if (other->index == index) {
    return sn::cuda::fail(SN_INVALID_ARGUMENT, "two devices are GPU %d; ranks on one GPU share one device", index);
  }
  Call call(base_of_other);
  if (call.status() != SN_OK) return call.status();
  int possible = 0;
  SN_TRY(check(other, cudaDeviceCanAccessPeer(&possible, index, other->index), "asking whether GPUs reach each other"));
  if (!possible) {
    return sn::cuda::fail(SN_UNSUPPORTED, "GPU %d cannot reach the memory of GPU %d; use NCCL between them", index,
                          other->index);
  }
  cudaMemAccessDesc access = {};
  access.location.type = cudaMemLocationTypeDevice;
  access.location.id = index;
  access.flags = cudaMemAccessFlagsProtReadWrite;
  return check(other, cudaMemPoolSetAccess(other->pool, &access, 1), "letting another GPU reach its memory");
}

}  // namespace

Call::Call(sn_device* device) : device_(device) {
  CudaDevice* cuda = cuda_device(device);
  pthread_mutex_lock(&cuda->mutex);
  if (cuda->failure != cudaSuccess) {
    status_ = lost(cuda);
    return;
  }
  if (cuda->stream == nullptr) {
    status_ = fail(SN_INVALID_ARGUMENT, "the device is closed");
    return;
  }
  if (cudaGetDevice(&previous_) != cudaSuccess) previous_ = -1;
  if (previous_ == cuda->index) {
    previous_ = -1;
  } else {
    status_ = check(cuda, cudaSetDevice(cuda->index), "choosing the GPU");
  }
}

Call::~Call() {
  for (int i = 0; i < scratches_; ++i) cudaFreeAsync(scratch_[i], stream());
  if (previous_ >= 0) cudaSetDevice(previous_);
  pthread_mutex_unlock(&cuda_device(device_)->mutex);
}

cudaStream_t Call::stream() const { return cuda_device(device_)->stream; }
int Call::gpu() const { return cuda_device(device_)->index; }
void* Call::raw_stream() const { return stream(); }
int64_t Call::multiprocessors() const { return cuda_device(device_)->multiprocessors; }
bool Call::has_wgmma() const { return cuda_device(device_)->has_wgmma; }
int64_t Call::blocks() const { return cuda_device(device_)->blocks; }

void* Call::scratch(int64_t bytes) {
  CudaDevice* device = cuda_device(device_);
  if (status_ != SN_OK) return nullptr;
  if (scratches_ == kMostScratch) {
    status_ = fail(SN_INTERNAL, "an operation has asked for scratch memory too often");
    return nullptr;
  }
  void* data = nullptr;
  const cudaError_t error = take(device, device->stream, static_cast<size_t>(bytes > 0 ? bytes : 1), &data);
  if (error == cudaSuccess) scratch_[scratches_++] = data;
  status_ = check(device, error, "an operation");
  return status_ == SN_OK ? data : nullptr;
}
sn_status Call::zero(void* data, int64_t bytes) {
  CudaDevice* device = cuda_device(device_);
  if (status_ != SN_OK || bytes == 0) return status_;
  status_ = check(device, cudaMemsetAsync(data, 0, static_cast<size_t>(bytes), device->stream), "an operation");
  return status_;
}

void* Call::spare(int64_t bytes) {
  CudaDevice* device = cuda_device(device_);
  if (status_ != SN_OK || scratches_ == kMostScratch) return nullptr;
  void* data = nullptr;
  const cudaError_t error =
      cudaMallocFromPoolAsync(&data, static_cast<size_t>(bytes > 0 ? bytes : 1), device->pool, device->stream);
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    return nullptr;
  }
  status_ = check(device, error, "an operation");
  if (status_ != SN_OK) return nullptr;
  scratch_[scratches_++] = data;
  return data;
}

sn_status Call::failed(const char* what, const char* why) {
  CudaDevice* device = cuda_device(device_);
  cudaGetLastError();
  const cudaError_t after = cudaStreamQuery(device->stream);
  if (after != cudaSuccess && after != cudaErrorNotReady) {
    status_ = check(device, after, what);
  } else {
    cudaGetLastError();  // as in check
    status_ = fail(SN_INTERNAL, "%s failed on GPU %d: %s", what, device->index, why);
  }
  return status_;
}

void Call::forget_error() { cudaGetLastError(); }

sn_status Call::copy(void* to, const void* from, int64_t bytes) {
  CudaDevice* device = cuda_device(device_);
  if (status_ != SN_OK || bytes == 0) return status_;
  const cudaError_t error =
      cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDeviceToDevice, device->stream);
  status_ = check(device, error, "an operation");
  return status_;
}
sn_status Call::upload(void* to, const void* from, int64_t bytes) {
  CudaDevice* device = cuda_device(device_);
  if (status_ != SN_OK) return status_;
  cudaError_t error = cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyHostToDevice, device->stream);
  if (error == cudaSuccess) error = cudaStreamSynchronize(device->stream);
  status_ = check(device, error, "an operation");
  return status_;
}
sn_status Call::download(void* to, const void* from, int64_t bytes) {
  CudaDevice* device = cuda_device(device_);
  if (status_ != SN_OK) return status_;
  cudaError_t error = cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDeviceToHost, device->stream);
  if (error == cudaSuccess) error = cudaStreamSynchronize(device->stream);
  status_ = check(device, error, "an operation");
  return status_;
}

Findings* Call::findings() {
  CudaDevice* device = cuda_device(device_);
  status_ = check(device, cudaMemsetAsync(device->findings, 0, sizeof(Findings), device->stream), "an operation");
  return status_ == SN_OK ? device->findings : nullptr;
}

sn_status Call::read(Findings* found) {
  CudaDevice* device = cuda_device(device_);
  cudaError_t error =
      cudaMemcpyAsync(device->found, device->findings, sizeof(Findings), cudaMemcpyDeviceToHost, device->stream);
  if (error == cudaSuccess) error = cudaStreamSynchronize(device->stream);
  status_ = check(device, error, "an operation");
  if (status_ == SN_OK) *found = *device->found;
  return status_;
}

sn_status Call::launched() {
  status_ = check(cuda_device(device_), cudaGetLastError(), "starting a kernel");
  return status_;
}

Stopwatch::Stopwatch(Call& call) : call_(call) {
  if (cudaEventCreate(&begin_) != cudaSuccess) begin_ = nullptr;
  if (cudaEventCreate(&end_) != cudaSuccess) end_ = nullptr;
}
Stopwatch::~Stopwatch() {
  if (begin_ != nullptr) cudaEventDestroy(begin_);
  if (end_ != nullptr) cudaEventDestroy(end_);
}
void Stopwatch::start() {
  if (begin_ != nullptr) cudaEventRecord(begin_, call_.stream());
}
float Stopwatch::stop() {
  float milliseconds = -1;
  if (begin_ == nullptr || end_ == nullptr) return milliseconds;
  cudaError_t error = cudaEventRecord(end_, call_.stream());
  if (error == cudaSuccess) error = cudaEventSynchronize(end_);
  if (error == cudaSuccess) error = cudaEventElapsedTime(&milliseconds, begin_, end_);
  if (error == cudaSuccess) return milliseconds;
  call_.failed("timing", cudaGetErrorString(error));
  return -1;
}

sn_status open_device(int32_t index, sn_device** opened) {
  static const sn_backend backend = {"cuda",  operations(),   allocate,   release,        close,
                                     destroy, copy_in,        copy_out,   allocate_copy,  synchronize,
                                     reach,   exchange_bytes, collective, all_reduce_norm};
  CudaDevice* device = make<CudaDevice>();
  if (device == nullptr) return fail(SN_OUT_OF_MEMORY, "no memory for a device");
  device->backend = &backend;
  device->index = index;
  pthread_mutex_init(&device->mutex, nullptr);
  sn_status status;
  {
    const Current current(index);
    int multiprocessors = 0, major = 0, minor = 0;
    cudaMemPoolProps properties = {};
    properties.allocType = cudaMemAllocationTypePinned;
    properties.location.type = cudaMemLocationTypeDevice;
    properties.location.id = index;
    uint64_t kept = UINT64_MAX;  // what is freed stays with the pool until memory runs out
    cudaError_t error = current.error();
    const auto then = [&error](auto call) {
      if (error == cudaSuccess) error = call();
    };
    then([&] { return cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, index); });
    then([&] { return cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, index); });
    then([&] { return cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, index); });
    then([&] { return cudaStreamCreateWithFlags(&device->stream, cudaStreamNonBlocking); });
    then([&] { return cudaMemPoolCreate(&device->pool, &properties); });
    then([&] { return cudaMemPoolSetAttribute(device->pool, cudaMemPoolAttrReleaseThreshold, &kept); });
    then([&] { return cudaMalloc(reinterpret_cast<void**>(&device->findings), sizeof(Findings)); });
    then([&] { return cudaMallocHost(reinterpret_cast<void**>(&device->found), sizeof(Findings)); });
    device->multiprocessors = multiprocessors;
    device->has_wgmma = kCodeForHopper && major == 9 && minor == 0;
    device->blocks = int64_t{8} * multiprocessors;  // of 256 threads, which is all that a multiprocessor holds
    if (error == cudaSuccess) {
      *opened = device;
      return SN_OK;
    }
    status = error == cudaErrorMemoryAllocation
                 ? fail(SN_OUT_OF_MEMORY, "GPU %d has no memory left for a device", index)
                 : fail(SN_UNSUPPORTED, "GPU %d cannot be used: %s", index, cudaGetErrorString(error));
  }
  close(device);
  destroy(device);
  return status;
}

}  // namespace cuda
}  // namespace sn
