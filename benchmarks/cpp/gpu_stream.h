// Tensors larger than a GPU's memory, as `optimize` streams them: tiles go to the GPU, through a kernel and back.
#pragma once

#include "gpu_report.h"
#include "sinew.h"

namespace sinew_bench {

// One thread, whose copies and kernels follow each other, and three, the fewest that `optimize` has, each with tiles of
// its own on one device, beside copies from and to page-locked memory in both directions at once, which is all that
// PCIe or NVLink to the host gives.
void measure_stream(sn_device* gpu, const GpuOptions& options, int64_t mib, Report& report);

}  // namespace sinew_bench
