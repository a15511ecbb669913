// Convolutions of floats by cuDNN, where that library is found and was faster.
#pragma once

#include "device.h"

namespace sn {
namespace cuda {

// Sums y [images, out, rows, cols] of x [images, channels, height, width] with w [out, channels / groups, kernel rows,
// kernel columns], all close; the numbers of the window are as sn_conv2d has them. x and w are F32, y is F32, and all
// lie as written here; or x and w are BF16, y is F32, and of all three the channels lie innermost.
struct DnnConvolution {
  sn_dtype dtype;
  int64_t images, channels, height, width, out, groups;
  const int64_t* window;
  int64_t rows, cols;
};

// Whether it may be worth asking for: large enough, and the library is there, which is opened then.
bool dnn_wants(const DnnConvolution& convolution);

// How cuDNN computes a convolution.
struct DnnPlan {
  void *plan, *config;  // its descriptors; they stay
  int64_t workspace;    // bytes
};
// The two ways to compute the same, from where it lies to where it is to lie.
struct DnnTrial {
  void* of;
  sn_status (*own)(void* of);
  // Puts `done` to false where cuDNN does not compute it.
  sn_status (*planned)(void* of, const DnnPlan& plan, void* workspace, bool* done);
};
// The plan to use: what the first call for a shape has found to be clearly faster than our own kernels; null if nothing
// is. Until the process ends.
sn_status dnn_choose(Call& call, const DnnConvolution& convolution, const DnnTrial& trial, const DnnPlan** plan);
// Puts the convolution into the stream. Data is aligned to 16 bytes. Not done if cuDNN refuses it; an error if it fails
// while it runs.
sn_status dnn_convolve(Call& call, const DnnPlan& plan, const void* x, const void* w, float* y, void* workspace,
                       bool* done);

// See sn_cuda_cudnn in sinew.h.
sn_status dnn_name(const char* path);
const char* dnn_description();

#if !defined(SINEW_CUDA)
// In the place of SN_CUDNN_LEAST, so that tests need not be as large.
int64_t dnn_least();
#endif

}  // namespace cuda
}  // namespace sn
