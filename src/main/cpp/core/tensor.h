// The tensor behind a handle, and how errors reach sn_last_error().
#pragma once

#include <stdint.h>

#include "core/dtype.h"
#include "sinew.h"

namespace sn {
struct Storage;

// Records the sentence for sn_last_error() (printf format) and returns the status.
__attribute__((format(printf, 2, 3))) sn_status fail(sn_status status, const char* format, ...);

// The status, and its sentence, of a device's allocation that has failed.
sn_status no_memory(sn_device* device, int64_t bytes, const char* what);

// Every tensor and every handle of packed weights keeps its device's object and is counted by sn_live_tensors.
void live_handle_opens(sn_device* device);
void live_handle_closes(sn_device* device);
void release_device(sn_device* device);
}  // namespace sn

struct sn_tensor {
  sn_device* device;
  sn::Storage* storage;
  void* data;
  sn_dtype dtype;
  int32_t rank;
  bool read_only;
  int64_t elements;
  int64_t rows;  // shape[0], or 1 below rank 2
  int64_t cols;  // elements of a row
  int64_t shape[SN_MAX_RANK];

  // Always inlined, so that no copy compiled for one instruction set can serve another.
  __attribute__((always_inline)) int64_t bytes() const { return elements * sn::dtype_size(dtype); }
};

namespace sn {
// The rows of x [..., n] along its last dimension. No product of a tensor's dimensions overflows.
SN_LOCAL int64_t leading_rows(const sn_tensor* x) {
  int64_t rows = 1;
  for (int32_t i = 0; i + 1 < x->rank; ++i) rows *= x->shape[i];
  return rows;
}
}  // namespace sn
