// Pruned weights as a bitmap and the values that are not zero, expanded in registers. See sinew.h.
#include "cpu/matmul/fixed_point.h"
#include "cpu/matmul/floating.h"
#include "cpu/matmul/scales.h"
#include "cpu/matmul/slots.h"

namespace sn {
namespace SN_ISA_NAME {
namespace {

// Column by column of a panel, a mask of 16 bits says which channels have a value, and those follow each other. int8
// has masks of 32 bits for every two columns instead, those of a channel side by side.
constexpr int kMaskPart = 3;
constexpr int kBeginPart = 4;  // I64: where in the values each panel begins, then where the last one ends
template <class T>
constexpr int kSideBySide = 1;
template <>
constexpr int kSideBySide<int8_t> = 2;
// Expanding reads whole vectors from any value on.
constexpr int64_t kReadBeyond = 64;

int64_t ones(uint64_t mask) { return __builtin_popcountll(mask); }

template <class T>
struct SparseSource : PanelScales {
  const uint16_t* masks;
  const T* values;

  void open(const sn_weights& w, const Blocks& blocks, int64_t panel) {
    if (w.parts[kScalePart] != nullptr) {
      PanelScales::open(w, panel);
    } else {
      scales = nullptr;
      zero_points = nullptr;
      grouped = false;
    }
    masks = w.part<uint16_t>(kMaskPart) + panel * blocks.padded;
    values = w.part<T>(kWeightPart) + w.part<int64_t>(kBeginPart)[panel];
  }
};

struct SparseInt8Source : SparseSource<int8_t> {
  static constexpr int kUnit = 4, kStreams = kFixedStreams;
  static constexpr int kAdded = 0;
  struct Raw {
    W first, second;
  };

  SN_INLINE Raw next() {
    uint64_t mask;
    memcpy(&mask, masks, sizeof mask);
    masks += kUnit;
    ask_ahead(values);
    ask_ahead(masks, kAheadInStreams / 4);
    const int8_t* from = values;
    values += ones(mask);
    return {expand_words(from, mask & 0xffffffff), expand_words(from + ones(mask & 0xffffffff), mask >> 32)};
  }
  template <int kIndex>
  static SN_INLINE W pair(const Raw& raw) {
    return kIndex == 0 ? raw.first : raw.second;
  }
  SN_INLINE I points(int64_t) const { return splat_int(0); }
};

template <class T>
struct SparseFloatSource : SparseSource<T> {
  SN_INLINE F next() { return expand_floats(this->values, *this->masks++); }
  SN_INLINE F scale(int64_t group) const { return this->scales == nullptr ? splat(1) : PanelScales::scale(group); }
};

// Calls f with null pointers of the type of the values as stored and of the kind that computes with them.
template <class F>
auto with_values(sn_dtype dtype, F f) {
  switch (dtype) {
    case SN_I8:
      return f(static_cast<int8_t*>(nullptr), static_cast<FixedKind<SparseInt8Source>*>(nullptr));
    case SN_F8_E4M3:
      return f(static_cast<f8e4m3*>(nullptr), static_cast<FloatKind<SparseFloatSource<f8e4m3>>*>(nullptr));
    case SN_F16:
      return f(static_cast<f16*>(nullptr), static_cast<FloatKind<SparseFloatSource<f16>>*>(nullptr));
    case SN_BF16:
      return f(static_cast<bf16*>(nullptr), static_cast<FloatKind<SparseFloatSource<bf16>>*>(nullptr));
    default:  // F64 is stored as F32
      return f(static_cast<float*>(nullptr), static_cast<FloatKind<SparseFloatSource<float>>*>(nullptr));
  }
}

// Calls f with a null pointer of the kind that computes with the weights in the form they are packed in.
template <class F>
auto with_kind(const sn_weights& w, F f) {
#if defined(SN_TIER_AVX2)
  if (w.parts[kSlotBeginPart] != nullptr) return f(static_cast<SlotKind*>(nullptr));
#endif
  return with_values(w.dtype, [&](auto*, auto* kind) { return f(kind); });
}

int64_t ones_of_row(const uint8_t* row, int64_t cols) {
  int64_t ones = 0;
  for (int64_t i = 0; i < cols / 8; ++i) ones += __builtin_popcount(row[i]);
  if (cols % 8 == 0) return ones;
  const int last = row[cols / 8];
  return last >> cols % 8 != 0 ? -1 : ones + __builtin_popcount(static_cast<unsigned>(last));  // -1: ones beyond
}

// Checks that the bitmap, the row offsets and the number of values agree, and finds where each panel's values begin.
sn_status find_panels(sn_device* device, const sn_tensor* values, const sn_tensor* bitmap, const sn_tensor* row_offsets,
                      sn_weights* w) {
  const int64_t row_bytes = ceil_div(w->cols, 8), panels = panels_of(*w);
  const int64_t* offsets = data_of<int64_t>(row_offsets);
  auto* begin = static_cast<int64_t*>(w->parts[kBeginPart]);
  int32_t padded = 0, misplaced = 0;
  for_panels(device, *w, [&](int64_t panel) {
    int64_t total = 0;
    for (int64_t row = panel * kPanel; row < min_of((panel + 1) * kPanel, w->rows); ++row) {
      const int64_t ones = ones_of_row(data_of<uint8_t>(bitmap) + row * row_bytes, w->cols);
      if (ones < 0) return atomic_or(&padded);
      // Unsigned, because hostile offsets may overflow.
      const uint64_t length = static_cast<uint64_t>(offsets[row + 1]) - static_cast<uint64_t>(offsets[row]);
      if (length != static_cast<uint64_t>(ones)) atomic_or(&misplaced);
      total += ones;
    }
    begin[panel + 1] = total;
  });
  if (padded) return fail(SN_INVALID_ARGUMENT, "the bitmap has ones beyond the last column");
  for (int64_t panel = 0; panel < panels; ++panel) begin[panel + 1] += begin[panel];
  if (begin[panels] != values->elements) {
    return fail(SN_INVALID_ARGUMENT, "values has %lld elements, but the bitmap %lld ones",
                static_cast<long long>(values->elements), static_cast<long long>(begin[panels]));
  }
  if (misplaced) return fail(SN_INVALID_ARGUMENT, "row_offsets do not fit the ones of the bitmap");
  return SN_OK;
}

template <class T>
void copy_value(T from, T* to) {
  *to = from;
}
void copy_value(double from, float* to) { *to = static_cast<float>(from); }

// One panel from values of type From, in row-major order, with the masks of so many columns together.
template <int kColumns, class From, class To>
void pack_panel(const sn_weights& w, const Blocks& blocks, const From* values, const uint8_t* bitmap, int64_t panel,
                uint16_t* masks, To* to) {
  const int64_t channels = min_of(kPanel, w.rows - panel * kPanel), row_bytes = ceil_div(w.cols, 8);
  const From* next[kPanel];
  const uint8_t* bits[kPanel];
  const From* from = values + w.part<int64_t>(kBeginPart)[panel];
  for (int64_t c = 0; c < channels; ++c) {
    bits[c] = bitmap + (panel * kPanel + c) * row_bytes;
    next[c] = from;
    from += ones_of_row(bits[c], w.cols);
  }
  for (int64_t b = 0; b < blocks.count; ++b) {
    for (int64_t i = 0; i < blocks.size(b); i += kColumns) {
      const int64_t columns = min_of(kColumns, blocks.size(b) - i);
      uint64_t mask = 0;
      for (int64_t c = 0; c < channels; ++c) {
        for (int64_t j = 0; j < columns; ++j) {
          const int64_t col = blocks.first(b) + i + j;
          if ((bits[c][col / 8] >> (col % 8) & 1) == 0) continue;
          mask |= uint64_t{1} << (c * kColumns + j);
          copy_value(*next[c]++, to++);
        }
      }
      for (int j = 0; j < kColumns; ++j) masks[blocks.offset(b) + i + j] = static_cast<uint16_t>(mask >> (16 * j));
    }
  }
}

#if defined(SN_TIER_AVX2)

// The columns of the values of a group of channels in a block.
void find_columns(const sn_weights& w, const Blocks& blocks, const uint8_t* bitmap, int64_t group, int64_t block,
                  SlotColumns* columns) {
  const int64_t row_bytes = ceil_div(w.cols, 8), first = blocks.first(block), size = blocks.size(block);
  for (int64_t c = 0; c < kSlotChannels; ++c) {
    const int64_t row = group * kSlotChannels + c;
    int count = 0;
    if (row < w.rows) {
      const uint8_t* bits = bitmap + row * row_bytes;
      for (int64_t j = 0; j < size; ++j) {
        columns->column[c][count] = static_cast<uint8_t>(j);
        count += bits[(first + j) / 8] >> ((first + j) % 8) & 1;
      }
    }
    columns->count[c] = count;
  }
}

// f(block, columns) for the blocks of a group of channels.
template <class F>
void for_columns(const sn_weights& w, const Blocks& blocks, const uint8_t* bitmap, int64_t group, F f) {
  SlotColumns columns;
  for (int64_t b = 0; b < blocks.count; ++b) {
    find_columns(w, blocks, bitmap, group, b, &columns);
    f(b, columns);
  }
}

// Slots are multiplied several times as fast as a bitmap, but have more bytes. More threads than can read that much
// from memory gain only where expanding the bitmap would take longer than reading.
bool slots_pay(const sn_weights& w, int64_t slot_bytes, int64_t bitmap_bytes) {
  constexpr int kReaders = 4;
  return slot_bytes <= bitmap_bytes / 3 * 5 && (w.device->threads <= kReaders || slot_bytes <= w.rows * w.cols / 2);
}

// Packs int8 values in slots, if those pay; else there is no kSlotBeginPart.
sn_status pack_slots(sn_device* device, const sn_tensor* values, const sn_tensor* bitmap, const sn_tensor* row_offsets,
                     sn_weights* w) {
  const Blocks blocks(*w, 1);
  const int64_t groups = slot_groups(*w), begin_bytes = (groups + 1) * int64_t{sizeof(SlotBegin)};
  const auto* bits = data_of<uint8_t>(bitmap);
  const Scratch scratch(device, begin_bytes + groups * blocks.count);
  if (scratch.data() == nullptr) return no_scratch(begin_bytes + groups * blocks.count);
  auto* begin = reinterpret_cast<SlotBegin*>(scratch.data());
  auto* pairs_of_block = reinterpret_cast<uint8_t*>(scratch.data()) + begin_bytes;  // of all groups
  auto count = [&](int64_t g) {
    int64_t pairs = 0, strays = 0;
    for_columns(*w, blocks, bits, g, [&](int64_t b, const SlotColumns& columns) {
      const int best = columns.best_pairs();
      pairs_of_block[g * blocks.count + b] = static_cast<uint8_t>(best);
      pairs += best;
      strays += columns.strays(best);
    });
    begin[g + 1] = {pairs, blocks.count * int64_t{sizeof(SlotHeader)} + 2 * pairs + strays * int64_t{sizeof(Stray)}};
  };
  for_tasks(device, groups, count);
  begin[0] = {0, 0};
  for (int64_t g = 0; g < groups; ++g) {
    begin[g + 1].pair += begin[g].pair;
    begin[g + 1].shared += begin[g].shared;
  }
  const int64_t slot_bytes = begin[groups].pair * kSlotPanels * kSlotPairBytes, shared_bytes = begin[groups].shared;
  const int64_t bitmap_bytes = values->elements + panels_of(*w) * blocks.padded * int64_t{sizeof(uint16_t)};
  if (!slots_pay(*w, slot_bytes + shared_bytes, bitmap_bytes)) return SN_OK;
  sn_status status = allocate_part(w, kSharedPart, shared_bytes);
  if (status == SN_OK) status = allocate_part(w, kWeightPart, slot_bytes);
  if (status == SN_OK) status = allocate_part(w, kSlotBeginPart, begin_bytes);
  if (status != SN_OK) return status;
  memcpy(w->parts[kSlotBeginPart], begin, static_cast<size_t>(begin_bytes));
  const int64_t* offsets = data_of<int64_t>(row_offsets);
  auto fill = [&](int64_t g) {
    const int64_t apart = (begin[g + 1].pair - begin[g].pair) * kSlotPairBytes;
    auto* slots = static_cast<uint8_t*>(w->parts[kWeightPart]) + begin[g].pair * kSlotPanels * kSlotPairBytes;
    auto* shared = static_cast<uint8_t*>(w->parts[kSharedPart]) + begin[g].shared;
    const int8_t* next[kSlotChannels];
    for (int64_t c = 0; c < kSlotChannels; ++c) {
      const int64_t row = min_of(g * kSlotChannels + c, w->rows);
      next[c] = data_of<int8_t>(values) + (offsets[row] - offsets[0]);
    }
    for_columns(*w, blocks, bits, g, [&](int64_t b, const SlotColumns& columns) {
      SlotHeader header = {pairs_of_block[g * blocks.count + b], 0};
      uint8_t* moves = shared + sizeof header;
      uint8_t* strays = moves + 2 * header.pairs;
      columns.fill(
          header.pairs, [&](int by) { *moves++ = static_cast<uint8_t>(by); },
          [&](int step, int64_t channel, int slot, int place) {
            uint8_t* pair = slots + channel / kPanel * apart + step / 2 * kSlotPairBytes;
            const int i = slot_of(channel % kPanel) + slot;
            pair[i] = static_cast<uint8_t>(pair[i] | place << step % 2 * 4);
            pair[(1 + step % 2) * kSlotBytes + i] = static_cast<uint8_t>(*next[channel]++);
          },
          [&](int64_t channel, int column) {
            const Stray stray = {static_cast<uint8_t>(channel), static_cast<uint8_t>(column), *next[channel]++, 0};
            memcpy(strays + header.strays++ * sizeof stray, &stray, sizeof stray);
          });
      memcpy(shared, &header, sizeof header);
      slots += header.pairs * kSlotPairBytes;
      shared = strays + header.strays * sizeof(Stray);
    });
  };
  for_tasks(device, groups, fill);
  return SN_OK;
}

#endif

int64_t stored_size(sn_dtype dtype) { return dtype == SN_F64 ? 4 : dtype_size(dtype); }

}  // namespace

sn_status pack_sparse(sn_device* device, const sn_tensor* values, const sn_tensor* bitmap, const sn_tensor* row_offsets,
                      const sn_tensor* scale, sn_weights* w) {
  const Blocks blocks(*w, w->dtype == SN_I8 ? SparseInt8Source::kUnit : 1);
  const int64_t panels = panels_of(*w);
  sn_status status = allocate_part(w, kBeginPart, (panels + 1) * int64_t{sizeof(int64_t)});
  if (status == SN_OK) status = find_panels(device, values, bitmap, row_offsets, w);
  if (status == SN_OK && scale != nullptr) status = pack_scales(w, scale, nullptr);
#if defined(SN_TIER_AVX2)
  if (status == SN_OK && w->dtype == SN_I8) status = pack_slots(device, values, bitmap, row_offsets, w);
  if (w->parts[kSlotBeginPart] != nullptr) return status;
#endif
  if (status == SN_OK) status = allocate_part(w, kMaskPart, panels * blocks.padded * int64_t{sizeof(uint16_t)});
  if (status == SN_OK) {
    status = allocate_part(w, kWeightPart, values->elements * stored_size(w->dtype) + kReadBeyond);
  }
  if (status != SN_OK) return status;
  with_values(w->dtype, [&](auto* type, auto*) {
    using To = typename Pointee<decltype(type)>::type;
    const auto pack_all = [&](auto* from_type) {
      using From = typename Pointee<decltype(from_type)>::type;
      for_panels(device, *w, [&](int64_t panel) {
        pack_panel<kSideBySide<To>>(*w, blocks, data_of<From>(values), data_of<uint8_t>(bitmap), panel,
                                    static_cast<uint16_t*>(w->parts[kMaskPart]) + panel * blocks.padded,
                                    static_cast<To*>(w->parts[kWeightPart]) + w->part<int64_t>(kBeginPart)[panel]);
      });
    };
    if constexpr (sizeof(To) == sizeof(float)) {
      if (w->dtype == SN_F64) return pack_all(static_cast<double*>(nullptr));
    }
    pack_all(type);
  });
  return SN_OK;
}

sn_status linear_sparse(sn_device* device, const sn_tensor* x, const sn_weights* w, const sn_tensor* bias,
                        sn_activation activation, sn_tensor* y) {
  return with_kind(*w, [&](auto* kind) {
    using Kind = typename Pointee<decltype(kind)>::type;
    return linear_by_panels<Kind>(device, x, w, bias, activation, y);
  });
}

int64_t sparse_scratch(const sn_weights& w, int64_t rows) {
  return with_kind(w, [&](auto* kind) { return Pointee<decltype(kind)>::type::bytes(w, rows, SN_F32); });
}
void sparse_rows(const sn_weights& w, const float* x, int64_t rows, const Layer<float>& layer, void* scratch) {
  with_kind(w, [&](auto* kind) { rows_by_panels<typename Pointee<decltype(kind)>::type>(w, x, rows, layer, scratch); });
}

}  // namespace SN_ISA_NAME
}  // namespace sn
