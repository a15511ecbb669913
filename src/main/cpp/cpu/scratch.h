// Scratch memory that a device keeps between calls.
#pragma once

#include <pthread.h>
#include <stdint.h>

#include "sinew.h"

namespace sn {

// Safe from many threads.
class ScratchBlocks {
 public:
  using Allocate = void* (*)(sn_device*, int64_t bytes);
  using Release = void (*)(sn_device*, void* data, int64_t bytes);

  ScratchBlocks() = default;
  ~ScratchBlocks();
  ScratchBlocks(const ScratchBlocks&) = delete;
  ScratchBlocks& operator=(const ScratchBlocks&) = delete;

  // The smallest free block that is large enough, else the largest free one, replaced by one that is; null when there
  // is no memory.
  void* take(int64_t bytes, Allocate allocate, Release release);
  void give(void* scratch);
  // Frees the blocks that are not in use.
  void free_all();

 private:
  // Lies before the memory that is handed out.
  struct alignas(64) Block {
    Block* next;
    int64_t bytes;  // with this header
    Release release;
  };

  pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;
  Block* free_ = nullptr;
};

}  // namespace sn
