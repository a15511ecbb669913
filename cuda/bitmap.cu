// Sparse storage by bitmaps. See sinew.h. Elements are seen as unsigned integers of their size. Encoding and decoding
// read everything once: a team learns how many values come before its own from the teams before it (Merrill and
// Garland, Single-pass Parallel Prefix Scan with Decoupled Look-back, 2016).
#include "core/bits.h"
#include "team.h"

namespace sn {
namespace cuda {
namespace {

constexpr int kRun = kTeam * kStep;  // columns of a row that a team takes

// A team's word: nothing yet, its own number of values, or that of all teams up to it.
constexpr uint64_t kOwn = uint64_t{1} << 62, kUpTo = uint64_t{2} << 62, kNumber = kOwn - 1;

#if defined(__CUDA_ARCH__)
__device__ inline uint64_t word_of(const uint64_t* words, int64_t team) {
  return team < 0 ? kUpTo : *(const volatile uint64_t*)(words + team);
}
// By the first warp of a team: 32 teams are asked at a time, from the nearest to the first one that knows a sum.
__device__ inline int64_t look_back(uint64_t* words, int64_t team, int64_t own) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  if (lane == 0) atomicExch(reinterpret_cast<unsigned long long*>(words + team), kOwn | static_cast<uint64_t>(own));
  unsigned long long before = 0;
  for (int64_t nearest = team - 1;; nearest -= 32) {
    uint64_t word = word_of(words, nearest - lane);
    while (__any_sync(0xffffffffu, word >> 62 == 0)) word = word_of(words, nearest - lane);
    const unsigned known = __ballot_sync(0xffffffffu, word >> 63 != 0);
    const int last = known == 0 ? 31 : __ffs(static_cast<int>(known)) - 1;
    unsigned long long number = lane <= last ? word & kNumber : 0;
    for (int lanes = 16; lanes > 0; lanes /= 2) number += __shfl_xor_sync(0xffffffffu, number, lanes);
    before += number;
    if (known != 0) break;
  }
  if (lane == 0) atomicExch(reinterpret_cast<unsigned long long*>(words + team), kUpTo | (before + own));
  return static_cast<int64_t>(before);
}
#else
inline int64_t look_back(uint64_t* words, int64_t team, int64_t own) {
  const uint64_t before = team == 0 ? 0 : words[team - 1] & kNumber;
  words[team] = kUpTo | (before + static_cast<uint64_t>(own));
  return static_cast<int64_t>(before);
}
#endif

// A matrix in runs of a row, one a team, of which each thread has a step.
struct Runs {
  int64_t rows, cols, per_row;

  SN_HD int64_t count() const { return rows * per_row; }
  SN_HD int64_t row(int64_t team) const { return team / per_row; }
  SN_HD int64_t col(int64_t team) const { return (team - row(team) * per_row) * kRun; }
  // Elements of a thread.
  SN_HD int length(int64_t team, int thread) const {
    const int64_t left = cols - col(team) - thread * kStep;
    return left <= 0 ? 0 : left < kStep ? static_cast<int>(left) : kStep;
  }
  SN_HD int64_t place(int64_t team, int thread) const { return row(team) * cols + col(team) + thread * kStep; }
  SN_HD int64_t byte(int64_t team, int thread) const {
    return row(team) * ((cols + 7) / 8) + col(team) / 8 + thread * (kStep / 8);
  }
};
Runs runs_of(const sn_tensor* x) { return {x->rows, x->cols, (x->cols + kRun - 1) / kRun}; }

SN_HD inline uint32_t ones(uint32_t bits) {
#if defined(__CUDA_ARCH__)
  return static_cast<uint32_t>(__popc(bits));
#else
  return static_cast<uint32_t>(__builtin_popcount(bits));
#endif
}

// A bit for each element that is not zero.
template <class U>
SN_HD inline uint32_t nonzeros(const Elements<U>& x) {
  uint32_t bits = 0;
  SN_UNROLL
  for (int j = 0; j < kStep; ++j) bits |= static_cast<uint32_t>(x.of[j] != 0) << j;
  return bits;
}

struct Places {
  Sums sums;
  int64_t before;  // values of all teams before
};

// What encoding and decoding have in common: from the threads' numbers of values to where each one's begin.
SN_HD inline void find_place(int p, int64_t team, int thread, uint64_t* words, Places& shared) {
  if (p == 1) {
    shared.sums.add_part(thread);
    return;
  }
#if defined(__CUDA_ARCH__)
  if (thread >= 32) return;
#else
  if (thread != 0) return;
#endif
  const int64_t before = look_back(words, team, shared.sums.all());
  if (thread == 0) shared.before = before;
}

template <class U>
struct Encode {
  static constexpr bool kFinds = true, kOrdered = true;
  static constexpr int kPhases = 4;
  struct State {
    Elements<U> x;
    uint32_t bits;
  };
  using Shared = Places;
  const U* x;
  Runs runs;
  int64_t first;
  U* values;
  int64_t count;
  uint8_t* bitmap;
  int64_t* offsets;
  uint64_t* words;

  SN_HD void phase(int p, int64_t team, int thread, State& state, Shared& shared, Findings& found) const {
    if (p == 0) {
      const int n = runs.length(team, thread);
      state.x = load(x + (n > 0 ? runs.place(team, thread) : 0), n);
      state.bits = nonzeros(state.x);
      shared.sums.own[thread] = ones(state.bits);
      uint8_t* to = bitmap + runs.byte(team, thread);
      if (n > 0) to[0] = static_cast<uint8_t>(state.bits);
      if (n > 8) to[1] = static_cast<uint8_t>(state.bits >> 8);
      return;
    }
    if (p < 3) return find_place(p, team, thread, words, shared);
    int64_t to = shared.before + shared.sums.before(thread);
    if (thread == 0) {
      if (runs.col(team) == 0) offsets[runs.row(team)] = first + to;
      if (team == runs.count() - 1) {
        found.count += static_cast<unsigned long long>(shared.before + shared.sums.all());
        offsets[runs.rows] = first + count;
      }
    }
    SN_UNROLL
    for (int j = 0; j < kStep; ++j) {
      // The caller may have given too few.
      if ((state.bits >> j & 1u) != 0 && to < count) values[to] = state.x.of[j];
      to += state.bits >> j & 1u;
    }
  }
};

template <class U>
struct Decode {
  static constexpr bool kFinds = true, kOrdered = true;
  static constexpr int kPhases = 4;
  struct State {
    uint32_t bits;
  };
  using Shared = Places;
  const U* values;
  int64_t count;
  const uint8_t* bitmap;
  const int64_t* offsets;
  U* y;
  Runs runs;
  uint64_t* words;

  SN_HD void phase(int p, int64_t team, int thread, State& state, Shared& shared, Findings& found) const {
    const int n = runs.length(team, thread);
    if (p == 0) {
      const uint8_t* from = bitmap + runs.byte(team, thread);
      uint32_t bits = n > 0 ? from[0] : 0u;
      if (n > 8) bits |= static_cast<uint32_t>(from[1]) << 8;
      if (bits >> n != 0) raise(found, kPadded);
      state.bits = bits & ((1u << n) - 1u);
      shared.sums.own[thread] = ones(state.bits);
      return;
    }
    if (p < 3) return find_place(p, team, thread, words, shared);
    int64_t from = shared.before + shared.sums.before(thread);
    if (thread == 0) {
      // Unsigned, because hostile offsets may overflow.
      const uint64_t offset = static_cast<uint64_t>(offsets[runs.row(team)]) - static_cast<uint64_t>(offsets[0]);
      if (runs.col(team) == 0 && offset != static_cast<uint64_t>(from)) raise(found, kMisplaced);
      if (team == runs.count() - 1) {
        const int64_t all = shared.before + shared.sums.all();
        found.count += static_cast<unsigned long long>(all);
        const uint64_t end = static_cast<uint64_t>(offsets[runs.rows]) - static_cast<uint64_t>(offsets[0]);
        if (end != static_cast<uint64_t>(all)) raise(found, kMisplaced);
      }
    }
    if (n == 0) return;
    Elements<U> out;
    SN_UNROLL
    for (int j = 0; j < kStep; ++j) {
      const bool is_value = (state.bits >> j & 1u) != 0 && from < count;
      out.of[j] = is_value ? values[from] : U{0};
      from += state.bits >> j & 1u;
    }
    store(y + runs.place(team, thread), out, n);
  }

  SN_HD static void raise(Findings& found, uint32_t damage) {
    if (damage > found.largest) found.largest = damage;
  }
};

template <class U>
struct CountNonzeros {
  static constexpr bool kFinds = true;
  const U* x;
  int64_t elements;

  SN_HD void step(int64_t i, Findings& found) const {
    found.count += ones(nonzeros(load(x + i * kStep, length_of(i, elements))));
  }
};

// Of a matrix without elements.
struct EmptyRows {
  static constexpr bool kFinds = true;
  int64_t* offsets;
  int64_t first;
  bool check;  // instead of writing them

  SN_HD void step(int64_t i, Findings& found) const {
    if (!check) {
      offsets[i] = first;
    } else if (offsets[i] != offsets[0]) {
      found.largest = kMisplaced;
    }
  }
};

}  // namespace

sn_status count_nonzeros(sn_device* device, const sn_tensor* x, int64_t* count) {
  Call call(device);
  Findings found = {0, 0, 0};
  const sn_status status = with_integers(x->dtype, [&](auto* type) {
    using U = typename Pointee<decltype(type)>::type;
    return run(call, CountNonzeros<U>{data_of<U>(x), x->elements}, steps_of_elements(x->elements), &found);
  });
  *count = static_cast<int64_t>(found.count);
  return status;
}

sn_status bitmap_encode(sn_device* device, const sn_tensor* x, int64_t first, sn_tensor* values, sn_tensor* bitmap,
                        sn_tensor* row_offsets) {
  Call call(device);
  const Runs runs = runs_of(x);
  int64_t* offsets = data_of<int64_t>(row_offsets);
  Findings found = {0, 0, 0};
  const sn_status status = with_integers(x->dtype, [&](auto* type) {
    using U = typename Pointee<decltype(type)>::type;
    if (runs.count() == 0) return run(call, EmptyRows{offsets, first, false}, x->rows + 1, &found);
    uint64_t* words = call.zeroed_scratch_of<uint64_t>(runs.count());
    const Encode<U> body = {data_of<U>(x), runs, first, data_of<U>(values), values->elements, data_of<uint8_t>(bitmap),
                            offsets,       words};
    return run_teams(call, body, runs.count(), &found);
  });
  if (status != SN_OK || static_cast<int64_t>(found.count) == values->elements) return status;
  return fail(SN_INVALID_ARGUMENT, "values has %lld elements, but %lld are not zero",
              static_cast<long long>(values->elements), static_cast<long long>(found.count));
}

sn_status bitmap_decode(sn_device* device, const sn_tensor* values, const sn_tensor* bitmap,
                        const sn_tensor* row_offsets, sn_tensor* y) {
  Call call(device);
  const Runs runs = runs_of(y);
  const int64_t* offsets = data_of<int64_t>(row_offsets);
  Findings found = {0, 0, 0};
  const sn_status status = with_integers(y->dtype, [&](auto* type) {
    using U = typename Pointee<decltype(type)>::type;
    if (runs.count() == 0)
      return run(call, EmptyRows{const_cast<int64_t*>(offsets), 0, true}, row_offsets->elements, &found);
    uint64_t* words = call.zeroed_scratch_of<uint64_t>(runs.count());
    const Decode<U> body = {
        data_of<U>(values), values->elements, data_of<uint8_t>(bitmap), offsets, data_of<U>(y), runs, words};
    return run_teams(call, body, runs.count(), &found);
  });
  if (status != SN_OK) return status;
  return bitmap_status(found, values);
}

}  // namespace cuda
}  // namespace sn
