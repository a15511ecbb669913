// Collectives of ranks that cannot read each other's tensors: each copies a piece of its tensor into its slot of the
// shared memory, and after they have met reads those of others.
#include <string.h>

#include "collective/group.h"
#include "core/backend.h"
#include "core/checks.h"

namespace sn {
namespace {

// From so many ranks on each reduces only its share of a piece and reads the others' results, unless a piece is so
// small that a second meeting would cost more.
constexpr int32_t kSharedFrom = 4;
constexpr int64_t kSharedFromBytes = 32 << 10;
constexpr int64_t kLine = 64;

int64_t min_of(int64_t a, int64_t b) { return a < b ? a : b; }
void copy(void* to, const void* from, int64_t bytes) {
  if (bytes > 0 && to != from) memcpy(to, from, static_cast<size_t>(bytes));
}

// Where part `index` of [0, bytes) begins when it is cut into `parts`, at borders between cache lines.
int64_t share_begin(int64_t bytes, int32_t parts, int32_t index) {
  const int64_t lines = (bytes + kLine - 1) / kLine;
  return min_of(bytes, lines * index / parts * kLine);
}

sn_status meet_for(sn_communicator* c, bool first) { return first ? meet_and_compare(c) : meet(c); }

// to = the reduction of `bytes` bytes at `begin` of all slots. Of a large tensor, `whole` elements, the result bypasses
// the caches.
sn_status reduce_slots(sn_communicator* c, sn_device* device, int64_t begin, int64_t bytes, sn_dtype dtype,
                       sn_reduction reduction, void* to, int64_t whole) {
  const void* from[SN_MAX_WORLD_SIZE];
  for (int32_t q = 0; q < c->world_size; ++q) from[q] = slot(c, q) + begin;
  return device->backend->ops->reduce(nullptr, from, c->world_size, bytes / dtype_size(dtype), dtype, reduction, &to, 1,
                                      whole);
}

}  // namespace

sn_status all_reduce_in_slots(sn_communicator* c, sn_device* device, const sn_tensor* x, sn_reduction reduction,
                              sn_tensor* out) {
  const char* in = static_cast<const char*>(x->data);
  char* to = static_cast<char*>(out->data);
  // In place the lines have just been read.
  const int64_t whole = in == to ? 0 : x->elements;
  return for_pieces(c, x->bytes(), kSlotBytes, [&](int64_t offset, int64_t bytes, bool first) {
    char* own = slot(c, c->rank);
    copy(own, in + offset, bytes);
    SN_TRY(meet_for(c, first));
    if (c->world_size < kSharedFrom || bytes < kSharedFromBytes) {
      return reduce_slots(c, device, 0, bytes, x->dtype, reduction, to + offset, whole);
    }
    // A rank's share of its own slot is read by itself alone, so the result can take its place.
    const int64_t begin = share_begin(bytes, c->world_size, c->rank);
    const int64_t end = share_begin(bytes, c->world_size, c->rank + 1);
    SN_TRY(reduce_slots(c, device, begin, end - begin, x->dtype, reduction, own + begin, 0));
    SN_TRY(meet(c));
    for (int32_t i = 0; i < c->world_size; ++i) {
      // Each begins with its own, so that not all read from one rank at once.
      const int32_t q = (c->rank + i) % c->world_size;
      const int64_t from = share_begin(bytes, c->world_size, q);
      copy(to + offset + from, slot(c, q) + from, share_begin(bytes, c->world_size, q + 1) - from);
    }
    return static_cast<sn_status>(SN_OK);
  });
}

sn_status reduce_scatter_in_slots(sn_communicator* c, sn_device* device, const sn_tensor* x, sn_reduction reduction,
                                  sn_tensor* out) {
  const char* in = static_cast<const char*>(x->data);
  char* to = static_cast<char*>(out->data);
  const int64_t part = out->bytes(), room = kSlotBytes / c->world_size / kLine * kLine;
  const int64_t whole = to == in + c->rank * part ? 0 : out->elements;
  return for_pieces(c, part, room, [&](int64_t offset, int64_t bytes, bool first) {
    for (int32_t q = 0; q < c->world_size; ++q) copy(slot(c, c->rank) + q * room, in + q * part + offset, bytes);
    SN_TRY(meet_for(c, first));
    return reduce_slots(c, device, c->rank * room, bytes, x->dtype, reduction, to + offset, whole);
  });
}

sn_status all_gather_in_slots(sn_communicator* c, const sn_tensor* x, sn_tensor* out) {
  const char* in = static_cast<const char*>(x->data);
  char* to = static_cast<char*>(out->data);
  const int64_t part = x->bytes();
  return for_pieces(c, part, kSlotBytes, [&](int64_t offset, int64_t bytes, bool first) {
    copy(slot(c, c->rank), in + offset, bytes);
    SN_TRY(meet_for(c, first));
    for (int32_t i = 0; i < c->world_size; ++i) {
      const int32_t q = (c->rank + i) % c->world_size;
      copy(to + q * part + offset, q == c->rank ? in + offset : slot(c, q), bytes);
    }
    return static_cast<sn_status>(SN_OK);
  });
}

sn_status broadcast_in_slots(sn_communicator* c, int32_t root, sn_tensor* x) {
  char* data = static_cast<char*>(x->data);
  return for_pieces(c, x->bytes(), kSlotBytes, [&](int64_t offset, int64_t bytes, bool first) {
    if (c->rank == root) copy(slot(c, root), data + offset, bytes);
    SN_TRY(meet_for(c, first));
    if (c->rank != root) copy(data + offset, slot(c, root), bytes);
    return static_cast<sn_status>(SN_OK);
  });
}

}  // namespace sn
