// Groups of 256 elements as bytes with a scale each, as compressed all-reduces exchange them. See sinew.h.
#include "quantizing.h"
#include "reduction.h"
#include "team.h"

namespace sn {
namespace cuda {
namespace {

constexpr int kGroupSteps = SN_COMPRESSED_GROUP / kStep;
static_assert(kTeam % kGroupSteps == 0, "a team has whole groups");

// What both ways to compress share: a step a thread, whose numbers it finds in the first phase and keeps.
struct Compressing {
  static constexpr bool kFinds = false, kOrdered = false;
  static constexpr int kPhases = 2;
  struct State {
    Elements<float> numbers;
  };
  struct Shared {
    uint32_t largest[kTeam];
  };
  int64_t elements;
  float* scale;
  int8_t* q;

  SN_HD static int64_t step_of(int64_t team, int thread) { return team * kTeam + thread; }

  SN_HD void find(int thread, int n, const State& state, Shared& shared) const {
    uint32_t largest = 0;
    SN_UNROLL
    for (int j = 0; j < kStep; ++j) {
      const uint32_t key = j < n ? key_of(state.numbers.of[j]) : 0;
      largest = key > largest ? key : largest;
    }
    shared.largest[thread] = largest;
  }

  SN_HD void write(int64_t step, int thread, int n, const State& state, const Shared& shared) const {
    uint32_t largest = 0;
    const int first = thread / kGroupSteps * kGroupSteps;
    for (int i = first; i < first + kGroupSteps; ++i) {
      largest = shared.largest[i] > largest ? shared.largest[i] : largest;
    }
    const SymmetricBytes bytes(largest);
    if (thread == first) scale[step / kGroupSteps] = bytes.scale();
    store(q + step * kStep, bytes(state.numbers), n);
  }
};

struct Compress : Compressing {
  sn_dtype dtype;
  const void* x;

  SN_HD void phase(int p, int64_t team, int thread, State& state, Shared& shared, Findings&) const {
    const int64_t step = step_of(team, thread);
    const int n = length_of(step, elements);
    if (p == 0 && n > 0) state.numbers = load_reals(dtype, x, step * kStep, n);
    if (p == 0) return find(thread, n, state, shared);
    if (n > 0) write(step, thread, n, state, shared);
  }
};

struct ReduceCompressed : Compressing {
  const float* scales[SN_MAX_WORLD_SIZE];
  const int8_t* qs[SN_MAX_WORLD_SIZE];
  int count;
  sn_reduction reduction;

  SN_HD void add_up(int64_t step, int n, Elements<float>& sums) const {
    for (int m = 0; m < count; ++m) {
      const float s = scales[m][step / kGroupSteps];
      const Elements<int8_t> bytes = load(qs[m] + step * kStep, n);
      SN_UNROLL
      for (int j = 0; j < kStep; ++j) {
        const float v = static_cast<float>(bytes.of[j]) * s;
        sums.of[j] = m == 0 ? v : sums.of[j] + v;
      }
    }
    if (reduction != SN_AVERAGE) return;
    SN_UNROLL
    for (int j = 0; j < kStep; ++j) sums.of[j] = sums.of[j] / static_cast<float>(count);
  }

  SN_HD void phase(int p, int64_t team, int thread, State& state, Shared& shared, Findings&) const {
    const int64_t step = step_of(team, thread);
    const int n = length_of(step, elements);
    if (p == 0 && n > 0) add_up(step, n, state.numbers);
    if (p == 0) return find(thread, n, state, shared);
    if (n > 0) write(step, thread, n, state, shared);
  }
};

struct Expand {
  static constexpr bool kFinds = false;
  const float* scale;
  const int8_t* q;
  sn_dtype dtype;
  void* y;
  int64_t elements;

  SN_HD void step(int64_t i, Findings&) const {
    const int n = length_of(i, elements);
    const float s = scale[i / kGroupSteps];
    const Elements<int8_t> bytes = load(q + i * kStep, n);
    Elements<float> numbers;
    SN_UNROLL
    for (int j = 0; j < kStep; ++j) numbers.of[j] = product(static_cast<float>(bytes.of[j]), s);
    store_reals(dtype, y, i * kStep, numbers, n);
  }
};

int64_t teams_of(int64_t elements) { return (steps_of_elements(elements) + kTeam - 1) / kTeam; }

}  // namespace

sn_status compress(sn_device* device, const void* x, int64_t elements, sn_dtype dtype, float* scale, int8_t* q) {
  Call call(device);
  return run_teams(call, Compress{{elements, scale, q}, dtype, x}, teams_of(elements), nullptr);
}

sn_status reduce_compressed(sn_device* device, const float* const* scales, const int8_t* const* qs, int32_t count,
                            int64_t elements, sn_reduction reduction, float* scale, int8_t* q) {
  Call call(device);
  ReduceCompressed body = {{elements, scale, q}, {}, {}, count, reduction};
  for (int m = 0; m < count; ++m) {
    body.scales[m] = scales[m];
    body.qs[m] = qs[m];
  }
  return run_teams(call, body, teams_of(elements), nullptr);
}

sn_status expand(sn_device* device, const float* scale, const int8_t* q, int64_t elements, sn_dtype dtype, void* y) {
  Call call(device);
  return run(call, Expand{scale, q, dtype, y, elements}, steps_of_elements(elements), nullptr);
}

}  // namespace cuda
}  // namespace sn
