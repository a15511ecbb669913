#include "gpu_cudnn.h"

#include <cuda_runtime_api.h>
#include <dlfcn.h>

#include <cstdlib>
#include <limits>
#include <type_traits>
#include <vector>

#include "cudnn_api.h"

namespace sinew_bench {
namespace {

namespace cudnn = sn::cudnn;
using cudnn::kSuccess;

// What has to be given back when the last call that uses it is gone.
template <class T>
std::shared_ptr<T> owned(T* p, cudnn::DestroyOf<T*>* destroy) {
  return std::shared_ptr<T>(p, [destroy](T* q) { destroy(q); });
}

class Library : public Cudnn {
 public:
  explicit Library(void* library) : library_(library) {}
  ~Library() override {
    if (handle_ != nullptr) destroy_(handle_);
  }

  bool start(std::string* why) {
    const bool found =
        find("cudnnGetVersion", &version_) && find("cudnnCreate", &create_) && find("cudnnDestroy", &destroy_) &&
        find("cudnnCreateTensorDescriptor", &create_tensor_) &&
        find("cudnnDestroyTensorDescriptor", &destroy_tensor_) && find("cudnnSetTensor4dDescriptor", &set_tensor_) &&
        find("cudnnCreateFilterDescriptor", &create_filter_) &&
        find("cudnnDestroyFilterDescriptor", &destroy_filter_) && find("cudnnSetFilter4dDescriptor", &set_filter_) &&
        find("cudnnCreateConvolutionDescriptor", &create_convolution_) &&
        find("cudnnDestroyConvolutionDescriptor", &destroy_convolution_) &&
        find("cudnnSetConvolution2dDescriptor", &set_convolution_) && find("cudnnSetConvolutionMathType", &set_math_) &&
        find("cudnnGetConvolutionForwardWorkspaceSize", &workspace_size_) &&
        find("cudnnConvolutionForward", &convolve_) && find("cudnnSoftmaxForward", &softmax_) &&
        find("cudnnCreatePoolingDescriptor", &create_pooling_) &&
        find("cudnnDestroyPoolingDescriptor", &destroy_pooling_) &&
        find("cudnnSetPooling2dDescriptor", &set_pooling_) && find("cudnnPoolingForward", &pool_) &&
        find("cudnnBatchNormalizationForwardInference", &normalize_);
    if (!found) {
      *why = missing_ + " is not in it";
      return false;
    }
    const int status = create_(&handle_);
    if (status != kSuccess) *why = "cudnnCreate answers " + std::to_string(status);
    return status == kSuccess;
  }

  std::string version() const override { return std::to_string(version_()); }

  std::function<void()> convolution(const SquareConvolution& c, bool tf32, const float* x, const float* w,
                                    float* y) override {
    const auto images = tensor(c.images, c.channels, c.side, c.side);
    cudnn::Filter filter = nullptr;
    cudnn::Convolution convolution = nullptr;
    create_filter_(&filter);
    create_convolution_(&convolution);
    const auto weights = owned(filter, destroy_filter_);
    const auto window = owned(convolution, destroy_convolution_);
    const int padding = c.kernel / 2;
    if (images == nullptr ||
        set_filter_(filter, cudnn::kFloat, cudnn::kNchw, c.channels, c.channels, c.kernel, c.kernel) != kSuccess ||
        set_convolution_(convolution, padding, padding, 1, 1, 1, 1, cudnn::kCrossCorrelation, cudnn::kFloat) !=
            kSuccess ||
        set_math_(convolution, tf32 ? cudnn::kDefaultMath : cudnn::kFmaMath) != kSuccess) {
      return {};
    }
    std::function<void()> fastest;
    double least = std::numeric_limits<double>::infinity();
    for (int algorithm = 0; algorithm < cudnn::kForwardAlgorithms; ++algorithm) {
      size_t bytes = 0;
      void* memory = nullptr;
      if (workspace_size_(handle_, images.get(), filter, convolution, images.get(), algorithm, &bytes) != kSuccess ||
          bytes > size_t{1} << 30 || (bytes > 0 && cudaMalloc(&memory, bytes) != cudaSuccess)) {
        continue;
      }
      const std::shared_ptr<void> workspace(memory, [](void* p) { cudaFree(p); });
      const auto call = [=] {
        const float one = 1, zero = 0;
        return convolve_(handle_, &one, images.get(), x, weights.get(), w, window.get(), algorithm, workspace.get(),
                         bytes, &zero, images.get(), y);
      };
      if (call() != kSuccess) continue;
      const double seconds = seconds_of_five(call);
      if (seconds >= least) continue;
      least = seconds;
      fastest = [call] { call(); };
    }
    return fastest;
  }

  std::function<void()> softmax(int rows, int cols, const float* x, float* y) override {
    const auto shape = tensor(rows, cols, 1, 1);
    if (shape == nullptr) return {};
    return [=] {
      const float one = 1, zero = 0;
      softmax_(handle_, cudnn::kAccurateSoftmax, cudnn::kSoftmaxOfInstance, &one, shape.get(), x, &zero, shape.get(),
               y);
    };
  }

  std::function<void()> pooling(bool largest, int images, int channels, int side, const float* x, float* y) override {
    const auto from = tensor(images, channels, side, side), to = tensor(images, channels, side / 2, side / 2);
    cudnn::Pooling descriptor = nullptr;
    create_pooling_(&descriptor);
    const auto window = owned(descriptor, destroy_pooling_);
    const int mode = largest ? cudnn::kMaxPooling : cudnn::kAveragePoolingWithPadding;
    if (from == nullptr || to == nullptr ||
        set_pooling_(descriptor, mode, cudnn::kPropagateNan, 2, 2, 0, 0, 2, 2) != kSuccess) {
      return {};
    }
    return [=] {
      const float one = 1, zero = 0;
      pool_(handle_, window.get(), &one, from.get(), x, &zero, to.get(), y);
    };
  }

  std::function<void()> batch_norm(int images, int channels, int side, const float* x, const float* weight,
                                   const float* bias, const float* mean, const float* variance, double epsilon,
                                   float* y) override {
    const auto shape = tensor(images, channels, side, side), parameters = tensor(1, channels, 1, 1);
    if (shape == nullptr || parameters == nullptr) return {};
    return [=] {
      const float one = 1, zero = 0;
      normalize_(handle_, cudnn::kBatchNormOfChannels, &one, &zero, shape.get(), x, shape.get(), y, parameters.get(),
                 weight, bias, mean, variance, epsilon);
    };
  }

 private:
  template <class F>
  bool find(const char* name, F** function) {
    *function = reinterpret_cast<F*>(dlsym(library_, name));
    if (*function == nullptr) missing_ = name;
    return *function != nullptr;
  }
  std::shared_ptr<std::remove_pointer_t<cudnn::Tensor>> tensor(int n, int channels, int height, int width) {
    cudnn::Tensor descriptor = nullptr;
    if (create_tensor_(&descriptor) != kSuccess) return nullptr;
    auto result = owned(descriptor, destroy_tensor_);
    return set_tensor_(descriptor, cudnn::kNchw, cudnn::kFloat, n, channels, height, width) == kSuccess ? result
                                                                                                        : nullptr;
  }
  template <class F>
  double seconds_of_five(F call) {
    cudaEvent_t begin, end;
    cudaEventCreate(&begin);
    cudaEventCreate(&end);
    cudaEventRecord(begin, nullptr);
    for (int i = 0; i < 5; ++i) call();
    cudaEventRecord(end, nullptr);
    cudaEventSynchronize(end);
    float milliseconds = 0;
    cudaEventElapsedTime(&milliseconds, begin, end);
    cudaEventDestroy(begin);
    cudaEventDestroy(end);
    return static_cast<double>(milliseconds) * 1e-3;
  }

  void* library_;  // stays open: its threads may run until the process ends
  cudnn::Handle handle_ = nullptr;
  std::string missing_;
  cudnn::GetVersion* version_ = nullptr;
  cudnn::Create* create_ = nullptr;
  cudnn::Destroy* destroy_ = nullptr;
  cudnn::CreateOf<cudnn::Tensor>* create_tensor_ = nullptr;
  cudnn::DestroyOf<cudnn::Tensor>* destroy_tensor_ = nullptr;
  cudnn::SetTensor4d* set_tensor_ = nullptr;
  cudnn::CreateOf<cudnn::Filter>* create_filter_ = nullptr;
  cudnn::DestroyOf<cudnn::Filter>* destroy_filter_ = nullptr;
  cudnn::SetFilter4d* set_filter_ = nullptr;
  cudnn::CreateOf<cudnn::Convolution>* create_convolution_ = nullptr;
  cudnn::DestroyOf<cudnn::Convolution>* destroy_convolution_ = nullptr;
  cudnn::SetConvolution2d* set_convolution_ = nullptr;
  cudnn::SetConvolutionMathType* set_math_ = nullptr;
  cudnn::GetConvolutionForwardWorkspaceSize* workspace_size_ = nullptr;
  cudnn::ConvolutionForward* convolve_ = nullptr;
  cudnn::SoftmaxForward* softmax_ = nullptr;
  cudnn::CreateOf<cudnn::Pooling>* create_pooling_ = nullptr;
  cudnn::DestroyOf<cudnn::Pooling>* destroy_pooling_ = nullptr;
  cudnn::SetPooling2d* set_pooling_ = nullptr;
  cudnn::PoolingForward* pool_ = nullptr;
  cudnn::BatchNormInference* normalize_ = nullptr;
};

}  // namespace

std::unique_ptr<Cudnn> Cudnn::open(std::string* why) {
  const char* named = std::getenv("SINEW_BENCH_CUDNN");
  void* library = dlopen(named != nullptr ? named : "libcudnn.so.9", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    *why = dlerror();
    return nullptr;
  }
  auto cudnn = std::make_unique<Library>(library);
  return cudnn->start(why) ? std::move(cudnn) : nullptr;
}

}  // namespace sinew_bench
