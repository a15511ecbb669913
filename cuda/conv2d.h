// Convolutions. See sn_conv2d in sinew.h.
#pragma once

#include "linear.h"

namespace sn {
namespace cuda {

struct Convolution {
  sn_dtype dtype;
  const void* x;
  int64_t batch, channels;
  int64_t kernel_rows, kernel_cols, dilation_rows, dilation_cols;
  int64_t groups, in_group, out_group;
  Windows windows;

  SN_HD int64_t places() const { return kernel_rows * kernel_cols; }
  SN_HD int64_t count() const { return batch * windows.positions(); }
};

// A table of the kernel's places in `channels` channels, whose elements are `size` apart, as are their planes where
// they are not interleaved.
const Tap* make_taps(Call& call, const Convolution& c, int64_t channels);
// Our own way to compute a convolution.
struct OwnConvolution {
  void* of;
  sn_status (*run)(Call& call, void* of);
};
// For weights of SN_FLOAT, by cuDNN: done if that is there, takes such a convolution and was clearly faster.
sn_status convolve_by_cudnn(Call& call, const Convolution& c, const sn_weights* w, const int64_t* window,
                            const Results& to, const OwnConvolution& own, bool* done);
// For one group and weights of SN_W8A8.
sn_status conv2d_w8a8(Call& call, const Convolution& c, const sn_weights* w, const Results& to);

}  // namespace cuda
}  // namespace sn
