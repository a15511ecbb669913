// Products of F32 matrices from fused multiply-adds. Every element of a result is one chain of fused operations over
// the inner dimension in index order, starting at 0, whatever the shapes, blocks and threads: the result of a row does
// not depend on the other rows, and only the scalar tier, which multiplies and adds separately, has other bits.
//
// The right-hand matrix [inner, columns] comes as panels of 16 columns: [ceil(columns / 16)][inner][16], zeros beyond
// the last column. The left-hand one comes as it lies in memory, or packed in tiles of kGemmRows rows:
// [inner][kGemmRows].
#pragma once

#include "cpu/matmul/linear.h"
#include "cpu/matmul/words.h"

namespace sn {
namespace SN_ISA_NAME {

// As many rows and panels as their sums fit in registers, beside the operands.
#if defined(SN_TIER_AVX512)
constexpr int kGemmRows = 12, kGemmPanels = 2, kThinPanels = 8;
#else
constexpr int kGemmRows = 6, kGemmPanels = 1, kThinPanels = 4;
#endif
// Products of fewer rows are bound by memory and read the left-hand side where it lies.
constexpr int64_t kThinRows = 4;
// Steps of the inner dimension at a time: a panel's part stays in the first-level cache while tiles of rows pass by.
constexpr int64_t kInner = 256;
// Rows and panels of the result that one task computes. Panels are read once for all of the rows.
constexpr int64_t kTaskRows = 192, kTaskPanels = 8;
// Steps after which a part of the next panels is asked for.
constexpr int64_t kAskSteps = 32;

// sum[r][p] += a(r, k) v[p]. Element (r, k) of the left-hand side is a[r * a_step + k], or a[k * a_step + r] when it is
// packed.
template <int kRows, int kPanels, bool kPacked, class A_>
SN_INLINE void multiply_step(const A_* a, int64_t a_step, int64_t k, const F (&v)[kPanels], F (&sum)[kRows][kPanels]) {
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    const F s = splat(to_float(kPacked ? a[k * a_step + r] : a[r * a_step + k]));
#pragma GCC unroll 16
    for (int p = 0; p < kPanels; ++p) sum[r][p] = multiply_add(s, v[p], sum[r][p]);
  }
}

// sum[r][p] += a(r, k) b_p(k) for k in order. Row k of panel p is at b + p * b_panel + k * b_step.
template <int kRows, int kPanels, bool kPacked, class A_, class B_>
SN_INLINE void multiply_panels(const A_* a, int64_t a_step, const B_* b, int64_t b_panel, int64_t b_step, int64_t inner,
                               F (&sum)[kRows][kPanels]) {
  for (int64_t k = 0; k < inner; ++k) {
    F v[kPanels];
#pragma GCC unroll 16
    for (int p = 0; p < kPanels; ++p) v[p] = load(b + p * b_panel + k * b_step);
    multiply_step<kRows, kPanels, kPacked>(a, a_step, k, v, sum);
  }
}

template <int kRows, int kPanels>
SN_INLINE void clear(F (&sum)[kRows][kPanels]) {
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int p = 0; p < kPanels; ++p) sum[r][p] = splat(0);
  }
}

// The right-hand side.
template <class B_>
struct Panels {
  const B_* data;
  int64_t inner, columns;

  int64_t padded() const { return inner; }  // the rows of a panel
  const B_* at(int64_t panel, int64_t k) const { return data + (panel * inner + k) * kPanel; }
  int64_t count() const { return ceil_div(columns, kPanel); }
};

// kRows rows of the result, whose left-hand sides lie a_step apart, for kPanels panels from one on.
template <int kRows, int kPanels, class B_>
void thin_tile(const float* a, int64_t a_step, const Panels<B_>& b, int64_t panel, const Layer<float>& layer) {
  alignas(64) float buffer[kRows][kPanels * kPanel];
  F sum[kRows][kPanels];
  clear(sum);
  multiply_panels<kRows, kPanels, false>(a, a_step, b.at(panel, 0), b.padded() * kPanel, kPanel, b.inner, sum);
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int p = 0; p < kPanels; ++p) store(&buffer[r][p * kPanel], sum[r][p]);
  }
  for (int64_t r = 0; r < kRows; ++r) {
    for (int64_t p = 0; p < kPanels; ++p) finish(layer, r, (panel + p) * kPanel, load(&buffer[r][p * kPanel]));
  }
}

template <int kRows, class B_>
void thin_rows(const float* a, int64_t a_step, const Panels<B_>& b, int64_t begin, int64_t end,
               const Layer<float>& layer) {
  constexpr int kMany = kRows == 1 ? kThinPanels : kRows == 2 ? kThinPanels / 2 : kThinPanels / 4;
  int64_t panel = begin;
  for (; panel + kMany <= end; panel += kMany) thin_tile<kRows, kMany>(a, a_step, b, panel, layer);
  for (; panel < end; ++panel) thin_tile<kRows, 1>(a, a_step, b, panel, layer);
}

// Up to kThinRows rows for panels [begin, end).
template <class B_>
void thin_product(const float* a, int64_t a_step, int64_t rows, const Panels<B_>& b, int64_t begin, int64_t end,
                  const Layer<float>& layer) {
  switch (rows) {
    case 1:
      return thin_rows<1>(a, a_step, b, begin, end, layer);
    case 2:
      return thin_rows<2>(a, a_step, b, begin, end, layer);
    case 3:
      return thin_rows<3>(a, a_step, b, begin, end, layer);
    default:
      return thin_rows<4>(a, a_step, b, begin, end, layer);
  }
}

// Floats of `rows` packed rows.
inline int64_t packed_floats(int64_t rows, int64_t inner) { return ceil_div(rows, kGemmRows) * kGemmRows * inner; }

// The left-hand side packed: blocks of kInner steps, in each the tiles of rows, in each [step][kGemmRows].
struct Tiles {
  const float* data;
  int64_t rows, inner;

  // Steps [k, k + kInner) of a tile of rows; k is a multiple of kInner.
  const float* at(int64_t tile, int64_t k) const {
    return data + ceil_div(rows, kGemmRows) * kGemmRows * k + tile * kGemmRows * min_of(kInner, inner - k);
  }
};

// Packs one tile of rows, which lie a_step apart; rows that are not there become 0.
template <class T>
void pack_tile(const T* a, int64_t a_step, int64_t tile, const Tiles& tiles) {
  const int64_t first = tile * kGemmRows, rows = min_of(kGemmRows, tiles.rows - first);
  for (int64_t k = 0; k < tiles.inner; k += kInner) {
    float* to = const_cast<float*>(tiles.at(tile, k));
    const int64_t steps = min_of(kInner, tiles.inner - k);
    for (int64_t r = 0; r < kGemmRows; ++r) {
      const T* from = a + (first + r) * a_step + k;
      for (int64_t i = 0; i < steps; ++i) to[i * kGemmRows + r] = r < rows ? to_float(from[i]) : 0.0f;
    }
  }
}

// What comes next, of which every kAskSteps steps ask for some lines, while others are multiplied.
struct Ahead {
  uintptr_t place;
  int64_t panel_bytes, lines;  // from one panel to the next; of each at a time, 0 if nothing comes

  template <int kPanels>
  SN_INLINE void ask() {
    for (int64_t i = 0; i < lines; ++i, place += 64) {
#pragma GCC unroll 16
      for (int p = 0; p < kPanels; ++p)
        __builtin_prefetch(reinterpret_cast<const void*>(place + static_cast<uintptr_t>(p * panel_bytes)), 0, 2);
    }
  }
};

// A tile of rows and kPanels panels, steps [k, end) of one block of the inner dimension. Sums that are not complete
// wait in y, whose first row is row `origin` of the left-hand side.
template <int kPanels, class B_>
void multiply_tile(const Tiles& a, int64_t tile, int64_t origin, const Panels<B_>& b, int64_t panel, int64_t k,
                   int64_t end, Ahead& ahead, const Layer<float>& layer) {
  alignas(64) float buffer[kGemmRows][kPanels * kPanel];
  const int64_t first = tile * kGemmRows - origin, rows = min_of(kGemmRows, a.rows - tile * kGemmRows);
  const int64_t column = panel * kPanel, columns = min_of(kPanels * kPanel, layer.out - column);
  const size_t bytes = static_cast<size_t>(columns) * sizeof(float);
  F sum[kGemmRows][kPanels];
  clear(sum);
  if (k > 0) {
    for (int64_t r = 0; r < rows; ++r) memcpy(buffer[r], layer.y + (first + r) * layer.stride + column, bytes);
#pragma GCC unroll 16
    for (int r = 0; r < kGemmRows; ++r) {
#pragma GCC unroll 16
      for (int p = 0; p < kPanels; ++p) sum[r][p] = load(&buffer[r][p * kPanel]);
    }
  }
  const float* rows_of_a = a.at(tile, k);
  for (int64_t i = k; i < end; i += kAskSteps, rows_of_a += kAskSteps * kGemmRows) {
    ahead.ask<kPanels>();
    multiply_panels<kGemmRows, kPanels, true>(rows_of_a, kGemmRows, b.at(panel, i), b.padded() * kPanel, kPanel,
                                              min_of(kAskSteps, end - i), sum);
  }
#pragma GCC unroll 16
  for (int r = 0; r < kGemmRows; ++r) {
#pragma GCC unroll 16
    for (int p = 0; p < kPanels; ++p) store(&buffer[r][p * kPanel], sum[r][p]);
  }
  for (int64_t r = 0; r < rows; ++r) {
    if (end < a.inner) {
      memcpy(layer.y + (first + r) * layer.stride + column, buffer[r], bytes);
      continue;
    }
    for (int64_t c = 0; c < columns; c += kPanel) finish(layer, first + r, column + c, load(&buffer[r][c]));
  }
}

// Tiles [begin, end) of rows for panels [first, last), on the calling thread.
template <class B_>
void multiply_block(const Tiles& a, int64_t begin, int64_t end, int64_t origin, const Panels<B_>& b, int64_t first,
                    int64_t last, const Layer<float>& layer) {
  for (int64_t k = 0; k == 0 || k < a.inner; k += kInner) {
    const int64_t stop = min_of(k + kInner, a.inner);
    // After the last panels come those of the next task, perhaps on this processor, or nothing of use.
    const auto next_of = [&](int64_t panel) {
      constexpr int64_t kElement = sizeof(B_);
      const int64_t lines = ceil_div((stop - k) * kPanel * kElement, 64);
      const int64_t times = ceil_div(stop - k, kAskSteps) * (end - begin);
      return Ahead{reinterpret_cast<uintptr_t>(b.at(panel, k)), b.padded() * kPanel * kElement,
                   ceil_div(lines, max_of(times, 1))};
    };
    int64_t panel = first;
    for (; panel + kGemmPanels <= last; panel += kGemmPanels) {
      Ahead ahead = next_of(panel + kGemmPanels);
      for (int64_t tile = begin; tile < end; ++tile)
        multiply_tile<kGemmPanels>(a, tile, origin, b, panel, k, stop, ahead, layer);
    }
    for (; panel < last; ++panel) {
      Ahead nothing = {0, 0, 0};
      for (int64_t tile = begin; tile < end; ++tile)
        multiply_tile<1>(a, tile, origin, b, panel, k, stop, nothing, layer);
    }
  }
}

}  // namespace SN_ISA_NAME
}  // namespace sn
