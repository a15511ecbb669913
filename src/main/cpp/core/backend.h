// What a back end (the CPU, or a plug-in such as CUDA) gives to core: a table of operations and of memory functions.
#pragma once

#include <stdint.h>

#include "sinew.h"

struct sn_ops {
#define SN_OP(name, params) sn_status(*name) params;
#include "core/ops.inc"
#undef SN_OP
};

struct sn_backend {
  int32_t api_version;  // SN_API_VERSION the back end was built for; others are refused
  const char* name;
  const sn_ops* ops;
  void* (*allocate)(sn_device* device, int64_t bytes);  // zeroed, 64-byte aligned; null when there is no memory
  void (*release)(sn_device* device, void* data, int64_t bytes);
  void (*close)(sn_device* device);    // ends threads and streams
  void (*destroy)(sn_device* device);  // frees the object itself, after the last tensor has gone
};

// Back ends derive from this.
struct sn_device {
  const sn_backend* backend = nullptr;
  int64_t references = 1;  // the opener's and one a tensor; atomic
  int32_t closed = 0;      // atomic
  int32_t threads = 1;
};
