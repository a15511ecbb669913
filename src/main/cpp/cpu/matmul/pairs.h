// Products of BF16 matrices on the matrix unit (AMX), for more rows than kThinRows.
//
// TDPBF16PS takes two columns of the inner dimension at a time, so that panels of BF16 have those side by side on this
// tier: [ceil(columns / 16)][padded / 2][16][2], where `padded` is the inner dimension rounded up to whole tiles.
//
// Of 32 columns a tile sums the products of the even ones and those of the odd ones, each in a chain of fused
// multiply-adds from 0 on, adds the two and adds that to the sum before. Numbers below 2^-126 are zeros to it, those it
// is given and those it computes (Intel's Software Developer's Manual). What it is given matters, since 2^-127 times
// infinity is no NaN and 2^-127 times 2^127 is 1: a row or a column that holds such a number is multiplied by the
// vector units, in the chain of gemm.h. What it computes is wrong by less than 2^-126 for each operation.
#pragma once

#include "cpu/matmul/gemm.h"
#include "cpu/matmul/tiles.h"

namespace sn {
namespace SN_ISA_NAME {

#if defined(SN_TIER_AMX)

// An element of a panel whose columns lie in pairs.
struct paired_bf16 {
  bf16 value;
};
using PanelBf16 = paired_bf16;

constexpr int64_t kBf16Cols = kTileCols / int64_t{sizeof(bf16)};  // of a tile
// Rows that use two panels while those are in the caches: as many bytes as int8 activations have.
constexpr int64_t kBf16Rows = kTileRowBlock / int64_t{sizeof(bf16)};

template <>
struct Panels<paired_bf16> {
  const paired_bf16* data;
  int64_t inner, columns;
  const uint16_t* subnormal = nullptr;  // for each panel the columns with numbers below 2^-126, one a bit

  static int64_t padded(int64_t inner) { return round_up(inner, kBf16Cols); }
  int64_t padded() const { return padded(inner); }
  const paired_bf16* at(int64_t panel, int64_t k) const { return data + (panel * padded() + k) * kPanel; }
  int64_t count() const { return ceil_div(columns, kPanel); }
};

// Pairs of columns for 16 rows or columns of a matrix, one a lane.
SN_INLINE F first_of_pairs(__m512i pairs) { return _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16)); }
SN_INLINE F second_of_pairs(__m512i pairs) {
  return _mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32(INT32_MIN >> 15)));
}
// A bit for each element that is below 2^-126 but not 0.
SN_INLINE uint32_t subnormal_elements(__m512i elements) {
  return _mm512_test_epi16_mask(elements, _mm512_set1_epi16(0x7f)) &
         _mm512_testn_epi16_mask(elements, _mm512_set1_epi16(0x7f80));
}
// Of such bits one for each pair.
SN_INLINE uint16_t either_of_pairs(uint32_t bits) {
  return static_cast<uint16_t>(_pext_u32(bits | bits >> 1, 0x55555555));
}

// Of the overload in gemm.h: k is even where b begins.
template <int kRows, int kPanels, bool kPacked, class A_>
SN_INLINE void multiply_panels(const A_* a, int64_t a_step, const paired_bf16* b, int64_t b_panel, int64_t b_step,
                               int64_t inner, F (&sum)[kRows][kPanels]) {
  for (int64_t k = 0; k < inner; k += 2) {
    __m512i pairs[kPanels];
    F v[kPanels];
#pragma GCC unroll 16
    for (int p = 0; p < kPanels; ++p) {
      pairs[p] = _mm512_loadu_si512(b + p * b_panel + k * b_step);
      v[p] = first_of_pairs(pairs[p]);
    }
    multiply_step<kRows, kPanels, kPacked>(a, a_step, k, v, sum);
    if (k + 1 == inner) break;
#pragma GCC unroll 16
    for (int p = 0; p < kPanels; ++p) v[p] = second_of_pairs(pairs[p]);
    multiply_step<kRows, kPanels, kPacked>(a, a_step, k + 1, v, sum);
  }
}

// v[i] lane j becomes v[j] lane i.
SN_INLINE void transpose_lanes(__m512i (&v)[16]) {
  __m512i t[16];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(v[i], v[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(v[i], v[i + 1]);
  }
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 4) {
    v[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    v[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    v[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    v[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  // Now the 128 bits at place l of v[4 i + c] are lane 4 l + c of rows 4 i to 4 i + 3.
#pragma GCC unroll 8
  for (int c = 0; c < 4; ++c) {
    t[c] = _mm512_shuffle_i32x4(v[c], v[c + 4], 0x44);
    t[c + 4] = _mm512_shuffle_i32x4(v[c + 8], v[c + 12], 0x44);
    t[c + 8] = _mm512_shuffle_i32x4(v[c], v[c + 4], 0xee);
    t[c + 12] = _mm512_shuffle_i32x4(v[c + 8], v[c + 12], 0xee);
  }
#pragma GCC unroll 8
  for (int c = 0; c < 4; ++c) {
    v[c] = _mm512_shuffle_i32x4(t[c], t[c + 4], 0x88);
    v[c + 4] = _mm512_shuffle_i32x4(t[c], t[c + 4], 0xdd);
    v[c + 8] = _mm512_shuffle_i32x4(t[c + 8], t[c + 12], 0x88);
    v[c + 12] = _mm512_shuffle_i32x4(t[c + 8], t[c + 12], 0xdd);
  }
}

SN_INLINE __mmask32 first_elements(int64_t n) { return n >= 32 ? ~0U : n <= 0 ? 0 : (1U << n) - 1; }

// Fills a panel, zeros beyond the last column included, from `rows` <= 16 rows of a transposed matrix, which are the
// panel's columns and lie w_step apart. Returns which hold numbers below 2^-126.
inline uint16_t transpose_panel(const bf16* w, int64_t w_step, int64_t rows, int64_t inner, paired_bf16* panel) {
  uint32_t subnormal = 0;
  for (int64_t k = 0; k < inner; k += kBf16Cols) {
    const __mmask32 there = first_elements(inner - k);
    __m512i v[16];
#pragma GCC unroll 16
    for (int r = 0; r < 16; ++r)
      v[r] = r < rows ? _mm512_maskz_loadu_epi16(there, w + r * w_step + k) : _mm512_setzero_si512();
    transpose_lanes(v);
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) {
      subnormal |= subnormal_elements(v[i]);
      _mm512_storeu_si512(panel + k * kPanel + i * 32, v[i]);
    }
  }
  return either_of_pairs(subnormal);
}

// The same from `columns` <= 16 columns of a matrix whose rows lie w_step apart.
inline uint16_t interleave_panel(const bf16* w, int64_t w_step, int64_t columns, int64_t inner, paired_bf16* panel) {
  const auto there = static_cast<__mmask16>(first_elements(columns));
  const auto row = [&](int64_t k) {
    return _mm512_cvtepu16_epi32(k < inner ? _mm256_maskz_loadu_epi16(there, w + k * w_step) : _mm256_setzero_si256());
  };
  uint32_t subnormal = 0;
  for (int64_t k = 0; k < Panels<paired_bf16>::padded(inner); k += 2) {
    const __m512i pairs = _mm512_or_si512(row(k), _mm512_slli_epi32(row(k + 1), 16));
    subnormal |= subnormal_elements(pairs);
    _mm512_storeu_si512(panel + k * kPanel, pairs);
  }
  return either_of_pairs(subnormal);
}

// 32 elements of a row, of which so many are there.
SN_INLINE __m512i load_bf16(const bf16* p, int64_t n) { return _mm512_maskz_loadu_epi16(first_elements(n), p); }
// The same of BF16 numbers that are F32.
SN_INLINE __m512i load_bf16(const float* p, int64_t n) {
  const __mmask32 there = first_elements(n);
  const auto upper = [&](int64_t i) {
    const __m512i v = _mm512_maskz_loadu_epi32(static_cast<__mmask16>(there >> i), p + i);
    return _mm512_cvtepi32_epi16(_mm512_srli_epi32(v, 16));
  };
  return _mm512_inserti64x4(_mm512_castsi256_si512(upper(0)), upper(16), 1);
}

// The left-hand side: rows as they lie in memory, `step` apart, and packed in tiles.
template <class X>
struct TiledRows {
  const X* x;
  int64_t step, rows, inner;
  int8_t* tiles;
  uint8_t* subnormal;  // whether a row has numbers below 2^-126

  static int64_t row_bytes(int64_t inner) { return Panels<paired_bf16>::padded(inner) * int64_t{sizeof(bf16)}; }
  static int64_t tile_bytes(int64_t rows, int64_t inner) { return round_up(rows, kTileRowsAtOnce) * row_bytes(inner); }
  // Of the scratch that the constructor takes.
  static int64_t bytes(int64_t rows, int64_t inner) { return tile_bytes(rows, inner) + round_up(rows, 64); }

  TiledRows(const X* rows_of_x, int64_t row_step, int64_t row_count, int64_t inner_size, void* scratch)
      : x(rows_of_x),
        step(row_step),
        rows(row_count),
        inner(inner_size),
        tiles(static_cast<int8_t*>(scratch)),
        subnormal(static_cast<uint8_t*>(scratch) + tile_bytes(row_count, inner_size)) {}

  const int8_t* at(int64_t row) const { return tiles + tile_place(row, row_bytes(inner)); }
  void pack(int64_t row) const {
    const X* from = x + row * step;
    int8_t* to = tiles + tile_place(row, row_bytes(inner));
    uint32_t found = 0;
    for (int64_t k = 0; k < inner; k += kBf16Cols, to += kTilePitch) {
      const __m512i elements = load_bf16(from + k, inner - k);
      found |= subnormal_elements(elements);
      _mm512_storeu_si512(to, elements);
    }
    subnormal[row] = found != 0;
  }
};

// One row of the result for one panel as gemm.h has it.
template <class X>
SN_NOINLINE F chain(const X* x, const paired_bf16* panel, int64_t inner) {
  F sum[1][1];
  clear(sum);
  multiply_panels<1, 1, false>(x, 0, panel, 0, kPanel, inner, sum);
  return sum[0][0];
}

// Rows [first, first + rows), at most kBf16Rows and first a multiple of 32, for panels [panel, end). Row `first` is the
// layer's row 0.
template <class X, class T>
void multiply_in_tiles(const TiledRows<X>& x, int64_t first, int64_t rows, const Panels<paired_bf16>& b, int64_t panel,
                       int64_t end, const Layer<T>& layer) {
  const auto finish_panel = [&](int64_t p, int64_t row, const float* sums) {
    F v = load(sums);
    const uint32_t lanes = x.subnormal[first + row] ? 0xffff : b.subnormal[p];
    if (lanes != 0) v = select(mask_of(lanes), chain(x.x + (first + row) * x.step, b.at(p, 0), x.inner), v);
    finish(layer, row, p * kPanel, v);
  };
  const auto finish_rows = [&](int64_t p, int64_t count, int64_t row, int64_t height, const float* sums) {
    for (int64_t i = 0; i < count; ++i) {
      for (int64_t r = 0; r < height; ++r) finish_panel(panel + p + i, row + r, sums + i * kTileSums + r * kPanel);
    }
  };
  TileProducts<float, decltype(finish_rows)> products(x.at(first), rows, TiledRows<X>::row_bytes(x.inner), finish_rows);
  products.multiply(reinterpret_cast<const uint8_t*>(b.at(panel, 0)),
                    b.padded() * kPanel * static_cast<int64_t>(sizeof(bf16)), end - panel, b.count() - panel);
}

#else

using PanelBf16 = bf16;

#endif

}  // namespace SN_ISA_NAME
}  // namespace sn
