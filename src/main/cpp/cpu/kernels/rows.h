// What layers have in common: element types, rows, and stores of a few elements.
#pragma once

#include "cpu/kernels/driver.h"

namespace sn {
namespace SN_ISA_NAME {

// Calls f with a null pointer of the element type: F32, F16 or BF16.
template <class F_>
auto with_real(sn_dtype dtype, F_ f) {
  switch (dtype) {
    case SN_F16:
      return f(static_cast<f16*>(nullptr));
    case SN_BF16:
      return f(static_cast<bf16*>(nullptr));
    default:
      return f(static_cast<float*>(nullptr));
  }
}

template <class T>
SN_INLINE void store_some(T* p, F v, int64_t n) {
  if (n == kLanes) {
    store(p, v);
  } else {
    store_tail(p, v, n);
  }
}

inline int64_t last_size(const sn_tensor* x) { return x->shape[x->rank - 1]; }

// f(row) for rows of `cols` elements each, in parallel.
template <class F_>
void for_rows(sn_device* device, int64_t rows, int64_t cols, F_ f) {
  const int64_t least = ceil_div(32768, max_of(cols, 1));
  const int64_t per_task =
      device->threads == 1 ? max_of(rows, 1) : max_of(least, ceil_div(rows, int64_t{8} * device->threads));
  auto task = [&](int64_t index) {
    const int64_t end = min_of(rows, (index + 1) * per_task);
    for (int64_t row = index * per_task; row < end; ++row) f(row);
  };
  for_tasks(device, ceil_div(rows, per_task), task);
}

}  // namespace SN_ISA_NAME
}  // namespace sn
