// Ranks that are threads of one process.
#include <stdlib.h>
#include <sys/mman.h>

#include "collective/group.h"
#include "core/checks.h"
#include "core/memory.h"

namespace sn {
namespace {

// The memory of a group lies behind a line that counts its communicators.
struct alignas(64) Shared {
  int64_t references;  // atomic
  int64_t bytes;
};

void release(Shared* shared) {
  if (__atomic_sub_fetch(&shared->references, 1, __ATOMIC_ACQ_REL) == 0) {
    munmap(shared, static_cast<size_t>(shared->bytes));
  }
}

// Threads do not end without their process, and one that is stuck looks like one that is slow.
int32_t ended_thread(sn_communicator*) { return -1; }

Shared* shared_of(Control* control) { return reinterpret_cast<Shared*>(reinterpret_cast<char*>(control) - 4096); }

void close_thread(sn_communicator* c) { release(shared_of(c->control)); }

const Transport kThreads = {"threads", true, ended_thread, close_thread};

}  // namespace
}  // namespace sn

sn_status sn_communicator_threads(int32_t world_size, int64_t timeout_ms, sn_communicator** communicators) {
  using namespace sn;
  if (communicators == nullptr) return fail(SN_INVALID_ARGUMENT, "the result pointer is null");
  SN_TRY(checks::group(0, world_size, timeout_ms));
  const int64_t bytes = 4096 + group_bytes(world_size);
  // Zeroed, and slots that are never used take no memory.
  void* memory = mmap(nullptr, static_cast<size_t>(bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return fail(SN_OUT_OF_MEMORY, "no memory for a group of %d ranks", world_size);
  Shared* shared = static_cast<Shared*>(memory);
  shared->references = 1;
  shared->bytes = bytes;
  for (int32_t r = 0; r < world_size; ++r) {
    communicators[r] = create_communicator(&kThreads, static_cast<char*>(memory) + 4096, r, world_size, timeout_ms);
    if (communicators[r] == nullptr) {
      while (r > 0) sn_communicator_close(communicators[--r]);
      release(shared);
      return fail(SN_OUT_OF_MEMORY, "no memory for a group of %d ranks", world_size);
    }
    ++shared->references;
  }
  release(shared);
  return SN_OK;
}
