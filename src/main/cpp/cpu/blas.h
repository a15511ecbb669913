// OpenBLAS, opened at run time by sn_blas_open.
#pragma once

#include <stdint.h>

namespace sn {

// Whether it is there and takes matrices of these sizes.
bool blas_takes(int64_t rows, int64_t columns, int64_t inner);

// y = a b, or a b^T, on the calling thread, F32 and row-major with rows that lie `step` apart. inner is at least 1.
// A few rows are multiplied one by one, as fast as memory gives b.
void blas_multiply(const float* a, int64_t step_a, const float* b, int64_t step_b, bool transpose_b, float* y,
                   int64_t step_y, int64_t rows, int64_t columns, int64_t inner);

}  // namespace sn
