// Products of F32 and BF16 matrices on the device's threads. See gemm.h and, of BF16 with BF16, pairs.h.
#pragma once

#include "cpu/matmul/pairs.h"

namespace sn {
namespace SN_ISA_NAME {

// A panel [inner][16] of `rows` <= 16 rows that lie w_step apart, zeros for those that are not there.
inline void copy_element(const float* from, float* to) { *to = *from; }
inline void copy_element(const bf16* from, bf16* to) { *to = *from; }
inline void copy_element(const f16* from, float* to) { *to = to_float(*from); }
inline void copy_element(const bf16* from, float* to) { *to = to_float(*from); }
template <class T, class P>
void transpose_panel(const T* w, int64_t w_step, int64_t rows, int64_t inner, P* panel) {
  for (int64_t k = 0; k < inner; ++k) {
    for (int64_t r = 0; r < rows; ++r) copy_element(w + r * w_step + k, panel + k * kPanel + r);
    for (int64_t r = rows; r < kPanel; ++r) panel[k * kPanel + r] = {};
  }
}

// The left-hand side as it lies in memory, F32 or BF16: rows `step` apart.
struct Left {
  const void* data;
  int64_t step;
  bool narrow;

  void pack(int64_t first, int64_t tile, const Tiles& tiles) const {
    if (narrow) {
      pack_tile(static_cast<const bf16*>(data) + first * step, step, tile, tiles);
    } else {
      pack_tile(static_cast<const float*>(data) + first * step, step, tile, tiles);
    }
  }
};

// The result, F32 or BF16: rows `step` apart.
struct Right {
  void* data;
  int64_t step;
  bool narrow;
  const float* bias;
  sn_activation activation;
};

// Calls compute(layer) to finish columns [column, column + columns) of rows [row, row + rows), by way of F32 sums where
// the result is narrower. Returns false when there is no memory for them.
template <class F_>
bool finish_block(sn_device* device, const Right& y, int64_t row, int64_t rows, int64_t column, int64_t columns,
                  F_ compute) {
  const float* bias = y.bias == nullptr ? nullptr : y.bias + column;
  if (!y.narrow) {
    compute(Layer<float>{static_cast<float*>(y.data) + row * y.step + column, y.step, columns, bias, y.activation});
    return true;
  }
  const Scratch scratch(device, rows * columns * static_cast<int64_t>(sizeof(float)));
  if (scratch.data() == nullptr) return false;
  float* sums = reinterpret_cast<float*>(scratch.data());
  compute(Layer<float>{sums, columns, columns, bias, y.activation});
  for (int64_t r = 0; r < rows; ++r) {
    bf16* to = static_cast<bf16*>(y.data) + (row + r) * y.step + column;
    for_vectors(columns, [&](int64_t i, int64_t lanes) {
      const F v = load_some(sums + r * columns + i, lanes);
      lanes == kLanes ? store(to + i, v) : store_tail(to + i, v, lanes);
    });
  }
  return true;
}
inline sn_status no_sums() { return fail(SN_OUT_OF_MEMORY, "no memory for the sums of a BF16 result"); }

// Few rows: the panels are read once, as fast as memory gives them.
template <class B_>
sn_status thin_product_in_tasks(sn_device* device, const float* a, int64_t a_step, int64_t rows, const Panels<B_>& b,
                                const Right& y) {
  const int64_t panels = b.count(), least = ceil_div(65536, max_of(b.inner * kPanel, 1));
  const int64_t wanted = device->threads == 1 ? panels : max_of(least, ceil_div(panels, int64_t{8} * device->threads));
  const int64_t a_task = min_of(round_up(wanted, kThinPanels), 64);
  int32_t starved = 0;
  auto task = [&](int64_t index) {
    const int64_t first = index * a_task, last = min_of(first + a_task, panels);
    const int64_t columns = min_of(last * kPanel, b.columns) - first * kPanel;
    const Panels<B_> part = {b.at(first, 0), b.inner, columns};
    const auto compute = [&](const Layer<float>& layer) {
      thin_product(a, a_step, rows, part, 0, part.count(), layer);
    };
    if (!finish_block(device, y, 0, rows, first * kPanel, columns, compute)) atomic_or(&starved);
  };
  for_tasks(device, ceil_div(panels, a_task), task);
  return starved ? no_sums() : SN_OK;
}

#if defined(SN_TIER_AMX)
// A BF16 left-hand side of more than kThinRows rows, on the matrix unit.
inline sn_status product_in_tiles(sn_device* device, const Left& a, int64_t rows, const Panels<paired_bf16>& b,
                                  const Right& y) {
  // So many rows at a time that their tiles stay in the third-level cache.
  const int64_t slab = max_of((int64_t{1} << 21) / max_of(b.padded(), 1) / kBf16Rows, 1) * kBf16Rows;
  const int64_t bytes = TiledRows<bf16>::bytes(min_of(rows, slab), b.inner);
  const Scratch scratch(device, bytes);
  if (scratch.data() == nullptr) return no_scratch(bytes);
  for (int64_t first = 0; first < rows; first += slab) {
    const TiledRows<bf16> tiled(static_cast<const bf16*>(a.data) + first * a.step, a.step, min_of(slab, rows - first),
                                b.inner, scratch.data());
    const int64_t rows_a_task = max_of(1, 65536 / max_of(b.inner, 1));
    auto pack = [&](int64_t index) {
      const int64_t end = min_of((index + 1) * rows_a_task, tiled.rows);
      for (int64_t row = index * rows_a_task; row < end; ++row) tiled.pack(row);
    };
    for_tasks(device, ceil_div(tiled.rows, rows_a_task), pack);
    const int64_t blocks = ceil_div(tiled.rows, kBf16Rows);
    auto multiply = [&](int64_t index) {
      const int64_t row = index % blocks * kBf16Rows, panel = index / blocks * kTaskPanels;
      with_activation_type(y.narrow ? SN_BF16 : SN_F32, [&](auto* type) {
        using T = typename Pointee<decltype(type)>::type;
        const Layer<T> layer = {static_cast<T*>(y.data) + (first + row) * y.step, y.step, b.columns, y.bias,
                                y.activation};
        multiply_in_tiles(tiled, row, min_of(kBf16Rows, tiled.rows - row), b, panel,
                          min_of(panel + kTaskPanels, b.count()), layer);
      });
    };
    for_tasks(device, blocks * ceil_div(b.count(), kTaskPanels), multiply);
  }
  return SN_OK;
}
#endif

// y = activation(a b + bias), a with `rows` rows of b.inner elements.
template <class B_>
sn_status product(sn_device* device, const Left& a, int64_t rows, const Panels<B_>& b, const Right& y) {
  if (rows <= kThinRows) {
    if (!a.narrow) return thin_product_in_tasks(device, static_cast<const float*>(a.data), a.step, rows, b, y);
    const int64_t bytes = rows * b.inner * static_cast<int64_t>(sizeof(float));
    const Scratch scratch(device, bytes);
    if (scratch.data() == nullptr) return no_scratch(bytes);
    float* wide = reinterpret_cast<float*>(scratch.data());
    for (int64_t i = 0; i < rows * b.inner; ++i)
      wide[i] = to_float(static_cast<const bf16*>(a.data)[i / b.inner * a.step + i % b.inner]);
    return thin_product_in_tasks(device, wide, b.inner, rows, b, y);
  }
  // So many rows at a time that their packed form stays in the third-level cache.
  const int64_t slab = max_of((int64_t{1} << 20) / max_of(b.inner, 1) / kTaskRows, 1) * kTaskRows;
  constexpr int64_t kFloat = sizeof(float), kTaskColumns = kTaskPanels * kPanel;
  const int64_t bytes = packed_floats(min_of(rows, slab), b.inner) * kFloat;
  const Scratch scratch(device, bytes);
  if (scratch.data() == nullptr) return no_scratch(bytes);
  int32_t starved = 0;
  for (int64_t first = 0; first < rows; first += slab) {
    const Tiles tiles = {reinterpret_cast<float*>(scratch.data()), min_of(slab, rows - first), b.inner};
    const int64_t count = ceil_div(tiles.rows, kGemmRows);
    const int64_t tiles_a_task = max_of(1, 32768 / (max_of(b.inner, 1) * kGemmRows));
    auto pack = [&](int64_t index) {
      const int64_t end = min_of((index + 1) * tiles_a_task, count);
      for (int64_t tile = index * tiles_a_task; tile < end; ++tile) a.pack(first, tile, tiles);
    };
    for_tasks(device, ceil_div(count, tiles_a_task), pack);
    const int64_t blocks = ceil_div(tiles.rows, kTaskRows);
    auto multiply = [&](int64_t index) {
      const int64_t row = index % blocks * kTaskRows, height = min_of(kTaskRows, tiles.rows - row);
      const int64_t column = index / blocks * kTaskColumns, columns = min_of(kTaskColumns, b.columns - column);
      const Panels<B_> part = {b.at(column / kPanel, 0), b.inner, columns};
      const auto compute = [&](const Layer<float>& layer) {
        multiply_block(tiles, row / kGemmRows, ceil_div(row + height, kGemmRows), row, part, 0, part.count(), layer);
      };
      if (!finish_block(device, y, first + row, height, column, columns, compute)) atomic_or(&starved);
    };
    for_tasks(device, blocks * ceil_div(b.columns, kTaskColumns), multiply);
  }
  return starved ? no_sums() : SN_OK;
}

}  // namespace SN_ISA_NAME
}  // namespace sn
