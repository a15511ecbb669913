// int4 weights times activations that keep their precision. See sinew.h.
#include "cpu/matmul/fixed_point.h"
#include "cpu/matmul/scales.h"

namespace sn {
namespace SN_ISA_NAME {
namespace {

// For every 8 columns 16 x 2 words, those of a channel side by side: nibble i of the first word is column 2 i, of the
// second column 2 i + 1.
struct NibbleSource : PanelScales {
  static constexpr int kUnit = 8, kStreams = kFixedStreams;
  static constexpr int kAdded = 8;
  const int16_t* words;

  void open(const sn_weights& w, const Blocks& blocks, int64_t panel) {
    PanelScales::open(w, panel);
    words = w.part<int16_t>(kWeightPart) + panel * blocks.padded * kPanel / 4;
  }
  SN_INLINE W next() {
    ask_ahead(words);
    const W w = load_words(words);
    words += 2 * kPanel;
    return w;
  }
  template <int kIndex>
  static SN_INLINE W pair(W w) {
    return nibble_of<kIndex>(w);
  }
  SN_INLINE I points(int64_t group) const { return stored_points<kAdded>(group); }
};

using Kind = FixedKind<NibbleSource>;

// One panel of the rows of nibbles that quantize makes.
void pack_panel(const sn_weights& w, const Blocks& blocks, const uint8_t* q, int64_t panel, uint16_t* to) {
  const int64_t channels = min_of(kPanel, w.rows - panel * kPanel), row_bytes = ceil_div(w.cols, 2);
  for (int64_t b = 0; b < blocks.count; ++b) {
    uint16_t* block = to + blocks.offset(b) * kPanel / 4;
    for (int64_t c = 0; c < channels; ++c) {
      const uint8_t* row = q + (panel * kPanel + c) * row_bytes;
      for (int64_t i = 0; i < blocks.size(b); ++i) {
        const int64_t col = blocks.first(b) + i;
        const int nibble = row[col / 2] >> (col % 2 * 4) & 15;
        uint16_t& word = block[(i / 8 * kPanel + c) * 2 + i % 2];
        word = static_cast<uint16_t>(word | nibble << (i % 8 / 2 * 4));
      }
    }
  }
}

}  // namespace

sn_status pack_w4(sn_device* device, const sn_tensor* q, const sn_tensor* scale, const sn_tensor* zero_point,
                  sn_weights* w) {
  const Blocks blocks = Kind::blocks(*w);
  const int64_t panel_words = blocks.padded * kPanel / 4;
  sn_status status = allocate_part(w, kWeightPart, panels_of(*w) * panel_words * 2);
  if (status == SN_OK) status = pack_scales(w, scale, zero_point);
  if (status != SN_OK) return status;
  auto* words = static_cast<uint16_t*>(w->parts[kWeightPart]);
  for_panels(device, *w,
             [&](int64_t panel) { pack_panel(*w, blocks, data_of<uint8_t>(q), panel, words + panel * panel_words); });
  return SN_OK;
}

sn_status linear_w4(sn_device* device, const sn_tensor* x, const sn_weights* w, const sn_tensor* bias,
                    sn_activation activation, sn_tensor* y) {
  return linear_by_panels<Kind>(device, x, w, bias, activation, y);
}

int64_t w4_scratch(const sn_weights& w, int64_t rows) { return Kind::bytes(w, rows, SN_F32); }
void w4_rows(const sn_weights& w, const float* x, int64_t rows, const Layer<float>& layer, void* scratch) {
  rows_by_panels<Kind>(w, x, rows, layer, scratch);
}

}  // namespace SN_ISA_NAME
}  // namespace sn
