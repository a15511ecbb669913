// Layers with dense weights in panels of 16 channels: BF16 as it is, F32, and F16 as F32. See sinew.h and gemm.h.
#include "cpu/matmul/product.h"

namespace sn {
namespace SN_ISA_NAME {
namespace {

constexpr int kWeights = 0;

// Calls f with the panels.
template <class F_>
auto with_panels(const sn_weights& w, F_ f) {
  if (w.dtype == SN_BF16) return f(Panels<bf16>{w.part<bf16>(kWeights), w.cols, w.rows});
  return f(Panels<float>{w.part<float>(kWeights), w.cols, w.rows});
}

template <class T, class P>
sn_status pack_panels(sn_device* device, const sn_tensor* weight, sn_weights* w) {
  const int64_t panels = ceil_div(w->rows, kPanel), panel_elements = w->cols * kPanel;
  const sn_status status = allocate_part(w, kWeights, panels * panel_elements * static_cast<int64_t>(sizeof(P)));
  if (status != SN_OK) return status;
  auto task = [&](int64_t panel) {
    transpose_panel(data_of<T>(weight) + panel * panel_elements, w->cols, min_of(kPanel, w->rows - panel * kPanel),
                    w->cols, static_cast<P*>(w->parts[kWeights]) + panel * panel_elements);
  };
  for_tasks(device, panels, task);
  return SN_OK;
}

}  // namespace

sn_status pack_float(sn_device* device, const sn_tensor* weight, sn_weights* w) {
  return w->dtype == SN_BF16  ? pack_panels<bf16, bf16>(device, weight, w)
         : w->dtype == SN_F16 ? pack_panels<f16, float>(device, weight, w)
                              : pack_panels<float, float>(device, weight, w);
}

int64_t float_scratch(const sn_weights& w, int64_t rows) {
  return packed_floats(rows, w.cols) * int64_t{sizeof(float)};
}

void float_rows(const sn_weights& w, const float* x, int64_t rows, const Layer<float>& layer, void* scratch) {
  if (rows == 0) return;
  with_panels(w, [&](const auto& b) {
    if (rows <= kThinRows) return thin_product(x, w.cols, rows, b, 0, b.count(), layer);
    const Tiles tiles = {static_cast<float*>(scratch), rows, w.cols};
    const int64_t count = ceil_div(rows, kTileRows);
    for (int64_t tile = 0; tile < count; ++tile) pack_tile(x, w.cols, tile, tiles);
    multiply_block(tiles, 0, count, 0, b, 0, b.count(), layer);
  });
}

sn_status linear_float(sn_device* device, const sn_tensor* x, const sn_weights* w, const sn_tensor* bias,
                       sn_activation activation, sn_tensor* y) {
  if (y->elements == 0) return SN_OK;
  const Left left = {x->data, w->cols, x->dtype == SN_BF16};
  const Right right = {y->data, w->rows, y->dtype == SN_BF16, bias == nullptr ? nullptr : data_of<float>(bias),
                       activation};
  return with_panels(*w, [&](const auto& b) { return product(device, left, leading_rows(x), b, right); });
}

}  // namespace SN_ISA_NAME
}  // namespace sn
