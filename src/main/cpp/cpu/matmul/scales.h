// Scales and zero points of packed weights, laid out panel by panel: 16 F32 and 16 I8 for each group, or for all
// columns.
#pragma once

#include "cpu/matmul/blocks.h"

namespace sn {
namespace SN_ISA_NAME {

// Parts of the handle that every kind with scales has.
constexpr int kWeightPart = 0;
constexpr int kScalePart = 1;
constexpr int kZeroPointPart = 2;  // absent when all are 0

inline int64_t panels_of(const sn_weights& w) { return ceil_div(w.rows, kPanel); }
inline int64_t slices_of_row(const sn_weights& w) { return w.group == 0 ? 1 : ceil_div(w.cols, w.group); }

// scale and zero_point (or null) have one element, one a row, or one a group of each row. Channels beyond the last have
// scale 0.
inline sn_status pack_scales(sn_weights* w, const sn_tensor* scale, const sn_tensor* zero_point) {
  const int64_t slices = slices_of_row(*w), lanes = panels_of(*w) * slices * kPanel;
  sn_status status = allocate_part(w, kScalePart, lanes * int64_t{sizeof(float)});
  if (status == SN_OK && zero_point != nullptr) status = allocate_part(w, kZeroPointPart, lanes);
  if (status != SN_OK) return status;
  auto* scales = static_cast<float*>(w->parts[kScalePart]);
  auto* zero_points = static_cast<int8_t*>(w->parts[kZeroPointPart]);
  for (int64_t c = 0; c < w->rows; ++c) {
    for (int64_t g = 0; g < slices; ++g) {
      const int64_t from = scale->elements == 1 ? 0 : c * slices + g;
      const int64_t to = (c / kPanel * slices + g) * kPanel + c % kPanel;
      scales[to] = data_of<float>(scale)[from];
      if (zero_point != nullptr) zero_points[to] = data_of<int8_t>(zero_point)[from];
    }
  }
  return SN_OK;
}

// Those of one panel.
struct PanelScales {
  const float* scales;
  const int8_t* zero_points;
  bool grouped;

  void open(const sn_weights& w, int64_t panel) {
    const int64_t first = panel * slices_of_row(w) * kPanel;
    grouped = w.group != 0;
    scales = w.part<float>(kScalePart) + first;
    zero_points = w.parts[kZeroPointPart] == nullptr ? nullptr : w.part<int8_t>(kZeroPointPart) + first;
  }
  // Asks for the next groups' scales too: they come a line at a time, between those of the weights.
  SN_INLINE F scale(int64_t group) const {
    __builtin_prefetch(scales + (group + 2) * kPanel);
    return load(scales + group * kPanel);
  }
  // Zero points of integers that are stored with kAdded added.
  template <int kAdded>
  SN_INLINE I stored_points(int64_t group) const {
    const I added = splat_int(kAdded);
    return zero_points == nullptr ? added : add(load_int(zero_points + group * kPanel), added);
  }
};

// Calls f(panel) for all panels in parallel.
template <class F>
void for_panels(sn_device* device, const sn_weights& w, F f) {
  for_tasks(device, panels_of(w), f);
}

}  // namespace SN_ISA_NAME
}  // namespace sn
