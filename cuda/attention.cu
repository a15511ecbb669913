// Scaled dot-product attention with an online softmax, made for few queries (decoding with a cache): the keys of a
// query are shared out to teams, whose parts are put together in the end. See sinew.h.
#include "activation.h"
#include "team.h"

namespace sn {
namespace cuda {
namespace {

constexpr int kPartKeys = 1024;  // of a team

// The queries, one row each, and what is known of them so far: for each part of its keys the largest score, the sum of
// the weights e^(score - largest), and that of the weighted values.
struct Queries {
  sn_dtype dtype;
  const void *q, *k, *v;
  void* y;
  int64_t rows, tokens, sharing, capacity, length, width, value_width;  // `sharing` rows have the same keys
  bool causal;
  float scale;
  float *top, *sums;
  double* total;

  SN_HD int64_t parts() const { return (length + kPartKeys - 1) / kPartKeys; }
  SN_HD int64_t visible(int64_t row) const { return causal ? length - tokens + row % tokens + 1 : length; }
};

// A part of a query's keys a team, 256 keys at a time. Steps of kStep elements of keys and values are what a thread
// loads: 8 threads share a key, and its value 128 columns at a time.
struct AttendPart {
  static constexpr bool kFinds = false, kOrdered = false;
  static constexpr int kKeys = kTeam, kSharing = 8, kTogether = kTeam / kSharing, kColumns = kSharing * kStep;
  struct State {
    float top, factor;
  };
  struct Shared {
    union {
      float products[kKeys][kSharing];
      float sums[kTogether][kColumns];
    };
    float scores[kKeys], largest[16];
    double total[16];
  };
  Queries of;

  SN_HD int chunks() const { return static_cast<int>((of.value_width + kColumns - 1) / kColumns); }
  SN_HD int phases_of_block() const { return 4 + 2 * chunks(); }
  SN_HD int phases() const { return kPartKeys / kKeys * phases_of_block() + 1; }

  SN_HD void phase(int p, int64_t team, int thread, State& state, Shared& shared, Findings&) const {
    const int64_t row = team / of.parts(), part = team - row * of.parts();
    const int64_t begin = part * kPartKeys + int64_t{p / phases_of_block()} * kKeys;
    if (p == phases() - 1) {
      finish(team, thread, state, shared);
      return;
    }
    if (p == 0) {
      state.top = -__builtin_inff();
      if (thread < 16) shared.total[thread] = 0;
    }
    const int64_t left = of.visible(row) - begin;
    const int n = left < kKeys ? static_cast<int>(left) : kKeys, step = p % phases_of_block();
    if (n <= 0) return;
    if (step == 0) {
      multiply(row, begin, n, thread, shared);
    } else if (step == 1) {
      float score = 0;
      for (int i = 0; i < kSharing; ++i) score = score + shared.products[thread][i];
      shared.scores[thread] = thread < n ? score * of.scale : -__builtin_inff();
    } else if (step == 2) {
      if (thread >= 16) return;
      float largest = -__builtin_inff();
      for (int i = thread; i < kKeys; i += 16) largest = greater(shared.scores[i], largest);
      shared.largest[thread] = largest;
    } else if (step == 3) {
      const float before = state.top;
      for (float largest : shared.largest) state.top = greater(largest, state.top);
      // Nothing seen so far: any finite number in the place of -infinity makes all weights 0.
      const float subtracted = state.top == -__builtin_inff() ? 0.0f : state.top;
      state.factor = exponential(before - subtracted);
      shared.scores[thread] = exponential(shared.scores[thread] - subtracted);
    } else if (step % 2 == 0) {
      if (step == 4) add_weights(thread, state, shared);
      add_values(row, begin, n, (step - 4) / 2, thread, shared);
    } else {
      fold_values(team, (step - 4) / 2, thread, state, shared);
    }
  }

 private:
  SN_HD int64_t keys_of(int64_t row) const { return row / of.sharing * of.capacity; }

  SN_HD void multiply(int64_t row, int64_t begin, int n, int thread, Shared& shared) const {
    const int lane = thread % kSharing;
    for (int j = thread / kSharing; j < n; j += kTogether) {
      const int64_t key = (keys_of(row) + begin + j) * of.width;
      float sum = 0;
      for (int64_t col = int64_t{lane} * kStep; col < of.width; col += kColumns) {
        const int count = of.width - col < kStep ? static_cast<int>(of.width - col) : kStep;
        const Elements<float> a = load_reals(of.dtype, of.q, row * of.width + col, count);
        const Elements<float> b = load_reals(of.dtype, of.k, key + col, count);
        SN_UNROLL
        for (int i = 0; i < kStep; ++i) sum = sum + a.of[i] * b.of[i];
      }
      shared.products[j][lane] = sum;
    }
  }
  SN_HD static void add_weights(int thread, const State& state, Shared& shared) {
    if (thread >= 16) return;
    double sum = shared.total[thread] * static_cast<double>(state.factor);
    for (int i = thread; i < kKeys; i += 16) sum += static_cast<double>(shared.scores[i]);
    shared.total[thread] = sum;
  }
  SN_HD void add_values(int64_t row, int64_t begin, int n, int chunk, int thread, Shared& shared) const {
    const int lane = thread % kSharing, group = thread / kSharing;
    const int64_t col = int64_t{chunk} * kColumns + lane * kStep, left = of.value_width - col;
    if (left <= 0) return;
    const int count = left < kStep ? static_cast<int>(left) : kStep;
    Elements<float> sum;
    SN_UNROLL
    for (int i = 0; i < kStep; ++i) sum.of[i] = 0;
    for (int j = group; j < n; j += kTogether) {
      const Elements<float> v = load_reals(of.dtype, of.v, (keys_of(row) + begin + j) * of.value_width + col, count);
      const float weight = shared.scores[j];
      SN_UNROLL
      for (int i = 0; i < kStep; ++i) sum.of[i] = sum.of[i] + weight * v.of[i];
    }
    store(shared.sums[group] + lane * kStep, sum, kStep);
  }
  SN_HD void fold_values(int64_t team, int chunk, int thread, const State& state, const Shared& shared) const {
    const int64_t col = int64_t{chunk} * kColumns + thread;
    if (thread >= kColumns || col >= of.value_width) return;
    float sum = 0;
    for (int group = 0; group < kTogether; ++group) sum = sum + shared.sums[group][thread];
    float& all = of.sums[team * of.value_width + col];
    all = all * state.factor + sum;
  }
  SN_HD void finish(int64_t team, int thread, const State& state, const Shared& shared) const {
    if (thread != 0) return;
    double total = 0;
    for (double some : shared.total) total += some;
    of.top[team] = state.top;
    of.total[team] = total;
  }
};

// Puts the parts of a query together; a step is kStep columns of a row.
struct JoinParts {
  static constexpr bool kFinds = false;
  Queries of;

  SN_HD static int64_t steps_of(int64_t width) { return (width + kStep - 1) / kStep; }

  SN_HD void step(int64_t i, Findings&) const {
    const int64_t row = i / steps_of(of.value_width), col = (i - row * steps_of(of.value_width)) * kStep;
    const int n = of.value_width - col < kStep ? static_cast<int>(of.value_width - col) : kStep;
    float top = -__builtin_inff();
    for (int64_t part = row * of.parts(); part < (row + 1) * of.parts(); ++part) top = greater(of.top[part], top);
    const float subtracted = top == -__builtin_inff() ? 0.0f : top;
    double total = 0;
    Elements<float> sum;
    SN_UNROLL
    for (int j = 0; j < kStep; ++j) sum.of[j] = 0;
    for (int64_t part = row * of.parts(); part < (row + 1) * of.parts(); ++part) {
      const float factor = exponential(of.top[part] - subtracted);
      total += of.total[part] * static_cast<double>(factor);
      const Elements<float> more = load(of.sums + part * of.value_width + col, n);
      SN_UNROLL
      for (int j = 0; j < kStep; ++j) sum.of[j] = sum.of[j] + more.of[j] * factor;
    }
    // Without keys there is nothing to divide.
    const float divisor = of.length > 0 ? static_cast<float>(total) : 1.0f;
    SN_UNROLL
    for (int j = 0; j < kStep; ++j) sum.of[j] = sum.of[j] / divisor;
    store_reals(of.dtype, of.y, row * of.value_width + col, sum, n);
  }
};

}  // namespace

sn_status attention(sn_device* device, const sn_tensor* q, const sn_tensor* k, const sn_tensor* v, int64_t length,
                    int32_t causal, double scale, sn_tensor* y) {
  Call call(device);
  if (y->elements == 0) return call.status();
  Queries of = {q->dtype,    q->data,
                k->data,     v->data,
                y->data,     q->shape[0] * q->shape[1] * q->shape[2],
                q->shape[2], q->shape[1] / k->shape[1] * q->shape[2],
                k->shape[2], length,
                q->shape[3], v->shape[3],
                causal != 0, static_cast<float>(scale),
                nullptr,     nullptr,
                nullptr};
  const int64_t teams = of.rows * of.parts();
  of.top = call.scratch_of<float>(teams);
  of.sums = call.zeroed_scratch_of<float>(teams * of.value_width);
  of.total = call.scratch_of<double>(teams);
  const sn_status status = run_teams(call, AttendPart{of}, teams, nullptr);
  if (status != SN_OK) return status;
  return run(call, JoinParts{of}, of.rows * JoinParts::steps_of(of.value_width), nullptr);
}

}  // namespace cuda
}  // namespace sn
