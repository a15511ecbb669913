// Activations in 16-bit fixed point, by blocks of columns, for integer weights: the arithmetic of SN_W8, SN_W4 and
// SN_SPARSE with integers. See sn_linear. All sums of products within a block are exact, so results have the same bits
// on every tier and for any number of rows.
#pragma once

#include "cpu/matmul/panels.h"
#include "cpu/matmul/tiles.h"

namespace sn {
namespace SN_ISA_NAME {

// Columns of a block at most: with weights of 8 bits and zero points of 8 bits, its sums stay below 2^31.
constexpr int64_t kBlockColumns = 128;
// The largest integer that activations become, 127 x 256, so that they split into two int8 bytes for matrix units.
constexpr float kFixedSteps = 32512;

// How the columns of a row are cut: in groups, which share a scale, and those in blocks, the last of which may be
// shorter. In packed form every block is padded to whole steps of `unit` columns.
struct Blocks {
  int64_t cols, group, per_group, unit, padded_group, count, padded;

  Blocks(const sn_weights& w, int64_t step) : cols(w.cols), unit(step) {
    group = max_of(w.group == 0 || w.kind == SN_CLUSTERED ? cols : min_of(w.group, cols), 1);
    per_group = ceil_div(group, kBlockColumns);
    padded_group = padded_columns(group);
    const int64_t whole = cols / group, rest = cols % group;
    count = whole * per_group + ceil_div(rest, kBlockColumns);
    padded = whole * padded_group + padded_columns(rest);
  }
  int64_t groups() const { return ceil_div(cols, group); }
  int64_t group_of(int64_t block) const { return block / per_group; }
  int64_t first(int64_t block) const { return block / per_group * group + block % per_group * kBlockColumns; }
  int64_t size(int64_t block) const {
    const int64_t end = min_of((group_of(block) + 1) * group, cols);
    return min_of(kBlockColumns, end - first(block));
  }
  int64_t steps(int64_t block) const { return ceil_div(size(block), unit); }
  // Padded columns before the block.
  int64_t offset(int64_t block) const { return block / per_group * padded_group + block % per_group * kBlockColumns; }

 private:
  int64_t padded_columns(int64_t n) const {
    return n / kBlockColumns * kBlockColumns + round_up(n % kBlockColumns, unit);
  }
};

// Quantizes n <= kBlockColumns activations and follows them with zeros up to `padded`, a multiple of 2 that is less
// than n + 64: x = q scale with |q| <= 32512.
template <class T>
inline Token quantize_block(const T* x, int64_t n, int16_t* q, int64_t padded) {
  I largest = splat_int(0);
  for_vectors(n, [&](int64_t i, int64_t lanes) { largest = max(largest, key(load_some(x + i, lanes))); });
  const int32_t absmax = reduce_max(largest);
  const bool finite = absmax < kInfinityKey;
  // No smaller scale, so that neither it nor the quotients lose bits.
  const float least = 0x1p-126f;
  float scale = float_of(static_cast<uint32_t>(absmax)) / kFixedSteps;
  if (scale < least) scale = least;
  if (!finite) scale = float_of(0x7fc00000);
  I sum = splat_int(0);
  with_quotients(finite ? scale : 1.0f, [&](auto quotient) {
    for (int64_t i = 0; i < padded; i += 64) {
      I lanes[4];
      for (int j = 0; j < 4; ++j) {
        const int64_t at = i + j * kLanes;
        lanes[j] = splat_int(0);
        if (finite && at < n) lanes[j] = to_int(quotient(load_some(x + at, min_of(kLanes, n - at))));
        sum = add(sum, lanes[j]);
      }
      if (i + 64 <= padded) {
        store_quantized(q + i, lanes[0], lanes[1], lanes[2], lanes[3]);
      } else {
        int16_t rest[64];
        store_quantized(rest, lanes[0], lanes[1], lanes[2], lanes[3]);
        memcpy(q + i, rest, static_cast<size_t>(padded - i) * sizeof(int16_t));
      }
    }
  });
  return {scale, reduce_sum(sum)};
}

#if defined(SN_TIER_AMX)
// 64 integers q = 256 high + low, each a signed byte, as the rows of two tiles that follow each other.
inline void store_in_tiles(const int16_t* q, int8_t* high) {
  for (int64_t i = 0; i < kTileCols; i += 32) {
    const __m512i words = _mm512_loadu_si512(q + i);
    const __m512i rounded = _mm512_add_epi16(words, _mm512_set1_epi16(128));
    write<false>(high + i, _mm512_cvtepi16_epi8(_mm512_srai_epi16(rounded, 8)));
    write<false>(high + kTileBytes + i, _mm512_cvtepi16_epi8(words));
  }
}
constexpr bool kHasTiles = true;
#else
inline void store_in_tiles(const int16_t*, int8_t*) {}
constexpr bool kHasTiles = false;
#endif

// Quantized rows. Those of one kTogether lie together block by block, so that a block of them is in one piece: row by
// row or, for the matrix unit, in tiles. For every 16 rows those are, for every 64 columns, one of the high and one of
// the low bytes.
struct FixedActivations {
  Blocks blocks, tiles;  // as weights are packed, and padded to whole tiles
  int64_t rows;
  bool tiled;
  Token* tokens;
  int16_t* q;

  // As tiles if there are more rows than `few` and padding does not more than double what is multiplied. Without
  // scratch it only says how much it needs.
  FixedActivations(const sn_weights& w, int64_t unit, int64_t n, int64_t few, void* scratch)
      : blocks(w, unit),
        tiles(w, kTileCols),
        rows(n),
        tiled(kHasTiles && n > few && tiles.padded <= 2 * blocks.padded) {
    tokens = static_cast<Token*>(scratch);
    q = scratch == nullptr ? nullptr : reinterpret_cast<int16_t*>(static_cast<char*>(scratch) + token_bytes());
  }
  int64_t token_bytes() const { return round_up(rows * blocks.count * int64_t{sizeof(Token)}, 64); }
  int64_t bytes() const {
    const int64_t integers = tiled ? round_up(rows, kTileRows) * tiles.padded : rows * blocks.padded;
    return token_bytes() + integers * int64_t{sizeof(int16_t)};
  }

  // The rows from `first`, a multiple of kTogether, on that lie together.
  int64_t together(int64_t first) const { return min_of(kTogether, rows - first); }
  Token* tokens_of(int64_t first, int64_t block) const {
    return tokens + first * blocks.count + block * together(first);
  }
  int16_t* block_of(int64_t first, int64_t block) const {
    return q + first * blocks.padded + blocks.offset(block) * together(first);
  }
  int64_t stride(int64_t block) const { return blocks.steps(block) * blocks.unit; }
  // The tiles of a block.
  int8_t* tiles_of(int64_t first, int64_t block) const {
    return reinterpret_cast<int8_t*>(q + first * tiles.padded +
                                     tiles.offset(block) * round_up(together(first), kTileRows));
  }

  template <class X>
  void quantize(const X* x, int64_t row) const {
    const int64_t first = row / kTogether * kTogether;
    for (int64_t b = 0; b < blocks.count; ++b) {
      Token& token = tokens_of(first, b)[row - first];
      const X* from = x + row * blocks.cols + blocks.first(b);
      if (!tiled) {
        token = quantize_block(from, blocks.size(b), block_of(first, b) + (row - first) * stride(b), stride(b));
        continue;
      }
      alignas(64) int16_t words[kBlockColumns];
      const int64_t count = tiles.steps(b);
      token = quantize_block(from, blocks.size(b), words, count * kTileCols);
      int8_t* to =
          tiles_of(first, b) + (row - first) / kTileRows * count * 2 * kTileBytes + row % kTileRows * kTileCols;
      for (int64_t i = 0; i < count; ++i) store_in_tiles(words + i * kTileCols, to + i * 2 * kTileBytes);
    }
  }
};

}  // namespace SN_ISA_NAME
}  // namespace sn
