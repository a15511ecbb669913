// What operations check about their arguments. Each check gives SN_OK, or a status whose sentence names the argument.
#pragma once

#include "core/backend.h"
#include "core/tensor.h"

#define SN_TRY(expression)                  \
  do {                                      \
    const sn_status status_ = (expression); \
    if (status_ != SN_OK) return status_;   \
  } while (0)

// x's device and its slot; a call of no elements still goes to the slot, which then does nothing but set results.
#define SN_CALL(x, name, ...) (x)->device->backend->ops->name((x)->device, __VA_ARGS__)

namespace sn {
namespace checks {

// "F32 [2, 3]", for messages that name two tensors.
struct Described {
  char text[160];
};
Described describe(const sn_tensor* t);

// Not null, and its device not closed. What takes a tensor below has this checked already, unless it says so.
sn_status present(const sn_tensor* t, const char* name);
// Present, and F64, F32, F16 or BF16.
sn_status floating(const sn_tensor* t, const char* name);
// Present, of this dtype and so many elements.
sn_status typed(const sn_tensor* t, const char* name, sn_dtype dtype, int64_t elements);
sn_status writable(const sn_tensor* t, const char* name);
// out may not overlap x, except that with `in_place` it may be the same memory.
sn_status apart(const sn_tensor* x, const sn_tensor* out, bool in_place);
sn_status one_device(const sn_tensor* a, const sn_tensor* b);
// Present, writable, on x's device and apart from it.
sn_status output(const sn_tensor* x, const sn_tensor* out, const char* name, bool in_place);
// Present, F32, F16 or BF16: what layers compute with.
sn_status real(const sn_tensor* t, const char* name);
// y is an output of x's dtype and shape, apart from x or, in place, x itself.
sn_status like(const sn_tensor* x, const sn_tensor* y, bool in_place);
// null, or F32 with `elements` elements, not overlapping y.
sn_status parameter(const sn_tensor* t, const char* name, int64_t elements, const sn_tensor* y);
// x has a last dimension, of which weight and bias (see parameter) have the length; eps is a number of at least 0.
sn_status normalized(const sn_tensor* x, const sn_tensor* weight, const sn_tensor* bias, double eps,
                     const sn_tensor* y);
// An output may not overlap the scales and zero points (which may be null) that are read while it is written.
sn_status apart_from_scales(const sn_tensor* scale, const sn_tensor* zero_point, const sn_tensor* out);
// A rank of a group, and how long it waits.
sn_status group(int32_t rank, int32_t world_size, int64_t timeout_ms);

}  // namespace checks
}  // namespace sn
