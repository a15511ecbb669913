// Where the tiles of the matrix unit (AMX) lie, and products of them, for many rows of activations.
#pragma once

#include "cpu/matmul/dot.h"

namespace sn {
namespace SN_ISA_NAME {

// A tile has 16 rows of 64 bytes. Those of activations are 16 rows and 64 bytes of columns, the tiles of 16 rows
// following each other; a panel's are 16 steps of 4 bytes, as they lie.
constexpr int64_t kTileRows = 16, kTileCols = 64, kTileBytes = kTileRows * kTileCols;

// Where the first 64 bytes of a row of activations are; the next are kTileBytes further.
inline int64_t tile_place(int64_t row, int64_t cols) {
  return row / kTileRows * kTileRows * cols + row % kTileRows * 64;
}

#if defined(SN_TIER_AMX)

// Rows of int8 activations that use two panels while a chunk of those is in the first-level cache, and that chunk's
// bytes of columns.
constexpr int64_t kTileRowBlock = 256;
constexpr int64_t kTileChunk = 13 * kTileCols;
constexpr int64_t kTileRowsAtOnce = 32;

struct TileShapes {
  uint8_t palette, start_row, reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
};
// Not on the stack, where g++ 12 drops its initialization: its intrinsics do not say what memory they read.
alignas(64) static const TileShapes kTileShapes = {
    1, 0, {0}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};

// What was written before is in memory when the tiles that follow are loaded.
SN_INLINE void settle_memory() { __asm__ volatile("" ::: "memory"); }

// The tile registers for the time of a task; a thread that keeps them makes its context switches slower.
class TileRegisters {
 public:
  TileRegisters() {
    _tile_loadconfig(&kTileShapes);
    settle_memory();
  }
  ~TileRegisters() { _tile_release(); }
  TileRegisters(const TileRegisters&) = delete;
  TileRegisters& operator=(const TileRegisters&) = delete;
};

// Adds the products of a tile of activations (4 or 5) with those of two panels (6 and 7) to their sums: of int8 with
// uint8, or of pairs of BF16.
SN_INLINE void add_upper_products(const int32_t*) {
  _tile_dpbsud(0, 4, 6);
  _tile_dpbsud(1, 4, 7);
}
SN_INLINE void add_lower_products(const int32_t*) {
  _tile_dpbsud(2, 5, 6);
  _tile_dpbsud(3, 5, 7);
}
SN_INLINE void add_upper_products(const float*) {
  _tile_dpbf16ps(0, 4, 6);
  _tile_dpbf16ps(1, 4, 7);
}
SN_INLINE void add_lower_products(const float*) {
  _tile_dpbf16ps(2, 5, 6);
  _tile_dpbf16ps(3, 5, 7);
}

// first[r][c] and second[r][c] = the products of rows [0, rows) of x, in tiles, with two panels, over all columns,
// which are `cols` bytes (a multiple of 64). Sums have room for rows rounded up to 32, as x has.
template <class Sum>
inline void multiply_tiles(const int8_t* x, int64_t rows, int64_t cols, const uint8_t* first_panel,
                           const uint8_t* second_panel, Sum* first, Sum* second) {
  for (int64_t k = 0; k == 0 || k < cols; k += kTileChunk) {  // once for no columns too, whose sums are 0
    const int64_t end = min_of(k + kTileChunk, cols);
    for (int64_t r = 0; r < rows; r += kTileRowsAtOnce) {
      Sum* a = first + r * kPanel;
      Sum* b = second + r * kPanel;
      if (k == 0) {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
      } else {
        _tile_loadd(0, a, 64);
        _tile_loadd(1, b, 64);
        _tile_loadd(2, a + kTileRows * kPanel, 64);
        _tile_loadd(3, b + kTileRows * kPanel, 64);
      }
      const int8_t* upper = x + r * cols;
      const int8_t* lower = upper + kTileRows * cols;
      for (int64_t i = k; i < end; i += kTileCols) {
        // Activations come from the second-level cache and pass through; the panels stay in the first.
        _tile_loadd(6, first_panel + i * kTileRows, 64);
        _tile_stream_loadd(4, upper + i * kTileRows, 64);
        _tile_loadd(7, second_panel + i * kTileRows, 64);
        add_upper_products(a);
        _tile_stream_loadd(5, lower + i * kTileRows, 64);
        add_lower_products(a);
      }
      _tile_stored(0, a, 64);
      _tile_stored(1, b, 64);
      _tile_stored(2, a + kTileRows * kPanel, 64);
      _tile_stored(3, b + kTileRows * kPanel, 64);
    }
  }
}

#endif

}  // namespace SN_ISA_NAME
}  // namespace sn
