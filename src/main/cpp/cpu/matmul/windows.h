// The windows of convolutions, and gathering their elements. See sn_conv2d.
#pragma once

#include "cpu/matmul/gemm.h"

namespace sn {
namespace SN_ISA_NAME {

struct Convolution {
  int64_t batch, channels, height, width;  // of x
  int64_t out, rows, cols;                 // of y
  int64_t groups, in_group, out_group;     // channels of a group
  int64_t kernel_rows, kernel_cols, stride_rows, stride_cols, padding_rows, padding_cols, dilation_rows, dilation_cols;

  int64_t taps() const { return kernel_rows * kernel_cols; }
  int64_t inner() const { return in_group * taps(); }
  int64_t positions() const { return rows * cols; }
  int64_t plane() const { return height * width; }
};

inline Convolution convolution_of(const sn_tensor* x, const int64_t* window, int64_t groups, const sn_tensor* y) {
  const int64_t *in = x->shape, *out = y->shape;
  return {in[0],           in[1],     in[2],     in[3],     out[1],    out[2],    out[3],    groups,    in[1] / groups,
          out[1] / groups, window[0], window[1], window[2], window[3], window[4], window[5], window[6], window[7]};
}

// Neighbouring windows' elements at one place of the kernel: windows [first, first + count), elements from `source` on
// in their plane, stride_cols apart.
struct Run {
  int64_t first, count, source;
};

// The runs of windows [begin, begin + count) at (row, col) of the kernel, without the elements that lie in the padding.
// There is at most one for each row of windows; `runs` has room for `count`. Returns their number.
inline int runs_of(const Convolution& c, int64_t begin, int64_t count, int64_t row, int64_t col, Run* runs) {
  int found = 0;
  for (int64_t done = 0; done < count;) {
    const int64_t y = (begin + done) / c.cols, x = (begin + done) % c.cols;
    const int64_t length = min_of(count - done, c.cols - x);
    const int64_t in_row = y * c.stride_rows - c.padding_rows + row * c.dilation_rows;
    const int64_t start = x * c.stride_cols - c.padding_cols + col * c.dilation_cols;
    const int64_t from = start >= 0 ? 0 : ceil_div(-start, c.stride_cols);
    const int64_t to = start >= c.width ? 0 : min_of(length, ceil_div(c.width - start, c.stride_cols));
    if (in_row >= 0 && in_row < c.height && from < to)
      runs[found++] = {done + from, to - from, in_row * c.width + start + from * c.stride_cols};
    done += length;
  }
  return found;
}

// Channels [begin, end) of windows [first, first + 16) as a panel [channel, kernel place][16].
inline void gather_panel(const Convolution& c, const float* x, int64_t begin, int64_t end, int64_t first,
                         float* panel) {
  const int64_t windows = min_of(kPanel, c.positions() - first), taps = c.taps();
  Run runs[kPanel];
  for (int64_t tap = 0; tap < taps; ++tap) {
    const int count = runs_of(c, first, windows, tap / c.kernel_cols, tap % c.kernel_cols, runs);
    // Up to two runs (16 windows mostly reach into a second row) are blended from whole vectors, if those lie within
    // the plane.
    bool blended = count <= 2 && c.stride_cols == 1;
    int64_t source[2] = {0, 0};
    M lanes[2] = {first_lanes(0), first_lanes(0)};
    for (int r = 0; r < count && blended; ++r) {
      source[r] = runs[r].source - runs[r].first;
      lanes[r] = mask_of(((1u << runs[r].count) - 1u) << runs[r].first);
      blended = source[r] >= 0 && source[r] + kPanel <= c.plane();
    }
    for (int64_t channel = begin; channel < end; ++channel) {
      const float* from = x + channel * c.plane();
      float* to = panel + ((channel - begin) * taps + tap) * kPanel;
      if (blended) {
        F v = splat(0);
        for (int r = 0; r < count; ++r) v = select(lanes[r], load(from + source[r]), v);
        store(to, v);
        continue;
      }
      store(to, splat(0));
      for (int r = 0; r < count; ++r) {
        const float* run = from + runs[r].source;
        float* target = to + runs[r].first;
        for (int64_t i = 0; i < runs[r].count; ++i) target[i] = run[i * c.stride_cols];
      }
    }
  }
}

// A row of the kernel, kCols elements side by side, of each window of the runs. Windows are `inner` apart.
template <int kCols>
inline void copy_kernel_row(const float* from, int64_t stride, const Run* runs, int found, float* to, int64_t inner) {
  for (int r = 0; r < found; ++r) {
    const float* source = from + runs[r].source;
    float* target = to + runs[r].first * inner;
    for (int64_t i = 0; i < runs[r].count; ++i) memcpy(target + i * inner, source + i * stride, kCols * sizeof(float));
  }
}

// Windows [first, first + count) as rows [count][channels x kernel places]; `runs` has room for `count`.
inline void gather_rows(const Convolution& c, const float* x, int64_t first, int64_t count, Run* runs, float* rows) {
  const int64_t taps = c.taps(), inner = c.inner();
  // Kernels of 3 x 3 that never reach into the padding of a row.
  const bool rows_of_three = c.kernel_cols == 3 && c.dilation_cols == 1 && c.padding_cols == 0;
  const int64_t together = rows_of_three ? 3 : 1;
  memset(rows, 0, static_cast<size_t>(count * inner) * sizeof(float));
  for (int64_t tap = 0; tap < taps; tap += together) {
    const int found = runs_of(c, first, count, tap / c.kernel_cols, tap % c.kernel_cols, runs);
    for (int64_t channel = 0; channel < c.in_group; ++channel) {
      const float* from = x + channel * c.plane();
      float* to = rows + channel * taps + tap;
      if (rows_of_three) {
        copy_kernel_row<3>(from, c.stride_cols, runs, found, to, inner);
      } else {
        copy_kernel_row<1>(from, c.stride_cols, runs, found, to, inner);
      }
    }
  }
}

}  // namespace SN_ISA_NAME
}  // namespace sn
