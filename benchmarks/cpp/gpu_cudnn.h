// cuDNN 9 beside our kernels, if its library is found: libcudnn.so.9, or what $SINEW_BENCH_CUDNN names. By its
// functions from before there were graphs, as what Sinew itself calls is no peer.
#pragma once

#include <functional>
#include <memory>
#include <string>

namespace sinew_bench {

// A convolution of F32 with stride 1, x [images, channels, side, side], w [channels, channels, kernel, kernel] and as
// much padding as keeps the side.
struct SquareConvolution {
  int images, channels, side, kernel;
};

class Cudnn {
 public:
  // Null, with the reason in `why`, where the library is not found or will not start.
  static std::unique_ptr<Cudnn> open(std::string* why);
  virtual ~Cudnn() = default;
  virtual std::string version() const = 0;
  // A call with the fastest of the library's algorithms that take at most 1 GiB of memory: of F32 multiply-adds or, if
  // allowed, of TF32 on tensor cores. Empty if there is none. Calls are asynchronous, in the default stream.
  virtual std::function<void()> convolution(const SquareConvolution& c, bool tf32, const float* x, const float* w,
                                            float* y) = 0;
  // Of rows of F32.
  virtual std::function<void()> softmax(int rows, int cols, const float* x, float* y) = 0;
  // The largest or the mean of windows of 2 x 2 with stride 2 of images of F32 [images, channels, side, side].
  virtual std::function<void()> pooling(bool largest, int images, int channels, int side, const float* x, float* y) = 0;
  // Such images normalized by their channels' numbers.
  virtual std::function<void()> batch_norm(int images, int channels, int side, const float* x, const float* weight,
                                           const float* bias, const float* mean, const float* variance, double epsilon,
                                           float* y) = 0;
};

}  // namespace sinew_bench
