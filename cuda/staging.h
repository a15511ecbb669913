// Copies of large tensors by way of page-locked memory, on streams of their own: while one thread's data moves, kernels
// and copies of other threads run. For many threads at once.
#pragma once

#include <cuda_runtime_api.h>
#include <pthread.h>
#include <stdint.h>

namespace sn {
namespace cuda {

class Staging {
 public:
  static constexpr int64_t kPiece = int64_t{4} << 20;

  Staging();
  ~Staging();
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  // Frees the memory and the streams, of the current device.
  void close();

  // Takes what copies need, once, at the first of them. cudaErrorNotSupported, from then on, if there is none.
  cudaError_t open();
  // The stream of copies to the device, once it is open.
  cudaStream_t in() const { return in_; }
  // Copies between the host and the current device once it is open, and returns when it is done. `before` is an event
  // of the device's stream: what was called before it has to be done first. Null if there is nothing to wait for.
  cudaError_t copy(void* to, const void* from, int64_t bytes, cudaMemcpyKind kind, cudaEvent_t before);

 private:
  static constexpr int kSlots = 8, kEach = 2;  // pieces in all, and of a call at a time

  struct Slot {
    void* memory = nullptr;
    cudaEvent_t done = nullptr;
    bool taken = false;
  };

  void take(Slot** slots, int count);
  void give_back(Slot** slots, int count);

  pthread_mutex_t mutex_;
  pthread_cond_t free_;
  bool opened_ = false;
  cudaError_t state_ = cudaSuccess;
  cudaStream_t in_ = nullptr, out_ = nullptr;
  Slot slots_[kSlots];
  int unused_ = kSlots;
};

}  // namespace cuda
}  // namespace sn
