// The CPU back end as kernels see it.
#pragma once

#include <stdint.h>

#include "core/backend.h"
#include "core/tensor.h"

namespace sn {

// Runs task(context, i) for i in [0, tasks) on the device's threads, the caller's included, and returns when all have
// run. When another call holds the pool the caller computes alone.
void run_tasks(sn_device* device, int64_t tasks, void (*task)(void* context, int64_t index), void* context);

// How many places of a thread's share to walk at once. Intel's prefetchers reach the memory's speed only with several
// streams (12.8 against 17 GB/s on Sapphire Rapids); on AMD's Zen 4 one is fastest (27 against 18 GB/s).
int memory_streams(const sn_device* device);

// Memory that belongs to the device and is used again, for operations that must not allocate each time: at least
// `bytes`, 64-byte aligned, of any content, until it is given back; null when there is no memory. After a while there
// are as many blocks as are ever in use at once, as large as was ever asked for.
void* take_scratch(sn_device* device, int64_t bytes);
void give_scratch(sn_device* device, void* scratch);

// Zeroed scratch memory for a kernel; null when there is none.
void* scratch_allocate(int64_t bytes);
void scratch_free(void* p);

}  // namespace sn
