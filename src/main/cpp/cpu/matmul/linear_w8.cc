// int8 and fp8 weights times activations that keep their precision. See sinew.h.
#include "cpu/matmul/fixed_point.h"
#include "cpu/matmul/floating.h"
#include "cpu/matmul/scales.h"

namespace sn {
namespace SN_ISA_NAME {
namespace {

// int8: for every two columns 16 x 2 bytes, the two of a channel side by side.
struct Int8Source : PanelScales {
  static constexpr int kUnit = 4, kSideBySide = 2, kStreams = kFixedStreams;
  static constexpr int kAdded = 0;
  const int8_t* bytes;

  void open(const sn_weights& w, const Blocks& blocks, int64_t panel) {
    PanelScales::open(w, panel);
    bytes = w.part<int8_t>(kWeightPart) + panel * blocks.padded * kPanel;
  }
  SN_INLINE const int8_t* next() {
    ask_ahead(bytes);
    const int8_t* raw = bytes;
    bytes += kUnit * kPanel;
    return raw;
  }
  template <int kIndex>
  static SN_INLINE W pair(const int8_t* raw) {
    return widen_bytes(raw + 32 * kIndex);
  }
  SN_INLINE I points(int64_t group) const { return stored_points<kAdded>(group); }
};

// fp8: for every column 16 bytes.
struct Float8Source : PanelScales {
  const f8e4m3* bytes;

  void open(const sn_weights& w, const Blocks& blocks, int64_t panel) {
    PanelScales::open(w, panel);
    bytes = w.part<f8e4m3>(kWeightPart) + panel * blocks.padded * kPanel;
  }
  SN_INLINE F next() {
    const F w = load(bytes);
    bytes += kPanel;
    return w;
  }
};

using Int8 = FixedKind<Int8Source>;
using Float8 = FloatKind<Float8Source>;

// Calls f with a null pointer of the kind that computes with the weights.
template <class F>
auto with_kind(const sn_weights& w, F f) {
  return w.dtype == SN_I8 ? f(static_cast<Int8*>(nullptr)) : f(static_cast<Float8*>(nullptr));
}

// The bytes of a panel, so many columns of a channel side by side.
void pack_panel(const sn_weights& w, const Blocks& blocks, const uint8_t* weight, int64_t panel, int64_t side_by_side,
                uint8_t* to) {
  const int64_t channels = min_of(kPanel, w.rows - panel * kPanel);
  for (int64_t b = 0; b < blocks.count; ++b) {
    uint8_t* block = to + blocks.offset(b) * kPanel;
    for (int64_t c = 0; c < channels; ++c) {
      const uint8_t* from = weight + (panel * kPanel + c) * w.cols + blocks.first(b);
      for (int64_t i = 0; i < blocks.size(b); ++i)
        block[(i / side_by_side * kPanel + c) * side_by_side + i % side_by_side] = from[i];
    }
  }
}

}  // namespace

sn_status pack_w8(sn_device* device, const sn_tensor* weight, const sn_tensor* scale, const sn_tensor* zero_point,
                  sn_weights* w) {
  const bool int8 = w->dtype == SN_I8;
  const Blocks blocks(*w, int8 ? Int8Source::kUnit : 1);
  const int64_t panel_bytes = blocks.padded * kPanel;
  sn_status status = allocate_part(w, kWeightPart, panels_of(*w) * panel_bytes);
  if (status == SN_OK) status = pack_scales(w, scale, zero_point);
  if (status != SN_OK) return status;
  auto* bytes = static_cast<uint8_t*>(w->parts[kWeightPart]);
  for_panels(device, *w, [&](int64_t panel) {
    pack_panel(*w, blocks, data_of<uint8_t>(weight), panel, int8 ? Int8Source::kSideBySide : 1,
               bytes + panel * panel_bytes);
  });
  return SN_OK;
}

sn_status linear_w8(sn_device* device, const sn_tensor* x, const sn_weights* w, const sn_tensor* bias,
                    sn_activation activation, sn_tensor* y) {
  return with_kind(*w, [&](auto* kind) {
    using Kind = typename Pointee<decltype(kind)>::type;
    return linear_by_panels<Kind>(device, x, w, bias, activation, y);
  });
}

int64_t w8_scratch(const sn_weights& w, int64_t rows) {
  return with_kind(w, [&](auto* kind) { return Pointee<decltype(kind)>::type::bytes(w, rows, SN_F32); });
}
void w8_rows(const sn_weights& w, const float* x, int64_t rows, const Layer<float>& layer, void* scratch) {
  with_kind(w, [&](auto* kind) { rows_by_panels<typename Pointee<decltype(kind)>::type>(w, x, rows, layer, scratch); });
}

}  // namespace SN_ISA_NAME
}  // namespace sn
