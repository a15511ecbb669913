// Products of 16-bit activations (blocks.h) with panels of integer weights, whatever form those are stored in.
//
// A kind of weights describes one panel as a Source:
//   static constexpr int kUnit              columns of a step, a multiple of 4
//   static constexpr int kStreams           panels that a single row is multiplied with at once
//   void open(const sn_weights& w, const Blocks& blocks, int64_t panel)
//   Raw next()                              the weights of the next step
//   static W pair<i>(Raw)                   columns 2 i and 2 i + 1 of them
//   I points(int64_t group)                 zero points, of weights as they are stored
//   bool grouped, F scale(int64_t group)    scales of groups, or of channels
#pragma once

#include "cpu/matmul/blocks.h"
#include "cpu/matmul/words.h"

namespace sn {
namespace SN_ISA_NAME {

// Up to kFewRows rows of activations are multiplied at once with weights as they are decoded; for more rows weights are
// decoded to words first, and multiplied with kManyRows at once. A single row is multiplied with several panels at
// once, for processors read memory faster from several places.
#if defined(SN_TIER_AVX512)
constexpr int kFewRows = 4, kManyRows = 8, kFixedStreams = 4;
#elif defined(SN_TIER_AVX2)
constexpr int kFewRows = 4, kManyRows = 4, kFixedStreams = 4;
#else
constexpr int kFewRows = 1, kManyRows = 1, kFixedStreams = 1;
#endif

// A block of a panel as words, 32 for each two columns.
struct WordSource {
  static constexpr int kUnit = 4;
  const int16_t* words;

  SN_INLINE const int16_t* next() {
    const int16_t* raw = words;
    words += kUnit * kPanel;
    return raw;
  }
  template <int kIndex>
  static SN_INLINE W pair(const int16_t* raw) {
    return load_words(raw + 32 * kIndex);
  }
};

template <class Source, int kIndex, int kRows, class Raw>
SN_INLINE void dot_pairs(const Raw& raw, const int16_t* x, int64_t stride, I* sums) {
  if constexpr (2 * kIndex < Source::kUnit) {
    const W w = Source::template pair<kIndex>(raw);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) sums[r] = dot(sums[r], w, splat_pair(x + r * stride + 2 * kIndex));
    dot_pairs<Source, kIndex + 1, kRows>(raw, x, stride, sums);
  }
}

// sums[p][r] += the products of row r of a block of activations with the panel of sources[p].
template <int kPanels, int kRows, class Source>
SN_INLINE void dot_block(Source* sources, const int16_t* x, int64_t stride, int64_t steps, I (*sums)[kRows]) {
  for (int64_t s = 0; s < steps; ++s, x += Source::kUnit) {
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) dot_pairs<Source, 0, kRows>(sources[p].next(), x, stride, sums[p]);
  }
}

// What the sums of a block become part of the result with.
struct BlockTerms {
  I points;  // zero points
  bool grouped;
  F scale;  // of the group

  template <class Source>
  BlockTerms(const Source& source, int64_t group)
      : points(source.points(group)), grouped(source.grouped), scale(grouped ? source.scale(group) : splat(1)) {}
  // Minus the zero points times the sum of the activations.
  SN_INLINE I start(Token token) const { return multiply_low(points, -token.sum); }
  // The F32 sums of a block are added to those of the blocks before, which begin at 0.
  SN_INLINE F add_to(F total, I sum, Token token) const {
    F product = mul(from_int(sum), splat(token.scale));
    if (grouped) product = mul(product, scale);
    return add(total, product);
  }
};
template <class Source>
SN_INLINE F scaled(F total, const Source& source) {
  return source.grouped ? total : mul(total, source.scale(0));
}

// Results of rows [0, kRows), before bias and activation, for kPanels panels from `panel` on. Weights are used as they
// come.
template <class Source, int kPanels, int kRows>
SN_NOINLINE void few_rows(const sn_weights& w, const FixedActivations& x, int64_t panel, F (*results)[kRows]) {
  const Blocks& blocks = x.blocks;
  Source sources[kPanels];
  F totals[kPanels][kRows];
  for (int p = 0; p < kPanels; ++p) {
    sources[p].open(w, blocks, panel + p);
    for (F& total : totals[p]) total = splat(0);
  }
  for (int64_t b = 0; b < blocks.count; ++b) {
    const Token* tokens = x.tokens_of(0, b);
    const int64_t group = blocks.group_of(b);
    I sums[kPanels][kRows];
    for (int p = 0; p < kPanels; ++p) {
      const BlockTerms terms(sources[p], group);
      for (int r = 0; r < kRows; ++r) sums[p][r] = terms.start(tokens[r]);
    }
    dot_block<kPanels, kRows>(sources, x.block_of(0, b), x.stride(b), blocks.steps(b), sums);
    for (int p = 0; p < kPanels; ++p) {
      const BlockTerms terms(sources[p], group);
      for (int r = 0; r < kRows; ++r) totals[p][r] = terms.add_to(totals[p][r], sums[p][r], tokens[r]);
    }
  }
  for (int p = 0; p < kPanels; ++p) {
    for (int r = 0; r < kRows; ++r) results[p][r] = scaled(totals[p][r], sources[p]);
  }
}

// The next block of a panel as words.
template <class Source, int kIndex, class Raw>
SN_INLINE void store_pairs(const Raw& raw, int16_t* words) {
  if constexpr (2 * kIndex < Source::kUnit) {
    store_words(words + kIndex * 32, Source::template pair<kIndex>(raw));
    store_pairs<Source, kIndex + 1>(raw, words);
  }
}
template <class Source>
inline void decode_block(Source& source, int64_t steps, int16_t* words) {
  for (int64_t s = 0; s < steps; ++s) store_pairs<Source, 0>(source.next(), words + s * Source::kUnit * 16);
}

// totals[r] takes up a block of row r, for rows [0, rows): as many rows at once as there are left, by halves.
template <int kRows = kManyRows>
SN_NOINLINE void add_rows(const BlockTerms& terms, const int16_t* words, const int16_t* q, int64_t stride,
                          const Token* tokens, int64_t rows, float (*totals)[kPanel]) {
  int64_t row = 0;
  for (; row + kRows <= rows; row += kRows) {
    I sums[1][kRows];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) sums[0][r] = terms.start(tokens[row + r]);
    WordSource decoded = {words};
    dot_block<1, kRows>(&decoded, q + row * stride, stride, stride / WordSource::kUnit, sums);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r)
      store(totals[row + r], terms.add_to(load(totals[row + r]), sums[0][r], tokens[row + r]));
  }
  if constexpr (kRows > 1)
    add_rows<kRows / 2>(terms, words, q + row * stride, stride, tokens + row, rows - row, totals + row);
}

// Results of the rows that lie together from `first` on.
template <class Source>
SN_NOINLINE void many_rows(const sn_weights& w, const FixedActivations& x, int64_t first, int64_t panel,
                           float (*totals)[kPanel]) {
  const Blocks& blocks = x.blocks;
  const int64_t rows = x.together(first);
  alignas(64) int16_t words[kBlockColumns * kPanel];
  memset(totals, 0, static_cast<size_t>(rows) * sizeof totals[0]);
  Source source;
  source.open(w, blocks, panel);
  for (int64_t b = 0; b < blocks.count; ++b) {
    decode_block(source, blocks.steps(b), words);
    add_rows(BlockTerms(source, blocks.group_of(b)), words, x.block_of(first, b), x.stride(b), x.tokens_of(first, b),
             rows, totals);
  }
  for (int64_t r = 0; r < rows; ++r) store(totals[r], scaled(load(totals[r]), source));
}

#if defined(SN_TIER_AMX)

// Of every two pairs of columns the bytes of a row of a tile: the four of a channel side by side.
template <class Source, int kIndex, class Raw>
SN_INLINE void store_bytes_of(const Raw& raw, int8_t* bytes) {
  if constexpr (2 * kIndex < Source::kUnit) {
    const __m512i order = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15));
    const __m512i eight_and_eight =
        _mm512_packs_epi16(Source::template pair<kIndex>(raw).v, Source::template pair<kIndex + 1>(raw).v);
    write<false>(bytes + kIndex * 32, _mm512_shuffle_epi8(eight_and_eight, order));
    store_bytes_of<Source, kIndex + 2>(raw, bytes);
  }
}

// high[r][c] and low[r][c] = the products of the bytes of row r of a block with channel c, rows rounded up to 16. The
// block's weights are one tile or two.
inline void multiply_block_in_tiles(const int8_t* q, int64_t rows, int64_t tiles, const int8_t* weights, int32_t* high,
                                    int32_t* low) {
  settle_memory();
  _tile_loadd(6, weights, 64);
  if (tiles == 2) _tile_loadd(7, weights + kTileBytes, 64);
  for (int64_t r = 0; r < rows; r += kTileRows, q += tiles * 2 * kTileBytes) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_loadd(2, q, 64);
    _tile_dpbssd(0, 2, 6);
    _tile_loadd(3, q + kTileBytes, 64);
    _tile_dpbssd(1, 3, 6);
    if (tiles == 2) {
      _tile_loadd(4, q + 2 * kTileBytes, 64);
      _tile_dpbssd(0, 4, 7);
      _tile_loadd(5, q + 3 * kTileBytes, 64);
      _tile_dpbssd(1, 5, 7);
    }
    _tile_stored(0, high + r * kPanel, 64);
    _tile_stored(1, low + r * kPanel, 64);
  }
}

// many_rows with activations in tiles. q w = 256 high w + low w, whose sums have the same bits modulo 2^32 in any
// order.
template <class Source>
SN_NOINLINE void many_rows_in_tiles(const sn_weights& w, const FixedActivations& x, int64_t first, int64_t panel,
                                    float (*totals)[kPanel]) {
  const Blocks& blocks = x.blocks;
  const int64_t rows = x.together(first);
  // Zeros, or what was there before, stand beyond the last column: activations are 0 there.
  alignas(64) int8_t bytes[kBlockColumns * kPanel] = {};
  alignas(64) int32_t high[kTogether * kPanel], low[kTogether * kPanel];
  memset(totals, 0, static_cast<size_t>(rows) * sizeof totals[0]);
  Source source;
  source.open(w, blocks, panel);
  for (int64_t b = 0; b < blocks.count; ++b) {
    for (int64_t s = 0; s < blocks.steps(b); ++s)
      store_bytes_of<Source, 0>(source.next(), bytes + s * Source::kUnit * kPanel);
    multiply_block_in_tiles(x.tiles_of(first, b), rows, x.tiles.steps(b), bytes, high, low);
    const BlockTerms terms(source, blocks.group_of(b));
    const Token* tokens = x.tokens_of(first, b);
    for (int64_t r = 0; r < rows; ++r) {
      const I upper = {_mm512_slli_epi32(load_int(high + r * kPanel).v, 8)};
      const I sum = add(terms.start(tokens[r]), add(upper, load_int(low + r * kPanel)));
      store(totals[r], terms.add_to(load(totals[r]), sum, tokens[r]));
    }
  }
  for (int64_t r = 0; r < rows; ++r) store(totals[r], scaled(load(totals[r]), source));
}

#endif

// Panels [panel, panel + panels) for up to kFewRows rows.
template <class Source, int kRows = kFewRows, class T>
inline void few_rows_of(const sn_weights& w, const FixedActivations& x, int64_t panel, int64_t panels,
                        const Layer<T>& layer) {
  if (x.rows != kRows) {
    if constexpr (kRows > 1) few_rows_of<Source, kRows - 1>(w, x, panel, panels, layer);
    return;
  }
  constexpr int kAtOnce = kRows == 1 ? Source::kStreams : 1;
  const int64_t end = panel + panels;
  while (panel < end) {
    F results[kAtOnce][kRows];
    const bool whole = panel + kAtOnce <= end;
    if (whole) {
      few_rows<Source, kAtOnce>(w, x, panel, results);
    } else {
      few_rows<Source, 1>(w, x, panel, results);
    }
    for (int p = 0; p < (whole ? kAtOnce : 1); ++p, ++panel) {
      for (int r = 0; r < kRows; ++r) finish(layer, r, panel * kPanel, results[p][r]);
    }
  }
}

// See panels.h.
template <class Source>
struct FixedKind {
  static Blocks blocks(const sn_weights& w) { return Blocks(w, Source::kUnit); }
  static FixedActivations activations_in(const sn_weights& w, int64_t rows, void* scratch) {
    return FixedActivations(w, Source::kUnit, rows, kFewRows, scratch);
  }
  static int64_t bytes(const sn_weights& w, int64_t rows, sn_dtype) { return activations_in(w, rows, nullptr).bytes(); }
  template <class X>
  static FixedActivations activations(const sn_weights& w, const X*, int64_t rows, void* scratch) {
    return activations_in(w, rows, scratch);
  }
  template <class X>
  static void prepare(const FixedActivations& activations, const X* x, int64_t row) {
    activations.quantize(x, row);
  }
  template <class T>
  static void multiply(const sn_weights& w, const FixedActivations& x, int64_t first, int64_t panel, int64_t panels,
                       const Layer<T>& layer) {
    if (x.rows <= kFewRows) return few_rows_of<Source>(w, x, panel, panels, layer);
#if defined(SN_TIER_AMX)
    if (x.tiled) {
      const TileRegisters registers;
      return by_panels(x, first, panel, panels, layer,
                       [&](int64_t p, auto* results) { many_rows_in_tiles<Source>(w, x, first, p, results); });
    }
#endif
    by_panels(x, first, panel, panels, layer,
              [&](int64_t p, auto* results) { many_rows<Source>(w, x, first, p, results); });
  }

 private:
  // compute(panel, results) for each panel, and what follows.
  template <class T, class F_>
  static void by_panels(const FixedActivations& x, int64_t first, int64_t panel, int64_t panels, const Layer<T>& layer,
                        F_ compute) {
    alignas(64) float results[kTogether][kPanel];
    for (int64_t p = panel; p < panel + panels; ++p) {
      compute(p, results);
      for (int64_t r = 0; r < x.together(first); ++r) finish(layer, first + r, p * kPanel, load(results[r]));
    }
  }
};

}  // namespace SN_ISA_NAME
}  // namespace sn
