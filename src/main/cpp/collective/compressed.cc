// All-reduce of tensors that are compressed on the way, through slots whatever the transport. A slot holds the scales
// and then the bytes of a piece.
#include "collective/group.h"
#include "core/backend.h"
#include "core/checks.h"

namespace sn {
namespace {

constexpr int64_t kGroup = SN_COMPRESSED_GROUP;
constexpr int64_t kScaleBytes = 4096;
constexpr int64_t kPieceGroups = (kSlotBytes - kScaleBytes) / kGroup;
static_assert(kPieceGroups * static_cast<int64_t>(sizeof(float)) <= kScaleBytes, "the scales of a piece have room");
// So few groups every rank reduces by itself: a second meeting would cost more.
constexpr int64_t kAloneGroups = 32;

struct Part {
  float* scale;
  int8_t* q;
};
Part part_from(char* memory, int64_t first_group) {
  return {reinterpret_cast<float*>(memory) + first_group,
          reinterpret_cast<int8_t*>(memory + kScaleBytes) + first_group * kGroup};
}

int64_t min_of(int64_t a, int64_t b) { return a < b ? a : b; }

// Groups [begin, end) of all ranks' pieces of n elements.
sn_status reduce_groups(sn_communicator* c, const sn_ops* ops, int64_t begin, int64_t end, int64_t n,
                        sn_reduction reduction, Part to) {
  if (begin == end) return SN_OK;
  const float* scales[SN_MAX_WORLD_SIZE];
  const int8_t* qs[SN_MAX_WORLD_SIZE];
  for (int32_t r = 0; r < c->world_size; ++r) {
    const Part from = part_from(slot(c, r), begin);
    scales[r] = from.scale;
    qs[r] = from.q;
  }
  return ops->reduce_compressed(nullptr, scales, qs, c->world_size, min_of(n, end * kGroup) - begin * kGroup, reduction,
                                to.scale, to.q);
}

}  // namespace

sn_status all_reduce_compressed_in_slots(sn_communicator* c, sn_device* device, const sn_tensor* x,
                                         sn_reduction reduction, sn_tensor* out) {
  const sn_ops* ops = device->backend->ops;
  const int64_t size = dtype_size(x->dtype);
  const char* in = static_cast<const char*>(x->data);
  char* result = static_cast<char*>(out->data);
  return for_pieces(c, x->elements, kPieceGroups * kGroup, [&](int64_t offset, int64_t n, bool first) {
    const int64_t groups = (n + kGroup - 1) / kGroup;
    char* own = slot(c, c->rank);
    char* to = result + offset * size;
    SN_TRY(ops->compress(nullptr, in + offset * size, n, x->dtype, part_from(own, 0).scale, part_from(own, 0).q));
    SN_TRY(first ? meet_and_compare(c) : meet(c));
    if (first && c->transport->shares_tensors) SN_TRY(outputs_apart(c, x->bytes(), x->bytes()));
    if (groups <= kAloneGroups) {
      float scale[kAloneGroups];
      int8_t q[kAloneGroups * kGroup];
      SN_TRY(reduce_groups(c, ops, 0, groups, n, reduction, {scale, q}));
      return ops->expand(nullptr, scale, q, n, x->dtype, to);
    }
    // A rank's share of its own slot is read by itself alone, so the result can take its place.
    const int64_t begin = groups * c->rank / c->world_size, end = groups * (c->rank + 1) / c->world_size;
    SN_TRY(reduce_groups(c, ops, begin, end, n, reduction, part_from(own, begin)));
    SN_TRY(meet(c));
    for (int32_t i = 0; i < c->world_size; ++i) {
      // Each begins with its own, so that not all read from one rank at once.
      const int32_t q = (c->rank + i) % c->world_size;
      const int64_t from = groups * q / c->world_size, until = groups * (q + 1) / c->world_size;
      if (from == until) continue;
      const Part part = part_from(slot(c, q), from);
      SN_TRY(ops->expand(nullptr, part.scale, part.q, min_of(n, until * kGroup) - from * kGroup, x->dtype,
                         to + from * kGroup * size));
    }
    return static_cast<sn_status>(SN_OK);
  });
}

}  // namespace sn
