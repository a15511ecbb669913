// The C interface of collectives: checks what one rank can check alone, then computes with the others.
#include "collective/group.h"
#include "core/backend.h"
#include "core/checks.h"
#include "core/memory.h"
#include "cpu/isa.h"

namespace sn {
namespace checks {

sn_status group(int32_t rank, int32_t world_size, int64_t timeout_ms) {
  if (world_size < 1 || world_size > SN_MAX_WORLD_SIZE)
    return fail(SN_INVALID_ARGUMENT, "a world size of %d is not within 1..%d", world_size, SN_MAX_WORLD_SIZE);
  if (rank < 0 || rank >= world_size)
    return fail(SN_INVALID_ARGUMENT, "rank %d is not within 0..%d", rank, world_size - 1);
  if (timeout_ms < 1)
    return fail(SN_INVALID_ARGUMENT, "a timeout of %lld ms is not at least 1 ms", static_cast<long long>(timeout_ms));
  return SN_OK;
}

}  // namespace checks

namespace {

using namespace checks;

sn_status usable(const sn_communicator* c) {
  return c == nullptr ? fail(SN_INVALID_ARGUMENT, "the communicator is null") : SN_OK;
}

sn_status reducible(const sn_tensor* t, const char* name) {
  SN_TRY(present(t, name));
  switch (t->dtype) {
    case SN_F32:
    case SN_F16:
    case SN_BF16:
    case SN_I32:
    case SN_I8:
      return SN_OK;
    default:
      return fail(SN_INVALID_ARGUMENT, "%s is %s, not one of F32, F16, BF16, I32, I8", name, dtype_name(t->dtype));
  }
}

// Ranks use each other's memory, which a processor, or the rank's GPU, has to reach.
sn_status exchanged(const sn_communicator* c, const sn_tensor* t, const char* name) {
  SN_TRY(present(t, name));
  if (c->device != nullptr && t->device != c->device)
    return fail(SN_INVALID_ARGUMENT, "%s is not in the memory of the GPU of rank %d", name, c->rank);
  if (c->device == nullptr && t->device->backend->ops != isa().ops)
    return fail(SN_UNSUPPORTED, "%s is not in the memory of the CPU, where ranks exchange tensors", name);
  return reducible(t, name);
}

sn_status known(sn_reduction reduction) {
  if (reduction < SN_SUM || reduction > SN_MAX) return fail(SN_INVALID_ARGUMENT, "%d is not a reduction", reduction);
  return SN_OK;
}

sn_status compressible(sn_reduction reduction) {
  if (reduction == SN_SUM || reduction == SN_AVERAGE) return SN_OK;
  return fail(SN_INVALID_ARGUMENT, "compressed tensors have a sum and an average, not the reduction %d", reduction);
}

// A scale for each group of q, both on the device of `with`.
sn_status compressed(const sn_tensor* scale, const sn_tensor* q, int64_t elements, const sn_tensor* with) {
  SN_TRY(typed(q, "q", SN_I8, elements));
  SN_TRY(typed(scale, "scale", SN_F32, (elements + SN_COMPRESSED_GROUP - 1) / SN_COMPRESSED_GROUP));
  SN_TRY(one_device(with, q));
  return one_device(with, scale);
}

// whole holds world_size parts like `part`, which is apart from it or, in place, this rank's part of it.
sn_status parted(const sn_communicator* c, const sn_tensor* whole, const char* whole_name, const sn_tensor* part,
                 const char* part_name) {
  SN_TRY(exchanged(c, whole, whole_name));
  SN_TRY(exchanged(c, part, part_name));
  SN_TRY(one_device(whole, part));
  if (whole->dtype != part->dtype || whole->elements % c->world_size != 0 ||
      whole->elements / c->world_size != part->elements) {
    return fail(SN_INVALID_ARGUMENT, "%s is %s, and %s is %s; it takes %d times as many elements of the same dtype",
                whole_name, describe(whole).text, part_name, describe(part).text, c->world_size);
  }
  const char* own = static_cast<const char*>(whole->data) + c->rank * part->bytes();
  return part->data == own ? SN_OK : apart(whole, part, false);
}

// Runs f, the phases of a call, between its begin and its end.
template <class F>
sn_status call(sn_communicator* c, const Request& request, const void* x, void* out, F f,
               const NormTensors* norm = nullptr) {
  SN_TRY(begin_call(c, request, x, out, norm));
  const sn_status status = f();
  end_call(c);
  return status;
}

}  // namespace
}  // namespace sn

using namespace sn;
using namespace sn::checks;

int32_t sn_communicator_rank(const sn_communicator* communicator) {
  return communicator == nullptr ? -1 : communicator->rank;
}
int32_t sn_communicator_world_size(const sn_communicator* communicator) {
  return communicator == nullptr ? 0 : communicator->world_size;
}

int32_t sn_communicator_failed_rank(const sn_communicator* communicator) {
  return communicator == nullptr ? -1 : communicator->failed_rank;
}

void sn_communicator_close(sn_communicator* communicator) {
  if (communicator == nullptr) return;
  __atomic_store_n(&communicator->states()[communicator->rank].closed, 1, __ATOMIC_RELEASE);
  communicator->transport->release(communicator);
  destroy(communicator);
}

sn_status sn_all_reduce(sn_communicator* communicator, const sn_tensor* x, sn_reduction reduction, sn_tensor* out) {
  SN_TRY(usable(communicator));
  SN_TRY(exchanged(communicator, x, "x"));
  SN_TRY(known(reduction));
  SN_TRY(typed(out, "out", x->dtype, x->elements));
  SN_TRY(output(x, out, "out", true));
  const Request request = {kAllReduce, x->dtype, reduction, 0, x->elements};
  return call(communicator, request, x->data, out->data,
              [&] { return communicator->transport->all_reduce(communicator, x->device, x, reduction, out); });
}

sn_status sn_all_reduce_compressed(sn_communicator* communicator, const sn_tensor* x, sn_reduction reduction,
                                   sn_tensor* out) {
  SN_TRY(usable(communicator));
  if (communicator->transport->all_reduce_compressed == nullptr) {
    return fail(SN_UNSUPPORTED, "ranks that are GPUs do not compress what they reduce; call all-reduce");
  }
  SN_TRY(exchanged(communicator, x, "x"));
  SN_TRY(real(x, "x"));
  SN_TRY(compressible(reduction));
  SN_TRY(typed(out, "out", x->dtype, x->elements));
  SN_TRY(output(x, out, "out", true));
  const Request request = {kCompressedAllReduce, x->dtype, reduction, 0, x->elements};
  return call(communicator, request, x->data, out->data, [&] {
    return communicator->transport->all_reduce_compressed(communicator, x->device, x, reduction, out);
  });
}

sn_status sn_all_reduce_rms_norm(sn_communicator* communicator, const sn_tensor* x, const sn_tensor* residual,
                                 const sn_tensor* weight, double eps, sn_tensor* sum, sn_tensor* y) {
  SN_TRY(usable(communicator));
  if (communicator->transport->all_reduce_norm == nullptr) {
    return fail(SN_UNSUPPORTED, "only ranks that are GPUs norm what they reduce; call the three operations in turn");
  }
  SN_TRY(exchanged(communicator, x, "x"));
  SN_TRY(real(x, "x"));
  SN_TRY(typed(residual, "residual", x->dtype, x->elements));
  SN_TRY(one_device(x, residual));
  SN_TRY(typed(sum, "sum", x->dtype, x->elements));
  SN_TRY(output(x, sum, "sum", true));
  SN_TRY(output(residual, sum, "sum", true));
  SN_TRY(like(x, y, false));
  SN_TRY(apart(residual, y, false));
  SN_TRY(apart(sum, y, false));
  SN_TRY(normalized(x, weight, nullptr, eps, y));
  if (weight != nullptr) SN_TRY(apart(weight, sum, false));
  const NormTensors norm = {residual, weight, eps, y};
  const int64_t cols = x->shape[x->rank - 1];
  const Request request = {kAllReduceNorm, x->dtype, SN_SUM, static_cast<int32_t>(cols < INT32_MAX ? cols : INT32_MAX),
                           x->elements};
  return call(
      communicator, request, x->data, sum->data,
      [&] { return communicator->transport->all_reduce_norm(communicator, x, sum); }, &norm);
}

sn_status sn_reduce_scatter(sn_communicator* communicator, const sn_tensor* x, sn_reduction reduction, sn_tensor* out) {
  SN_TRY(usable(communicator));
  SN_TRY(parted(communicator, x, "x", out, "out"));
  SN_TRY(known(reduction));
  SN_TRY(writable(out, "out"));
  const Request request = {kReduceScatter, x->dtype, reduction, 0, x->elements};
  return call(communicator, request, x->data, out->data,
              [&] { return communicator->transport->reduce_scatter(communicator, x->device, x, reduction, out); });
}

sn_status sn_all_gather(sn_communicator* communicator, const sn_tensor* x, sn_tensor* out) {
  SN_TRY(usable(communicator));
  SN_TRY(parted(communicator, out, "out", x, "x"));
  SN_TRY(writable(out, "out"));
  const Request request = {kAllGather, x->dtype, 0, 0, x->elements};
  return call(communicator, request, x->data, out->data,
              [&] { return communicator->transport->all_gather(communicator, x, out); });
}

sn_status sn_broadcast(sn_communicator* communicator, int32_t root, sn_tensor* x) {
  SN_TRY(usable(communicator));
  SN_TRY(exchanged(communicator, x, "x"));
  if (root < 0 || root >= communicator->world_size)
    return fail(SN_INVALID_ARGUMENT, "the root %d is not within 0..%d", root, communicator->world_size - 1);
  if (communicator->rank != root) SN_TRY(writable(x, "x"));
  const Request request = {kBroadcast, x->dtype, 0, root, x->elements};
  return call(communicator, request, x->data, x->data,
              [&] { return communicator->transport->broadcast(communicator, root, x); });
}

sn_status sn_barrier(sn_communicator* communicator) {
  SN_TRY(usable(communicator));
  const Request request = {kBarrier, SN_F32, 0, 0, 0};
  return call(communicator, request, nullptr, nullptr, [&] { return communicator->transport->barrier(communicator); });
}

sn_status sn_agree(sn_communicator* communicator, sn_collective operation, sn_dtype dtype, sn_reduction reduction,
                   int32_t root, int64_t elements) {
  SN_TRY(usable(communicator));
  if (operation < SN_ALL_REDUCE || operation > SN_BARRIER)
    return fail(SN_INVALID_ARGUMENT, "%d is not an operation of ranks", operation);
  const Request request = {static_cast<Operation>(operation), dtype, reduction, root, elements, 1};
  return call(communicator, request, nullptr, nullptr, [&] { return communicator->transport->barrier(communicator); });
}

sn_status sn_reduce(const sn_tensor* const* x, int32_t count, sn_reduction reduction, sn_tensor* const* out,
                    int32_t outs) {
  if (x == nullptr || out == nullptr) return fail(SN_INVALID_ARGUMENT, "an array is null");
  if (count < 1 || count > SN_MAX_WORLD_SIZE || outs < 1 || outs > SN_MAX_WORLD_SIZE) {
    return fail(SN_INVALID_ARGUMENT, "%d tensors and %d outputs are not within 1..%d", count, outs, SN_MAX_WORLD_SIZE);
  }
  SN_TRY(known(reduction));
  const void* from[SN_MAX_WORLD_SIZE];
  void* to[SN_MAX_WORLD_SIZE];
  for (int32_t m = 0; m < count; ++m) {
    SN_TRY(reducible(x[m], "x"));
    SN_TRY(typed(x[m], "x", x[0]->dtype, x[0]->elements));
    SN_TRY(one_device(x[0], x[m]));
    from[m] = x[m]->data;
  }
  for (int32_t j = 0; j < outs; ++j) {
    SN_TRY(typed(out[j], "out", x[0]->dtype, x[0]->elements));
    for (int32_t m = 0; m < count; ++m) SN_TRY(output(x[m], out[j], "out", true));
    for (int32_t k = 0; k < j; ++k) SN_TRY(apart(out[k], out[j], false));
    to[j] = out[j]->data;
  }
  return SN_CALL(x[0], reduce, from, count, x[0]->elements, x[0]->dtype, reduction, to, outs, x[0]->elements);
}

sn_status sn_compress(const sn_tensor* x, sn_tensor* scale, sn_tensor* q) {
  SN_TRY(real(x, "x"));
  SN_TRY(compressed(scale, q, x->elements, x));
  SN_TRY(output(x, scale, "scale", false));
  SN_TRY(output(x, q, "q", false));
  SN_TRY(apart(scale, q, false));
  return SN_CALL(x, compress, x->data, x->elements, x->dtype, static_cast<float*>(scale->data),
                 static_cast<int8_t*>(q->data));
}

sn_status sn_reduce_compressed(const sn_tensor* const* scales, const sn_tensor* const* qs, int32_t count,
                               sn_reduction reduction, sn_tensor* scale, sn_tensor* q) {
  if (scales == nullptr || qs == nullptr) return fail(SN_INVALID_ARGUMENT, "an array is null");
  if (count < 1 || count > SN_MAX_WORLD_SIZE)
    return fail(SN_INVALID_ARGUMENT, "%d tensors are not within 1..%d", count, SN_MAX_WORLD_SIZE);
  SN_TRY(compressible(reduction));
  const float* from_scales[SN_MAX_WORLD_SIZE];
  const int8_t* from_qs[SN_MAX_WORLD_SIZE];
  SN_TRY(present(qs[0], "q"));
  SN_TRY(compressed(scale, q, qs[0]->elements, qs[0]));
  for (int32_t m = 0; m < count; ++m) {
    SN_TRY(compressed(scales[m], qs[m], qs[0]->elements, qs[0]));
    SN_TRY(output(scales[m], scale, "scale", false));
    SN_TRY(output(scales[m], q, "q", false));
    SN_TRY(output(qs[m], scale, "scale", false));
    SN_TRY(output(qs[m], q, "q", false));
    from_scales[m] = static_cast<const float*>(scales[m]->data);
    from_qs[m] = static_cast<const int8_t*>(qs[m]->data);
  }
  SN_TRY(apart(scale, q, false));
  return SN_CALL(q, reduce_compressed, from_scales, from_qs, count, q->elements, reduction,
                 static_cast<float*>(scale->data), static_cast<int8_t*>(q->data));
}

sn_status sn_expand(const sn_tensor* scale, const sn_tensor* q, sn_tensor* y) {
  SN_TRY(present(q, "q"));
  SN_TRY(compressed(scale, q, q->elements, q));
  SN_TRY(real(y, "y"));
  SN_TRY(typed(y, "y", y->dtype, q->elements));
  SN_TRY(output(q, y, "y", false));
  SN_TRY(output(scale, y, "y", false));
  return SN_CALL(y, expand, static_cast<const float*>(scale->data), static_cast<const int8_t*>(q->data), q->elements,
                 y->dtype, y->data);
}
