// RMS norm of rows as a body of phases, alone or followed by quantizing.
#pragma once

#include "quantizing.h"
#include "sums.h"
#include "team.h"

namespace sn {
namespace cuda {

// A row a team: squares are added in lanes, then each thread takes every 256th step.
template <bool kQuantizes>
struct RmsNorm {
  static constexpr bool kFinds = false, kOrdered = false;
  struct State {};
  struct Shared {
    RowLanes row;
    float factor;
    Largest largest;
  };
  sn_dtype dtype;
  const void* x;
  const float* weight;  // or null
  double eps;
  int64_t cols;
  void* y;  // or int8
  float* scale;

  SN_HD int sum_phases() const { return 2 * RowLanes::chunks(cols); }
  SN_HD int phases() const { return sum_phases() + (kQuantizes ? 4 : 2); }
  SN_HD int length(int64_t col) const { return RowLanes::length(cols, col); }

  SN_HD Elements<float> scaled(int64_t row, int64_t col, const Shared& shared) const {
    Elements<float> v = shared.row.numbers(dtype, x, row * cols, cols, col);
    SN_UNROLL
    for (int j = 0; j < kStep; ++j) v.of[j] = v.of[j] * shared.factor;
    if (weight == nullptr) return v;
    const Elements<float> w = load(weight + col, length(col));
    SN_UNROLL
    for (int j = 0; j < kStep; ++j) v.of[j] = v.of[j] * w.of[j];
    return v;
  }

  SN_HD void phase(int p, int64_t row, int thread, State&, Shared& shared, Findings&) const {
    if (p < sum_phases()) {
      if (p % 2 == 0) return shared.row.stage(p / 2, dtype, x, row * cols, cols, thread);
      return shared.row.add(p / 2, cols, thread,
                            [](float v) { return static_cast<double>(v) * static_cast<double>(v); });
    }
    p -= sum_phases();
    if (p == 0) {
      if (thread != 0) return;
      shared.factor = static_cast<float>(1 / root(fold(shared.row.sums) / static_cast<double>(cols) + eps));
      return;
    }
    if (!kQuantizes) {
      for (int64_t col = int64_t{thread} * kStep; col < cols; col += RowLanes::kChunk)
        store_reals(dtype, y, row * cols + col, scaled(row, col, shared), length(col));
      return;
    }
    if (p == 1) {
      uint32_t largest = 0;
      for (int64_t col = int64_t{thread} * kStep; col < cols; col += RowLanes::kChunk) {
        const Elements<float> v = scaled(row, col, shared);
        const int n = length(col);
        SN_UNROLL
        for (int j = 0; j < kStep; ++j) {
          const uint32_t key = j < n ? key_of(v.of[j]) : 0;  // the factor may not be finite
          largest = key > largest ? key : largest;
        }
      }
      shared.largest.own[thread] = largest;
      return;
    }
    if (p == 2) return shared.largest.find_part(thread);
    const SymmetricBytes bytes(shared.largest.all());
    if (thread == 0) scale[row] = bytes.scale();
    for (int64_t col = int64_t{thread} * kStep; col < cols; col += RowLanes::kChunk)
      store(static_cast<int8_t*>(y) + row * cols + col, bytes(scaled(row, col, shared)), length(col));
  }
};

}  // namespace cuda
}  // namespace sn
