// Collectives over slots: each rank copies a piece of its tensor into its slot, and after they have met reads those of
// others. Slots alternate, so one meeting a piece is enough.
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

struct Sources {
  const void* of[SN_MAX_WORLD_SIZE];
};

// f(offset, bytes, first) for pieces of at most `most` bytes; once for no bytes, since ranks meet all the same.
template <class F>
sn_status for_pieces(int64_t bytes, int64_t most, F f) {
  int64_t offset = 0;
  do {
    const int64_t piece = min_of(most, bytes - offset);
    SN_TRY(f(offset, piece, offset == 0));
    offset += piece;
  } while (offset < bytes);
  return SN_OK;
}

sn_status meet_for(sn_communicator* c, bool first) { return first ? meet_and_compare(c) : meet(c); }

}  // namespace

sn_status all_reduce_in_slots(sn_communicator* c, sn_device* device, const sn_tensor* x, sn_reduction reduction,
                              sn_tensor* out) {
  const char* in = static_cast<const char*>(x->data);
  char* to = static_cast<char*>(out->data);
  const int64_t size = dtype_size(x->dtype);
  return for_pieces(x->bytes(), kSlotBytes, [&](int64_t offset, int64_t bytes, bool first) {
    copy(c->slot(c->rank), in + offset, bytes);
    SN_TRY(meet_for(c, first));
    const bool shared = c->world_size >= kSharedFrom && bytes >= kSharedFromBytes;
    const int64_t begin = shared ? share_begin(bytes, c->world_size, c->rank) : 0;
    const int64_t end = shared ? share_begin(bytes, c->world_size, c->rank + 1) : bytes;
    Sources sources;
    for (int32_t q = 0; q < c->world_size; ++q) sources.of[q] = c->slot(q) + begin;
    // A rank's share of its own slot is read by itself alone, so the result can take its place.
    void* result = shared ? c->slot(c->rank) + begin : to + offset;
    SN_TRY(device->backend->ops->reduce(nullptr, sources.of, c->world_size, (end - begin) / size, x->dtype, reduction,
                                        &result, 1, 0));
    if (shared) {
      SN_TRY(meet(c));
      for (int32_t q = 0; q < c->world_size; ++q) {
        const int64_t from = share_begin(bytes, c->world_size, q);
        copy(to + offset + from, c->slot(q) + from, share_begin(bytes, c->world_size, q + 1) - from);
      }
    }
    ++c->steps;
    return SN_OK;
  });
}

sn_status reduce_scatter_in_slots(sn_communicator* c, sn_device* device, const sn_tensor* x, sn_reduction reduction,
                                  sn_tensor* out) {
  const char* in = static_cast<const char*>(x->data);
  char* to = static_cast<char*>(out->data);
  const int64_t size = dtype_size(x->dtype), part = out->bytes();
  const int64_t room = kSlotBytes / c->world_size / kLine * kLine;
  return for_pieces(part, room, [&](int64_t offset, int64_t bytes, bool first) {
    for (int32_t q = 0; q < c->world_size; ++q) copy(c->slot(c->rank) + q * room, in + q * part + offset, bytes);
    SN_TRY(meet_for(c, first));
    Sources sources;
    for (int32_t q = 0; q < c->world_size; ++q) sources.of[q] = c->slot(q) + c->rank * room;
    void* result = to + offset;
    SN_TRY(device->backend->ops->reduce(nullptr, sources.of, c->world_size, bytes / size, x->dtype, reduction, &result,
                                        1, 0));
    ++c->steps;
    return SN_OK;
  });
}

sn_status all_gather_in_slots(sn_communicator* c, const sn_tensor* x, sn_tensor* out) {
  const char* in = static_cast<const char*>(x->data);
  char* to = static_cast<char*>(out->data);
  const int64_t part = x->bytes();
  return for_pieces(part, kSlotBytes, [&](int64_t offset, int64_t bytes, bool first) {
    copy(c->slot(c->rank), in + offset, bytes);
    SN_TRY(meet_for(c, first));
    for (int32_t q = 0; q < c->world_size; ++q) {
      copy(to + q * part + offset, q == c->rank ? in + offset : c->slot(q), bytes);
    }
    ++c->steps;
    return SN_OK;
  });
}

sn_status broadcast_in_slots(sn_communicator* c, int32_t root, sn_tensor* x) {
  char* data = static_cast<char*>(x->data);
  return for_pieces(x->bytes(), kSlotBytes, [&](int64_t offset, int64_t bytes, bool first) {
    if (c->rank == root) copy(c->slot(root), data + offset, bytes);
    SN_TRY(meet_for(c, first));
    if (c->rank != root) copy(data + offset, c->slot(root), bytes);
    ++c->steps;
    return SN_OK;
  });
}

}  // namespace sn
