#include "gpu_cudnn.h"

#include <cuda_runtime_api.h>
#include <dlfcn.h>

#include <cstdlib>
#include <limits>
#include <vector>

namespace sinew_bench {
namespace {

// Of cuDNN's headers, which are not part of the CUDA toolkit; see its API reference, "cudnn_graph" and "cudnn_cnn".
using Handle = struct cudnnContext*;
using TensorDescriptor = struct cudnnTensorStruct*;
using FilterDescriptor = struct cudnnFilterStruct*;
using ConvolutionDescriptor = struct cudnnConvolutionStruct*;
enum { kSuccess = 0 };
enum { kFloat = 0 };                      // cudnnDataType_t
enum { kNchw = 0 };                       // cudnnTensorFormat_t
enum { kCrossCorrelation = 1 };           // cudnnConvolutionMode_t
enum { kDefaultMath = 0, kFmaMath = 3 };  // cudnnMathType_t: the first allows TF32
enum { kAlgorithms = 8 };                 // cudnnConvolutionFwdAlgo_t, from 0 on
enum { kAccurateSoftmax = 1 };            // cudnnSoftmaxAlgorithm_t
enum { kSoftmaxOfInstance = 0 };          // cudnnSoftmaxMode_t

// What has to be given back when the last call that uses it is gone.
template <class T>
std::shared_ptr<T> owned(T* p, int (*destroy)(T*)) {
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
        find("cudnnConvolutionForward", &convolve_) && find("cudnnSoftmaxForward", &softmax_);
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
    FilterDescriptor filter = nullptr;
    ConvolutionDescriptor convolution = nullptr;
    create_filter_(&filter);
    create_convolution_(&convolution);
    const auto weights = owned(filter, destroy_filter_);
    const auto window = owned(convolution, destroy_convolution_);
    const int padding = c.kernel / 2;
    if (images == nullptr ||
        set_filter_(filter, kFloat, kNchw, c.channels, c.channels, c.kernel, c.kernel) != kSuccess ||
        set_convolution_(convolution, padding, padding, 1, 1, 1, 1, kCrossCorrelation, kFloat) != kSuccess ||
        set_math_(convolution, tf32 ? kDefaultMath : kFmaMath) != kSuccess) {
      return {};
    }
    std::function<void()> fastest;
    double least = std::numeric_limits<double>::infinity();
    for (int algorithm = 0; algorithm < kAlgorithms; ++algorithm) {
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
      softmax_(handle_, kAccurateSoftmax, kSoftmaxOfInstance, &one, shape.get(), x, &zero, shape.get(), y);
    };
  }

 private:
  template <class F>
  bool find(const char* name, F** function) {
    *function = reinterpret_cast<F*>(dlsym(library_, name));
    if (*function == nullptr) missing_ = name;
    return *function != nullptr;
  }
  std::shared_ptr<struct cudnnTensorStruct> tensor(int n, int channels, int height, int width) {
    TensorDescriptor descriptor = nullptr;
    if (create_tensor_(&descriptor) != kSuccess) return nullptr;
    auto result = owned(descriptor, destroy_tensor_);
    return set_tensor_(descriptor, kNchw, kFloat, n, channels, height, width) == kSuccess ? result : nullptr;
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
  Handle handle_ = nullptr;
  std::string missing_;
  size_t (*version_)() = nullptr;
  int (*create_)(Handle*) = nullptr;
  int (*destroy_)(Handle) = nullptr;
  int (*create_tensor_)(TensorDescriptor*) = nullptr;
  int (*destroy_tensor_)(TensorDescriptor) = nullptr;
  int (*set_tensor_)(TensorDescriptor, int, int, int, int, int, int) = nullptr;
  int (*create_filter_)(FilterDescriptor*) = nullptr;
  int (*destroy_filter_)(FilterDescriptor) = nullptr;
  int (*set_filter_)(FilterDescriptor, int, int, int, int, int, int) = nullptr;
  int (*create_convolution_)(ConvolutionDescriptor*) = nullptr;
  int (*destroy_convolution_)(ConvolutionDescriptor) = nullptr;
  int (*set_convolution_)(ConvolutionDescriptor, int, int, int, int, int, int, int, int) = nullptr;
  int (*set_math_)(ConvolutionDescriptor, int) = nullptr;
  int (*workspace_size_)(Handle, TensorDescriptor, FilterDescriptor, ConvolutionDescriptor, TensorDescriptor, int,
                         size_t*) = nullptr;
  int (*convolve_)(Handle, const void*, TensorDescriptor, const void*, FilterDescriptor, const void*,
                   ConvolutionDescriptor, int, void*, size_t, const void*, TensorDescriptor, void*) = nullptr;
  int (*softmax_)(Handle, int, int, const void*, TensorDescriptor, const void*, const void*, TensorDescriptor,
                  void*) = nullptr;
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
