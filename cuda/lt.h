// Products of matrices by cuBLASLt, where that library is found.
#pragma once

#include "device.h"

namespace sn {
namespace cuda {

// y [rows, cols] = a [rows, inner] times b [inner, cols], or the transpose of b [cols, inner], of F32 or BF16. Pitches
// and what lies between products are in elements; y lies close.
struct LtProduct {
  sn_dtype dtype, y_dtype;
  int64_t rows, cols, inner, products;
  const void* a;
  int64_t a_pitch, a_batch;
  const void* b;
  int64_t b_pitch, b_batch;
  bool transposed;
  void* y;
};

// Computes it and sets *done, if there is the library and the product is one for it: large, and aligned to 16 bytes.
sn_status lt_multiply(Call& call, const LtProduct& product, bool* done);
bool lt_found();
// See sn_cuda_cublaslt in sinew.h.
sn_status lt_name(const char* path);
const char* lt_description();

}  // namespace cuda
}  // namespace sn
