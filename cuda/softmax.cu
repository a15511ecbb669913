// Softmax of rows. See sinew.h.
#include "activation.h"
#include "sums.h"
#include "team.h"

namespace sn {
namespace cuda {
namespace {

// A row a team. Exponentials go through shared memory, kTeam * kStep at a time, where 16 threads add them up in lanes.
struct SoftmaxRows {
  static constexpr bool kFinds = false, kOrdered = false;
  static constexpr int kChunk = kTeam * kStep;
  struct State {};
  struct Shared {
    float largest[kTeam], top[kLanes];
    float terms[kChunk];
    double sums[kLanes];
    float divisor;
  };
  sn_dtype dtype;
  const void* x;
  void* y;
  int64_t cols;

  SN_HD int phases() const { return 4 + 2 * static_cast<int>((cols + kChunk - 1) / kChunk); }

  SN_HD int length(int64_t col) const { return cols - col < kStep ? static_cast<int>(cols - col) : kStep; }
  SN_HD Elements<float> exponentials(int64_t row, int64_t col, int n, float top) const {
    Elements<float> v = load_reals(dtype, x, row * cols + col, n);
    SN_UNROLL
    for (int j = 0; j < kStep; ++j) v.of[j] = exponential(v.of[j] - top);
    return v;
  }

  SN_HD void phase(int p, int64_t row, int thread, State&, Shared& shared, Findings&) const {
    if (p == 0) {
      // NaN is passed over here, and makes the sum NaN.
      float largest = -__builtin_inff();
      for (int64_t col = int64_t{thread} * kStep; col < cols; col += kChunk) {
        const int n = length(col);
        const Elements<float> v = load_reals(dtype, x, row * cols + col, n);
        SN_UNROLL
        for (int j = 0; j < kStep; ++j) largest = j < n ? greater(v.of[j], largest) : largest;
      }
      shared.largest[thread] = largest;
      return;
    }
    if (p == 1) {
      if (thread >= kLanes) return;
      float largest = shared.largest[thread];
      for (int i = thread; i < kTeam; i += kLanes) largest = greater(shared.largest[i], largest);
      shared.top[thread] = largest;
      shared.sums[thread] = 0;
      return;
    }
    float top = shared.top[0];
    for (float other : shared.top) top = greater(other, top);
    if (p == phases() - 2) {
      if (thread == 0) shared.divisor = static_cast<float>(fold(shared.sums));
      return;
    }
    if (p == phases() - 1) {
      const float divisor = shared.divisor;
      for (int64_t col = int64_t{thread} * kStep; col < cols; col += kChunk) {
        const int n = length(col);
        Elements<float> v = exponentials(row, col, n, top);
        SN_UNROLL
        for (int j = 0; j < kStep; ++j) v.of[j] = v.of[j] / divisor;
        store_reals(dtype, y, row * cols + col, v, n);
      }
      return;
    }
    const int64_t first = int64_t{p / 2 - 1} * kChunk;
    if (p % 2 == 0) {
      const int64_t col = first + thread * kStep;
      if (col < cols) store(shared.terms + thread * kStep, exponentials(row, col, length(col), top), kStep);
      return;
    }
    if (thread >= kLanes) return;
    const int n = cols - first < kChunk ? static_cast<int>(cols - first) : kChunk;
    double sum = shared.sums[thread];
    for (int i = thread; i < n; i += kLanes) sum += static_cast<double>(shared.terms[i]);
    shared.sums[thread] = sum;
  }
};

}  // namespace

sn_status softmax(sn_device* device, const sn_tensor* x, sn_tensor* y) {
  Call call(device);
  if (x->elements == 0) return call.status();
  const int64_t cols = x->shape[x->rank - 1];
  return run_teams(call, SoftmaxRows{x->dtype, x->data, y->data, cols}, x->elements / cols, nullptr);
}

}  // namespace cuda
}  // namespace sn
