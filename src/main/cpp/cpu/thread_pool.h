// A pool of threads that runs one parallel loop at a time.
#pragma once

#include <pthread.h>
#include <stdint.h>

namespace sn {

class ThreadPool {
 public:
  ThreadPool() = default;
  // Ends the workers.
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  // Starts threads - 1 workers, or as many as the system allows. Called once, before anything else.
  void start(int threads);
  int threads() const { return workers_ + 1; }
  // task(context, i) for i in [0, tasks). Safe from many threads: a call that finds the pool in use runs its tasks
  // itself.
  void run(int64_t tasks, void (*task)(void*, int64_t), void* context);

 private:
  static void* work(void* pool);
  void serve();
  void drain(int64_t tasks, void (*task)(void*, int64_t), void* context);

  pthread_t* handles_ = nullptr;
  int workers_ = 0;
  pthread_mutex_t user_ = PTHREAD_MUTEX_INITIALIZER;   // held by the call that uses the workers
  pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;  // guards everything below except next_
  pthread_cond_t start_ = PTHREAD_COND_INITIALIZER;
  pthread_cond_t done_ = PTHREAD_COND_INITIALIZER;
  uint64_t generation_ = 0;  // of loops; also read without the mutex
  bool open_ = false;        // whether workers may join the loop: one that wakes too late is not waited for
  int active_ = 0;           // workers that have joined; also read without the mutex
  bool stop_ = false;
  int64_t tasks_ = 0;
  void (*task_)(void*, int64_t) = nullptr;
  void* context_ = nullptr;
  int64_t next_ = 0;  // atomic: the next index that nobody has taken
};

}  // namespace sn
