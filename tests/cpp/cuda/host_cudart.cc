// The CUDA run-time library for machines without a GPU: two "GPUs" whose kernels are the bodies of cuda/*.cu, compiled
// by g++ and run one thread after the other. What is put into a stream happens when somebody waits for it, and memory
// of a GPU can be touched only while a kernel or a copy runs, so that code which does not wait, or takes an address of
// the GPU for one of the host's, fails here as it would there. Memory that is asked for has anything in it;
// AddressSanitizer knows the bytes that were, and no others. Calls can be told to fail. Events tell as the time what
// kernels and libraries say that they take.
#include <cuda_runtime_api.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "dnn.h"
#include "launch.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(data, bytes) static_cast<void>(0)
#define ASAN_UNPOISON_MEMORY_REGION(data, bytes) static_cast<void>(0)
#endif

namespace {

constexpr int kDevices = 2;
constexpr int64_t kMemory = 256 << 20;  // of both together
constexpr int64_t kBlock = 256, kGap = 256;

// All memory of the GPUs.
class Memory {
 public:
  static Memory& all() {
    static Memory& memory = *new Memory;  // until the process has ended: devices may be open then
    return memory;
  }

  void* take(size_t bytes, int device) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (bytes > static_cast<size_t>(kMemory)) return nullptr;
    const int64_t size = (static_cast<int64_t>(bytes) + kBlock - 1) / kBlock * kBlock + kGap;
    int64_t place = 0;
    for (const auto& entry : used_) {
      if (entry.first - place >= size) break;
      place = entry.first + entry.second.size;
    }
    if (place + size > kMemory) return nullptr;
    used_[place] = {size, device};
    ASAN_UNPOISON_MEMORY_REGION(base_ + place, bytes);
    if (open_ > 0) protect(PROT_READ | PROT_WRITE);
    return base_ + place;
  }
  bool has(const void* data) {
    const std::lock_guard<std::mutex> lock(mutex_);
    return used_.count(static_cast<const char*>(data) - base_) != 0;
  }
  void give_back(void* data) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = used_.find(static_cast<char*>(data) - base_);
    if (found != used_.end()) give_back(found);
  }
  // As the end of a context does.
  void give_back_all_of(int device) {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (auto entry = used_.begin(); entry != used_.end();) {
      entry = entry->second.device == device ? give_back(entry) : std::next(entry);
    }
  }

  // Kernels of several streams run at the same time.
  void open() {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (open_++ == 0) protect(PROT_READ | PROT_WRITE);
  }
  void close() {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (--open_ == 0) protect(PROT_NONE);
  }

 private:
  struct Block {
    int64_t size;
    int device;
  };

  Memory()
      : base_(
            static_cast<char*>(mmap(nullptr, kMemory, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0))) {
    ASAN_POISON_MEMORY_REGION(base_, kMemory);
  }
  std::map<int64_t, Block>::iterator give_back(std::map<int64_t, Block>::iterator entry) {
    ASAN_POISON_MEMORY_REGION(base_ + entry->first, static_cast<size_t>(entry->second.size));
    // Pages that are there make it slow to open and close the memory.
    constexpr int64_t kPage = 4096, kMany = 256;
    const int64_t first = (entry->first + kPage - 1) / kPage, last = (entry->first + entry->second.size) / kPage;
    if (last - first >= kMany)
      madvise(base_ + first * kPage, static_cast<size_t>((last - first) * kPage), MADV_DONTNEED);
    return used_.erase(entry);
  }
  void protect(int how) {
    const int64_t end = used_.empty() ? 0 : std::prev(used_.end())->first + std::prev(used_.end())->second.size;
    opened_ = std::max(opened_, end);
    mprotect(base_, static_cast<size_t>(opened_), how);
    if (how == PROT_NONE) opened_ = 0;
  }

  std::mutex mutex_;
  char* const base_;
  std::map<int64_t, Block> used_;  // by places; both in whole blocks
  int64_t opened_ = 0;             // so far from the base at most
  int open_ = 0;
};

// What each GPU has spent so far, in steps of threads.
std::atomic<int64_t>& spent(int device) {
  static std::atomic<int64_t> steps[kDevices];
  return steps[device];
}

thread_local int current = 0;
thread_local cudaError_t last = cudaSuccess;

// What has ended a GPU's context, and which calls are to fail.
class Failures {
 public:
  static Failures& all() {
    static Failures& failures = *new Failures;
    return failures;
  }

  cudaError_t ended(int device) {
    const std::lock_guard<std::mutex> lock(mutex_);
    return ended_[device];
  }
  void end(int device, cudaError_t error) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (ended_[device] == cudaSuccess) ended_[device] = error;
  }
  // From now on the next call of the function fails, or the next kernel does. Null forgets everything.
  void ask(const char* function, int error) {
    const std::lock_guard<std::mutex> lock(mutex_);
    asked_ = function == nullptr ? "" : function;
    error_ = static_cast<cudaError_t>(error);
    for (int device = 0; function == nullptr && device < kDevices; ++device) {
      if (ended_[device] != cudaSuccess) Memory::all().give_back_all_of(device);
      ended_[device] = cudaSuccess;
    }
  }
  cudaError_t of(const char* function) {
    const std::lock_guard<std::mutex> lock(mutex_);
    read_file();
    if (asked_ != function) return cudaSuccess;
    asked_.clear();
    return error_;
  }

 private:
  // For other processes, such as a JVM: the file that SINEW_CUDA_HOST_FAILS names has a function and an error's number,
  // and is deleted once it is read.
  void read_file() {
    static const char* const file = std::getenv("SINEW_CUDA_HOST_FAILS");
    if (file == nullptr) return;
    std::FILE* in = std::fopen(file, "r");
    if (in == nullptr) return;
    char function[64] = "";
    int error = 0;
    if (std::fscanf(in, "%63s %d", function, &error) == 2) {
      asked_ = function;
      error_ = static_cast<cudaError_t>(error);
      std::remove(file);
    }
    std::fclose(in);
  }

  std::mutex mutex_;
  cudaError_t ended_[kDevices] = {};
  std::string asked_;
  cudaError_t error_ = cudaSuccess;
};

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

struct CUmemPoolHandle_st {
  int device;
};

// What has to happen, in order. Nothing does before somebody waits for it, and then the thread that waits does it: no
// result is there by luck.
class CUstream_st {
 public:
  explicit CUstream_st(int of) : device(of) {
    const std::lock_guard<std::mutex> lock(registry_mutex());
    registry().insert(this);
  }
  ~CUstream_st() {
    {
      const std::lock_guard<std::mutex> lock(registry_mutex());
      registry().erase(this);
    }
    run_all();
  }
  CUstream_st(const CUstream_st&) = delete;
  CUstream_st& operator=(const CUstream_st&) = delete;

  // Returns how many have been added by now.
  int64_t add(std::function<void()> task) {
    const std::lock_guard<std::mutex> lock(mutex_);
    tasks_.push_back(std::move(task));
    return ++added_;
  }
  // So many are done afterwards; of a context that has ended none runs any more.
  void run(int64_t number) {
    const std::lock_guard<std::mutex> one_at_a_time(running_);
    if (done_ >= number) return;
    Memory::all().open();
    for (; done_ < number; ++done_) {
      const std::function<void()> task = next();
      if (Failures::all().ended(device) == cudaSuccess) task();
    }
    Memory::all().close();
  }
  void run_all() { run(added()); }
  bool is_idle() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return tasks_.empty();
  }
  static void run_all_of(int device) {
    const std::lock_guard<std::mutex> lock(registry_mutex());
    for (CUstream_st* stream : registry()) {
      if (stream->device == device) stream->run_all();
    }
  }

  const int device;
  std::atomic<int> kernels{0};  // that have not run

 private:
  static std::mutex& registry_mutex() {
    static std::mutex& mutex = *new std::mutex;
    return mutex;
  }
  static std::set<CUstream_st*>& registry() {
    static std::set<CUstream_st*>& streams = *new std::set<CUstream_st*>;
    return streams;
  }
  int64_t added() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return added_;
  }
  std::function<void()> next() {
    const std::lock_guard<std::mutex> lock(mutex_);
    std::function<void()> task = std::move(tasks_.front());
    tasks_.pop_front();
    return task;
  }

  std::mutex mutex_, running_;
  std::deque<std::function<void()>> tasks_;
  int64_t added_ = 0, done_ = 0;  // under mutex_, and running_
};

// The place in a stream that was recorded last.
struct CUevent_st {
  std::mutex mutex;
  CUstream_st* stream = nullptr;
  int64_t number = 0;
  std::shared_ptr<std::atomic<int64_t>> time;  // when the stream got there; the event may be gone by then
};

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
