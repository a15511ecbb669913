// The CUDA back end as kernels see it. Tests on machines without a GPU put another run-time library under it, which
// runs the same kernels' bodies on the CPU (tests/cpp/cuda/).
#pragma once

#include <cuda_runtime_api.h>
#include <stdint.h>

#include "core/backend.h"
#include "core/tensor.h"
#include "core/weights.h"

namespace sn {
namespace cuda {

// Records the sentence for sn_last_error() (printf format) and returns the status.
__attribute__((format(printf, 2, 3))) sn_status fail(sn_status status, const char* format, ...);

// What the threads of a kernel find out together.
struct Findings {
  unsigned long long count, other;  // sums
  uint32_t largest;                 // a maximum
};

// What is wrong with a bitmap, as the largest finding.
constexpr uint32_t kMisplaced = 1, kPadded = 2;
// The same in a sentence; found.count is the number of its ones.
SN_LOCAL sn_status bitmap_status(const Findings& found, const sn_tensor* values) {
  if (found.largest == kPadded) return fail(SN_INVALID_ARGUMENT, "the bitmap has ones beyond the last column");
  if (static_cast<int64_t>(found.count) != values->elements) {
    return fail(SN_INVALID_ARGUMENT, "values has %lld elements, but the bitmap %lld ones",
                static_cast<long long>(values->elements), static_cast<long long>(found.count));
  }
  if (found.largest == kMisplaced) return fail(SN_INVALID_ARGUMENT, "row_offsets do not fit the ones of the bitmap");
  return SN_OK;
}

// A call of an operation: makes its device the current one of this thread, and other calls wait for it.
class Call {
 public:
  explicit Call(sn_device* device);
  ~Call();
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  // Not SN_OK if the device has failed before, or something of this call.
  sn_status status() const { return status_; }
  // Memory of the GPU, until the call ends, with anything in it; null with a status when there is none.
  void* scratch(int64_t bytes);
  // Such memory for what can be done without: null, and all is well, when there is none.
  void* spare(int64_t bytes);
  template <class T>
  T* scratch_of(int64_t count) {
    return static_cast<T*>(scratch(count * static_cast<int64_t>(sizeof(T))));
  }
  template <class T>
  T* zeroed_scratch_of(int64_t count) {
    T* const data = scratch_of<T>(count);
    return zero(data, count * static_cast<int64_t>(sizeof(T))) == SN_OK ? data : nullptr;
  }
  // A library has failed to compute `what`, as `why` says.
  sn_status failed(const char* what, const char* why);
  // It has refused to, and what it did instead takes its place.
  void forget_error();
  // Copies within the memory of the GPU.
  sn_status copy(void* to, const void* from, int64_t bytes);
  // Copies to and from the memory of the GPU, in the order of the stream, and waits.
  sn_status upload(void* to, const void* from, int64_t bytes);
  sn_status download(void* to, const void* from, int64_t bytes);

  int gpu() const;  // its number
  // The stream, for the libraries' interfaces.
  void* raw_stream() const;
  // Whether the GPU, and the code there is for it, have Hopper's products of warpgroups (wgmma).
  bool has_wgmma() const;

  cudaStream_t stream() const;
  int64_t multiprocessors() const;
  // So many blocks of 256 threads fill the GPU.
  int64_t blocks() const;
  // Zeroed findings in the memory of the GPU; null with a status when that fails.
  Findings* findings();
  // Waits for the kernel and reads its findings.
  sn_status read(Findings* found);
  // What became of the last launch.
  sn_status launched();

 private:
  sn_status zero(void* data, int64_t bytes);

  static constexpr int kMostScratch = 8;

  sn_device* device_;
  int previous_ = -1;
  sn_status status_ = SN_OK;
  void* scratch_[kMostScratch];
  int scratches_ = 0;
};

// Times what the GPU does.
class Stopwatch {
 public:
  explicit Stopwatch(Call& call);
  ~Stopwatch();
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

  // Milliseconds that the GPU takes for what work() puts into the call's stream, the best of three after one that warms
  // up; -1 if work() gives false or the GPU fails, which the call's status says if nothing else can be done.
  template <class Work>
  float best_of_three(const Work& work) {
    float best = -1;
    for (int round = 0; round < 4; ++round) {
      start();
      const bool works = work();
      const float took = stop();
      if (!works || took < 0) return -1;
      if (round == 1 || (round > 1 && took < best)) best = took;
    }
    return best;
  }

 private:
  void start();
  float stop();  // waits

  Call& call_;
  cudaEvent_t begin_ = nullptr, end_ = nullptr;
};

#if !defined(SINEW_CUDA)
// The device's memory on the CPU can be touched only while a kernel, or a library, runs.
void open_memory();
void close_memory();
#endif

// Prototypes of all operations. Those that have no kernel yet are not defined; see table.cc.
#define SN_OP(name, params) sn_status name params;
#include "core/ops.inc"
#undef SN_OP

inline sn_status not_finite() { return fail(SN_NOT_FINITE, "the tensor holds NaN or infinity"); }

const sn_ops* operations();

// The collectives of sn_backend.
int64_t exchange_bytes(int32_t world_size);
sn_status collective(sn_device* device, const sn_rank_call* call, int32_t* late);
sn_status all_reduce_norm(sn_device* device, const sn_rank_call* call, const sn_rank_norm* norm, int32_t* late);

}  // namespace cuda
}  // namespace sn
