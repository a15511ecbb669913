// Ranks that are threads of one process.
#include <stdlib.h>
#include <sys/mman.h>

#include "collective/group.h"
#include "core/checks.h"
#include "core/memory.h"

namespace sn {
namespace {

constexpr int64_t kPage = 4096;

// The memory of a group lies behind a page that counts its communicators.
struct alignas(64) Shared {
  int64_t references;  // atomic
  int64_t bytes;
};

void release(Shared* shared) {
  if (__atomic_sub_fetch(&shared->references, 1, __ATOMIC_ACQ_REL) == 0) {
    munmap(shared, static_cast<size_t>(shared->bytes));
  }
}

constexpr Transport kThreads = {true,
                                all_reduce_directly,
                                all_reduce_compressed_in_slots,
                                nullptr,
                                reduce_scatter_directly,
                                all_gather_directly,
                                broadcast_directly,
                                meet_and_compare,
                                nullptr,
                                release_threads};

}  // namespace

void release_threads(sn_communicator* c) {
  release(reinterpret_cast<Shared*>(reinterpret_cast<char*>(c->control) - kPage));
}

sn_status open_threads(const Transport* transport, int32_t world_size, int64_t slots, int64_t timeout_ms,
                       sn_communicator** communicators) {
  // Slots that are never used take no memory.
  const int64_t bytes = kPage + control_bytes(world_size) + slots;
  void* memory = mmap(nullptr, static_cast<size_t>(bytes), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return fail(SN_OUT_OF_MEMORY, "no memory for a group of %d ranks", world_size);
  Shared* shared = static_cast<Shared*>(memory);
  shared->references = 1;
  shared->bytes = bytes;
  for (int32_t r = 0; r < world_size; ++r) {
    Control* control = reinterpret_cast<Control*>(static_cast<char*>(memory) + kPage);
    communicators[r] = create_communicator(transport, control, r, world_size, timeout_ms);
    if (communicators[r] == nullptr) {
      while (r > 0) {
        release_threads(communicators[--r]);
        destroy(communicators[r]);
      }
      release(shared);
      return fail(SN_OUT_OF_MEMORY, "no memory for a group of %d ranks", world_size);
    }
    communicators[r]->slots = reinterpret_cast<char*>(control) + control_bytes(world_size);
    ++shared->references;
  }
  release(shared);
  return SN_OK;
}

}  // namespace sn

sn_status sn_communicator_threads(int32_t world_size, int64_t timeout_ms, sn_communicator** communicators) {
  using namespace sn;
  if (communicators == nullptr) return fail(SN_INVALID_ARGUMENT, "the result pointer is null");
  SN_TRY(checks::group(0, world_size, timeout_ms));
  return open_threads(&kThreads, world_size, slots_bytes(world_size), timeout_ms, communicators);
}
