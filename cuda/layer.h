// Packed weights on a GPU as kernels see them, and the blocks of columns that activations are quantized in.
//
// Weights stay in rows, as they come, each on a multiple of 16 bytes, so that a thread loads those of 16 columns at
// once; only the columns of SN_W8A8 packed from kernels of several places are in another order, and two_of_four.h has
// the form of those that are 2:4. Sparse ones have a bitmap of words of 64 columns, the number of values before each
// word in its row, and where the values of each row begin.
#pragma once

#include "core/weights.h"
#include "quantizing.h"

namespace sn {
namespace cuda {

// Parts of the handle.
constexpr int kWeightPart = 0;
constexpr int kScalePart = 1;      // F32, one a row or a group of it; of clustered weights the codebooks
constexpr int kZeroPointPart = 2;  // I8 likewise; absent when all are 0
constexpr int kMaskPart = 3;       // words of the bitmap
constexpr int kPlacesPart = 3;     // of SN_W8A8 in two_of_four.h's form; absent in the other
constexpr int kBeforePart = 4;     // U32, one a word
constexpr int kBeginPart = 5;      // I64, one a row

constexpr int kColumns = 128;  // of a block, at most

// The order of columns [channel, place of the kernel] as they are stored, channels innermost and padded to 16, so that
// what a window and a place of the kernel have in common lies side by side. Of one place it is the order they have.
struct Order {
  int64_t channels, taps, padded;

  SN_HD int64_t stored(int64_t col) const { return taps == 1 ? col : (col - col / taps * taps) * padded + col / taps; }
  // The column that is stored at a place, or -1 in the padding of channels, and behind all places of the kernel.
  SN_HD int64_t column(int64_t place) const {
    const int64_t tap = place / padded, channel = place - tap * padded;
    return channel < channels && tap < taps ? channel * taps + tap : -1;
  }
};
inline Order order_of(const sn_weights* w) {
  const int64_t taps = w->kind == SN_W8A8 ? w->kernel_rows * w->kernel_cols : 1, channels = w->cols / taps;
  return {channels, taps, (channels + 15) / 16 * 16};
}
// Columns as they are stored.
inline int64_t stored_cols(const sn_weights* w) {
  const Order order = order_of(w);
  return order.taps == 1 ? w->cols : order.taps * order.padded;
}

// Columns in blocks, which begin anew with every group.
struct Split {
  int64_t cols, group, per_group, count;

  // All are in one group where there are no others. 32 bits are enough for blocks, and divided much faster.
  SN_HD int64_t group_of(int64_t block) const {
    return per_group == count ? 0 : static_cast<uint32_t>(block) / static_cast<uint32_t>(per_group);
  }
  SN_HD int64_t first(int64_t block) const {
    const int64_t g = group_of(block);
    return g * group + (block - g * per_group) * kColumns;
  }
  SN_HD int size(int64_t block) const {
    const int64_t begin = first(block), end = (group_of(block) + 1) * group;
    const int64_t left = (end < cols ? end : cols) - begin;
    return left < kColumns ? static_cast<int>(left) : kColumns;
  }
};
inline Split split_of(const sn_weights* w) {
  const int64_t cols = stored_cols(w), all = cols > 0 ? cols : 1;
  const int64_t group = w->group == 0 || w->kind == SN_CLUSTERED ? all : w->group;
  const int64_t per_group = (group + kColumns - 1) / kColumns, rest = cols % group;
  return {cols, group, per_group, cols / group * per_group + (rest + kColumns - 1) / kColumns};
}

inline int64_t words_of_row(int64_t cols) { return (cols + 63) / 64; }
inline int64_t stored_size(const sn_weights* w) { return w->dtype == SN_F64 ? 4 : dtype_size(w->dtype); }
// Bytes from one row to the next of weights that are not sparse.
inline int64_t pitch_of(const sn_weights* w) {
  const int64_t bits = w->kind == SN_W4 || w->kind == SN_CLUSTERED ? w->bits : 8 * stored_size(w);
  return (stored_cols(w) * bits + 127) / 128 * 16;
}

}  // namespace cuda
}  // namespace sn
