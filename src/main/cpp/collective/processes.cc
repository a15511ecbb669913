// Ranks that are processes of one host.
#include <poll.h>
#include <string.h>
#include <sys/mman.h>

#include "collective/group.h"
#include "collective/rendezvous.h"
#include "core/checks.h"
#include "core/memory.h"

namespace sn {
namespace {

struct Processes {
  Links links;
  int64_t bytes = 0;
};

void look_for_ended(sn_communicator* c) {
  pollfd lives[SN_MAX_WORLD_SIZE];
  const Processes* own = static_cast<const Processes*>(c->own);
  // Nobody writes to the pipes: what is asked for is only whether the other end is closed.
  for (int32_t q = 0; q < c->world_size; ++q) lives[q] = {own->links.peers[q].get(), 0, 0};
  if (poll(lives, static_cast<nfds_t>(c->world_size), 0) <= 0) return;
  for (int32_t q = 0; q < c->world_size; ++q) {
    if (lives[q].revents != 0) c->ended[q] = true;
  }
}

void release(sn_communicator* c) {
  Processes* own = static_cast<Processes*>(c->own);
  munmap(c->control, static_cast<size_t>(own->bytes));
  destroy(own);
}

constexpr Transport kProcesses = {false,
                                  all_reduce_in_slots,
                                  all_reduce_compressed_in_slots,
                                  nullptr,
                                  reduce_scatter_in_slots,
                                  all_gather_in_slots,
                                  broadcast_in_slots,
                                  meet_and_compare,
                                  look_for_ended,
                                  release};

sn_status start(const Place& place, Processes* own, sn_communicator** communicator) {
  SN_TRY(rendezvous(place, &own->links));
  void* memory =
      mmap(nullptr, static_cast<size_t>(place.bytes), PROT_READ | PROT_WRITE, MAP_SHARED, own->links.memory.get(), 0);
  if (memory == MAP_FAILED) {
    return fail(SN_OUT_OF_MEMORY, "no address space for the memory of the group '%s'", place.name);
  }
  own->links.memory.reset(-1);
  own->bytes = place.bytes;
  *communicator =
      create_communicator(&kProcesses, static_cast<Control*>(memory), place.rank, place.world_size, place.timeout_ms);
  if (*communicator == nullptr) {
    munmap(memory, static_cast<size_t>(place.bytes));
    return fail(SN_OUT_OF_MEMORY, "no memory for the group '%s'", place.name);
  }
  (*communicator)->slots = static_cast<char*>(memory) + control_bytes(place.world_size);
  (*communicator)->own = own;
  return SN_OK;
}

}  // namespace
}  // namespace sn

sn_status sn_communicator_processes(const char* name, int32_t rank, int32_t world_size, int64_t timeout_ms,
                                    sn_communicator** communicator) {
  using namespace sn;
  if (communicator == nullptr) return fail(SN_INVALID_ARGUMENT, "the result pointer is null");
  *communicator = nullptr;
  if (name == nullptr) return fail(SN_INVALID_ARGUMENT, "the name is null");
  const size_t length = strnlen(name, kLongestName + 1);
  if (length < 1 || length > kLongestName) {
    return fail(SN_INVALID_ARGUMENT, "the name of a group has 1 to %d bytes", static_cast<int>(kLongestName));
  }
  SN_TRY(checks::group(rank, world_size, timeout_ms));
  Processes* own = make<Processes>();
  if (own == nullptr) return fail(SN_OUT_OF_MEMORY, "no memory for the group '%s'", name);
  const Place place = {name, rank, world_size, timeout_ms, control_bytes(world_size) + slots_bytes(world_size)};
  sn_communicator* c = nullptr;
  const sn_status status = start(place, own, &c);
  if (status != SN_OK) {
    destroy(own);
    return status;
  }
  // All have the memory, or nobody goes on.
  sn_status met = begin_call(c, {kStart, SN_F32, 0, 0, 0}, nullptr, nullptr);
  if (met == SN_OK) {
    met = meet_and_compare(c);
    end_call(c);
  }
  if (met != SN_OK) {
    sn_communicator_close(c);
    return met;
  }
  *communicator = c;
  return SN_OK;
}
