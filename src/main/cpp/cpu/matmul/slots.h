// Pruned int8 weights in slots: another form of SN_SPARSE, for processors whose vectors cannot expand a bitmap in one
// instruction (AVX2). Only values that are not zero are multiplied, and the activations that belong to them are looked
// up in registers.
//
// 64 channels (4 panels) go through the columns of a block together, in steps. A step has a window of 16 columns and
// two slots for each channel: its next values in the window, fewer if there are no more. A slot is the value and 4 bits
// that say in which column of the window it lies; an empty one is 0. So shuffles of bytes (vpshufb) by those bits, from
// 16 low and 16 high bytes of activations, give what the values are multiplied by. Channels that have more values than
// others would keep all of them waiting, so what does not find a slot in time is a stray: it is kept with its channel
// and column, and multiplied alone. With half of the weights zero at random a step serves 64 channels at 3.5 columns,
// and a weight takes 0.90 bytes where a bitmap has 0.63.
//
// Each panel has its slots in one piece, for processors read memory faster from several places: for every two steps 32
// bytes of columns, the first step's in the low nibbles, then 32 bytes of values for each. What 64 channels share is in
// another: for each block its header, by how many columns the window moves before each step, and its strays.
#pragma once

#include "cpu/matmul/fixed_point.h"
#include "cpu/matmul/scales.h"

#if defined(SN_TIER_AVX2)

namespace sn {
namespace SN_ISA_NAME {

constexpr int64_t kSlotPanels = 4, kSlotChannels = kSlotPanels * kPanel;
constexpr int kSlotWindow = 16, kSlotsOfStep = 2;
constexpr int64_t kSlotBytes = kPanel * kSlotsOfStep;  // values of a step, and columns of two, of a panel
constexpr int64_t kSlotPairBytes = 3 * kSlotBytes;     // of a panel

struct SlotHeader {
  uint16_t pairs;  // of steps
  uint16_t strays;
};
struct Stray {
  uint8_t channel, column;  // of the 64, of the block
  int8_t value;
  uint8_t unused;
};
static_assert(kSlotChannels * kBlockColumns <= UINT16_MAX, "strays of a block are counted in 16 bits");

// Parts of the handle.
constexpr int kSharedPart = 3;
constexpr int kSlotBeginPart = 5;  // SlotBegin of each group of 64 channels, then where the last one ends
struct SlotBegin {
  int64_t pair;    // pairs of steps of the groups before
  int64_t shared;  // bytes
};

inline int64_t slot_groups(const sn_weights& w) { return ceil_div(panels_of(w), kSlotPanels); }
// Where a channel's first slot lies in the 32 of a step, so that sums of products come in the order of I.
inline int slot_of(int64_t channel) {
  return static_cast<int>((channel >> 2 & 1) * 16 + (channel >> 3) * 8 + (channel & 3) * kSlotsOfStep);
}

// The columns of the values of 64 channels in a block, from the block's first on.
struct SlotColumns {
  uint8_t column[kSlotChannels][kBlockColumns];
  int count[kSlotChannels];

  // How many pairs of steps take the least time: one has 384 bytes, and a stray takes as long as 48.
  int best_pairs() const {
    constexpr int kOfPair = 2 * kSlotsOfStep;
    int longer[kBlockColumns / kOfPair + 1] = {};  // values beyond those that so many pairs have slots for
    for (int n : count) {
      for (int i = 0; i * kOfPair < n; ++i) longer[i] += n - i * kOfPair;
    }
    int best = 0;
    for (int i = 1; i <= kBlockColumns / kOfPair; ++i) {
      if (time(i, longer[i]) < time(best, longer[best])) best = i;
    }
    // There are more strays, because windows are narrow.
    for (int least = time(best, strays(best)); best < kBlockColumns / kOfPair; ++best) {
      const int next = time(best + 1, strays(best + 1));
      if (next >= least) break;
      least = next;
    }
    return best;
  }
  int strays(int pairs) const {
    int strays = 0;
    fill(
        pairs, [](int) {}, [](int, int64_t, int, int) {}, [&](int64_t, int) { ++strays; });
    return strays;
  }

  // Gives every value of a channel, in order, to put(step, channel, slot, column in the window) or to
  // stray(channel, column), and calls move(columns) before each of the 2 pairs steps. The window follows the channels
  // as a whole: its first column is that of the first value left, but not far behind the column to which a share of all
  // values goes that is as large as that of the steps.
  template <class Move, class Put, class LeaveOut>
  void fill(int pairs, Move move, Put put, LeaveOut stray) const {
    constexpr int kBehind = 6;
    int of_column[kBlockColumns] = {}, all = 0;
    for (int64_t c = 0; c < kSlotChannels; ++c) {
      all += count[c];
      for (int i = 0; i < count[c]; ++i) ++of_column[column[c][i]];
    }
    const int steps = 2 * pairs;
    int next[kSlotChannels] = {}, begin = 0, middle = 0, before = 0;  // values in columns before the middle
    for (int step = 0; step < steps; ++step) {
      while (middle < kBlockColumns - 1 && (before + of_column[middle]) * steps <= all * step)
        before += of_column[middle++];
      int first = kBlockColumns;
      for (int64_t c = 0; c < kSlotChannels; ++c) {
        if (next[c] < count[c] && column[c][next[c]] < first) first = column[c][next[c]];
      }
      if (first == kBlockColumns) first = begin;
      if (first < middle - kBehind) first = middle - kBehind;
      move(first - begin);
      begin = first;
      for (int64_t c = 0; c < kSlotChannels; ++c) {
        for (; next[c] < count[c] && column[c][next[c]] < begin; ++next[c]) stray(c, column[c][next[c]]);
        for (int s = 0; s < kSlotsOfStep && next[c] < count[c] && column[c][next[c]] < begin + kSlotWindow; ++s)
          put(step, c, s, column[c][next[c]++] - begin);
      }
    }
    for (int64_t c = 0; c < kSlotChannels; ++c) {
      for (; next[c] < count[c]; ++next[c]) stray(c, column[c][next[c]]);
    }
  }

 private:
  static int time(int pairs, int strays) {
    return pairs * static_cast<int>(kSlotPanels * kSlotPairBytes) + strays * 48;
  }
};

// Scales of a panel; there are no zero points.
struct SlotSource : PanelScales {
  I points(int64_t) const { return splat_int(0); }
};

// What 64 channels share of a block, and where the next block's begins.
struct SharedSlots {
  SlotHeader header;
  const uint8_t *moves, *strays, *end;

  explicit SharedSlots(const uint8_t* from) {
    memcpy(&header, from, sizeof header);
    moves = from + sizeof header;
    strays = moves + 2 * header.pairs;
    end = strays + header.strays * sizeof(Stray);
  }
  Stray stray(int i) const {
    Stray s;
    memcpy(&s, strays + static_cast<size_t>(i) * sizeof s, sizeof s);
    return s;
  }
};

// Rows of fixed-point activations (blocks.h), for each its low bytes and then its high bytes. A window may reach beyond
// the last column.
struct SlotActivations {
  Blocks blocks;
  int64_t rows, plane;  // bytes of half a row
  Token* tokens;        // [rows, blocks]
  uint8_t* planes;

  // Without scratch it only says how much it needs.
  SlotActivations(const sn_weights& w, int64_t n, void* scratch)
      : blocks(w, 1), rows(n), plane(round_up(blocks.padded + kSlotWindow, 64)) {
    tokens = static_cast<Token*>(scratch);
    planes = scratch == nullptr ? nullptr : static_cast<uint8_t*>(scratch) + token_bytes();
  }
  int64_t token_bytes() const { return round_up(rows * blocks.count * int64_t{sizeof(Token)}, 64); }
  int64_t bytes() const { return token_bytes() + rows * 2 * plane; }
  uint8_t* low_bytes(int64_t row, int64_t block) const { return planes + row * 2 * plane + blocks.offset(block); }
  const Token& token(int64_t row, int64_t block) const { return tokens[row * blocks.count + block]; }

  template <class X>
  void quantize(const X* x, int64_t row) const {
    for (int64_t b = 0; b < blocks.count; ++b) {
      const int64_t n = blocks.size(b);
      int16_t words[kBlockColumns];
      tokens[row * blocks.count + b] = quantize_block(x + row * blocks.cols + blocks.first(b), n, words, n + n % 2);
      uint8_t* low = low_bytes(row, b);
      for (int64_t i = 0; i < n; ++i) {
        low[i] = static_cast<uint8_t>(words[i]);
        low[plane + i] = static_cast<uint8_t>(words[i] >> 8);
      }
    }
    for (int half = 0; half < 2; ++half)
      memset(planes + (row * 2 + half) * plane + blocks.padded, 0, static_cast<size_t>(plane - blocks.padded));
  }
};

// The slots of a step of a panel: where in the window, and the values as words.
struct Slots {
  __m256i places, first, second;

  SN_INLINE Slots(__m256i at, const uint8_t* values) : places(at) {
    const __m256i w = load256(values), sign = _mm256_cmpgt_epi8(_mm256_setzero_si256(), w);
    first = _mm256_unpacklo_epi8(w, sign);
    second = _mm256_unpackhi_epi8(w, sign);
  }
  // Adds the products with the windows of low and high bytes.
  SN_INLINE void add_to(I& sum, __m256i low, __m256i high) const {
    const __m256i x_low = _mm256_shuffle_epi8(low, places), x_high = _mm256_shuffle_epi8(high, places);
    sum.a = _mm256_add_epi32(sum.a, _mm256_madd_epi16(first, _mm256_unpacklo_epi8(x_low, x_high)));
    sum.b = _mm256_add_epi32(sum.b, _mm256_madd_epi16(second, _mm256_unpackhi_epi8(x_low, x_high)));
    // Or the compiler adds products of several steps first, for which there are no registers.
    asm("" : "+x"(sum.a), "+x"(sum.b));
  }
};
SN_INLINE __m256i window(const uint8_t* p) { return _mm256_broadcastsi128_si256(load128(p)); }
// The places of the two steps of a pair.
SN_INLINE __m256i even_places(const uint8_t* pair) { return _mm256_and_si256(load256(pair), _mm256_set1_epi8(15)); }
SN_INLINE __m256i odd_places(const uint8_t* pair) {
  return _mm256_and_si256(_mm256_srli_epi16(load256(pair), 4), _mm256_set1_epi8(15));
}

// sums[p] = the products of a block of one row with four panels, whose slots lie `apart`. Here and below, sums are
// taken in a variable of the function, which the compiler keeps in registers.
SN_INLINE void dot_panels(const uint8_t* slots, int64_t apart, const SharedSlots& shared, const uint8_t* x,
                          int64_t plane, I (*sums)[1]) {
  I here[kSlotPanels];
  for (I& sum : here) sum = splat_int(0);
  for (int i = 0; i < shared.header.pairs; ++i, slots += kSlotPairBytes) {
    x += shared.moves[2 * i];
    const __m256i low = window(x), high = window(x + plane);
    x += shared.moves[2 * i + 1];
    const __m256i next_low = window(x), next_high = window(x + plane);
#pragma GCC unroll 4
    for (int p = 0; p < kSlotPanels; ++p) {
      const uint8_t* pair = slots + p * apart;
      __builtin_prefetch(pair + 1024);
      __builtin_prefetch(pair + 1024 + 64);
      Slots(even_places(pair), pair + kSlotBytes).add_to(here[p], low, high);
      Slots(odd_places(pair), pair + 2 * kSlotBytes).add_to(here[p], next_low, next_high);
    }
  }
  for (int p = 0; p < kSlotPanels; ++p) sums[p][0] = here[p];
}

// sums[r] = the products of a block of several rows with one panel.
template <int kRows>
SN_INLINE void dot_rows(const uint8_t* pair, const SharedSlots& shared, const uint8_t* x, int64_t plane, I* sums) {
  I here[kRows];
  for (I& sum : here) sum = splat_int(0);
  const auto add_step = [plane](I* step_sums, const uint8_t* low, const Slots& slots) {
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r, low += 2 * plane) slots.add_to(step_sums[r], window(low), window(low + plane));
  };
  for (int i = 0; i < shared.header.pairs; ++i, pair += kSlotPairBytes) {
    x += shared.moves[2 * i];
    add_step(here, x, Slots(even_places(pair), pair + kSlotBytes));
    x += shared.moves[2 * i + 1];
    add_step(here, x, Slots(odd_places(pair), pair + 2 * kSlotBytes));
  }
  for (int r = 0; r < kRows; ++r) sums[r] = here[r];
}

// A block of four panels.
struct SlotBlock {
  const SlotActivations& x;
  const SlotSource* sources;
  int64_t block, apart;  // from the slots of one panel to those of the next
  const uint8_t* slots;
  SharedSlots shared;

  // totals[r] takes up row first + r, for r in [0, rows): as many at once as there are left, by halves.
  template <int kRows = 4>
  SN_NOINLINE void add_rows(int64_t first, int64_t rows, F (*totals)[kSlotPanels]) const {
    for (; rows >= kRows; rows -= kRows, first += kRows, totals += kRows) {
      I sums[kSlotPanels][kRows];
      const uint8_t* low = x.low_bytes(first, block);
      if constexpr (kRows == 1) {
        dot_panels(slots, apart, shared, low, x.plane, sums);
      } else {
        for (int p = 0; p < kSlotPanels; ++p) dot_rows<kRows>(slots + p * apart, shared, low, x.plane, sums[p]);
      }
      if (shared.header.strays > 0) add_strays<kRows>(low, sums);
      for (int p = 0; p < kSlotPanels; ++p) {
        const BlockTerms terms(sources[p], x.blocks.group_of(block));
        for (int r = 0; r < kRows; ++r)
          totals[r][p] = terms.add_to(totals[r][p], sums[p][r], x.token(first + r, block));
      }
    }
    if constexpr (kRows > 1) add_rows<kRows / 2>(first, rows, totals);
  }

 private:
  template <int kRows>
  void add_strays(const uint8_t* low, I (*sums)[kRows]) const {
    alignas(32) int32_t added[kRows][kSlotChannels] = {};
    for (int i = 0; i < shared.header.strays; ++i) {
      const Stray s = shared.stray(i);
      for (int r = 0; r < kRows; ++r) {
        const uint8_t* byte = low + r * 2 * x.plane + s.column;
        added[r][s.channel] += s.value * static_cast<int16_t>(byte[0] | byte[x.plane] << 8);
      }
    }
    for (int p = 0; p < kSlotPanels; ++p) {
      for (int r = 0; r < kRows; ++r) sums[p][r] = add(sums[p][r], load_int(added[r] + p * kPanel));
    }
  }
};

// Results of rows [first, first + rows), before bias and activation, for the four panels from `panel` on.
inline void multiply_slots(const sn_weights& w, const SlotActivations& x, int64_t first, int64_t rows, int64_t panel,
                           F (*totals)[kSlotPanels]) {
  const int64_t panels = min_of(kSlotPanels, panels_of(w) - panel);
  SlotSource sources[kSlotPanels];
  // Channels beyond the last panel have slots too, but no scales.
  for (int64_t p = 0; p < kSlotPanels; ++p) sources[p].open(w, panel + min_of(p, panels - 1));
  for (int64_t r = 0; r < rows; ++r) {
    for (int p = 0; p < kSlotPanels; ++p) totals[r][p] = splat(0);
  }
  const auto* begin = w.part<SlotBegin>(kSlotBeginPart) + panel / kSlotPanels;
  const int64_t apart = (begin[1].pair - begin[0].pair) * kSlotPairBytes;
  const uint8_t* slots = w.part<uint8_t>(kWeightPart) + begin[0].pair * kSlotPanels * kSlotPairBytes;
  const uint8_t* shared = w.part<uint8_t>(kSharedPart) + begin[0].shared;
  for (int64_t b = 0; b < x.blocks.count; ++b) {
    const SlotBlock block = {x, sources, b, apart, slots, SharedSlots(shared)};
    block.add_rows(first, rows, totals);
    slots += block.shared.header.pairs * kSlotPairBytes;
    shared = block.shared.end;
  }
  for (int64_t r = 0; r < rows; ++r) {
    for (int p = 0; p < kSlotPanels; ++p) totals[r][p] = scaled(totals[r][p], sources[p]);
  }
}

// See panels.h.
struct SlotKind {
  static int64_t bytes(const sn_weights& w, int64_t rows, sn_dtype) {
    return SlotActivations(w, rows, nullptr).bytes();
  }
  template <class X>
  static SlotActivations activations(const sn_weights& w, const X*, int64_t rows, void* scratch) {
    return SlotActivations(w, rows, scratch);
  }
  template <class X>
  static void prepare(const SlotActivations& activations, const X* x, int64_t row) {
    activations.quantize(x, row);
  }
  // `panel` is the first of a group.
  template <class T>
  static void multiply(const sn_weights& w, const SlotActivations& x, int64_t first, int64_t panel, int64_t panels,
                       const Layer<T>& layer) {
    const int64_t rows = min_of(kTogether, x.rows - first), end = panel + panels;
    for (; panel < end; panel += kSlotPanels) {
      F totals[kTogether][kSlotPanels];
      multiply_slots(w, x, first, rows, panel, totals);
      for (int64_t r = 0; r < rows; ++r) {
        for (int64_t p = 0; p < min_of(kSlotPanels, end - panel); ++p)
          finish(layer, first + r, (panel + p) * kPanel, totals[r][p]);
      }
    }
  }
};

}  // namespace SN_ISA_NAME
}  // namespace sn

#endif
