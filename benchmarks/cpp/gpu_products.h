// Products of matrices, layers of many rows, convolutions, softmax, pooling and batch norm on a GPU, beside NVIDIA's
// libraries.
#pragma once

#include "gpu_cublaslt.h"
#include "gpu_report.h"
#include "sinew.h"

namespace sinew_bench {

// `library` may be null.
void measure_products(sn_device* gpu, CublasLt* library, const GpuOptions& options, Report& report);

}  // namespace sinew_bench
