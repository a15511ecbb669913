// Activations of linear layers as their kernels multiply them: numbers, 16-bit fixed point in blocks, or int8 in rows.
#include "linear.h"
#include "team.h"

namespace sn {
namespace cuda {
namespace {

// 16-bit fixed point: 16 blocks of a row a team, of which each has 16 threads.
struct QuantizeBlocks {
  static constexpr bool kFinds = false, kOrdered = false;
  static constexpr int kPhases = 3, kThreads = 16;
  struct State {};
  struct Shared {
    uint32_t largest[kTeam];
    int32_t sum[kTeam];
  };
  Activations to;

  SN_HD static int64_t teams_of_row(const Split& split) { return (split.count + 15) / 16; }

  SN_HD void phase(int p, int64_t team, int thread, State&, Shared& shared, Findings&) const {
    const int64_t parts = teams_of_row(to.split), row = team / parts;
    const int64_t block = (team - row * parts) * 16 + thread / kThreads;
    const int lane = thread % kThreads;
    if (block >= to.split.count) return;
    const Windows::Place from = to.row(row);
    const int64_t first = to.split.first(block);
    const int n = to.split.size(block);
    if (p == 0) {
      uint32_t largest = 0;
      for (int i = lane; i < n; i += kThreads) {
        const uint32_t key = key_of(to.at(from, first + i));
        largest = key > largest ? key : largest;
      }
      shared.largest[thread] = largest;
      return;
    }
    const int begin = thread - lane;
    if (p == 2) {
      if (lane != 0) return;
      int32_t sum = 0;
      for (int i = 0; i < kThreads; ++i) sum += shared.sum[begin + i];
      to.tokens[row * to.split.count + block] = {scale_of(shared.largest + begin), sum};
      return;
    }
    const float scale = scale_of(shared.largest + begin);
    int32_t sum = 0;
    for (int i = lane; i < n && !is_nan(scale); i += kThreads) {
      const int q = to_int(to.at(from, first + i) / scale);
      to.q[to.place(row, block) + i] = static_cast<int16_t>(q);
      sum += q;
    }
    shared.sum[thread] = sum;
  }

  SN_HD static float scale_of(const uint32_t* keys) {
    uint32_t largest = 0;
    for (int i = 0; i < kThreads; ++i) largest = keys[i] > largest ? keys[i] : largest;
    if (largest >= kInfinityKey) return float_of(0x7fc00000u);
    const float scale = float_of(largest) / 32512.0f;
    return scale > 0x1p-126f ? scale : 0x1p-126f;
  }
};

// By the rules of symmetric int8, a row a team.
struct QuantizeRows {
  static constexpr bool kFinds = false, kOrdered = false;
  static constexpr int kPhases = 4;
  struct State {};
  struct Shared {
    uint32_t largest[kTeam], largest_of[16];
    Sums sums;  // of integers, modulo 2^32
  };
  Activations to;

  SN_HD void phase(int p, int64_t row, int thread, State&, Shared& shared, Findings&) const {
    const int64_t cols = to.cols;
    const Windows::Place from = to.row(row);
    if (p == 0) {
      uint32_t largest = 0;
      for (int64_t i = thread; i < cols; i += kTeam) {
        const uint32_t key = key_of(to.at(from, i));
        largest = key > largest ? key : largest;
      }
      shared.largest[thread] = largest;
      return;
    }
    if (p == 1) {
      if (thread >= 16) return;
      uint32_t largest = 0;
      for (int i = 16 * thread; i < 16 * thread + 16; ++i)
        largest = shared.largest[i] > largest ? shared.largest[i] : largest;
      shared.largest_of[thread] = largest;
      return;
    }
    uint32_t largest = 0;
    for (uint32_t key : shared.largest_of) largest = key > largest ? key : largest;
    const bool finite = largest < kInfinityKey;
    const float scale = finite ? parameters_of(0.0f, float_of(largest), SN_INT8_SYMMETRIC).scale : 1.0f;
    if (p == 2) {
      const Quantizer z = quantizer(scale, 0, SN_INT8_SYMMETRIC);
      int32_t sum = 0;
      for (int64_t i = thread; i < cols && finite; i += kTeam) {
        const int q = quantized<false>(z, to.at(from, i));
        if (to.bytes != nullptr) {
          to.bytes[to.place(row, 0) + to.order.stored(i)] = static_cast<int8_t>(q);
        } else {
          to.q[to.place(row, 0) + to.order.stored(i)] = static_cast<int16_t>(q);
        }
        sum += q;
      }
      shared.sums.own[thread] = static_cast<uint32_t>(sum);
      return;
    }
    if (thread != 0) return;
    uint32_t sum = 0;
    for (uint32_t own : shared.sums.own) sum += own;
    to.tokens[row] = {finite ? scale : float_of(0x7fc00000u), static_cast<int32_t>(sum)};
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
    const int n = left < kStep ? (left > 0 ? left : 0) : kStep;
    const int64_t first = n > 0 ? to.split.first(block) + col : 0;
    const Windows::Place from = to.row(row);
    Elements<float> v;
    if (to.windows.taps == nullptr) {
      v = load_reals(to.dtype, to.x, from.from + first, n);
    } else {
      SN_UNROLL
      for (int j = 0; j < kStep; ++j) v.of[j] = j < n ? to.at(from, first + j) : 0.0f;
    }
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
