// The windows of a convolution, and where their elements lie. See sn_conv2d in sinew.h.
#pragma once

#include <limits.h>

#include "elements.h"

namespace sn {
namespace cuda {

// A place of the kernel, in a channel or in all of them: how far it is from the first one.
struct alignas(16) Tap {
  int64_t offset;    // in elements of x
  int32_t row, col;  // in the image
};

struct Windows {
  const Tap* taps;  // null where x has rows and no windows
  int32_t height, width;
  int64_t image;       // elements of one
  int64_t rows, cols;  // of windows
  int32_t stride_rows, stride_cols, padding_rows, padding_cols;

  // The first element of a window, which may lie in the padding.
  struct Place {
    int64_t from;
    int32_t row, col;
  };
  // A window none of whose elements is inside.
  SN_HD static Place nowhere() { return {0, INT_MIN / 2, 0}; }

  SN_HD int64_t positions() const { return rows * cols; }
  // Windows are counted through all images; elements of x are `size` apart.
  SN_HD Place place(int64_t window, int64_t size) const {
    const int64_t number = window / positions(), at = window - number * positions(), y = at / cols;
    const int64_t row = y * stride_rows - padding_rows, col = (at - y * cols) * stride_cols - padding_cols;
    return {number * image + (row * width + col) * size, static_cast<int32_t>(row), static_cast<int32_t>(col)};
  }
  // Where an element lies, or -1 in the padding.
  SN_HD int64_t element(const Place& place, const Tap& tap) const {
    const uint32_t row = static_cast<uint32_t>(place.row + tap.row), col = static_cast<uint32_t>(place.col + tap.col);
    return row < static_cast<uint32_t>(height) && col < static_cast<uint32_t>(width) ? place.from + tap.offset : -1;
  }
};

}  // namespace cuda
}  // namespace sn
