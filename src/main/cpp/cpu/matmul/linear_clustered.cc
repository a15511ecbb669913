// Weights shared through codebooks: F32 entries, looked up by index. See sinew.h.
#include "cpu/kernels/codebook.h"
#include "cpu/matmul/floating.h"
#include "cpu/matmul/scales.h"

namespace sn {
namespace SN_ISA_NAME {
namespace {

constexpr int kCodebookPart = 3;  // F32 [codebooks, entries], entries as many as stored indices can name

// Indices of up to 4 bits are stored as nibbles, longer ones as bytes: for every column those of 16 channels.
int stored_bits(int bits) { return bits <= 4 ? 4 : 8; }

struct Codebooks {
  const float* entries;
  int64_t size, count, rows_of_each;

  explicit Codebooks(const sn_weights& w) {
    entries = w.part<float>(kCodebookPart);
    size = int64_t{1} << stored_bits(w.bits);
    count = w.group;
    rows_of_each = max_of(1, ceil_div(w.rows, max_of(1, count)));
  }
  int64_t of_row(int64_t row) const { return row / rows_of_each; }
};

template <int kStoredBits>
struct IndexSource {
  static constexpr bool grouped = false;
  const uint8_t* indices;
  const float* table;  // the codebook of the panel's first channel
  bool same;           // for all channels
  I begin;             // where in the table each channel's codebook begins

  void open(const sn_weights& w, const Blocks& blocks, int64_t panel) {
    indices = w.part<uint8_t>(kWeightPart) + panel * blocks.padded * kPanel * kStoredBits / 8;
    const Codebooks codebooks(w);
    const int64_t first = codebooks.of_row(panel * kPanel);
    table = codebooks.entries + first * codebooks.size;
    int8_t lanes[kPanel];
    for (int64_t c = 0; c < kPanel; ++c) {
      const int64_t row = min_of(panel * kPanel + c, w.rows - 1);
      lanes[c] = static_cast<int8_t>(codebooks.of_row(row) - first);
    }
    same = lanes[kPanel - 1] == 0;
    I high;
    sn::SN_ISA_NAME::multiply(load_int(lanes), static_cast<uint32_t>(codebooks.size), &high, &begin);
  }
  SN_INLINE F next() {
    I index;
    if constexpr (kStoredBits == 4) {
      index = load_nibbles(indices);
    } else {
      index = load_index(indices);
    }
    indices += kPanel * kStoredBits / 8;
    return same ? look_up<kStoredBits>(table, index) : gather(table, add(index, begin));
  }
  SN_INLINE F scale(int64_t) const { return splat(1); }
};

// Calls f with a null pointer of the kind that computes with the weights.
template <class F>
auto with_kind(const sn_weights& w, F f) {
  return stored_bits(w.bits) == 4 ? f(static_cast<FloatKind<IndexSource<4>>*>(nullptr))
                                  : f(static_cast<FloatKind<IndexSource<8>>*>(nullptr));
}

// Index `col` of a row of indices of so many bits, the lowest bits first.
unsigned index_at(const uint8_t* row, int64_t col, int bits) {
  const int64_t first = col * bits;
  unsigned two = row[first / 8];
  if (first % 8 + bits > 8) two |= static_cast<unsigned>(row[first / 8 + 1]) << 8;
  return two >> (first % 8) & ((1u << bits) - 1);
}

void pack_panel(const sn_weights& w, const Blocks& blocks, const uint8_t* q, int64_t panel, uint8_t* to) {
  const int64_t channels = min_of(kPanel, w.rows - panel * kPanel), row_bytes = ceil_div(w.cols * w.bits, 8);
  const int64_t stored = stored_bits(w.bits);
  for (int64_t c = 0; c < channels; ++c) {
    const uint8_t* row = q + (panel * kPanel + c) * row_bytes;
    for (int64_t b = 0; b < blocks.count; ++b) {
      for (int64_t i = 0; i < blocks.size(b); ++i) {
        const int64_t bit = ((blocks.offset(b) + i) * kPanel + c) * stored;
        to[bit / 8] = static_cast<uint8_t>(to[bit / 8] | index_at(row, blocks.first(b) + i, w.bits) << bit % 8);
      }
    }
  }
}

}  // namespace

sn_status pack_clustered(sn_device* device, const sn_tensor* q, const sn_tensor* codebook, sn_weights* w) {
  const Blocks blocks(*w, 1);
  const int64_t entries = int64_t{1} << w->bits, size = int64_t{1} << stored_bits(w->bits);
  const int64_t panel_bytes = blocks.padded * kPanel * stored_bits(w->bits) / 8;
  sn_status status = allocate_part(w, kWeightPart, panels_of(*w) * panel_bytes);
  if (status == SN_OK) status = allocate_part(w, kCodebookPart, w->group * size * int64_t{sizeof(float)});
  if (status != SN_OK) return status;
  for (int64_t g = 0; g < w->group; ++g) {
    memcpy(static_cast<float*>(w->parts[kCodebookPart]) + g * size, data_of<float>(codebook) + g * entries,
           static_cast<size_t>(entries) * sizeof(float));
  }
  auto* bytes = static_cast<uint8_t*>(w->parts[kWeightPart]);
  for_panels(device, *w,
             [&](int64_t panel) { pack_panel(*w, blocks, data_of<uint8_t>(q), panel, bytes + panel * panel_bytes); });
  return SN_OK;
}

sn_status linear_clustered(sn_device* device, const sn_tensor* x, const sn_weights* w, const sn_tensor* bias,
                           sn_activation activation, sn_tensor* y) {
  return with_kind(*w, [&](auto* kind) {
    using Kind = typename Pointee<decltype(kind)>::type;
    return linear_by_panels<Kind>(device, x, w, bias, activation, y);
  });
}

int64_t clustered_scratch(const sn_weights& w, int64_t rows) {
  return with_kind(w, [&](auto* kind) { return Pointee<decltype(kind)>::type::bytes(w, rows, SN_F32); });
}
void clustered_rows(const sn_weights& w, const float* x, int64_t rows, const Layer<float>& layer, void* scratch) {
  with_kind(w, [&](auto* kind) { rows_by_panels<typename Pointee<decltype(kind)>::type>(w, x, rows, layer, scratch); });
}

}  // namespace SN_ISA_NAME
}  // namespace sn
