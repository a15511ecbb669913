// Of each shape the first convolution times what cuDNN proposes and our own kernels. Proposals are engines with notes
// about their arithmetic: taken are those that multiply and add as sn_conv2d says, in some fixed order. So F32 is not
// for tensor cores (which would make it TF32), and nothing is for Winograd's algorithm or Fourier transforms, whose
// errors depend on elements of other windows and other places of the kernel.
#include "dnn.h"

#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cudnn_api.h"
#include "optional_library.h"

namespace sn {
namespace cuda {
namespace {

constexpr int64_t kMostWorkspace = int64_t{256} << 20;
constexpr int kAsked = 32, kTried = 6;  // of each kind of proposals at most, and of all that may be taken
constexpr float kClearly = 1.1f;        // times as fast as our own
constexpr int64_t kAlignment = 16;
enum Id : int64_t { kX = 1, kW, kY };

OptionalLibrary cudnn_library = {"cuDNN",
                                 9,
                                 "SINEW_CUDNN",
                                 "libcudnn.so.9",
                                 "/usr/local/cuda/lib64",
                                 SN_CUDNN_PARTS,
                                 "add org.bytedeco:cuda-redist-cudnn of CUDA 13, classifier linux-x86_64, to the class "
                                 "path, or install cuDNN 9 for CUDA 13",
                                 "cudnnGetVersion"};

struct Library {
  cudnn::Create* create;
  cudnn::SetStream* set_stream;
  cudnn::GetErrorString* error_string;
  cudnn::BackendCreateDescriptor* create_descriptor;
  cudnn::BackendDestroyDescriptor* destroy_descriptor;
  cudnn::BackendFinalize* finalize;
  cudnn::BackendSetAttribute* set_attribute;
  cudnn::BackendGetAttribute* get_attribute;
  cudnn::BackendExecute* execute;
  bool found;

  Library() {
    const LibraryFunction functions[] = {{"cudnnCreate", &create},
                                         {"cudnnSetStream", &set_stream},
                                         {"cudnnGetErrorString", &error_string},
                                         {"cudnnBackendCreateDescriptor", &create_descriptor},
                                         {"cudnnBackendDestroyDescriptor", &destroy_descriptor},
                                         {"cudnnBackendFinalize", &finalize},
                                         {"cudnnBackendSetAttribute", &set_attribute},
                                         {"cudnnBackendGetAttribute", &get_attribute},
                                         {"cudnnBackendExecute", &execute}};
    found = open_library(&cudnn_library, functions, sizeof functions / sizeof *functions);
  }
};

const Library& library() {
  static const Library opened;
  return opened;
}

// A descriptor of the library's, which is good until something that it was told or asked is refused.
class Described {
 public:
  explicit Described(int type) { good_ = library().create_descriptor(type, &descriptor_) == cudnn::kSuccess; }
  // One that was made before.
  explicit Described(const cudnn::Descriptor* made) : descriptor_(*made), good_(true) {}
  ~Described() {
    if (descriptor_ != nullptr) library().destroy_descriptor(descriptor_);
  }
  Described(const Described&) = delete;
  Described& operator=(const Described&) = delete;

  Described& set(int name, int type, int64_t count, const void* elements) {
    good_ = good_ && library().set_attribute(descriptor_, name, type, count, elements) == cudnn::kSuccess;
    return *this;
  }
  Described& set(int name, int64_t number) { return set(name, cudnn::kTypeInt64, 1, &number); }
  Described& set(int name, const Described& other) {
    good_ = good_ && other.good_;
    return set(name, cudnn::kTypeDescriptor, 1, &other.descriptor_);
  }
  Described& finalize() {
    good_ = good_ && library().finalize(descriptor_) == cudnn::kSuccess;
    return *this;
  }
  // How many elements there are, up to so many; 0 if it cannot be told.
  int64_t get(int name, int type, int64_t most, void* elements) const {
    int64_t count = 0;
    if (!good_ || library().get_attribute(descriptor_, name, type, most, &count, elements) != cudnn::kSuccess) return 0;
    return count < most ? count : most;
  }
  bool good() const { return good_; }
  cudnn::Descriptor* place() { return &descriptor_; }
  // Whoever takes it destroys it, or nobody does.
  cudnn::Descriptor release() {
    const cudnn::Descriptor released = descriptor_;
    descriptor_ = nullptr;
    return released;
  }

 private:
  cudnn::Descriptor descriptor_ = nullptr;
  bool good_ = false;
};

void describe(Described* tensor, int64_t id, sn_dtype dtype, bool channels_last, int64_t n, int64_t c, int64_t h,
              int64_t w) {
  const int type = dtype == SN_F32 ? cudnn::kFloat : cudnn::kBfloat16;
  const int64_t dimensions[] = {n, c, h, w};
  const int64_t strides[] = {c * h * w, channels_last ? 1 : h * w, channels_last ? w * c : w, channels_last ? c : 1};
  tensor->set(cudnn::kTensorUniqueId, id)
      .set(cudnn::kTensorDataType, cudnn::kTypeDataType, 1, &type)
      .set(cudnn::kTensorByteAlignment, kAlignment)
      .set(cudnn::kTensorDimensions, cudnn::kTypeInt64, 4, dimensions)
      .set(cudnn::kTensorStrides, cudnn::kTypeInt64, 4, strides)
      .finalize();
}

// The graph of one operation, y = x convolved with w. cuDNN sees groups in the channels of x and w.
class Graph {
 public:
  Graph(cudnn::Handle handle, const DnnConvolution& c) {
    const bool last = c.dtype == SN_BF16;
    describe(&x_, kX, c.dtype, last, c.images, c.channels, c.height, c.width);
    describe(&w_, kW, c.dtype, last, c.out, c.channels / c.groups, c.window[0], c.window[1]);
    describe(&y_, kY, SN_F32, last, c.images, c.out, c.rows, c.cols);
    const int compute = cudnn::kFloat, mode = cudnn::kCrossCorrelation;
    convolution_.set(cudnn::kConvolutionComputeType, cudnn::kTypeDataType, 1, &compute)
        .set(cudnn::kConvolutionMode, cudnn::kTypeConvolutionMode, 1, &mode)
        .set(cudnn::kConvolutionSpatialDimensions, 2)
        .set(cudnn::kConvolutionStrides, cudnn::kTypeInt64, 2, c.window + 2)
        .set(cudnn::kConvolutionPrePaddings, cudnn::kTypeInt64, 2, c.window + 4)
        .set(cudnn::kConvolutionPostPaddings, cudnn::kTypeInt64, 2, c.window + 4)
        .set(cudnn::kConvolutionDilations, cudnn::kTypeInt64, 2, c.window + 6)
        .finalize();
    const float one = 1, zero = 0;
    forward_.set(cudnn::kForwardConvolution, convolution_)
        .set(cudnn::kForwardX, x_)
        .set(cudnn::kForwardW, w_)
        .set(cudnn::kForwardY, y_)
        .set(cudnn::kForwardAlpha, cudnn::kTypeFloat, 1, &one)
        .set(cudnn::kForwardBeta, cudnn::kTypeFloat, 1, &zero)
        .finalize();
    graph_.set(cudnn::kGraphHandle, cudnn::kTypeHandle, 1, &handle).set(cudnn::kGraphOperations, forward_).finalize();
  }
  const Described& described() const { return graph_; }

 private:
  Described x_{cudnn::kTensorDescriptor}, w_{cudnn::kTensorDescriptor}, y_{cudnn::kTensorDescriptor};
  Described convolution_{cudnn::kConvolutionDescriptor}, forward_{cudnn::kConvolutionForwardDescriptor};
  Described graph_{cudnn::kGraphDescriptor};
};

// Whether an engine keeps to F32 sums of exact products, in the same order every time. What is not known here is not
// promised.
bool is_exact_enough(const Described& config, sn_dtype dtype) {
  Described engine(cudnn::kEngineDescriptor);
  if (!engine.good() || config.get(cudnn::kEngineConfigEngine, cudnn::kTypeDescriptor, 1, engine.place()) != 1)
    return false;
  int notes[cudnn::kMostNotes];
  int64_t count = 0;
  if (library().get_attribute(*engine.place(), cudnn::kEngineNumericalNote, cudnn::kTypeNumericalNote,
                              cudnn::kMostNotes, &count, notes) != cudnn::kSuccess ||
      count > cudnn::kMostNotes)
    return false;
  for (int64_t i = 0; i < count; ++i) {
    const bool harmless =
        notes[i] == cudnn::kStrictNanPropagation || (notes[i] == cudnn::kTensorCore && dtype == SN_BF16);
    if (!harmless) return false;
  }
  return true;
}

// Plans for the graph of a mode's proposals that may be taken, best first. Returns how many there are then.
int propose(cudnn::Handle handle, const Graph& graph, int mode, sn_dtype dtype, DnnPlan* plans, int count) {
  Described heuristics(cudnn::kHeuristicsDescriptor);
  heuristics.set(cudnn::kHeuristicsGraph, graph.described())
      .set(cudnn::kHeuristicsMode, cudnn::kTypeHeuristicsMode, 1, &mode)
      .finalize();
  cudnn::Descriptor proposals[kAsked] = {};
  int made = 0;
  while (made < kAsked && heuristics.good() &&
         library().create_descriptor(cudnn::kEngineConfigDescriptor, &proposals[made]) == cudnn::kSuccess)
    ++made;
  const int64_t proposed = heuristics.get(cudnn::kHeuristicsResults, cudnn::kTypeDescriptor, made, proposals);
  for (int i = 0; i < made; ++i) {
    Described config(&proposals[i]);
    if (i >= proposed || count == kTried || !is_exact_enough(config, dtype)) continue;
    Described plan(cudnn::kPlanDescriptor);
    plan.set(cudnn::kPlanHandle, cudnn::kTypeHandle, 1, &handle).set(cudnn::kPlanEngineConfig, config).finalize();
    int64_t workspace = 0;
    if (plan.get(cudnn::kPlanWorkspaceSize, cudnn::kTypeInt64, 1, &workspace) != 1 || workspace > kMostWorkspace)
      continue;
    plans[count++] = {plan.release(), config.release(), workspace};
  }
  return count;
}

void destroy(const DnnPlan& plan) {
  library().destroy_descriptor(plan.plan);
  library().destroy_descriptor(plan.config);
}

// Of a GPU and everything that a choice may depend on.
struct Key {
  int64_t parts[18];
};
// Kept until the process ends, in a list as in lt.cc.
struct Choice {
  Key key;
  DnnPlan plan;
  bool taken;  // else our own kernels
  Choice* next;
};
constexpr int kMostGpus = 64;
// Held while the library is called, since a handle is for one thread at a time, and while a choice is made, which calls
// it by way of dnn_convolve.
pthread_mutex_t mutex = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
cudnn::Handle handles[kMostGpus];
Choice* choices = nullptr;
bool trying = false;  // proposals, which may fail

class Lock {
 public:
  Lock() { pthread_mutex_lock(&mutex); }
  ~Lock() { pthread_mutex_unlock(&mutex); }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;
};

char refusal[1000];
const char* refused = nullptr;  // atomic; what to say once it did not start

// The GPU's handle, with the call's stream; null if there is none. Under the lock.
cudnn::Handle handle_of(const Call& call) {
  const int gpu = call.gpu();
  if (gpu < 0 || gpu >= kMostGpus) return nullptr;
  if (handles[gpu] == nullptr) {
    const cudnn::Status status = library().create(&handles[gpu]);
    if (status != cudnn::kSuccess) {
      handles[gpu] = nullptr;
      if (refused != nullptr) return nullptr;
      snprintf(refusal, sizeof refusal, "Sinew, as %.700s does not start: %.200s", cudnn_library.description,
               library().error_string(status));
      __atomic_store_n(&refused, &refusal[0], __ATOMIC_RELEASE);
    }
  }
  if (handles[gpu] == nullptr || library().set_stream(handles[gpu], call.raw_stream()) != cudnn::kSuccess)
    return nullptr;
  return handles[gpu];
}

// The fastest of the plans, if it is clearly faster than our own kernels. The others are gone afterwards.
bool choose(Call& call, DnnPlan* plans, int count, const DnnTrial& trial, DnnPlan* best) {
  int64_t workspace = 0;
  for (int i = 0; i < count; ++i) workspace = plans[i].workspace > workspace ? plans[i].workspace : workspace;
  void* const memory = workspace > 0 ? call.spare(workspace) : nullptr;
  Stopwatch stopwatch(call);
  const float own = stopwatch.best_of_three([&] { return trial.own(trial.of) == SN_OK; });
  float least = own / kClearly;
  int fastest = -1;
  trying = true;
  for (int i = 0; i < count && own >= 0 && call.status() == SN_OK; ++i) {
    if (plans[i].workspace > 0 && memory == nullptr) continue;
    const float took = stopwatch.best_of_three([&] {
      bool done = false;
      return trial.planned(trial.of, plans[i], memory, &done) == SN_OK && done;
    });
    if (took < 0 || took > least) continue;
    least = took;
    fastest = i;
  }
  trying = false;
  for (int i = 0; i < count; ++i) {
    if (i == fastest) {
      *best = plans[i];
    } else {
      destroy(plans[i]);
    }
  }
  return fastest >= 0;
}

}  // namespace

sn_status dnn_name(const char* path) { return name_library(&cudnn_library, path); }
const char* dnn_description() {
  library();
  const char* const why = __atomic_load_n(&refused, __ATOMIC_ACQUIRE);
  return why != nullptr ? why : cudnn_library.description;
}

bool dnn_wants(const DnnConvolution& c) {
#if defined(SINEW_CUDA)
  const int64_t least = SN_CUDNN_LEAST;
#else
  const int64_t least = dnn_least();
#endif
  const int64_t inner = c.channels / c.groups * c.window[0] * c.window[1];
  const double results = static_cast<double>(c.images) * static_cast<double>(c.out) * static_cast<double>(c.rows) *
                         static_cast<double>(c.cols);
  const double x = static_cast<double>(c.images) * static_cast<double>(c.channels) * static_cast<double>(c.height) *
                   static_cast<double>(c.width);
  const double weights = static_cast<double>(c.out) * static_cast<double>(inner);
  // Of more elements than an int counts some of its engines are said to be wrong.
  if (results > INT_MAX || x > INT_MAX || weights > INT_MAX) return false;
  for (int i = 0; i < 8; ++i) {
    if (c.window[i] > INT_MAX) return false;
  }
  return results * static_cast<double>(inner) >= static_cast<double>(least) && library().found;
}

sn_status dnn_choose(Call& call, const DnnConvolution& c, const DnnTrial& trial, const DnnPlan** plan) {
  *plan = nullptr;
  if (call.status() != SN_OK) return call.status();
  Key key = {{call.gpu(), c.dtype, c.images, c.channels, c.height, c.width, c.out, c.groups, c.rows, c.cols}};
  memcpy(key.parts + 10, c.window, 8 * sizeof *c.window);
  const Lock lock;
  for (const Choice* known = choices; known != nullptr; known = known->next) {
    if (memcmp(&known->key, &key, sizeof key) != 0) continue;
    if (known->taken) *plan = &known->plan;
    return SN_OK;
  }
  Choice* kept = static_cast<Choice*>(malloc(sizeof(Choice)));
  const cudnn::Handle handle = kept == nullptr ? nullptr : handle_of(call);
  DnnPlan plans[kTried];
  int count = 0;
  if (handle != nullptr) {
    const Graph graph(handle, c);
    count = propose(handle, graph, cudnn::kHeuristicsA, c.dtype, plans, count);
    count = propose(handle, graph, cudnn::kHeuristicsFallback, c.dtype, plans, count);
    call.forget_error();
  }
  DnnPlan best = {};
  const bool taken = count > 0 && choose(call, plans, count, trial, &best);
  if (kept == nullptr || call.status() != SN_OK) {
    if (taken) destroy(best);
    free(kept);
    return call.status();
  }
  *kept = {key, best, taken, choices};
  choices = kept;
  if (taken) *plan = &kept->plan;
  return SN_OK;
}

sn_status dnn_convolve(Call& call, const DnnPlan& plan, const void* x, const void* w, float* y, void* workspace,
                       bool* done) {
  *done = false;
  if (call.status() != SN_OK) return call.status();
  const Lock lock;
  const cudnn::Handle handle = handle_of(call);
  const int64_t ids[] = {kX, kW, kY};
  const void* const data[] = {x, w, y};
  Described pack(cudnn::kVariantPackDescriptor);
  pack.set(cudnn::kVariantPackUniqueIds, cudnn::kTypeInt64, 3, ids)
      .set(cudnn::kVariantPackDataPointers, cudnn::kTypePointer, 3, data)
      .set(cudnn::kVariantPackWorkspace, cudnn::kTypePointer, 1, &workspace)
      .finalize();
  if (handle == nullptr || !pack.good()) return SN_OK;
#if !defined(SINEW_CUDA)
  open_memory();
#endif
  const cudnn::Status status = library().execute(handle, plan.plan, *pack.place());
#if !defined(SINEW_CUDA)
  close_memory();
#endif
  *done = status == cudnn::kSuccess;
  if (!*done) call.forget_error();
  if (trying || !cudnn::has_failed_running(status)) return SN_OK;
  return call.failed("a convolution of cuDNN", library().error_string(status));
}

}  // namespace cuda
}  // namespace sn
