// Activations of linear layers as their kernels multiply them: numbers, 16-bit fixed point in blocks, or int8 in rows.
#include "linear.h"
#include "team.h"

namespace sn {
namespace cuda {
namespace {

// 16-bit fixed point: 32 blocks of a row a team, of which each has 8 threads with 16 columns.
struct QuantizeBlocks {
  static constexpr bool kFinds = false, kOrdered = false;
  static constexpr int kPhases = 3, kThreads = kColumns / kStep, kBlocks = kTeam / kThreads;
  struct State {
    Elements<float> v;
  };
  struct Shared {
    uint32_t largest[kTeam];
    int32_t sum[kTeam];
  };
  Activations to;

  SN_HD static int64_t teams_of_row(const Split& split) { return (split.count + kBlocks - 1) / kBlocks; }

  SN_HD void phase(int p, int64_t team, int thread, State& state, Shared& shared, Findings&) const {
    const int64_t parts = teams_of_row(to.split), row = team / parts;
    const int64_t block = (team - row * parts) * kBlocks + thread / kThreads;
    const int lane = thread % kThreads, begin = thread - lane;
    if (block >= to.split.count) return;
    if (p == 0) {
      const int left = to.split.size(block) - lane * kStep;
      state.v = to.columns(row, to.split.first(block) + lane * kStep, left);
      shared.largest[thread] = largest_key(state.v, 0);
      return;
    }
    const float scale = scale_of(shared.largest + begin);
    if (p == 1) {
      Elements<int16_t> q;
      int32_t sum = 0;
      SN_UNROLL
      for (int j = 0; j < kStep; ++j) {
        q.of[j] = static_cast<int16_t>(is_nan(scale) ? 0 : to_int(state.v.of[j] / scale));
        sum += q.of[j];
      }
      store(to.q + to.place(row, block) + lane * kStep, q, kStep);
      shared.sum[thread] = sum;
    } else if (lane == 0) {
      int32_t sum = 0;
      for (int i = 0; i < kThreads; ++i) sum += shared.sum[begin + i];
      to.tokens[row * to.split.count + block] = {scale, sum};
    }
  }

  SN_HD static float scale_of(const uint32_t* keys) {
    uint32_t largest = 0;
    for (int i = 0; i < kThreads; ++i) largest = keys[i] > largest ? keys[i] : largest;
    if (largest >= kInfinityKey) return float_of(0x7fc00000u);
    const float scale = float_of(largest) / 32512.0f;
    return scale > 0x1p-126f ? scale : 0x1p-126f;
  }
};

// By the rules of symmetric int8, a row a team, 16 columns a thread at once as they are stored.
struct QuantizeRows {
  static constexpr bool kFinds = false, kOrdered = false;
  static constexpr int kPhases = 5;
  struct State {
    Elements<float> first;  // not loaded again
  };
  struct Shared {
    Largest largest;
    Sums sums;  // of integers, modulo 2^32
  };
  Activations to;

  SN_HD int64_t places() const { return to.split.count * kColumns; }
  SN_HD Elements<float> at(int64_t row, int64_t place) const {
    if (to.order.taps == 1) return to.columns(row, place, to.cols - place);
    const Windows::Place from = to.row(row);
    Elements<float> v;
    SN_UNROLL
    for (int j = 0; j < kStep; ++j) {
      const int64_t col = to.order.column(place + j);
      v.of[j] = col < 0 ? 0.0f : to.at(from, col);
    }
    return v;
  }

  SN_HD void phase(int p, int64_t row, int thread, State& state, Shared& shared, Findings&) const {
    const int64_t own = int64_t{thread} * kStep;
    if (p == 0) {
      state.first = at(row, own);
      uint32_t largest = largest_key(state.first, 0);
      for (int64_t place = own + kTeam * kStep; place < places(); place += kTeam * kStep)
        largest = largest_key(at(row, place), largest);
      shared.largest.own[thread] = largest;
      return;
    }
    if (p == 1) return shared.largest.find_part(thread);
    if (p == 3) return shared.sums.add_part(thread);
    if (p == 4 && thread != 0) return;
    const SymmetricBytes bytes(shared.largest.all());
    if (p == 4) {
      to.tokens[row] = {bytes.scale(), static_cast<int32_t>(shared.sums.all())};
      return;
    }
    int32_t sum = 0;
    for (int64_t place = own; place < places(); place += kTeam * kStep) {
      const Elements<int8_t> q = bytes(place == own ? state.first : at(row, place));
      SN_UNROLL
      for (int j = 0; j < kStep; ++j) sum += q.of[j];
      put(to.place(row, 0) + place, q);
    }
    shared.sums.own[thread] = static_cast<uint32_t>(sum);
  }

  SN_HD void put(int64_t place, const Elements<int8_t>& q) const {
    if (to.bytes != nullptr) {
      store(to.bytes + place, q, kStep);
      return;
    }
    Elements<int16_t> wide;
    SN_UNROLL
    for (int j = 0; j < kStep; ++j) wide.of[j] = q.of[j];
    store(to.q + place, wide, kStep);
  }
};

// As F32; a step is 16 columns of a block.
struct Widen {
  static constexpr bool kFinds = false;
  Activations to;

  SN_HD void step(int64_t i, Findings&) const {
    const int64_t row = i / (to.split.count * (kColumns / kStep)), part = i - row * to.split.count * (kColumns / kStep);
    const int64_t block = part / (kColumns / kStep);
    const int col = static_cast<int>(part % (kColumns / kStep)) * kStep, left = to.split.size(block) - col;
    const Elements<float> v = to.columns(row, to.split.first(block) + col, left);
    store(to.floats + i * kStep, v, kStep);
  }
};

}  // namespace

sn_status widen(Call& call, const Activations& to) {
  return run(call, Widen{to}, to.rows * to.split.count * (kColumns / kStep), nullptr);
}
sn_status quantize_blocks(Call& call, const Activations& to) {
  return run_teams(call, QuantizeBlocks{to}, to.rows * QuantizeBlocks::teams_of_row(to.split), nullptr);
}
sn_status quantize_rows(Call& call, const Activations& to) {
  return run_teams(call, QuantizeRows{to}, to.rows, nullptr);
}

}  // namespace cuda
}  // namespace sn
