// What we use of cuDNN 9's C interface, whose headers are not part of the CUDA toolkit: numbers, handles and functions,
// which are looked up in the library by their names. See NVIDIA's reference, "cudnn_graph" (cudnnBackend...),
// "cudnn_ops" and "cudnn_cnn"; numbers were compared with those of JavaCPP's preset of cuDNN 9.25.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace sn {
namespace cudnn {

// cudnnStatus_t. Of thousands, each with details: 3 is what is not supported, 5 what has failed while it ran.
using Status = int;
constexpr Status kSuccess = 0;
constexpr Status kExecutionFailed = 5000;
inline bool has_failed_running(Status status) { return status / 1000 == kExecutionFailed / 1000; }

using Handle = struct cudnnContext*;
using Create = Status(Handle* handle);
using Destroy = Status(Handle handle);
using SetStream = Status(Handle handle, void* stream);
using GetVersion = size_t();
using GetErrorString = const char*(Status status);

enum DataType { kFloat = 0, kBfloat16 = 9 };     // cudnnDataType_t
enum ConvolutionMode { kCrossCorrelation = 1 };  // cudnnConvolutionMode_t

// The graph interface: descriptors of one kind of handle, whose attributes are set and read by name and type.
using Descriptor = void*;
using BackendCreateDescriptor = Status(int type, Descriptor* descriptor);
using BackendDestroyDescriptor = Status(Descriptor descriptor);
using BackendFinalize = Status(Descriptor descriptor);
using BackendSetAttribute = Status(Descriptor descriptor, int name, int type, int64_t count, const void* elements);
using BackendGetAttribute = Status(Descriptor descriptor, int name, int type, int64_t wanted, int64_t* count,
                                   void* elements);
using BackendExecute = Status(Handle handle, Descriptor plan, Descriptor variant_pack);

// cudnnBackendDescriptorType_t
enum DescriptorType {
  kConvolutionDescriptor = 1,
  kEngineDescriptor = 2,
  kEngineConfigDescriptor = 3,
  kHeuristicsDescriptor = 4,
  kPlanDescriptor = 5,
  kConvolutionForwardDescriptor = 10,
  kGraphDescriptor = 15,
  kVariantPackDescriptor = 16,
  kTensorDescriptor = 17
};
// cudnnBackendAttributeType_t
enum AttributeType {
  kTypeHandle = 0,
  kTypeDataType = 1,
  kTypeInt64 = 3,
  kTypeFloat = 4,
  kTypePointer = 6,
  kTypeConvolutionMode = 7,
  kTypeHeuristicsMode = 8,
  kTypeNumericalNote = 11,
  kTypeDescriptor = 15
};
// cudnnBackendAttributeName_t
enum Attribute {
  kConvolutionComputeType = 100,
  kConvolutionMode = 101,
  kConvolutionDilations = 102,
  kConvolutionStrides = 103,
  kConvolutionPostPaddings = 104,
  kConvolutionPrePaddings = 105,
  kConvolutionSpatialDimensions = 106,
  kHeuristicsMode = 200,
  kHeuristicsGraph = 201,
  kHeuristicsResults = 202,
  kEngineConfigEngine = 300,
  kPlanHandle = 400,
  kPlanEngineConfig = 401,
  kPlanWorkspaceSize = 402,
  kForwardAlpha = 700,
  kForwardBeta = 701,
  kForwardConvolution = 702,
  kForwardW = 703,
  kForwardX = 704,
  kForwardY = 705,
  kGraphHandle = 800,
  kGraphOperations = 801,
  kTensorByteAlignment = 900,
  kTensorDataType = 901,
  kTensorDimensions = 902,
  kTensorStrides = 903,
  kTensorUniqueId = 906,
  kVariantPackUniqueIds = 1000,
  kVariantPackDataPointers = 1001,
  kVariantPackWorkspace = 1003,
  kEngineNumericalNote = 1303
};
enum HeuristicsMode { kHeuristicsFallback = 2, kHeuristicsA = 3 };  // cudnnBackendHeurMode_t
// cudnnBackendNumericalNote_t: what an engine does beside, or in the place of, multiplying and adding as it is told.
enum NumericalNote {
  kTensorCore = 0,
  kDownConvertInputs = 1,
  kReducedPrecisionReduction = 2,
  kFft = 3,
  kNondeterministic = 4,
  kWinograd = 5,  // up to 8, of tiles of several sizes
  kStrictNanPropagation = 9,
  kMostNotes = 10
};

// Functions from before there were graphs, for benchmarks.
using Tensor = struct cudnnTensorStruct*;
using Filter = struct cudnnFilterStruct*;
using Convolution = struct cudnnConvolutionStruct*;
using Pooling = struct cudnnPoolingStruct*;
enum TensorFormat { kNchw = 0 };                                       // cudnnTensorFormat_t
enum MathType { kDefaultMath = 0, kFmaMath = 3 };                      // cudnnMathType_t: the first allows TF32
enum { kForwardAlgorithms = 8 };                                       // cudnnConvolutionFwdAlgo_t, from 0 on
enum SoftmaxAlgorithm { kAccurateSoftmax = 1 };                        // cudnnSoftmaxAlgorithm_t
enum SoftmaxMode { kSoftmaxOfInstance = 0 };                           // cudnnSoftmaxMode_t
enum PoolingMode { kMaxPooling = 0, kAveragePoolingWithPadding = 1 };  // cudnnPoolingMode_t
enum NanPropagation { kPropagateNan = 1 };                             // cudnnNanPropagation_t
enum BatchNormMode { kBatchNormOfChannels = 1 };                       // cudnnBatchNormMode_t, "spatial"
template <class T>
using CreateOf = Status(T* descriptor);
template <class T>
using DestroyOf = Status(T descriptor);
using SetTensor4d = Status(Tensor tensor, int format, int type, int n, int c, int h, int w);
using SetFilter4d = Status(Filter filter, int type, int format, int k, int c, int h, int w);
using SetConvolution2d = Status(Convolution convolution, int pad_h, int pad_w, int stride_h, int stride_w,
                                int dilation_h, int dilation_w, int mode, int compute_type);
using SetConvolutionMathType = Status(Convolution convolution, int math);
using GetConvolutionForwardWorkspaceSize = Status(Handle handle, Tensor x, Filter w, Convolution convolution, Tensor y,
                                                  int algorithm, size_t* bytes);
using ConvolutionForward = Status(Handle handle, const void* alpha, Tensor x, const void* x_data, Filter w,
                                  const void* w_data, Convolution convolution, int algorithm, void* workspace,
                                  size_t workspace_bytes, const void* beta, Tensor y, void* y_data);
using SoftmaxForward = Status(Handle handle, int algorithm, int mode, const void* alpha, Tensor x, const void* x_data,
                              const void* beta, Tensor y, void* y_data);
using SetPooling2d = Status(Pooling pooling, int mode, int nan_propagation, int window_h, int window_w, int pad_h,
                            int pad_w, int stride_h, int stride_w);
using PoolingForward = Status(Handle handle, Pooling pooling, const void* alpha, Tensor x, const void* x_data,
                              const void* beta, Tensor y, void* y_data);
using BatchNormInference = Status(Handle handle, int mode, const void* alpha, const void* beta, Tensor x,
                                  const void* x_data, Tensor y, void* y_data, Tensor parameters, const void* scale,
                                  const void* bias, const void* mean, const void* variance, double epsilon);

}  // namespace cudnn
}  // namespace sn
