#include "cpu/thread_pool.h"

#include <signal.h>
#include <stdlib.h>

namespace sn {
namespace {

// Waits a little without giving up the processor, since waking a thread takes as long as a small layer: 26 microseconds
// on Zen 3, in which the next layer of a network mostly comes.
template <class F>
void spin_while(F waiting) {
  for (int i = 0; i < 1000 && waiting(); ++i) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  }
}

}  // namespace

void ThreadPool::start(int threads) {
  if (threads <= 1) return;
  handles_ = static_cast<pthread_t*>(calloc(static_cast<size_t>(threads - 1), sizeof(pthread_t)));
  if (handles_ == nullptr) return;
  // Workers take no signals: handlers belong to the program's own threads.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  while (workers_ < threads - 1 && pthread_create(handles_ + workers_, nullptr, work, this) == 0) ++workers_;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

ThreadPool::~ThreadPool() {
  pthread_mutex_lock(&mutex_);
  stop_ = true;
  pthread_cond_broadcast(&start_);
  pthread_mutex_unlock(&mutex_);
  for (int i = 0; i < workers_; ++i) pthread_join(handles_[i], nullptr);
  free(handles_);
  pthread_cond_destroy(&start_);
  pthread_cond_destroy(&done_);
  pthread_mutex_destroy(&mutex_);
  pthread_mutex_destroy(&user_);
}

void ThreadPool::drain(int64_t tasks, void (*task)(void*, int64_t), void* context) {
  for (;;) {
    const int64_t i = __atomic_fetch_add(&next_, 1, __ATOMIC_RELAXED);
    if (i >= tasks) return;
    task(context, i);
  }
}

void ThreadPool::run(int64_t tasks, void (*task)(void*, int64_t), void* context) {
  if (tasks <= 1 || workers_ == 0 || pthread_mutex_trylock(&user_) != 0) {
    for (int64_t i = 0; i < tasks; ++i) task(context, i);
    return;
  }
  pthread_mutex_lock(&mutex_);
  tasks_ = tasks;
  task_ = task;
  context_ = context;
  __atomic_store_n(&next_, 0, __ATOMIC_RELAXED);
  open_ = true;
  __atomic_store_n(&generation_, generation_ + 1, __ATOMIC_RELAXED);
  pthread_cond_broadcast(&start_);
  pthread_mutex_unlock(&mutex_);
  drain(tasks, task, context);
  pthread_mutex_lock(&mutex_);
  open_ = false;
  if (active_ != 0) {
    pthread_mutex_unlock(&mutex_);
    spin_while([&] { return __atomic_load_n(&active_, __ATOMIC_RELAXED) != 0; });
    pthread_mutex_lock(&mutex_);
    while (active_ != 0) pthread_cond_wait(&done_, &mutex_);
  }
  pthread_mutex_unlock(&mutex_);
  pthread_mutex_unlock(&user_);
}

void* ThreadPool::work(void* pool) {
  static_cast<ThreadPool*>(pool)->serve();
  return nullptr;
}

void ThreadPool::serve() {
  uint64_t seen = 0;
  for (;;) {
    spin_while([&] { return __atomic_load_n(&generation_, __ATOMIC_RELAXED) == seen; });
    pthread_mutex_lock(&mutex_);
    while (!stop_ && generation_ == seen) pthread_cond_wait(&start_, &mutex_);
    seen = generation_;
    const bool stop = stop_, join = open_ && !stop;
    const int64_t tasks = tasks_;
    void (*const task)(void*, int64_t) = task_;
    void* const context = context_;
    if (join) __atomic_store_n(&active_, active_ + 1, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&mutex_);
    if (stop) return;
    if (!join) continue;
    drain(tasks, task, context);
    pthread_mutex_lock(&mutex_);
    __atomic_store_n(&active_, active_ - 1, __ATOMIC_RELAXED);
    if (active_ == 0 && !open_) pthread_cond_signal(&done_);
    pthread_mutex_unlock(&mutex_);
  }
}

}  // namespace sn
