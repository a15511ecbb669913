// Pruning by magnitude. See sinew.h.
#include "cpu/kernels/floats.h"
#include "cpu/kernels/select.h"

namespace sn {
namespace SN_ISA_NAME {
namespace {

// Keys of magnitudes, as signed integers, order finite values as the values do.
struct PruneState {
  int64_t zeros;
  I largest;
};

inline int32_t key_of(float threshold) { return static_cast<int32_t>(bits_of(threshold) & 0x7fffffffu); }

template <bool kBypass, class T>
inline void keep_vector(const T* x, T* out, M keep) {
  store_kept<kBypass>(out, x, keep);
}
template <bool kBypass, class T>
inline void keep_vector(const T*, uint8_t* out, M keep) {
  store_bool<kBypass>(out, keep);
}
template <class T>
inline void keep_lanes(const T* x, T* out, int64_t n, M keep) {
  if (n == kLanes) {
    store_kept(out, x, keep);
    return;
  }
  T in[kLanes] = {}, kept[kLanes];
  memcpy(static_cast<void*>(in), x, static_cast<size_t>(n) * sizeof(T));
  store_kept(kept, in, keep);
  memcpy(static_cast<void*>(out), kept, static_cast<size_t>(n) * sizeof(T));
}
template <class T>
inline void keep_lanes(const T*, uint8_t* out, int64_t n, M keep) {
  if (n == kLanes) {
    store_bool(out, keep);
    return;
  }
  uint8_t kept[kLanes];
  store_bool(kept, keep);
  memcpy(out, kept, static_cast<size_t>(n));
}

// The greatest magnitude of a 16-bit type, as its bits, that is not above the F32 key `limit`; -1 if that is negative.
inline int16_t word_limit(const bf16*, int32_t limit) { return static_cast<int16_t>(limit >> 16); }
inline int16_t word_limit(const f16*, int32_t limit) {
  if (limit < 0) return -1;
  f16 nearest;
  from_float(float_of(static_cast<uint32_t>(limit)), &nearest);
  const bool above = static_cast<int32_t>(bits_of(to_float(nearest))) > limit;
  return static_cast<int16_t>(nearest.bits - above);
}
inline int infinite_word(const bf16*) { return 0x7f80; }
inline int infinite_word(const f16*) { return 0x7c00; }
template <class T>
inline constexpr bool kIsWord = false;
template <>
inline constexpr bool kIsWord<f16> = true;
template <>
inline constexpr bool kIsWord<bf16> = true;

// Keeps keys above `limit` among n elements.
template <bool kBypass, class T, class Out>
inline void prune_run(PruneState& state, const T* x, Out* out, int64_t n, int32_t limit_key) {
  const I limit = splat_int(limit_key);
  const I zero = splat_int(0);
  I largest = state.largest;
  int64_t nonzeros = 0;
  auto kept = [&](int64_t i, int64_t lanes) {
    I k = key(load_some(x + i, lanes));
    largest = max(largest, k);
    M keep = gt(k, limit);
    // Padding has key 0 and does not count; with limit -1 zeros are kept and still count as zeros.
    nonzeros += __builtin_popcount(bits(keep) & bits(gt(k, zero)));
    return keep;
  };
  auto some = [&](int64_t i, int64_t lanes) { keep_lanes(x + i, out + i, lanes, kept(i, lanes)); };
  const int64_t head = kBypass ? to_line(out) : 0;
  if constexpr (kIsWord<T> && sizeof(Out) == sizeof(T)) {
    const Words words = splat_word(word_limit(x, limit_key));
    Words largest_word = splat_word(0);
    for_lines(head, n, some, [&](int64_t i) {
      fetch_ahead(x + i, kNear);
      nonzeros += keep_words<kBypass>(x + i, out + i, words, largest_word);
    });
    if (reduce_max(largest_word) >= infinite_word(x)) largest = splat_int(kInfinityKey);
  } else if constexpr (sizeof(T) == 8) {
    for_vectors(n, some);
  } else {
    for_lines(head, n, some, [&](int64_t first) {
      fetch_ahead(x + first, kNear);
      for (int64_t i = first; i < first + 64; i += kLanes) keep_vector<kBypass>(x + i, out + i, kept(i, kLanes));
    });
  }
  state.zeros += n - nonzeros;
  state.largest = largest;
}

template <class T, class Out>
sn_status prune_keys(sn_device* device, const T* x, Out* out, int64_t elements, int32_t limit, bool bypass,
                     int64_t* zeros) {
  int64_t total = 0;
  int32_t broken = 0;
  for_elements(
      device, elements, PruneState{0, splat_int(0)},
      [&](PruneState& state, int64_t i, int64_t n) {
        bypass ? prune_run<true>(state, x + i, out + i, n, limit) : prune_run<false>(state, x + i, out + i, n, limit);
      },
      [&](PruneState& state) {
        atomic_add(&total, state.zeros);
        if (reduce_max(state.largest) >= kInfinityKey) atomic_or(&broken);
      });
  if (zeros != nullptr) *zeros += total;
  return broken ? not_finite() : SN_OK;
}

// Calls f(x, out) with the element types of x and of out, which is x's own or a mask.
template <class F>
sn_status with_types(const sn_tensor* x, sn_tensor* out, F f) {
  return with_floating(x->dtype, [&](auto* type) {
    using T = typename Pointee<decltype(type)>::type;
    const T* in = data_of<T>(x);
    return out->dtype == SN_BOOL ? f(in, data_of<uint8_t>(out)) : f(in, data_of<T>(out));
  });
}

}  // namespace

sn_status prune_threshold(sn_device* device, const sn_tensor* x, float threshold, sn_tensor* out, int64_t* zeros) {
  if (zeros != nullptr) *zeros = 0;
  return with_types(x, out, [&](auto* in, auto* kept) {
    return prune_keys(device, in, kept, x->elements, key_of(threshold), bypass_caches(x, out), zeros);
  });
}

namespace {

// The end of the shortest prefix of x that holds `ties` elements of this key (all of x if there are fewer).
template <class T>
int64_t prefix_with(sn_device* device, const T* x, int64_t elements, int32_t key_value, int64_t ties) {
  constexpr int64_t kParts = 1024;
  const int64_t part = ceil_div(ceil_div(elements, kParts), kLanes) * kLanes;
  const I wanted = splat_int(key_value);
  int64_t found[kParts];
  auto task = [&](int64_t p) {
    int64_t here = 0;
    const int64_t first = p * part;
    for_vectors(min_of(part, elements - first), [&](int64_t i, int64_t lanes) {
      M equal = eq(key(load_some(x + first + i, lanes)), wanted);
      here += __builtin_popcount(bits(equal) & ((1u << lanes) - 1u));
    });
    found[p] = here;
  };
  const int64_t parts = ceil_div(elements, part);
  for_tasks(device, parts, task);
  int64_t p = 0;
  while (p < parts && found[p] < ties) ties -= found[p++];
  if (p == parts) return elements;
  int64_t i = p * part;
  for (; ties > 0; ++i) ties -= key_of(to_float(x[i])) == key_value;
  return i;
}

}  // namespace

sn_status prune_smallest(sn_device* device, const sn_tensor* x, float threshold, int64_t ties, sn_tensor* out,
                         int64_t* zeros) {
  if (zeros != nullptr) *zeros = 0;
  const int32_t limit = key_of(threshold);
  const bool bypass = bypass_caches(x, out);
  return with_types(x, out, [&](auto* in, auto* kept) {
    const int64_t border = ties == 0 || x->elements == 0 ? 0 : prefix_with(device, in, x->elements, limit, ties);
    sn_status before = prune_keys(device, in, kept, border, limit, bypass, zeros);
    sn_status after = prune_keys(device, in + border, kept + border, x->elements - border, limit - 1, bypass, zeros);
    return before != SN_OK ? before : after;
  });
}

namespace {

// 1 in the lanes whose neighbour j places on, rotating within groups of m lanes, lies before them.
template <int m>
struct Wraps {
  int8_t lanes[m][kLanes] = {};
  constexpr Wraps() {
    for (int j = 0; j < m; ++j) {
      for (int lane = 0; lane < kLanes; ++lane) lanes[j][lane] = lane % m + j >= m;
    }
  }
};

// For m in 2, 4, 8, 16: lanes to keep, from each lane's rank among the m of its group. Element j comes before i when
// its key is smaller, or equal with j < i, which for integers is one comparison with the key less 1.
template <int m>
SN_INLINE M keep_largest(I k, int n) {
  static constexpr Wraps<m> wraps;
  I rank = splat_int(0);
  const I one = splat_int(1), zero = splat_int(0);
  for (int j = 1; j < m; ++j) {
    M smaller = gt(k, sub(rotate(k, j, m), load_int(wraps.lanes[j])));
    rank = add(rank, select(smaller, one, zero));
  }
  return gt(rank, splat_int(m - n - 1));
}

// Which of `length` elements, a multiple of 16, to keep, in groups of m: one bit each.
typedef void KeepGroups(PruneState& state, const float* x, int64_t length, int n, uint32_t* kept);
template <int m>
void keep_groups(PruneState& state, const float* x, int64_t length, int n, uint32_t* kept) {
  I largest = state.largest;
  int64_t nonzeros = 0;
  for (int64_t i = 0; i < length; i += kLanes) {
    I k = key(load(x + i));
    largest = max(largest, k);
    const uint32_t keep = bits(keep_largest<m>(k, n));
    nonzeros += __builtin_popcount(keep & bits(gt(k, splat_int(0))));
    kept[i / kLanes] = keep;
  }
  state.largest = largest;
  state.zeros += length - nonzeros;
}
// Null for other groups than those that fill vectors.
KeepGroups* keep_groups_of(int32_t m) {
  return m == 2    ? keep_groups<2>
         : m == 4  ? keep_groups<4>
         : m == 8  ? keep_groups<8>
         : m == 16 ? keep_groups<16>
                   : nullptr;
}

// The whole vectors among `length` elements, at most kBlock; returns how many elements these are.
template <class T, class Out>
inline int64_t prune_groups(PruneState& state, KeepGroups* keep, const T* x, Out* out, int64_t length, int n) {
  float buffer[kBlock];
  uint32_t kept[kBlock / kLanes];
  const int64_t whole = length / kLanes * kLanes;
  keep(state, floats_of(x, whole, buffer), whole, n, kept);
  for (int64_t i = 0; i < whole; i += kLanes) keep_vector<false>(x + i, out + i, mask_of(kept[i / kLanes]));
  return whole;
}

template <class T>
inline void put(T* out, const T* in, bool keep) {
  T zero;
  memset(static_cast<void*>(&zero), 0, sizeof zero);
  *out = keep ? *in : zero;
}
template <class T>
inline void put(uint8_t* out, const T*, bool keep) {
  *out = keep;
}

// Any m: the `drop` smallest magnitudes of m elements are pruned. The index in the low bits makes equal ones distinct.
template <class T, class Out>
inline void prune_group(PruneState& state, const T* x, Out* out, int m, int drop) {
  uint64_t order[4096];
  uint32_t largest = 0;
  for (int i = 0; i < m; ++i) {
    const uint32_t k = bits_of(to_float(x[i])) & 0x7fffffffu;
    largest = k > largest ? k : largest;
    order[i] = static_cast<uint64_t>(k) << 32 | static_cast<uint32_t>(i);
  }
  state.largest = max(state.largest, splat_int(static_cast<int32_t>(largest)));
  select_smallest(order, m, drop);
  for (int i = 0; i < m; ++i) {
    const uint64_t element = order[i] & 0xffffffffu;
    put(out + element, x + element, i >= drop);
    state.zeros += i < drop || order[i] >> 32 == 0;
  }
}

}  // namespace

sn_status prune_nm(sn_device* device, const sn_tensor* x, int32_t n, int32_t m, sn_tensor* out, int64_t* zeros) {
  int64_t total = 0;
  int32_t broken = 0;
  KeepGroups* const keep = keep_groups_of(m);
  const int64_t cols = x->cols;
  sn_status status = with_types(x, out, [&](auto* in, auto* kept) {
    for_pieces(
        device, x->rows, cols, keep != nullptr ? 16 : m, PruneState{0, splat_int(0)},
        [&](PruneState& state, int64_t row, int64_t col, int64_t length) {
          const auto* from = in + row * cols + col;
          auto* to = kept + row * cols + col;
          int64_t i = keep != nullptr ? prune_groups(state, keep, from, to, length, n) : 0;
          for (; i < length; i += m) {
            const int group = static_cast<int>(min_of(m, length - i));
            prune_group(state, from + i, to + i, group, group * (m - n) / m);
          }
        },
        [&](PruneState& state) {
          atomic_add(&total, state.zeros);
          if (reduce_max(state.largest) >= kInfinityKey) atomic_or(&broken);
        });
    return SN_OK;
  });
  if (zeros != nullptr) *zeros = total;
  return broken ? not_finite() : status;
}

namespace {

struct Counts {
  int64_t less, equal;
  I largest;
};
template <class T>
inline void count_magnitudes(Counts& counts, const T* x, int64_t n, I limit) {
  for_vectors(n, [&](int64_t i, int64_t lanes) {
    I k = key(load_some(x + i, lanes));
    counts.largest = max(counts.largest, k);
    const uint32_t valid = (1u << lanes) - 1u;
    counts.less += __builtin_popcount(bits(gt(limit, k)) & valid);
    counts.equal += __builtin_popcount(bits(eq(limit, k)) & valid);
  });
}

}  // namespace

sn_status magnitude_count(sn_device* device, const sn_tensor* x, float threshold, int64_t* less, int64_t* equal) {
  const I limit = splat_int(key_of(threshold));
  int32_t broken = 0;
  *less = *equal = 0;
  with_floating(x->dtype, [&](auto* type) {
    using T = typename Pointee<decltype(type)>::type;
    const T* in = data_of<T>(x);
    for_elements(
        device, x->elements, Counts{0, 0, splat_int(0)},
        [&](Counts& counts, int64_t offset, int64_t n) {
          float buffer[kBlock];
          count_magnitudes(counts, floats_or_words(in + offset, n, buffer), n, limit);
        },
        [&](Counts& counts) {
          atomic_add(less, counts.less);
          atomic_add(equal, counts.equal);
          if (reduce_max(counts.largest) >= kInfinityKey) atomic_or(&broken);
        });
    return SN_OK;
  });
  return broken ? not_finite() : SN_OK;
}

}  // namespace SN_ISA_NAME
}  // namespace sn
