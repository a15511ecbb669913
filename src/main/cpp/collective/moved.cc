// Collectives of ranks that share no memory: a mover carries bytes, and the arithmetic is that of the other transports,
// in the order of the ranks. What is moved lies in memory of the group's own, since a mover cannot be stopped when
// another rank fails, and the caller's tensors may be freed then.
#include "collective/moved.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collective/group.h"
#include "core/backend.h"
#include "core/checks.h"
#include "core/memory.h"

namespace sn {
namespace {

constexpr int64_t kPiece = 4 << 20;  // bytes that all ranks' parts of a piece have together, at most
constexpr int64_t kUnit = 64;        // elements of a part: a multiple of these
constexpr int64_t kGroup = SN_COMPRESSED_GROUP;

struct Moved {
  const sn_mover* mover;
  void* group;
  char* memory;       // four pieces
  int64_t piece;      // bytes of one of them
  Request own;        // what this rank asks for, while it is sent
  Request* requests;  // what each rank asks for
  bool under_way;     // something is moving
};

Moved* moved_of(sn_communicator* c) { return static_cast<Moved*>(c->own); }
char* buffer(sn_communicator* c, int index) { return moved_of(c)->memory + index * moved_of(c)->piece; }
int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
int64_t min_of(int64_t a, int64_t b) { return a < b ? a : b; }
void copy(void* to, const void* from, int64_t bytes) {
  if (bytes > 0) memcpy(to, from, static_cast<size_t>(bytes));
}

// The mover has failed, and has said why.
sn_status mover_failed(sn_communicator* c) {
  char why[sizeof c->broken];
  snprintf(why, sizeof why, "%s", sn_last_error());
  memcpy(c->broken, why, sizeof why);
  return fail(SN_RANK_FAILED, "%s", c->broken);
}

// Until `done` says so, or the deadline.
template <class Done>
sn_status wait_for(sn_communicator* c, Reason reason, int32_t culprit, Done done) {
  Patience patience(c->spins, c->timeout_ns);
  while (true) {
    int32_t is_done = 0;
    if (done(&is_done) != SN_OK) return mover_failed(c);
    if (is_done) return SN_OK;
    if (patience.pause() && patience.is_over()) return give_up(c, reason, culprit);
  }
}

sn_status moved(sn_communicator* c, sn_status started) {
  Moved* m = moved_of(c);
  m->under_way = true;
  if (started != SN_OK) return mover_failed(c);
  SN_TRY(wait_for(c, kStuck, c->rank, [&](int32_t* done) { return m->mover->moved(m->group, done); }));
  m->under_way = false;
  return SN_OK;
}
sn_status exchange(sn_communicator* c, const void* parts, void* received, int64_t bytes) {
  return moved(c, moved_of(c)->mover->exchange(moved_of(c)->group, parts, received, bytes));
}
sn_status gather(sn_communicator* c, const void* part, void* all, int64_t bytes) {
  return moved(c, moved_of(c)->mover->gather(moved_of(c)->group, part, all, bytes));
}

// Every rank tells every other what it asks for, so that a late one and one that disagrees are known.
sn_status agree(sn_communicator* c) {
  Moved* m = moved_of(c);
  m->own = c->posted(c->rank).request;
  m->under_way = true;
  if (m->mover->greet(m->group, &m->own, m->requests, sizeof(Request)) != SN_OK) return mover_failed(c);
  int32_t other = -1;
  for (int32_t q = 0; q < c->world_size; ++q) {
    if (q == c->rank) continue;
    SN_TRY(wait_for(c, kLate, q, [&](int32_t* done) { return m->mover->heard(m->group, q, done); }));
    c->states()[q].posted[c->calls & 1].request = m->requests[q];
    if (other < 0 && !same_request(m->requests[q], m->own)) other = q;
  }
  m->under_way = false;
  return other < 0 ? SN_OK : give_up(c, kDisagrees, other);
}

// Pieces of `whole` elements, of which each rank has a part of whole units: f(offset, n, part).
template <class F>
sn_status for_parts(sn_communicator* c, int64_t whole, int64_t unit, int64_t most, F f) {
  const int64_t units = most / unit / c->world_size;
  const int64_t longest = (units < 1 ? 1 : units) * unit * c->world_size;
  for (int64_t offset = 0; offset < whole; offset += longest) {
    const int64_t n = min_of(longest, whole - offset);
    SN_TRY(f(offset, n, ceil_div(ceil_div(n, unit), c->world_size) * unit));
  }
  return SN_OK;
}

// to = the reduction of `n` elements of every rank's part that was received.
sn_status reduce_received(sn_communicator* c, sn_device* device, const char* received, int64_t part_bytes, int64_t n,
                          sn_dtype dtype, sn_reduction reduction, void* to) {
  const void* from[SN_MAX_WORLD_SIZE];
  for (int32_t q = 0; q < c->world_size; ++q) from[q] = received + q * part_bytes;
  return device->backend->ops->reduce(nullptr, from, c->world_size, n, dtype, reduction, &to, 1, 0);
}

sn_status all_reduce(sn_communicator* c, sn_device* device, const sn_tensor* x, sn_reduction reduction,
                     sn_tensor* out) {
  SN_TRY(agree(c));
  const int64_t size = dtype_size(x->dtype);
  const char* in = static_cast<const char*>(x->data);
  char* to = static_cast<char*>(out->data);
  return for_parts(c, x->elements, kUnit, kPiece / size, [&](int64_t offset, int64_t n, int64_t part) {
    // What lies behind the n elements is moved and reduced as well, and not looked at.
    copy(buffer(c, 0), in + offset * size, n * size);
    SN_TRY(exchange(c, buffer(c, 0), buffer(c, 1), part * size));
    SN_TRY(reduce_received(c, device, buffer(c, 1), part * size, part, x->dtype, reduction, buffer(c, 2)));
    SN_TRY(gather(c, buffer(c, 2), buffer(c, 3), part * size));
    copy(to + offset * size, buffer(c, 3), n * size);
    return static_cast<sn_status>(SN_OK);
  });
}

sn_status all_reduce_compressed(sn_communicator* c, sn_device* device, const sn_tensor* x, sn_reduction reduction,
                                sn_tensor* out) {
  SN_TRY(agree(c));
  const sn_ops* ops = device->backend->ops;
  const int64_t size = dtype_size(x->dtype);
  const char* in = static_cast<const char*>(x->data);
  char* result = static_cast<char*>(out->data);
  return for_parts(c, x->elements, kGroup, kPiece / 2, [&](int64_t offset, int64_t n, int64_t part) {
    // A part has its scales and then its bytes.
    const int64_t groups = part / kGroup, bytes = groups * static_cast<int64_t>(sizeof(float)) + part;
    const auto scale_of = [&](char* p) { return reinterpret_cast<float*>(p); };
    const auto q_of = [&](char* p) { return reinterpret_cast<int8_t*>(p) + bytes - part; };
    const auto length = [&](int32_t q) { return n - q * part < 0 ? 0 : min_of(part, n - q * part); };
    for (int32_t q = 0; q < c->world_size; ++q) {
      char* to = buffer(c, 0) + q * bytes;
      SN_TRY(ops->compress(nullptr, in + (offset + q * part) * size, length(q), x->dtype, scale_of(to), q_of(to)));
    }
    SN_TRY(exchange(c, buffer(c, 0), buffer(c, 1), bytes));
    const float* scales[SN_MAX_WORLD_SIZE];
    const int8_t* qs[SN_MAX_WORLD_SIZE];
    for (int32_t q = 0; q < c->world_size; ++q) {
      scales[q] = scale_of(buffer(c, 1) + q * bytes);
      qs[q] = q_of(buffer(c, 1) + q * bytes);
    }
    SN_TRY(ops->reduce_compressed(nullptr, scales, qs, c->world_size, length(c->rank), reduction,
                                  scale_of(buffer(c, 2)), q_of(buffer(c, 2))));
    SN_TRY(gather(c, buffer(c, 2), buffer(c, 3), bytes));
    for (int32_t q = 0; q < c->world_size; ++q) {
      char* from = buffer(c, 3) + q * bytes;
      SN_TRY(
          ops->expand(nullptr, scale_of(from), q_of(from), length(q), x->dtype, result + (offset + q * part) * size));
    }
    return static_cast<sn_status>(SN_OK);
  });
}

sn_status reduce_scatter(sn_communicator* c, sn_device* device, const sn_tensor* x, sn_reduction reduction,
                         sn_tensor* out) {
  SN_TRY(agree(c));
  const int64_t size = dtype_size(x->dtype), most = kPiece / size / c->world_size;
  const char* in = static_cast<const char*>(x->data);
  char* to = static_cast<char*>(out->data);
  for (int64_t offset = 0; offset < out->elements; offset += most) {
    const int64_t n = min_of(most, out->elements - offset), bytes = n * size;
    for (int32_t q = 0; q < c->world_size; ++q) {
      copy(buffer(c, 0) + q * bytes, in + (q * out->elements + offset) * size, bytes);
    }
    SN_TRY(exchange(c, buffer(c, 0), buffer(c, 1), bytes));
    SN_TRY(reduce_received(c, device, buffer(c, 1), bytes, n, x->dtype, reduction, to + offset * size));
  }
  return SN_OK;
}

sn_status all_gather(sn_communicator* c, const sn_tensor* x, sn_tensor* out) {
  SN_TRY(agree(c));
  const int64_t part = x->bytes(), most = kPiece / c->world_size;
  const char* in = static_cast<const char*>(x->data);
  char* to = static_cast<char*>(out->data);
  for (int64_t offset = 0; offset < part; offset += most) {
    const int64_t bytes = min_of(most, part - offset);
    copy(buffer(c, 0), in + offset, bytes);
    SN_TRY(gather(c, buffer(c, 0), buffer(c, 1), bytes));
    for (int32_t q = 0; q < c->world_size; ++q) copy(to + q * part + offset, buffer(c, 1) + q * bytes, bytes);
  }
  return SN_OK;
}

sn_status broadcast(sn_communicator* c, int32_t root, sn_tensor* x) {
  SN_TRY(agree(c));
  char* data = static_cast<char*>(x->data);
  for (int64_t offset = 0; offset < x->bytes(); offset += kPiece) {
    const int64_t bytes = min_of(kPiece, x->bytes() - offset);
    if (c->rank == root) copy(buffer(c, 0), data + offset, bytes);
    SN_TRY(moved(c, moved_of(c)->mover->broadcast(moved_of(c)->group, root, buffer(c, 0), bytes)));
    if (c->rank != root) copy(data + offset, buffer(c, 0), bytes);
  }
  return SN_OK;
}

void destroy_moved(Moved* m) {
  free(m->memory);
  free(m->requests);
  destroy(m);
}

void release(sn_communicator* c) {
  Moved* m = moved_of(c);
  free(c->control);
  const bool whole = !m->under_way;
  m->mover->close(m->group, whole);
  // Otherwise the mover may still read and write what it was given.
  if (whole) destroy_moved(m);
}

constexpr Transport kMoved = {
    false, all_reduce, all_reduce_compressed, nullptr, reduce_scatter, all_gather, broadcast, agree, nullptr, release};

}  // namespace

sn_status open_moved(const sn_mover* mover, int64_t timeout_ms, sn_communicator** communicator) {
  Moved* m = make<Moved>();
  if (m == nullptr) return fail(SN_OUT_OF_MEMORY, "no memory for a group");
  m->mover = mover;
  int32_t rank = 0, world_size = 0;
  const sn_status status = mover->open(SN_MAX_WORLD_SIZE, &m->group, &rank, &world_size);
  if (status != SN_OK) {
    destroy(m);
    return status;
  }
  const int64_t control = control_bytes(world_size);
  m->piece = kPiece;
  m->memory = static_cast<char*>(aligned_alloc(64, static_cast<size_t>(4 * m->piece)));
  m->requests = static_cast<Request*>(calloc(static_cast<size_t>(world_size), sizeof(Request)));
  void* states = aligned_alloc(4096, static_cast<size_t>(control));
  sn_communicator* c = nullptr;
  if (m->memory != nullptr && m->requests != nullptr && states != nullptr) {
    memset(states, 0, static_cast<size_t>(control));
    memset(m->memory, 0, static_cast<size_t>(4 * m->piece));
    c = create_communicator(&kMoved, static_cast<Control*>(states), rank, world_size, timeout_ms);
  }
  if (c == nullptr) {
    mover->close(m->group, 0);
    free(states);
    destroy_moved(m);
    return fail(SN_OUT_OF_MEMORY, "no memory for a group of %d ranks", world_size);
  }
  c->own = m;
  *communicator = c;
  return SN_OK;
}

}  // namespace sn
