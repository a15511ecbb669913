// The packed weights behind a handle, and how back ends fill them.
#pragma once

#include <stdint.h>

#include "core/tensor.h"

struct sn_weights {
  // What a kind keeps in its parts and what else it notes about them is up to its source in cpu/matmul/.
  static constexpr int kParts = 6;

  sn_device* device;
  sn_kind kind;
  sn_dtype dtype;  // of the weights before packing
  int64_t rows;    // out
  int64_t cols;    // in
  int64_t group;   // columns that share a scale, 0 where rows do; of SN_CLUSTERED the number of codebooks
  int32_t bits;    // of a packed index or integer
  int64_t kernel_rows, kernel_cols;  // of SN_W8A8 packed from [out, channels, rows, cols], else 1
  int64_t bytes;                     // of all parts
  void* parts[kParts];
  int64_t part_bytes[kParts];

  template <class T>
  __attribute__((always_inline)) const T* part(int index) const {
    return static_cast<const T*>(parts[index]);
  }
};

namespace sn {

// A handle without parts; counted by sn_live_tensors until sn_weights_close.
sn_status create_weights(sn_device* device, sn_kind kind, sn_dtype dtype, int64_t rows, int64_t cols,
                         sn_weights** weights);
// Zeroed memory of the device for a part, 64-byte aligned and never null: at least one byte. SN_OUT_OF_MEMORY leaves
// the handle as it was.
sn_status allocate_part(sn_weights* weights, int index, int64_t bytes);

}  // namespace sn
