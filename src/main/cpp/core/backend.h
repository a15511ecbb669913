// What a back end (the CPU, or a plug-in such as CUDA) gives to core: a table of operations and of memory functions.
#pragma once

#include <stdint.h>

#include "sinew.h"

struct sn_ops {
#define SN_OP(name, params) sn_status(*name) params;
#include "core/ops.inc"
#undef SN_OP
};

// See core/ranks.h.
struct sn_rank_call;
struct sn_rank_norm;

struct sn_backend {
  const char* name;
  const sn_ops* ops;
  void* (*allocate)(sn_device* device, int64_t bytes);  // zeroed, 64-byte aligned; null when there is no memory
  void (*release)(sn_device* device, void* data, int64_t bytes);
  void (*close)(sn_device* device);    // ends threads and streams
  void (*destroy)(sn_device* device);  // frees the object itself, after the last tensor has gone
  // Between the host's memory and the device's, after all that was called before; they return when it is done. Null
  // where the device's memory is the host's.
  sn_status (*copy_in)(sn_device* device, void* to, const void* from, int64_t bytes);
  sn_status (*copy_out)(sn_device* device, void* to, const void* from, int64_t bytes);
  // Sets *data to new memory with these bytes of the host's in it, which takes no part in the order of other calls.
  // SN_UNSUPPORTED, without a sentence, where allocate and copy_in have to do. Null as above.
  sn_status (*allocate_copy)(sn_device* device, const void* from, int64_t bytes, void** data);
  // Waits for all that was called before, and tells what has failed meanwhile. Null where calls return when they are
  // done.
  sn_status (*synchronize)(sn_device* device);
  // Collectives of GPUs; null where ranks use the CPU's memory. `reach` lets kernels of `device` use the memory of
  // `other`. collective returns when this device has done its part; with SN_RANK_FAILED *late is a rank that did not
  // come in time, and tensors are not used any more.
  sn_status (*reach)(sn_device* device, sn_device* other);
  int64_t (*exchange_bytes)(int32_t world_size);
  sn_status (*collective)(sn_device* device, const sn_rank_call* call, int32_t* late);
  sn_status (*all_reduce_norm)(sn_device* device, const sn_rank_call* call, const sn_rank_norm* norm, int32_t* late);
};

// Back ends derive from this.
struct sn_device {
  const sn_backend* backend = nullptr;
  int64_t references = 1;  // the opener's and one a tensor; atomic
  int32_t closed = 0;      // atomic
  int32_t threads = 1;
};
