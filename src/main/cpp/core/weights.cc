#include "core/weights.h"

#include "core/backend.h"
#include "core/memory.h"

namespace sn {

sn_status create_weights(sn_device* device, sn_kind kind, sn_dtype dtype, int64_t rows, int64_t cols,
                         sn_weights** weights) {
  sn_weights* w = make<sn_weights>();
  if (w == nullptr) return fail(SN_OUT_OF_MEMORY, "no memory for a handle of packed weights");
  w->device = device;
  w->kind = kind;
  w->dtype = dtype;
  w->rows = rows;
  w->cols = cols;
  live_handle_opens(device);
  *weights = w;
  return SN_OK;
}

sn_status allocate_part(sn_weights* weights, int index, int64_t bytes) {
  const int64_t size = bytes > 0 ? bytes : 1;
  void* data = weights->device->backend->allocate(weights->device, size);
  if (data == nullptr) return no_memory(weights->device, size, "packed weights");
  weights->parts[index] = data;
  weights->part_bytes[index] = size;
  weights->bytes += size;
  return SN_OK;
}

}  // namespace sn

void sn_weights_close(sn_weights* weights) {
  if (weights == nullptr) return;
  sn_device* device = weights->device;
  for (int i = 0; i < sn_weights::kParts; ++i) {
    if (weights->parts[i] != nullptr) device->backend->release(device, weights->parts[i], weights->part_bytes[i]);
  }
  sn::destroy(weights);
  sn::live_handle_closes(device);
}

sn_kind sn_weights_kind(const sn_weights* weights) { return weights == nullptr ? -1 : weights->kind; }
int64_t sn_weights_rows(const sn_weights* weights) { return weights == nullptr ? 0 : weights->rows; }
int64_t sn_weights_cols(const sn_weights* weights) { return weights == nullptr ? 0 : weights->cols; }
int64_t sn_weights_bytes(const sn_weights* weights) { return weights == nullptr ? 0 : weights->bytes; }
