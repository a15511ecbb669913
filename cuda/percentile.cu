// Ranges by percentiles: the element of a rank, found by radix, one slice a team. See sinew.h.
#include "quantizing.h"
#include "ranges.h"
#include "team.h"

namespace sn {
namespace cuda {
namespace {

SN_HD inline float ordered_value(uint32_t key) { return float_of(key >> 31 != 0 ? key ^ 0x80000000u : ~key); }

// Nearest rank, from 0, of the smallest value that at least `percentile` percent of n do not exceed. The product comes
// first, as it is exact.
SN_HD inline int64_t rank_of(int64_t n, double percentile) {
  const double share = static_cast<double>(n) * percentile / 100.0;
  int64_t rank = static_cast<int64_t>(share);
  rank += static_cast<double>(rank) < share;
  rank = rank < n ? rank : n;
  return (rank > 1 ? rank : 1) - 1;
}

// Finds eight bits of a key in each of four passes: bins are cleared, filled, added up, and one is chosen.
struct SelectKey {
  static constexpr bool kFinds = false, kOrdered = false;
  static constexpr int kPhases = 16;
  struct State {};
  struct Shared {
    Sums bins;
    uint32_t prefix;
    int64_t rank;
  };
  sn_dtype dtype;
  const void* x;
  Slices slices;
  double percentile;
  sn_order order;
  bool from_above;
  uint32_t* keys;

  SN_HD void phase(int p, int64_t slice, int thread, State&, Shared& shared, Findings&) const {
    const int64_t row = slice / slices.per_row, col = (slice - row * slices.per_row) * slices.group;
    const int64_t n = slices.group < slices.cols - col ? slices.group : slices.cols - col;
    const int shift = 24 - p / 4 * 8;
    switch (p % 4) {
      case 0:
        shared.bins.own[thread] = 0;
        if (p == 0 && thread == 0) {
          const int64_t rank = rank_of(n, percentile);
          shared.rank = from_above ? n - 1 - rank : rank;
          shared.prefix = 0;
        }
        return;
      case 1: {
        const int64_t first = row * slices.cols + col;
        for (int64_t i = thread; i < n; i += kTeam) {
          const uint32_t key = order_key(number_at(dtype, x, first + i), order);
          if (p == 1 || key >> (shift + 8) == shared.prefix) add_to(shared.bins.own + (key >> shift & 255u), 1u);
        }
        return;
      }
      case 2:
        shared.bins.add_part(thread);
        return;
      default:
        if (thread == 0) choose(shared, p == kPhases - 1 ? keys + slice : nullptr);
    }
  }

  // The bin that holds the rank.
  SN_HD static void choose(Shared& shared, uint32_t* key) {
    int64_t rank = shared.rank;
    int part = 0;
    while (part < 15 && rank >= shared.bins.part[part]) rank -= shared.bins.part[part++];
    int bin = 16 * part;
    while (bin < 16 * part + 15 && rank >= shared.bins.own[bin]) rank -= shared.bins.own[bin++];
    shared.rank = rank;
    shared.prefix = shared.prefix << 8 | static_cast<uint32_t>(bin);
    if (key != nullptr) *key = shared.prefix;
  }
};

// A range that would be empty stays as it is.
struct Narrow {
  static constexpr bool kFinds = false;
  const uint32_t* upper;
  const uint32_t* lower;  // null when symmetric
  float* lo;
  float* hi;

  SN_HD void step(int64_t i, Findings&) const {
    if (lower == nullptr) {
      const float bound = float_of(upper[i]);
      if (!(bound > 0)) return;
      hi[i] = bound;
      lo[i] = -bound;
      return;
    }
    const float most = ordered_value(upper[i]), least = ordered_value(lower[i]);
    const float high = most > 0 ? most : 0.0f, low = least < 0 ? least : 0.0f;
    if (!(high > 0 || low < 0)) return;
    hi[i] = high;
    lo[i] = low;
  }
};

}  // namespace

sn_status narrow_to_percentile(Call& call, const sn_tensor* x, int64_t group, bool symmetric, double percentile,
                               sn_tensor* lo, sn_tensor* hi) {
  const int64_t count = lo->elements;
  const Slices slices = slices_of(x, group, count);
  if (slices.group > int64_t{UINT32_MAX}) {
    return fail(SN_UNSUPPORTED, "percentiles of slices of more than %lld elements cannot be computed on a GPU",
                static_cast<long long>(UINT32_MAX));
  }
  uint32_t* upper = call.scratch_of<uint32_t>(count);
  uint32_t* lower = symmetric ? nullptr : call.scratch_of<uint32_t>(count);
  SelectKey body = {x->dtype, x->data, slices, percentile, symmetric ? SN_ORDER_MAGNITUDE : SN_ORDER_VALUE,
                    false,    upper};
  sn_status status = run_teams(call, body, count, nullptr);
  if (status == SN_OK && !symmetric) {
    body.from_above = true;
    body.keys = lower;
    status = run_teams(call, body, count, nullptr);
  }
  if (status != SN_OK) return status;
  return run(call, Narrow{upper, lower, data_of<float>(lo), data_of<float>(hi)}, count, nullptr);
}

}  // namespace cuda
}  // namespace sn
