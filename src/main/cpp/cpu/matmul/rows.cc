// Rows of a layer whatever the kind of its weights, on the calling thread. See linear.h.
#include "cpu/matmul/linear.h"

namespace sn {
namespace SN_ISA_NAME {

int64_t linear_rows_scratch(const sn_weights& weights, int64_t rows) {
  switch (weights.kind) {
    case SN_W8A8:
      return w8a8_scratch(weights, rows);
    case SN_W8:
      return w8_scratch(weights, rows);
    case SN_W4:
      return w4_scratch(weights, rows);
    case SN_SPARSE:
      return sparse_scratch(weights, rows);
    case SN_CLUSTERED:
      return clustered_scratch(weights, rows);
    case SN_FLOAT:
      return float_scratch(weights, rows);
    default:
      return 0;
  }
}

void linear_rows(const sn_weights& weights, const float* x, int64_t rows, const Layer<float>& layer, void* scratch) {
  switch (weights.kind) {
    case SN_W8A8:
      return w8a8_rows(weights, x, rows, layer, scratch);
    case SN_W8:
      return w8_rows(weights, x, rows, layer, scratch);
    case SN_W4:
      return w4_rows(weights, x, rows, layer, scratch);
    case SN_SPARSE:
      return sparse_rows(weights, x, rows, layer, scratch);
    case SN_CLUSTERED:
      return clustered_rows(weights, x, rows, layer, scratch);
    case SN_FLOAT:
      return float_rows(weights, x, rows, layer, scratch);
    default:
      return;
  }
}

}  // namespace SN_ISA_NAME
}  // namespace sn
