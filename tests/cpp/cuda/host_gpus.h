// GPUs in whose place the processor computes, for host_cudart.cc: their memory, streams and time, and how they fail.
// What is put into a stream happens when somebody waits for it, and memory can be touched only while a kernel or a copy
// runs, so that code which does not wait, or takes an address of the GPU for one of the host's, fails here as it would
// there. AddressSanitizer knows the bytes that were asked for, and no others.
#pragma once

#include <cuda_runtime_api.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(data, bytes) static_cast<void>(0)
#define ASAN_UNPOISON_MEMORY_REGION(data, bytes) static_cast<void>(0)
#endif

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
inline std::atomic<int64_t>& spent(int device) {
  static std::atomic<int64_t> steps[kDevices];
  return steps[device];
}

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
