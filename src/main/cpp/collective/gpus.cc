// Ranks that are threads of one process with a GPU each, or several on one GPU. They meet on the CPU, so that all is
// known to be right before a kernel begins; then one rank of each GPU starts the kernel for all that have it, and in
// the kernels ranks meet again (cuda/ranks.h), since what was called before is still running.
#include <string.h>

#include "collective/group.h"
#include "core/backend.h"
#include "core/checks.h"
#include "core/memory.h"
#include "core/ranks.h"

namespace sn {
namespace {

struct Gpus {
  int64_t references;  // atomic: one a communicator
  int32_t world_size, teams;
  sn_device* devices[kMostGpuRanks];
  void* exchange[kMostGpuRanks];
  int64_t bytes;  // of each of these
};

Gpus* gpus_of(sn_communicator* c) { return static_cast<Gpus*>(c->own); }

void release_gpus(Gpus* g) {
  if (__atomic_sub_fetch(&g->references, 1, __ATOMIC_ACQ_REL) != 0) return;
  for (int32_t r = 0; r < g->world_size; ++r) {
    if (g->exchange[r] != nullptr) g->devices[r]->backend->release(g->devices[r], g->exchange[r], g->bytes);
    release_device(g->devices[r]);
  }
  destroy(g);
}
void release(sn_communicator* c) {
  Gpus* g = gpus_of(c);
  release_threads(c);
  release_gpus(g);
}

// What this rank's GPU does for all ranks that have it, on n elements from `begin` on.
sn_rank_call call_of(sn_communicator* c, RankOperation operation, sn_dtype dtype, sn_reduction reduction, int64_t begin,
                     int64_t n) {
  const Gpus* g = gpus_of(c);
  const int64_t offset = begin * dtype_size(dtype);
  sn_rank_call call = {};
  call.operation = operation;
  call.world_size = c->world_size;
  call.teams = g->teams;
  for (int32_t r = 0; r < c->world_size; ++r) {
    if (g->devices[r] == c->device) call.here[call.here_count++] = r;
    call.x[r] = static_cast<const char*>(c->posted(r).x) + offset;
    call.out[r] = static_cast<char*>(c->posted(r).out) + offset;
    call.exchange[r] = g->exchange[r];
  }
  call.number = ++c->steps;
  call.timeout_ns = c->timeout_ns / 2;  // before those that wait for this rank lose patience
  call.elements = n;
  call.bytes = n * dtype_size(dtype);
  call.dtype = dtype;
  call.reduction = reduction;
  return call;
}

// Lets the first rank of each GPU run f(&late), while the others wait.
template <class F>
sn_status compute(sn_communicator* c, F f) {
  const Gpus* g = gpus_of(c);
  int32_t first = 0;
  while (g->devices[first] != c->device) ++first;
  if (first != c->rank) return meet(c);
  int32_t late = -1;
  SN_TRY(enter_memory(c));
  const sn_status status = f(&late);
  leave_memory(c);
  if (status == SN_OK) return meet(c);
  if (status == SN_RANK_FAILED) return give_up(c, kLate, late);
  char why[sizeof c->broken];
  strncpy(why, sn_last_error(), sizeof why - 1);
  why[sizeof why - 1] = 0;
  give_up(c, kUnable, c->rank);
  return fail(status, "%s", why);
}

sn_status run(sn_communicator* c, const sn_rank_call& call) {
  return compute(c, [&](int32_t* late) { return c->device->backend->collective(c->device, &call, late); });
}

sn_status all_reduce(sn_communicator* c, sn_device*, const sn_tensor* x, sn_reduction reduction, sn_tensor*) {
  SN_TRY(meet_and_compare(c));
  SN_TRY(outputs_apart(c, x->bytes(), x->bytes()));
  if (x->elements == 0) return meet(c);
  return run(c, call_of(c, kRanksReduce, x->dtype, reduction, 0, x->elements));
}

sn_status reduce_scatter(sn_communicator* c, sn_device*, const sn_tensor* x, sn_reduction reduction, sn_tensor* out) {
  SN_TRY(meet_and_compare(c));
  SN_TRY(outputs_apart(c, x->bytes(), out->bytes()));
  if (out->elements == 0) return meet(c);
  return run(c, call_of(c, kRanksReduceParts, x->dtype, reduction, 0, out->elements));
}

sn_status all_gather(sn_communicator* c, const sn_tensor* x, sn_tensor* out) {
  SN_TRY(meet_and_compare(c));
  SN_TRY(outputs_apart(c, x->bytes(), out->bytes()));
  if (x->elements == 0) return meet(c);
  return run(c, call_of(c, kRanksGather, SN_I8, SN_SUM, 0, x->bytes()));
}

sn_status broadcast(sn_communicator* c, int32_t root, sn_tensor* x) {
  SN_TRY(meet_and_compare(c));
  SN_TRY(outputs_apart(c, x->bytes(), x->bytes()));
  if (x->elements == 0) return meet(c);
  sn_rank_call call = call_of(c, kRanksBroadcast, SN_I8, SN_SUM, 0, x->bytes());
  call.root = root;
  return run(c, call);
}

// Rows in pieces that fit the slots.
sn_status all_reduce_norm(sn_communicator* c, const sn_tensor* x, sn_tensor*) {
  SN_TRY(meet_and_compare(c));
  SN_TRY(outputs_apart(c, x->bytes(), x->bytes()));
  if (x->elements == 0) return meet(c);
  const int64_t cols = x->shape[x->rank - 1], size = dtype_size(x->dtype), rows = kRankSlot / (cols * size);
  if (rows == 0) {
    return fail(SN_INVALID_ARGUMENT, "a row of %lld bytes is longer than the %lld that GPUs norm together",
                static_cast<long long>(cols * size), static_cast<long long>(kRankSlot));
  }
  for (int64_t begin = 0; begin < x->elements; begin += rows * cols) {
    const int64_t n = x->elements - begin < rows * cols ? x->elements - begin : rows * cols;
    const sn_rank_call call = call_of(c, kRanksReduce, x->dtype, SN_SUM, begin, n);
    sn_rank_norm norm = {};
    norm.cols = cols;
    for (int32_t r = 0; r < c->world_size; ++r) {
      const NormTensors* of_rank = c->posted(r).norm;
      norm.eps[r] = of_rank->eps;
      norm.residual[r] = static_cast<const char*>(of_rank->residual->data) + begin * size;
      norm.weight[r] = of_rank->weight == nullptr ? nullptr : static_cast<const float*>(of_rank->weight->data);
      norm.y[r] = static_cast<char*>(of_rank->y->data) + begin * size;
    }
    SN_TRY(
        compute(c, [&](int32_t* late) { return c->device->backend->all_reduce_norm(c->device, &call, &norm, late); }));
  }
  return SN_OK;
}

constexpr Transport kGpus = {true,       all_reduce, nullptr,          all_reduce_norm, reduce_scatter,
                             all_gather, broadcast,  meet_and_compare, nullptr,         release};

// Every GPU has to reach what the others have, and has memory that they write.
sn_status prepare(Gpus* g) {
  int32_t most = 1;
  for (int32_t r = 0; r < g->world_size; ++r) {
    sn_device* device = g->devices[r];
    int32_t here = 0;
    for (int32_t q = 0; q < g->world_size; ++q) {
      SN_TRY(device->backend->reach(device, g->devices[q]));
      here += g->devices[q] == device;
    }
    most = here > most ? here : most;
    g->exchange[r] = device->backend->allocate(device, g->bytes);
    if (g->exchange[r] == nullptr) return no_memory(device, g->bytes, "a group of ranks");
    // Zeroed before others write.
    SN_TRY(device->backend->synchronize(device));
  }
  // So few that a GPU holds the teams of all its ranks at once.
  g->teams = most < kMostRankTeams ? kMostRankTeams / most : 1;
  return SN_OK;
}

sn_status open_gpus(sn_device* const* devices, int32_t world_size, int64_t timeout_ms,
                    sn_communicator** communicators) {
  Gpus* g = make<Gpus>();
  if (g == nullptr) return fail(SN_OUT_OF_MEMORY, "no memory for a group of %d ranks", world_size);
  g->references = 1;
  g->world_size = world_size;
  g->bytes = devices[0]->backend->exchange_bytes(world_size);
  for (int32_t r = 0; r < world_size; ++r) {
    g->devices[r] = devices[r];
    __atomic_add_fetch(&devices[r]->references, 1, __ATOMIC_RELAXED);
  }
  sn_status status = prepare(g);
  if (status == SN_OK) status = open_threads(&kGpus, world_size, 0, timeout_ms, communicators);
  for (int32_t r = 0; status == SN_OK && r < world_size; ++r) {
    communicators[r]->device = devices[r];
    communicators[r]->own = g;
    ++g->references;
  }
  release_gpus(g);
  return status;
}

}  // namespace
}  // namespace sn

sn_status sn_communicator_gpus(sn_device* const* devices, int32_t world_size, int64_t timeout_ms,
                               sn_communicator** communicators) {
  using namespace sn;
  if (communicators == nullptr || devices == nullptr) return fail(SN_INVALID_ARGUMENT, "an array is null");
  SN_TRY(checks::group(0, world_size, timeout_ms));
  if (world_size > kMostGpuRanks) {
    return fail(SN_INVALID_ARGUMENT, "a world size of %d is not within 1..%d for GPUs", world_size, kMostGpuRanks);
  }
  for (int32_t r = 0; r < world_size; ++r) {
    if (devices[r] == nullptr) return fail(SN_INVALID_ARGUMENT, "the device of rank %d is null", r);
    if (devices[r]->backend->collective == nullptr)
      return fail(SN_UNSUPPORTED, "the device of rank %d is not a GPU; ranks on the CPU are threads or processes", r);
  }
  return open_gpus(devices, world_size, timeout_ms, communicators);
}
