// Where the tiles of the matrix unit (AMX) lie, and products of them, for many rows of activations.
#pragma once

#include "cpu/matmul/dot.h"

namespace sn {
namespace SN_ISA_NAME {

// A tile has 16 rows of 64 bytes. Of activations two tiles of 16 rows and the same 64 bytes of columns follow each
// other, then those of the next columns; a panel's are 16 steps of 4 bytes, as they lie.
constexpr int64_t kTileRows = 16, kTileCols = 64, kTileBytes = kTileRows * kTileCols;
constexpr int64_t kTileRowsAtOnce = 2 * kTileRows;
constexpr int64_t kTileSums = kTileRows * kPanel;

// Where the first 64 bytes of a row of activations are; the next are kTilePitch further.
constexpr int64_t kTilePitch = 2 * kTileBytes;
inline int64_t tile_place(int64_t row, int64_t cols) {
  return row / kTileRowsAtOnce * kTileRowsAtOnce * cols + row % kTileRowsAtOnce * kTileCols;
}

#if defined(SN_TIER_AMX)

// Rows of activations that use two panels while a chunk of those is in the first-level cache, and how many times 64
// bytes of columns such a chunk has at most.
constexpr int64_t kTileRowBlock = 256;
constexpr int64_t kTileChunk = 13;

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

// Tile kTile of the first four. The intrinsics take nothing but a digit.
template <int kTile>
SN_INLINE void store_tile(void* p) {
  if constexpr (kTile == 0) _tile_stored(0, p, 64);
  if constexpr (kTile == 1) _tile_stored(1, p, 64);
  if constexpr (kTile == 2) _tile_stored(2, p, 64);
  if constexpr (kTile == 3) _tile_stored(3, p, 64);
}
template <int kTile>
SN_INLINE void load_tile(const void* p) {
  if constexpr (kTile == 0) _tile_loadd(0, p, 64);
  if constexpr (kTile == 1) _tile_loadd(1, p, 64);
  if constexpr (kTile == 2) _tile_loadd(2, p, 64);
  if constexpr (kTile == 3) _tile_loadd(3, p, 64);
}
template <int kTile>
SN_INLINE void clear_tile() {
  if constexpr (kTile == 0) _tile_zero(0);
  if constexpr (kTile == 1) _tile_zero(1);
  if constexpr (kTile == 2) _tile_zero(2);
  if constexpr (kTile == 3) _tile_zero(3);
}

// Adds the products of a tile of activations (4 or 5) with that of a panel (6 or 7) to sums: of int8 with uint8, or of
// pairs of BF16.
template <int kSum>
SN_INLINE void add_products(const int32_t*) {
  if constexpr (kSum == 0) _tile_dpbsud(0, 4, 6);
  if constexpr (kSum == 1) _tile_dpbsud(1, 4, 7);
  if constexpr (kSum == 2) _tile_dpbsud(2, 5, 6);
  if constexpr (kSum == 3) _tile_dpbsud(3, 5, 7);
}
template <int kSum>
SN_INLINE void add_products(const float*) {
  if constexpr (kSum == 0) _tile_dpbf16ps(0, 4, 6);
  if constexpr (kSum == 1) _tile_dpbf16ps(1, 4, 7);
  if constexpr (kSum == 2) _tile_dpbf16ps(2, 5, 6);
  if constexpr (kSum == 3) _tile_dpbf16ps(3, 5, 7);
}

// Products of up to kTileRowBlock rows of activations, in tiles, with panels of weights, two at a time. Rows of
// activations and panels have `cols` bytes, a multiple of 64; there is room for rows up to the next multiple of
// kTileRowsAtOnce. finish(panel, panels, row, rows, sums) takes up [rows][16] sums with one or two panels from `panel`
// on, those of the second kTileSums further.
//
// To move sums to memory and back, and to make results of them, would take a third of the time of the products
// themselves. So sums are stored while the next products begin, and finished while those go on.
template <class Sum, class Finish>
class TileProducts {
 public:
  TileProducts(const int8_t* x, int64_t rows, int64_t cols, Finish finish)
      : x_(x),
        rows_(rows),
        steps_(cols / kTileCols),
        blocks_(ceil_div(rows, kTileRowsAtOnce)),
        lines_(ceil_div(kTileRows, blocks_)),
        finish_(finish) {
    // Panels are cut in chunks if several blocks of rows use them.
    const int64_t chunks = blocks_ == 1 ? 1 : ceil_div(steps_, kTileChunk);
    chunk_ = ceil_div(steps_, max_of(chunks, 1));
  }
  TileProducts(const TileProducts&) = delete;
  TileProducts& operator=(const TileProducts&) = delete;

  // Panels are panel_bytes apart. Those from `panels` to `ready`, which come next, are asked for in time.
  void multiply(const uint8_t* weights, int64_t panel_bytes, int64_t panels, int64_t ready) {
    const TileRegisters registers;
    for (int64_t panel = 0; panel < panels; panel += 2, weights += 2 * panel_bytes) {
      const bool two = panel + 1 < panels;  // else the second is the first once more
      int64_t step = 0;
      do {  // once for no columns too, whose sums are 0
        const int64_t end = min_of(step + chunk_, steps_);
        const bool last = end == steps_;
        const int64_t next = !last ? end : panel + 3 < ready ? 2 * panel_bytes / kTileBytes : step;
        const Chunk chunk = {weights + step * kTileBytes, two ? panel_bytes : 0, (next - step) * kTileBytes,
                             end - step};
        for (int64_t block = 0; block < blocks_; ++block) {
          const Block sums = {sums_ + block * kBlockSums, panel, block * kTileRowsAtOnce, two, last};
          const int8_t* x = x_ + (block * steps_ + step) * kTilePitch;
          if (rows_ - sums.row > kTileRows) {
            multiply_block<true>(chunk, x, sums, step == 0);
          } else {
            multiply_block<false>(chunk, x, sums, step == 0);
          }
        }
        step = end;
      } while (step < steps_);
    }
    store<0>();
    store<1>();
    store<2>();
    store<3>();
    release({nullptr, 0, 0, false, false});
    finish_rows(kTileRowsAtOnce);
  }

 private:
  static constexpr int64_t kBlockSums = 4 * kTileSums;

  // A part of two panels.
  struct Chunk {
    const uint8_t* first;
    int64_t second, ahead;  // bytes from the first to the other, and from both to what comes next
    int64_t steps;
  };
  // The sums of 32 rows with two panels: of 16 rows with each, then of the other 16.
  struct Block {
    Sum* sums;
    int64_t panel, row;
    bool two, complete;
  };

  template <int kTile>
  SN_INLINE void store() const {
    if (held_.sums != nullptr) store_tile<kTile>(held_.sums + kTile * kTileSums);
  }
  // Stores a tile of the sums that are held and takes up those of others.
  template <int kTile>
  SN_INLINE void exchange(const Sum* sums, bool zero) const {
    store<kTile>();
    if (zero) {
      clear_tile<kTile>();
    } else {
      load_tile<kTile>(sums + kTile * kTileSums);
    }
  }
  // What was held has been stored.
  SN_INLINE void release(const Block& next) {
    settle_memory();
    if (held_.complete) {
      finished_ = held_;
      at_ = 0;
      end_ = min_of(rows_ - held_.row, kTileRowsAtOnce);
    }
    held_ = next;
  }
  SN_INLINE void finish_rows(int64_t count) {
    for (const int64_t end = min_of(at_ + count, end_); at_ < end;) {
      const int64_t rows = min_of(end - at_, kTileRows - at_ % kTileRows);
      finish_(finished_.panel, finished_.two ? 2 : 1, finished_.row + at_, rows,
              finished_.sums + at_ / kTileRows * 2 * kTileSums + at_ % kTileRows * kPanel);
      at_ += rows;
    }
  }

  // Adds the products of a chunk with 32 rows, or the first 16 of them, to their sums.
  template <bool kBoth>
  SN_NOINLINE void multiply_block(const Chunk& chunk, const int8_t* x, const Block& next, bool zero) {
    const uint8_t *first = chunk.first, *second = first + chunk.second;
    // Every block of rows asks for its share of what comes next.
    const int64_t line = next.row / kTileRowsAtOnce * lines_, lines = min_of(lines_, kTileRows - line);
    const auto prefetch = [&](const uint8_t* panel) {
      const uint8_t* from = panel + chunk.ahead + line * 64;
      for (int64_t i = 0; i < lines; ++i) _mm_prefetch(from + i * 64, _MM_HINT_T1);
    };
    exchange<0>(next.sums, zero);
    exchange<1>(next.sums, zero);
    exchange<2>(next.sums, zero);
    exchange<3>(next.sums, zero);
    release(next);
    const int64_t each = ceil_div(end_ - at_, max_of(chunk.steps, 1));
    for (int64_t s = 0; s < chunk.steps; ++s, first += kTileBytes, second += kTileBytes, x += kTilePitch) {
      // Activations come from the second-level cache and pass through; the panels stay in the first.
      _tile_loadd(6, first, 64);
      _tile_stream_loadd(4, x, 64);
      _tile_loadd(7, second, 64);
      add_products<0>(next.sums);
      add_products<1>(next.sums);
      prefetch(first);
      if constexpr (kBoth) {
        _tile_stream_loadd(5, x + kTileBytes, 64);
        add_products<2>(next.sums);
        add_products<3>(next.sums);
      }
      prefetch(second);
      finish_rows(each);
    }
    finish_rows(kTileRowsAtOnce);
  }

  const int8_t* const x_;
  const int64_t rows_, steps_, blocks_, lines_;  // lines of two tiles of weights that a block of rows asks for
  int64_t chunk_;                                // steps of one
  Finish finish_;
  Block held_ = {}, finished_ = {};  // in the tile registers; in memory, from row at_ on
  int64_t at_ = 0, end_ = 0;
  alignas(64) Sum sums_[kTileRowBlock / kTileRowsAtOnce * kBlockSums];
};

#endif

}  // namespace SN_ISA_NAME
}  // namespace sn
