#include "staging.h"

#include <string.h>

namespace sn {
namespace cuda {

Staging::Staging() {
  pthread_mutex_init(&mutex_, nullptr);
  pthread_cond_init(&free_, nullptr);
}
Staging::~Staging() {
  pthread_cond_destroy(&free_);
  pthread_mutex_destroy(&mutex_);
}

cudaError_t Staging::open() {
  pthread_mutex_lock(&mutex_);
  if (!opened_) {
    opened_ = true;
    const auto then = [this](cudaError_t error) {
      if (state_ == cudaSuccess && error != cudaSuccess) state_ = cudaErrorNotSupported;
    };
    then(cudaStreamCreateWithFlags(&in_, cudaStreamNonBlocking));
    then(cudaStreamCreateWithFlags(&out_, cudaStreamNonBlocking));
    for (Slot& slot : slots_) {
      if (state_ == cudaSuccess) then(cudaMallocHost(&slot.memory, static_cast<size_t>(kPiece)));
      if (state_ == cudaSuccess) then(cudaEventCreateWithFlags(&slot.done, cudaEventDisableTiming));
    }
    cudaGetLastError();
  }
  const cudaError_t state = state_;
  pthread_mutex_unlock(&mutex_);
  return state;
}

void Staging::close() {
  for (Slot& slot : slots_) {
    if (slot.done != nullptr) cudaEventDestroy(slot.done);
    cudaFreeHost(slot.memory);
    slot = {};
  }
  if (in_ != nullptr) cudaStreamDestroy(in_);
  if (out_ != nullptr) cudaStreamDestroy(out_);
  in_ = out_ = nullptr;
}

// All at once, so that no call waits for one that waits.
void Staging::take(Slot** slots, int count) {
  pthread_mutex_lock(&mutex_);
  while (unused_ < count) pthread_cond_wait(&free_, &mutex_);
  unused_ -= count;
  for (Slot& slot : slots_) {
    if (slot.taken || count == 0) continue;
    slot.taken = true;
    slots[--count] = &slot;
  }
  pthread_mutex_unlock(&mutex_);
}
void Staging::give_back(Slot** slots, int count) {
  pthread_mutex_lock(&mutex_);
  unused_ += count;
  for (int i = 0; i < count; ++i) slots[i]->taken = false;
  pthread_cond_broadcast(&free_);
  pthread_mutex_unlock(&mutex_);
}

cudaError_t Staging::copy(void* to, const void* from, int64_t bytes, cudaMemcpyKind kind, cudaEvent_t before) {
  const bool inwards = kind == cudaMemcpyHostToDevice;
  const cudaStream_t stream = inwards ? in_ : out_;
  cudaError_t error = before == nullptr ? cudaSuccess : cudaStreamWaitEvent(stream, before, 0);
  if (error != cudaSuccess) return error;
  Slot* mine[kEach];  // used in turn
  const int count = bytes > kPiece ? kEach : 1;
  const int64_t pieces = (bytes + kPiece - 1) / kPiece;
  const auto size_of = [&](int64_t piece) {
    const int64_t left = bytes - piece * kPiece;
    return static_cast<size_t>(left < kPiece ? left : kPiece);
  };
  char* const target = static_cast<char*>(to);
  const char* const source = static_cast<const char*>(from);
  take(mine, count);
  // A piece is begun `count` pieces before the one that is ended.
  for (int64_t begun = 0, ended = 0; ended < pieces && error == cudaSuccess;) {
    if (begun < pieces && begun < ended + count) {
      const Slot& slot = *mine[begun % count];
      const int64_t offset = begun * kPiece;
      if (inwards) memcpy(slot.memory, source + offset, size_of(begun));
      error = inwards ? cudaMemcpyAsync(target + offset, slot.memory, size_of(begun), kind, stream)
                      : cudaMemcpyAsync(slot.memory, source + offset, size_of(begun), kind, stream);
      if (error == cudaSuccess) error = cudaEventRecord(slot.done, stream);
      ++begun;
      continue;
    }
    const Slot& slot = *mine[ended % count];
    error = cudaEventSynchronize(slot.done);
    if (error == cudaSuccess && !inwards) memcpy(target + ended * kPiece, slot.memory, size_of(ended));
    ++ended;
  }
  // Nothing may still be under way in memory that others take next.
  if (error != cudaSuccess) cudaStreamSynchronize(stream);
  give_back(mine, count);
  return error;
}

}  // namespace cuda
}  // namespace sn
