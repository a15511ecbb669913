// Layers with dense weights in panels of 16 channels: BF16 as it is, F32, and F16 as F32. See sinew.h, gemm.h and
// pairs.h.
#include "cpu/matmul/product.h"

namespace sn {
namespace SN_ISA_NAME {
namespace {

constexpr int kWeights = 0;

#if defined(SN_TIER_AMX)
constexpr int kSubnormal = 1;  // see Panels<paired_bf16>

Panels<paired_bf16> bf16_panels(const sn_weights& w) {
  return {w.part<paired_bf16>(kWeights), w.cols, w.rows, w.part<uint16_t>(kSubnormal)};
}
#else
Panels<bf16> bf16_panels(const sn_weights& w) { return {w.part<bf16>(kWeights), w.cols, w.rows}; }
#endif

// Calls f with the panels.
template <class F_>
auto with_panels(const sn_weights& w, F_ f) {
  if (w.dtype == SN_BF16) return f(bf16_panels(w));
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

#if defined(SN_TIER_AMX)
template <>
sn_status pack_panels<bf16, paired_bf16>(sn_device* device, const sn_tensor* weight, sn_weights* w) {
  const int64_t panels = ceil_div(w->rows, kPanel), panel_elements = Panels<paired_bf16>::padded(w->cols) * kPanel;
  sn_status status = allocate_part(w, kWeights, panels * panel_elements * static_cast<int64_t>(sizeof(paired_bf16)));
  if (status == SN_OK) status = allocate_part(w, kSubnormal, panels * static_cast<int64_t>(sizeof(uint16_t)));
  if (status != SN_OK) return status;
  auto task = [&](int64_t panel) {
    const bf16* from = data_of<bf16>(weight) + panel * kPanel * w->cols;
    auto* to = static_cast<paired_bf16*>(w->parts[kWeights]) + panel * panel_elements;
    static_cast<uint16_t*>(w->parts[kSubnormal])[panel] =
        transpose_panel(from, w->cols, min_of(kPanel, w->rows - panel * kPanel), w->cols, to);
  };
  for_tasks(device, panels, task);
  return SN_OK;
}
#endif

}  // namespace

sn_status pack_float(sn_device* device, const sn_tensor* weight, sn_weights* w) {
  return w->dtype == SN_BF16  ? pack_panels<bf16, PanelBf16>(device, weight, w)
         : w->dtype == SN_F16 ? pack_panels<f16, float>(device, weight, w)
                              : pack_panels<float, float>(device, weight, w);
}

int64_t float_scratch(const sn_weights& w, int64_t rows) {
  const int64_t floats = packed_floats(rows, w.cols) * int64_t{sizeof(float)};
#if defined(SN_TIER_AMX)
  return max_of(floats, TiledRows<float>::bytes(rows, w.cols));
#else
  return floats;
#endif
}

void float_rows(const sn_weights& w, const float* x, int64_t rows, const Layer<float>& layer, void* scratch) {
  if (rows == 0) return;
  with_panels(w, [&](const auto& b) {
    if (rows <= kThinRows) return thin_product(x, w.cols, rows, b, 0, b.count(), layer);
    const Tiles tiles = {static_cast<float*>(scratch), rows, w.cols};
    const int64_t count = ceil_div(rows, kGemmRows);
    for (int64_t tile = 0; tile < count; ++tile) pack_tile(x, w.cols, tile, tiles);
    multiply_block(tiles, 0, count, 0, b, 0, b.count(), layer);
  });
}

#if defined(SN_TIER_AMX)
void bf16_rows(const sn_weights& w, const float* x, int64_t rows, const Layer<float>& layer, void* scratch) {
  const TiledRows<float> tiled(x, w.cols, rows, w.cols, scratch);
  for (int64_t row = 0; row < rows; ++row) tiled.pack(row);
  const Panels<paired_bf16> panels = bf16_panels(w);
  multiply_in_tiles(tiled, 0, rows, panels, 0, panels.count(), layer);
}
#endif

sn_status linear_float(sn_device* device, const sn_tensor* x, const sn_weights* w, const sn_tensor* bias,
                       sn_activation activation, sn_tensor* y) {
  if (y->elements == 0) return SN_OK;
  const Left left = {x->data, w->cols, x->dtype == SN_BF16};
  const Right right = {y->data, w->rows, y->dtype == SN_BF16, bias == nullptr ? nullptr : data_of<float>(bias),
                       activation};
#if defined(SN_TIER_AMX)
  if (w->dtype == SN_BF16 && left.narrow && leading_rows(x) > kThinRows)
    return product_in_tiles(device, left, leading_rows(x), bf16_panels(*w), right);
#endif
  return with_panels(*w, [&](const auto& b) { return product(device, left, leading_rows(x), b, right); });
}

}  // namespace SN_ISA_NAME
}  // namespace sn
