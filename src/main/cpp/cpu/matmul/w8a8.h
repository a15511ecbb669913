// The packed form of int8 weights for quantized activations, SN_W8A8.
//
// Columns lie in runs, one for each row of the kernel: run r has the elements [kernel column][channel] of that row,
// which lie side by side in an image whose channels are innermost. Each run is padded to whole steps with bytes of 0,
// which give 0 with any activation. A layer that is no convolution has one run of all columns.
#pragma once

#include "cpu/matmul/linear.h"

namespace sn {
namespace SN_ISA_NAME {

// Parts of the handle.
constexpr int kInt8Weights = 0;     // panels, see dot.h
constexpr int kInt8Scales = 1;      // F32, one a channel, padded to whole panels
constexpr int kInt8ZeroPoints = 2;  // I32 likewise, with the tier's offset added; absent when all are 0

struct Runs {
  int64_t count, taps, channels, steps;  // kernel columns of a run, channels, steps of a run

  explicit Runs(const sn_weights& w)
      : count(w.kernel_rows),
        taps(w.kernel_cols),
        channels(w.cols / (w.kernel_rows * w.kernel_cols)),
        steps(ceil_div(w.cols / w.kernel_rows, kStep)) {}
  int64_t length() const { return taps * channels; }
  int64_t padded() const { return steps * kStep; }
  int64_t all_steps() const { return round_up(count * steps, kStepsMultiple); }
  // Whether the columns are in another order than those of the matrix.
  bool reordered() const { return count * taps > 1; }
  // Column of the matrix [channel, kernel row, kernel column].
  int64_t column(int64_t run, int64_t tap, int64_t channel) const { return (channel * count + run) * taps + tap; }
};

inline int64_t int8_panels(const sn_weights& w) { return ceil_div(w.rows, kPanel); }

}  // namespace SN_ISA_NAME
}  // namespace sn
