// Collectives of ranks that are threads of one process: they read and write each other's tensors where they lie. All
// memory of others is touched between enter_memory and leave_memory, so that no tensor is freed under a late rank.
#include <string.h>

#include "collective/group.h"
#include "core/backend.h"
#include "core/checks.h"

namespace sn {
namespace {

constexpr int64_t kBlockBytes = 1 << 20;  // between two looks at whether the group has failed
constexpr int64_t kShareUnit = 64;        // elements: shares are of whole cache lines

int64_t min_of(int64_t a, int64_t b) { return a < b ? a : b; }
int64_t share_begin(int64_t elements, int32_t parts, int32_t index) {
  const int64_t units = (elements + kShareUnit - 1) / kShareUnit;
  return min_of(elements, units * index / parts * kShareUnit);
}

struct Tensors {
  const char* x[SN_MAX_WORLD_SIZE];
  char* out[SN_MAX_WORLD_SIZE];
};
Tensors tensors_of(sn_communicator* c) {
  Tensors t;
  for (int32_t q = 0; q < c->world_size; ++q) {
    t.x[q] = static_cast<const char*>(c->posted(q).x);
    t.out[q] = static_cast<char*>(c->posted(q).out);
  }
  return t;
}

bool overlap(const char* a, int64_t a_bytes, const char* b, int64_t b_bytes) {
  return a_bytes > 0 && b_bytes > 0 && a < b + b_bytes && b < a + a_bytes;
}

// Reduces elements [begin, end) of `from` into the same elements of `to`, block by block.
sn_status reduce_range(sn_communicator* c, sn_device* device, const char* const* from, char* const* to, int32_t outs,
                       int64_t begin, int64_t end, int64_t whole, sn_dtype dtype, sn_reduction reduction) {
  const int64_t size = dtype_size(dtype), block = kBlockBytes / size;
  SN_TRY(enter_memory(c));
  bool whole_way = true;
  sn_status status = SN_OK;
  for (int64_t i = begin; i < end && status == SN_OK && whole_way; i += block) {
    const void* x[SN_MAX_WORLD_SIZE];
    void* out[SN_MAX_WORLD_SIZE];
    for (int32_t q = 0; q < c->world_size; ++q) x[q] = from[q] + i * size;
    for (int32_t q = 0; q < outs; ++q) out[q] = to[q] + i * size;
    status = device->backend->ops->reduce(nullptr, x, c->world_size, min_of(block, end - i), dtype, reduction, out,
                                          outs, whole);
    whole_way = may_go_on(c);
  }
  leave_memory(c);
  return whole_way ? status : failed(c);
}

// Copies in blocks from another rank's memory.
sn_status copy_range(sn_communicator* c, char* to, const char* from, int64_t bytes) {
  if (to == from) return SN_OK;
  SN_TRY(enter_memory(c));
  bool whole_way = true;
  for (int64_t i = 0; i < bytes && whole_way; i += kBlockBytes) {
    memcpy(to + i, from + i, static_cast<size_t>(min_of(kBlockBytes, bytes - i)));
    whole_way = may_go_on(c);
  }
  leave_memory(c);
  return whole_way ? SN_OK : failed(c);
}

}  // namespace

sn_status outputs_apart(sn_communicator* c, int64_t x_bytes, int64_t out_bytes) {
  const Tensors t = tensors_of(c);
  for (int32_t p = 0; p < c->world_size; ++p) {
    for (int32_t q = 0; q < c->world_size; ++q) {
      if (p == q ||
          !(overlap(t.out[p], out_bytes, t.x[q], x_bytes) || overlap(t.out[p], out_bytes, t.out[q], out_bytes)))
        continue;
      return give_up(c, kOverlaps, p == c->rank ? q : p);
    }
  }
  return SN_OK;
}

// Reduce-scatter and all-gather in one: a rank reduces its share of all inputs and writes it to all outputs, so that
// nothing is read twice and an element's memory, in place too, is used by one rank only.
sn_status all_reduce_directly(sn_communicator* c, sn_device* device, const sn_tensor* x, sn_reduction reduction,
                              sn_tensor*) {
  SN_TRY(meet_and_compare(c));
  const Tensors t = tensors_of(c);
  SN_TRY(outputs_apart(c, x->bytes(), x->bytes()));
  SN_TRY(reduce_range(c, device, t.x, t.out, c->world_size, share_begin(x->elements, c->world_size, c->rank),
                      share_begin(x->elements, c->world_size, c->rank + 1), x->elements, x->dtype, reduction));
  return meet(c);
}

sn_status reduce_scatter_directly(sn_communicator* c, sn_device* device, const sn_tensor* x, sn_reduction reduction,
                                  sn_tensor* out) {
  SN_TRY(meet_and_compare(c));
  Tensors t = tensors_of(c);
  SN_TRY(outputs_apart(c, x->bytes(), out->bytes()));
  for (int32_t q = 0; q < c->world_size; ++q) t.x[q] += c->rank * out->bytes();
  SN_TRY(reduce_range(c, device, t.x, t.out + c->rank, 1, 0, out->elements, out->elements, x->dtype, reduction));
  return meet(c);
}

sn_status all_gather_directly(sn_communicator* c, const sn_tensor* x, sn_tensor* out) {
  SN_TRY(meet_and_compare(c));
  const Tensors t = tensors_of(c);
  SN_TRY(outputs_apart(c, x->bytes(), out->bytes()));
  for (int32_t i = 0; i < c->world_size; ++i) {
    // Each begins with its own, so that not all read from one rank at once.
    const int32_t q = (c->rank + i) % c->world_size;
    SN_TRY(copy_range(c, t.out[c->rank] + q * x->bytes(), t.x[q], x->bytes()));
  }
  return meet(c);
}

sn_status broadcast_directly(sn_communicator* c, int32_t root, sn_tensor* x) {
  SN_TRY(meet_and_compare(c));
  const Tensors t = tensors_of(c);
  SN_TRY(outputs_apart(c, x->bytes(), x->bytes()));
  SN_TRY(copy_range(c, t.out[c->rank], t.x[root], x->bytes()));
  return meet(c);
}

}  // namespace sn
