// Products of F32 activations with panels of weights that are decoded to F32, whatever form those are stored in.
//
// A kind of weights describes one panel as a Source:
//   void open(const sn_weights& w, const Blocks& blocks, int64_t panel)
//   F next()                                the weights of the next column
//   bool grouped, F scale(int64_t group)    scales of groups, or of channels
#pragma once

#include "cpu/matmul/blocks.h"
#include "cpu/matmul/words.h"

namespace sn {
namespace SN_ISA_NAME {

// Rows of activations that are multiplied at once. Up to so many, weights are used as they are decoded.
#if defined(SN_TIER_AVX512) || defined(SN_TIER_AVX2)
constexpr int kFewFloatRows = 4;
#else
constexpr int kFewFloatRows = 1;
#endif

struct FloatActivations {
  Blocks blocks;
  int64_t rows;
  const float* x;  // [rows, cols]
  float* copy;     // where x is to be filled; null if it is the caller's
};

struct FloatSource {
  const float* floats;
  SN_INLINE F next() {
    const F w = load(floats);
    floats += kPanel;
    return w;
  }
};

// sums[r] += the products of row r with so many columns. A sum is taken in several parts for few rows, so that they do
// not wait for each other.
template <int kRows, class Source>
SN_INLINE void multiply_columns(Source& source, const float* x, int64_t stride, int64_t cols, F* sums) {
  constexpr int kParts = 4 / kRows > 1 ? 4 / kRows : 1;
  F parts[kParts][kRows];
#pragma GCC unroll 4
  for (int i = 0; i < kParts; ++i) {
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) parts[i][r] = i == 0 ? sums[r] : splat(0);
  }
  int64_t c = 0;
  for (; c + kParts <= cols; c += kParts) {
#pragma GCC unroll 4
    for (int i = 0; i < kParts; ++i) {
      const F w = source.next();
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) parts[i][r] = multiply_add(w, splat(x[r * stride + c + i]), parts[i][r]);
    }
  }
  for (; c < cols; ++c) {
    const F w = source.next();
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) parts[0][r] = multiply_add(w, splat(x[r * stride + c]), parts[0][r]);
  }
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) {
    F sum = parts[0][r];
#pragma GCC unroll 4
    for (int i = 1; i < kParts; ++i) sum = add(sum, parts[i][r]);
    sums[r] = sum;
  }
}

// What the sums of a block become part of the result with.
struct FloatTerms {
  bool grouped;
  F scale;  // of the group

  template <class Source>
  FloatTerms(const Source& source, int64_t group)
      : grouped(source.grouped), scale(grouped ? source.scale(group) : splat(1)) {}
};

// totals[r] takes up a block of row r; with scales of groups its sum is apart from those before.
template <int kRows, class Source>
SN_INLINE void add_columns(Source& source, const FloatTerms& terms, const float* x, int64_t stride, int64_t cols,
                           F* totals) {
  if (!terms.grouped) return multiply_columns<kRows>(source, x, stride, cols, totals);
  F sums[kRows];
  for (F& sum : sums) sum = splat(0);
  multiply_columns<kRows>(source, x, stride, cols, sums);
  for (int r = 0; r < kRows; ++r) totals[r] = multiply_add(sums[r], terms.scale, totals[r]);
}
template <class Source>
SN_INLINE F scaled_float(F total, const Source& source) {
  return source.grouped ? total : mul(total, source.scale(0));
}

// Results of up to kFewFloatRows rows, before bias and activation.
template <class Source, int kRows = kFewFloatRows>
SN_NOINLINE void few_float_rows(const sn_weights& w, const FloatActivations& x, int64_t panel,
                                float (*results)[kPanel]) {
  if (x.rows != kRows) {
    if constexpr (kRows > 1) few_float_rows<Source, kRows - 1>(w, x, panel, results);
    return;
  }
  Source source;
  source.open(w, x.blocks, panel);
  F totals[kRows];
  for (F& total : totals) total = splat(0);
  for (int64_t b = 0; b < x.blocks.count; ++b)
    add_columns<kRows>(source, FloatTerms(source, x.blocks.group_of(b)), x.x + x.blocks.first(b), x.blocks.cols,
                       x.blocks.size(b), totals);
  for (int r = 0; r < kRows; ++r) store(results[r], scaled_float(totals[r], source));
}

// totals[r] takes up a decoded block of row r, for rows [0, rows).
template <int kRows = kFewFloatRows>
SN_NOINLINE void add_float_rows(const FloatTerms& terms, const float* floats, const float* x, int64_t stride,
                                int64_t cols, int64_t rows, float (*totals)[kPanel]) {
  int64_t row = 0;
  for (; row + kRows <= rows; row += kRows) {
    F sums[kRows];
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) sums[r] = load(totals[row + r]);
    FloatSource decoded = {floats};
    add_columns<kRows>(decoded, terms, x + row * stride, stride, cols, sums);
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) store(totals[row + r], sums[r]);
  }
  if constexpr (kRows > 1)
    add_float_rows<kRows / 2>(terms, floats, x + row * stride, stride, cols, rows - row, totals + row);
}

// Results of the kTogether rows from `first` on.
template <class Source>
SN_NOINLINE void many_float_rows(const sn_weights& w, const FloatActivations& x, int64_t first, int64_t panel,
                                 float (*totals)[kPanel]) {
  const Blocks& blocks = x.blocks;
  const int64_t rows = min_of(kTogether, x.rows - first);
  alignas(64) float floats[kBlockColumns * kPanel];
  memset(totals, 0, static_cast<size_t>(rows) * sizeof totals[0]);
  Source source;
  source.open(w, blocks, panel);
  for (int64_t b = 0; b < blocks.count; ++b) {
    for (int64_t c = 0; c < blocks.size(b); ++c) store(floats + c * kPanel, source.next());
    add_float_rows(FloatTerms(source, blocks.group_of(b)), floats, x.x + first * blocks.cols + blocks.first(b),
                   blocks.cols, blocks.size(b), rows, totals);
  }
  for (int64_t r = 0; r < rows; ++r) store(totals[r], scaled_float(load(totals[r]), source));
}

// See panels.h.
template <class Source>
struct FloatKind {
  static int64_t bytes(const sn_weights& w, int64_t rows, sn_dtype dtype) {
    return dtype == SN_F32 ? 64 : rows * w.cols * int64_t{sizeof(float)};
  }
  static FloatActivations activations(const sn_weights& w, const float* x, int64_t rows, void*) {
    return {Blocks(w, 1), rows, x, nullptr};
  }
  static FloatActivations activations(const sn_weights& w, const bf16*, int64_t rows, void* scratch) {
    auto* copy = static_cast<float*>(scratch);
    return {Blocks(w, 1), rows, copy, copy};
  }
  static void prepare(const FloatActivations&, const float*, int64_t) {}
  static void prepare(const FloatActivations& activations, const bf16* x, int64_t row) {
    const int64_t cols = activations.blocks.cols;
    float* to = activations.copy + row * cols;
    for_vectors(cols, [&](int64_t i, int64_t lanes) {
      const F v = load_some(x + row * cols + i, lanes);
      if (lanes == kLanes) {
        store(to + i, v);
      } else {
        store_tail(to + i, v, lanes);
      }
    });
  }
  template <class T>
  static void multiply(const sn_weights& w, const FloatActivations& x, int64_t first, int64_t panel, int64_t panels,
                       const Layer<T>& layer) {
    alignas(64) float results[kTogether][kPanel];
    for (int64_t p = panel; p < panel + panels; ++p) {
      if (x.rows <= kFewFloatRows) {
        few_float_rows<Source>(w, x, p, results);
      } else {
        many_float_rows<Source>(w, x, first, p, results);
      }
      const int64_t rows = min_of(kTogether, x.rows - first);
      for (int64_t r = 0; r < rows; ++r) finish(layer, first + r, p * kPanel, load(results[r]));
    }
  }
};

}  // namespace SN_ISA_NAME
}  // namespace sn
