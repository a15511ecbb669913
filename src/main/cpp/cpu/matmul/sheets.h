// Convolutions of stride 1 without gathering: rows of an image with their padding, channel after channel, lie at one
// pitch, and so the elements of neighbouring windows at one place of the kernel are neighbours as well. Windows are
// numbered along the padded rows; the few that begin behind the last window of a row are computed like others, and
// dropped.
#pragma once

#include "cpu/matmul/windows.h"

namespace sn {
namespace SN_ISA_NAME {

// What a number of rows of windows of one image and group reads.
struct Sheet {
  int64_t pitch, rows, in_rows, plane, channels;  // floats of a row, rows of windows, rows and floats of a channel

  Sheet(const Convolution& c, int64_t window_rows)
      : pitch(c.width + 2 * c.padding_cols),
        rows(window_rows),
        in_rows(window_rows + (c.kernel_rows - 1) * c.dilation_rows),
        plane(in_rows * pitch),
        channels(c.in_group) {}
  // Up to the last window of the last row.
  int64_t windows(const Convolution& c) const { return (rows - 1) * pitch + c.cols; }
  // The last panel of windows reads beyond the last channel.
  int64_t floats() const { return channels * plane + kPanel; }
};

// Rows of windows from `first_row` on; x is the first plane of the group.
inline void fill_sheet(const Convolution& c, const float* x, int64_t first_row, const Sheet& sheet, float* to) {
  const size_t padding = static_cast<size_t>(c.padding_cols) * sizeof(float);
  const size_t row_bytes = static_cast<size_t>(c.width) * sizeof(float);
  for (int64_t channel = 0; channel < sheet.channels; ++channel, x += c.plane()) {
    for (int64_t r = 0; r < sheet.in_rows; ++r, to += sheet.pitch) {
      const int64_t from = first_row + r - c.padding_rows;
      if (from < 0 || from >= c.height) {
        memset(to, 0, static_cast<size_t>(sheet.pitch) * sizeof(float));
        continue;
      }
      memset(to, 0, padding);
      memcpy(to + c.padding_cols, x + from * c.width, row_bytes);
      memset(to + c.padding_cols + c.width, 0, padding);
    }
  }
  memset(to, 0, kPanel * sizeof(float));
}

// Where the elements of window 0 lie, in the order of the inner dimension.
inline void sheet_offsets(const Convolution& c, const Sheet& sheet, int32_t* offsets) {
  for (int64_t channel = 0; channel < sheet.channels; ++channel) {
    for (int64_t i = 0; i < c.kernel_rows; ++i) {
      for (int64_t j = 0; j < c.kernel_cols; ++j)
        *offsets++ =
            static_cast<int32_t>(channel * sheet.plane + i * c.dilation_rows * sheet.pitch + j * c.dilation_cols);
    }
  }
}

}  // namespace SN_ISA_NAME
}  // namespace sn
