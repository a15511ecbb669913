// A pool of threads that runs one parallel loop at a time.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace sn {

class ThreadPool {
 public:
  // Starts threads - 1 workers, or as many as the system allows.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }
  // Safe from many threads: a call that finds the pool in use runs its tasks itself.
  void run(int64_t tasks, void (*task)(void*, int64_t), void* context);

 private:
  void work();
  void drain(int64_t tasks, void (*task)(void*, int64_t), void* context);

  std::mutex user_;  // held by the call that uses the workers
  std::mutex mutex_;
  std::condition_variable start_, done_;
  std::vector<std::thread> workers_;
  std::atomic<int64_t> next_{0};
  uint64_t generation_ = 0;
  int active_ = 0;
  bool stop_ = false;
  int64_t tasks_ = 0;
  void (*task_)(void*, int64_t) = nullptr;
  void* context_ = nullptr;
};

}  // namespace sn
