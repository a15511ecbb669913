#include "cpu/thread_pool.h"

#include <exception>

namespace sn {

ThreadPool::ThreadPool(int threads) {
  workers_.reserve(static_cast<size_t>(threads > 1 ? threads - 1 : 0));
  try {
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { work(); });
  } catch (const std::exception&) {
    // A limit on threads or on memory: the pool works with those that did start.
  }
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
  }
  start_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::drain(int64_t tasks, void (*task)(void*, int64_t), void* context) {
  for (int64_t i = next_.fetch_add(1, std::memory_order_relaxed); i < tasks; i = next_.fetch_add(1, std::memory_order_relaxed)) task(context, i);
}

void ThreadPool::run(int64_t tasks, void (*task)(void*, int64_t), void* context) {
  std::unique_lock<std::mutex> use(user_, std::defer_lock);
  if (tasks <= 1 || workers_.empty() || !use.try_lock()) {
    for (int64_t i = 0; i < tasks; ++i) task(context, i);
    return;
  }
  {
    std::lock_guard<std::mutex> lock(mutex_);
    tasks_ = tasks;
    task_ = task;
    context_ = context;
    next_.store(0, std::memory_order_relaxed);
    active_ = static_cast<int>(workers_.size());
    ++generation_;
  }
  start_.notify_all();
  drain(tasks, task, context);
  std::unique_lock<std::mutex> lock(mutex_);
  done_.wait(lock, [this] { return active_ == 0; });
}

void ThreadPool::work() {
  uint64_t seen = 0;
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    start_.wait(lock, [&] { return stop_ || generation_ != seen; });
    if (stop_) return;
    seen = generation_;
    int64_t tasks = tasks_;
    void (*task)(void*, int64_t) = task_;
    void* context = context_;
    lock.unlock();
    drain(tasks, task, context);
    lock.lock();
    if (--active_ == 0) done_.notify_one();
  }
}

}  // namespace sn
