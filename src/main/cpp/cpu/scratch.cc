#include "cpu/scratch.h"

namespace sn {

ScratchBlocks::~ScratchBlocks() {
  free_all();
  pthread_mutex_destroy(&mutex_);
}

void* ScratchBlocks::take(int64_t bytes, Allocate allocate, Release release) {
  constexpr int64_t kHeader = sizeof(Block);
  if (bytes < 0 || bytes > INT64_MAX / 2) return nullptr;
  const int64_t needed = bytes + kHeader;
  pthread_mutex_lock(&mutex_);
  Block** best = nullptr;
  for (Block** at = &free_; *at != nullptr; at = &(*at)->next) {
    const int64_t size = (*at)->bytes;
    const bool better =
        best == nullptr || (size >= needed ? (*best)->bytes < needed || size < (*best)->bytes : size > (*best)->bytes);
    if (better) best = at;
  }
  Block* block = nullptr;
  if (best != nullptr) {
    block = *best;
    *best = block->next;
  }
  pthread_mutex_unlock(&mutex_);
  if (block != nullptr && block->bytes < needed) {
    block->release(nullptr, block, block->bytes);
    block = nullptr;
  }
  if (block == nullptr) {
    // Half as much again, so that sizes that creep up do not allocate each time.
    const int64_t size = needed + needed / 2;
    block = static_cast<Block*>(allocate(nullptr, size));
    if (block == nullptr) return nullptr;
    block->bytes = size;
    block->release = release;
  }
  return block + 1;
}

void ScratchBlocks::give(void* scratch) {
  if (scratch == nullptr) return;
  Block* block = static_cast<Block*>(scratch) - 1;
  pthread_mutex_lock(&mutex_);
  block->next = free_;
  free_ = block;
  pthread_mutex_unlock(&mutex_);
}

void ScratchBlocks::free_all() {
  pthread_mutex_lock(&mutex_);
  Block* block = free_;
  free_ = nullptr;
  pthread_mutex_unlock(&mutex_);
  while (block != nullptr) {
    Block* next = block->next;
    block->release(nullptr, block, block->bytes);
    block = next;
  }
}

}  // namespace sn
