// Products of 16-bit activations (blocks.h) with panels of integer weights, whatever form those are stored in.
//
// A kind of weights describes one panel as a Source:
//   static constexpr int kUnit              columns of a step, a multiple of 4
//   static constexpr int kStreams           panels that a single row is multiplied with at once
//   void open(const sn_weights& w, const Blocks& blocks, int64_t panel)
//   Raw next()                              the weights of the next step
//   static W pair<i>(Raw)                   columns 2 i and 2 i + 1 of them
//   I points(int64_t group)                 zero points, of weights as they are stored
//   static constexpr int kAdded             what they are stored with in addition to their zero points
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
    const __m512i four_of_each = _mm512_shuffle_epi8(eight_and_eight, order);
    write<false>(bytes + kIndex * 32, _mm512_sub_epi8(four_of_each, _mm512_set1_epi8(Source::kAdded)));
    store_bytes_of<Source, kIndex + 2>(raw, bytes);
  }
}

// Two panels, or the same twice, as bytes, and what becomes of their sums.
template <class Source>
class PanelPair {
 public:
  PanelPair(const sn_weights& w, const Blocks& blocks, int64_t first, int64_t second) : blocks_(blocks) {
    sources_[0].open(w, blocks, first);
    sources_[1].open(w, blocks, second);
    points_left_ = sources_[0].zero_points != nullptr;
  }

  int8_t* bytes_of(int64_t block, int panel) { return bytes_[block % 2][panel]; }
  // Decodes part `part` of `parts` of a block, the parts of all blocks in order.
  void decode(int64_t block, int64_t part, int64_t parts) {
    const int64_t steps = blocks_.steps(block);
    for (int p = 0; p < 2; ++p) {
      for (int64_t s = part * steps / parts; s < (part + 1) * steps / parts; ++s)
        store_bytes_of<Source, 0>(sources_[p].next(), bytes_of(block, p) + s * Source::kUnit * kPanel);
    }
  }

  // Makes the sums of rows [row, end) of a block part of totals[panel][row]: those with the upper bytes of the
  // activations for both panels, then those with the lower bytes.
  void add(int64_t block, const int32_t* sums, const Token* tokens, int64_t row, int64_t end,
           float (*totals)[kTogether][kPanel]) {
    points_left_ ? add_to<true>(block, sums, tokens, row, end, totals)
                 : add_to<false>(block, sums, tokens, row, end, totals);
  }
  F scaled(F total, int panel) const { return SN_ISA_NAME::scaled(total, sources_[panel]); }

 private:
  template <bool kPoints>
  SN_INLINE void add_to(int64_t block, const int32_t* sums, const Token* tokens, int64_t row, int64_t end,
                        float (*totals)[kTogether][kPanel]) {
    const int64_t group = blocks_.group_of(block);
    BlockTerms terms[2] = {BlockTerms(sources_[0], group), BlockTerms(sources_[1], group)};
    for (BlockTerms& of_panel : terms) of_panel.points = sub(of_panel.points, splat_int(Source::kAdded));
    for (int64_t r = row; r < end; ++r, sums += kPanel) {
#pragma GCC unroll 2
      for (int p = 0; p < 2; ++p) {
        const I upper = {_mm512_slli_epi32(load_int(sums + p * kTileSums).v, 8)};
        I sum = SN_ISA_NAME::add(upper, load_int(sums + (2 + p) * kTileSums));
        if (kPoints) sum = SN_ISA_NAME::add(terms[p].start(tokens[r]), sum);
        store(totals[p][r], terms[p].add_to(load(totals[p][r]), sum, tokens[r]));
      }
    }
  }

  const Blocks& blocks_;
  Source sources_[2];
  bool points_left_;
  // Zeros, or what was there before, stand beyond the last column: activations are 0 there.
  alignas(64) int8_t bytes_[2][2][kBlockColumns * kPanel] = {};
};

// many_rows of two panels with activations in tiles. q w = 256 high w + low w, whose sums have the same bits modulo
// 2^32 in any order. While a block of 16 rows is multiplied, the sums of the last are added to the totals, and a part
// of the next block of weights is decoded.
template <class Source>
SN_NOINLINE void many_rows_in_tiles(const sn_weights& w, const FixedActivations& x, int64_t first, int64_t panel,
                                    int64_t panels, float (*totals)[kTogether][kPanel]) {
  const Blocks& blocks = x.blocks;
  const int64_t rows = x.together(first), groups = ceil_div(rows, kTileRows);
  alignas(64) int32_t sums[2][4 * kTileSums];
  memset(totals, 0, 2 * sizeof totals[0]);
  PanelPair<Source> pair(w, blocks, panel, panel + panels - 1);
  const auto add = [&](int64_t b, int64_t g) {
    const int64_t r = g * kTileRows;
    pair.add(b, sums[(b * groups + g) % 2], x.tokens_of(first, b), r, min_of(r + kTileRows, rows), totals);
  };
  if (blocks.count > 0) pair.decode(0, 0, 1);
  for (int64_t b = 0; b < blocks.count; ++b) {
    const int64_t tiles = x.tiles.steps(b);
    const int8_t* q = x.tiles_of(first, b);
    for (int64_t g = 0; g < groups; ++g) {
      settle_memory();
      _tile_zero(0);
      _tile_zero(1);
      _tile_zero(2);
      _tile_zero(3);
      for (int64_t t = 0; t < tiles; ++t, q += 2 * kTileBytes) {
        _tile_loadd(6, pair.bytes_of(b, 0) + t * kTileBytes, 64);
        _tile_stream_loadd(4, q, 64);
        _tile_loadd(7, pair.bytes_of(b, 1) + t * kTileBytes, 64);
        _tile_dpbssd(0, 4, 6);
        _tile_dpbssd(1, 4, 7);
        _tile_stream_loadd(5, q + kTileBytes, 64);
        _tile_dpbssd(2, 5, 6);
        _tile_dpbssd(3, 5, 7);
      }
      if (b + 1 < blocks.count) pair.decode(b + 1, g, groups);
      if (g > 0) {
        add(b, g - 1);
      } else if (b > 0) {
        add(b - 1, groups - 1);
      }
      int32_t* to = sums[(b * groups + g) % 2];
      _tile_stored(0, to, 64);
      _tile_stored(1, to + kTileSums, 64);
      _tile_stored(2, to + 2 * kTileSums, 64);
      _tile_stored(3, to + 3 * kTileSums, 64);
    }
  }
  settle_memory();
  if (blocks.count > 0) add(blocks.count - 1, groups - 1);
  for (int p = 0; p < 2; ++p) {
    for (int64_t r = 0; r < rows; ++r) store(totals[p][r], pair.scaled(load(totals[p][r]), p));
  }
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
      alignas(64) float results[2][kTogether][kPanel];
      for (const int64_t end = panel + panels; panel < end; panel += 2) {
        const int64_t count = min_of(2, end - panel);
        many_rows_in_tiles<Source>(w, x, first, panel, count, results);
        for (int64_t p = 0; p < count; ++p) finish_panel(x, first, panel + p, results[p], layer);
      }
      return;
    }
#endif
    alignas(64) float results[kTogether][kPanel];
    for (int64_t p = panel; p < panel + panels; ++p) {
      many_rows<Source>(w, x, first, p, results);
      finish_panel(x, first, p, results, layer);
    }
  }

 private:
  template <class T>
  static void finish_panel(const FixedActivations& x, int64_t first, int64_t panel, const float (*results)[kPanel],
                           const Layer<T>& layer) {
    for (int64_t r = 0; r < x.together(first); ++r) finish(layer, first + r, panel * kPanel, load(results[r]));
  }
};

}  // namespace SN_ISA_NAME
}  // namespace sn
