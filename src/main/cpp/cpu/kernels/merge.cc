// Merging models: weighted sums, task vectors, TIES and DARE. See sinew.h.
#include "cpu/kernels/floats.h"

namespace sn {
namespace SN_ISA_NAME {
namespace {

// The largest keys among inputs and results, which tell NaN and infinity.
struct Seen {
  I in, out;
};

SN_INLINE F seen_load(Seen& seen, F x) {
  seen.in = max(seen.in, key(x));
  return x;
}

// The least magnitude that rounds to infinity in a result's type.
constexpr int32_t overflow_key(const f16*) { return 0x477ff000; }
constexpr int32_t overflow_key(const bf16*) { return 0x7f7f8000; }
constexpr int32_t overflow_key(const float*) { return kInfinityKey; }
constexpr int32_t overflow_key(const double*) { return kInfinityKey; }

// What a result is made of: at<kVectors>(seen, i, lanes, y) sets y to kVectors vectors of results from element i on,
// each of `lanes` elements.

// NaN and infinity in an input always reach the result of these two, so that looking at results is enough.
template <class T, bool kBase>
struct WeightedSum {
  using Element = T;
  const T* const* x;
  const float* weights;
  int count;
  const T* base;
  static constexpr int kMany = 2;

  template <int kVectors>
  SN_INLINE void at(Seen&, int64_t i, int64_t lanes, F* y) const {
    F b[kVectors];
    for (int v = 0; v < kVectors; ++v) {
      b[v] = kBase ? load_some(base + i + v * kLanes, lanes) : splat(0);
      y[v] = term(0, i + v * kLanes, lanes, b[v]);
    }
    for (int m = 1; m < count; ++m) {
      for (int v = 0; v < kVectors; ++v) y[v] = add(y[v], term(m, i + v * kLanes, lanes, b[v]));
    }
    for (int v = 0; kBase && v < kVectors; ++v) y[v] = add(b[v], y[v]);
  }

  SN_INLINE F term(int m, int64_t i, int64_t lanes, F b) const {
    const F a = load_some(x[m] + i, lanes);
    return mul(splat(weights[m]), kBase ? sub(a, b) : a);
  }
};

template <class T>
struct Difference {
  using Element = T;
  const T *x, *base;
  static constexpr int kMany = 2;

  template <int kVectors>
  SN_INLINE void at(Seen&, int64_t i, int64_t lanes, F* y) const {
    for (int v = 0; v < kVectors; ++v)
      y[v] = sub(load_some(x + i + v * kLanes, lanes), load_some(base + i + v * kLanes, lanes));
  }
};

template <class T>
struct Ties {
  using Element = T;
  const T* base;
  const float* const* differences;
  const float* weights;
  int count;
  float lambda;
  bool normalize;
  static constexpr int kMany = 2;

  template <int kVectors>
  SN_INLINE void at(Seen& seen, int64_t i, int64_t lanes, F* y) const {
    for (int v = 0; v < kVectors; ++v) y[v] = vector(seen, i + v * kLanes, lanes);
  }

  SN_INLINE F vector(Seen& seen, int64_t i, int64_t lanes) const {
    F all = splat(0);
    for (int m = 0; m < count; ++m) {
      F d = seen_load(seen, load_some(differences[m] + i, lanes));
      all = add(all, mul(splat(weights[m]), d));
    }
    F sum = splat(0), weight = splat(0);
    const I zero = splat_int(0);
    for (int m = 0; m < count; ++m) {
      const F w = splat(weights[m]);
      const F value = mul(w, load_some(differences[m] + i, lanes));
      // Turned by the elected sign, what agrees is positive. A sum of -0 elects nothing, since then all are zero.
      const M agrees = gt(raw_bits(turn(value, all)), zero);
      sum = add(sum, select(agrees, value, splat(0)));
      weight = add(weight, select(agrees, w, splat(0)));
    }
    if (normalize) sum = div(sum, select(eq(key(weight), zero), splat(1), weight));
    return add(seen_load(seen, load_some(base + i, lanes)), mul(splat(lambda), sum));
  }
};

// 4 x 16 random words: lane j of word k belongs to the counter's low word + j.
SN_INLINE void philox(uint32_t low, uint32_t high, uint64_t stream, uint64_t seed, I* words) {
  static const int8_t lanes[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  const auto word = [](uint64_t x) { return splat_int(static_cast<int32_t>(static_cast<uint32_t>(x))); };
  I c0 = add(word(low), load_int(lanes)), c1 = word(high), c2 = word(stream), c3 = word(stream >> 32);
  uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    I high0, low0, high1, low1;
    multiply(c0, 0xd2511f53u, &high0, &low0);
    multiply(c2, 0xcd9e8d57u, &high1, &low1);
    c0 = exclusive_or(exclusive_or(high1, c1), word(k0));
    c1 = low1;
    c2 = exclusive_or(exclusive_or(high0, c3), word(k1));
    c3 = low0;
    k0 += 0x9e3779b9u;
    k1 += 0xbb67ae85u;
  }
  words[0] = c0;
  words[1] = c1;
  words[2] = c2;
  words[3] = c3;
}

template <class T>
struct Dare {
  using Element = T;
  const T* base;
  const T* const* x;
  const float* weights;
  int count;
  uint64_t seed;
  const int64_t* streams;
  int64_t first;   // a multiple of 64, as i is of 16 kVectors
  uint32_t below;  // words up to this are kept
  static constexpr int kMany = 4;

  template <int kVectors>
  SN_INLINE void at(Seen& seen, int64_t i, int64_t lanes, F* y) const {
    const uint64_t element = static_cast<uint64_t>(first + i), counter = element / 64 * 16;
    // Unsigned words compare as signed ones do once the upper bit is turned.
    const I turned = splat_int(INT32_MIN), limit = splat_int(static_cast<int32_t>(below ^ 0x80000000u));
    for (int v = 0; v < kVectors; ++v) y[v] = splat(0);
    for (int m = 0; m < count; ++m) {
      I words[4];
      philox(static_cast<uint32_t>(counter), static_cast<uint32_t>(counter >> 32), static_cast<uint64_t>(streams[m]),
             seed, words);
      const F w = splat(weights[m]);
      for (int v = 0; v < kVectors; ++v) {
        const int64_t at = i + v * kLanes;
        const I r = exclusive_or(words[kVectors == 4 ? v : element / 16 % 4], turned);
        const F b = load_some(base + at, lanes);
        const F d = mul(w, sub(seen_load(seen, load_some(x[m] + at, lanes)), b));
        y[v] = add(y[v], select(gt(r, limit), splat(0), d));
      }
    }
    for (int v = 0; v < kVectors; ++v) y[v] = add(seen_load(seen, load_some(base + i + v * kLanes, lanes)), y[v]);
  }
};

template <bool kBypass, class Out, class Values>
inline void merge_run(Seen& state, const Values& values, Out* to, int64_t offset, int64_t n) {
  Seen seen = state;
  for_lines(
      kBypass ? to_line(to) : 0, n,
      [&](int64_t i, int64_t lanes) {
        F y[1];
        values.template at<1>(seen, offset + i, lanes, y);
        seen.out = max(seen.out, key(y[0]));
        store_tail(to + i, y[0], lanes);
      },
      [&](int64_t i) {
        constexpr int kMany = Values::kMany;
        for (int part = 0; part < 4; part += kMany) {
          F y[kMany];
          values.template at<kMany>(seen, offset + i + part * kLanes, kLanes, y);
          for (int v = 0; v < kMany; ++v) seen.out = max(seen.out, key(y[v]));
          for (int v = 0; v < kMany; v += 2) store_numbers<kBypass>(to + i + (part + v) * kLanes, y[v], y[v + 1]);
        }
      });
  state = seen;
}

// Where inputs and results are of these types, results go straight to their place, else by way of F32.
constexpr bool goes_straight(const float*, const float*) { return true; }
constexpr bool goes_straight(const bf16*, const bf16*) { return true; }
constexpr bool goes_straight(const void*, const void*) { return false; }

template <class Out, class Values>
sn_status merge(sn_device* device, const Values& values, Out* out, int64_t elements, bool bypass) {
  int32_t broken = 0, overflow = 0;
  for_elements(
      device, elements, Seen{splat_int(0), splat_int(0)},
      [&](Seen& seen, int64_t offset, int64_t n) {
        Out* to = out + offset;
        if constexpr (goes_straight(static_cast<const typename Values::Element*>(nullptr),
                                    static_cast<const Out*>(nullptr))) {
          bypass ? merge_run<true>(seen, values, to, offset, n) : merge_run<false>(seen, values, to, offset, n);
        } else {
          from_floats(to, n, bypass, [&](int64_t i, float* part, int64_t here) {
            merge_run<false>(seen, values, part, offset + i, here);
          });
        }
      },
      [&](Seen& seen) {
        if (reduce_max(seen.in) >= kInfinityKey) atomic_or(&broken);
        if (reduce_max(seen.out) >= overflow_key(out)) atomic_or(&overflow);
      });
  if (!broken && !overflow) return SN_OK;
  return fail(SN_NOT_FINITE, "a tensor holds NaN or infinity, or a result is too large for its dtype");
}

// Calls f with null pointers of the inputs' type, which is out's or F32, and of out's.
template <class F>
sn_status with_merge_types(const sn_tensor* x, const sn_tensor* out, F f) {
  return with_floating(out->dtype, [&](auto* type) {
    return x->dtype == out->dtype ? f(type, type) : f(static_cast<float*>(nullptr), type);
  });
}

template <class T>
struct Inputs {
  const T* data[SN_MAX_INPUTS];

  Inputs(const sn_tensor* const* x, int count) {
    for (int m = 0; m < count; ++m) data[m] = data_of<T>(x[m]);
  }
};

// In place, the lines to be written are in the caches already.
inline bool merge_bypasses(const sn_tensor* const* x, int count, const sn_tensor* base, const sn_tensor* out) {
  bool bypass = bypass_caches(out) && (base == nullptr || base->data != out->data);
  for (int m = 0; m < count; ++m) bypass = bypass && x[m]->data != out->data;
  return bypass;
}

}  // namespace

sn_status weighted_sum(sn_device* device, const sn_tensor* const* x, int32_t count, const float* weights,
                       const sn_tensor* base, sn_tensor* out) {
  const bool bypass = merge_bypasses(x, count, base, out);
  return with_merge_types(x[0], out, [&](auto* in_type, auto* out_type) {
    using T = typename Pointee<decltype(in_type)>::type;
    auto* to = data_of<typename Pointee<decltype(out_type)>::type>(out);
    const Inputs<T> in(x, count);
    if (base == nullptr)
      return merge(device, WeightedSum<T, false>{in.data, weights, count, nullptr}, to, out->elements, bypass);
    return merge(device, WeightedSum<T, true>{in.data, weights, count, data_of<T>(base)}, to, out->elements, bypass);
  });
}

sn_status difference(sn_device* device, const sn_tensor* x, const sn_tensor* base, sn_tensor* difference) {
  const bool bypass = merge_bypasses(&x, 1, base, difference);
  return with_floating(x->dtype, [&](auto* type) {
    using T = typename Pointee<decltype(type)>::type;
    return merge(device, Difference<T>{data_of<T>(x), data_of<T>(base)}, data_of<float>(difference),
                 difference->elements, bypass);
  });
}

sn_status merge_ties(sn_device* device, const sn_tensor* base, const sn_tensor* const* differences, int32_t count,
                     const float* weights, float lambda, int32_t normalize, sn_tensor* out) {
  const bool bypass = merge_bypasses(differences, count, base, out);
  const Inputs<float> in(differences, count);
  return with_merge_types(base, out, [&](auto* in_type, auto* out_type) {
    using T = typename Pointee<decltype(in_type)>::type;
    return merge(device, Ties<T>{data_of<T>(base), in.data, weights, count, lambda, normalize != 0},
                 data_of<typename Pointee<decltype(out_type)>::type>(out), out->elements, bypass);
  });
}

sn_status merge_dare(sn_device* device, const sn_tensor* base, const sn_tensor* const* x, int32_t count,
                     const float* weights, double density, int64_t seed, const int64_t* streams, int64_t first,
                     sn_tensor* out) {
  // Whole groups of 64 elements take their words together, so nothing may come before the first line.
  const bool bypass = merge_bypasses(x, count, base, out) && to_line(data_of<char>(out)) == 0;
  const double kept = __builtin_nearbyint(density * 0x1p32);
  const uint32_t below = kept < 1 ? 0 : static_cast<uint32_t>(static_cast<uint64_t>(kept) - 1);
  return with_merge_types(base, out, [&](auto* in_type, auto* out_type) {
    using T = typename Pointee<decltype(in_type)>::type;
    const Inputs<T> in(x, count);
    return merge(device,
                 Dare<T>{data_of<T>(base), in.data, weights, count, static_cast<uint64_t>(seed), streams, first, below},
                 data_of<typename Pointee<decltype(out_type)>::type>(out), out->elements, bypass);
  });
}

sn_status block_products(sn_device* device, const sn_tensor* a, const sn_tensor* b, sn_tensor* sums) {
  int32_t broken = 0;
  with_floating(a->dtype, [&](auto* type) {
    using T = typename Pointee<decltype(type)>::type;
    const T *x = data_of<T>(a), *y = data_of<T>(b);
    double* out = data_of<double>(sums);
    auto task = [&](int64_t block) {
      const int64_t begin = block * kBlock;
      D aa = zero_sum(), bb = zero_sum(), ab = zero_sum();
      I largest = splat_int(0);
      for_vectors(min_of(kBlock, a->elements - begin), [&](int64_t i, int64_t lanes) {
        const F p = load_some(x + begin + i, lanes), q = load_some(y + begin + i, lanes);
        largest = max(largest, max(key(p), key(q)));
        add_product(aa, p, p);
        add_product(bb, q, q);
        add_product(ab, p, q);
      });
      out[3 * block] = reduce(aa);
      out[3 * block + 1] = reduce(bb);
      out[3 * block + 2] = reduce(ab);
      if (reduce_max(largest) >= kInfinityKey) atomic_or(&broken);
    };
    for_tasks(device, ceil_div(a->elements, kBlock), task);
    return SN_OK;
  });
  return broken ? not_finite() : SN_OK;
}

}  // namespace SN_ISA_NAME
}  // namespace sn
