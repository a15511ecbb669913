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

// Operands from one element on. Of TIES, x are differences, which are F32 whatever the base is.
template <class X, class Base>
struct Inputs {
  const X* x[SN_MAX_INPUTS];
  const Base* base;  // or null
  int count;

  // Asks for what follows the 64 elements from i on.
  SN_INLINE void fetch_ahead_of(int64_t i) const {
    for (int m = 0; m < count; ++m) fetch_ahead(x[m] + i, kFar);
    if (base != nullptr) fetch_ahead(base + i, kFar);
  }
  Inputs from(int64_t i) const {
    Inputs in = {{}, base == nullptr ? nullptr : base + i, count};
    for (int m = 0; m < count; ++m) in.x[m] = x[m] + i;
    return in;
  }
};

// What a result is made of: at<kVectors>(in, seen, i, lanes, y) sets y to kVectors vectors of results from element i
// on, each of `lanes` elements; from(i) does so for inputs from element i on.

// NaN and infinity in an input always reach the result of these two, so that looking at results is enough.
template <bool kBase>
struct WeightedSum {
  const float* weights;
  static constexpr int kMany = 2;

  WeightedSum from(int64_t) const { return *this; }

  template <int kVectors, class In>
  SN_INLINE void at(const In& in, Seen&, int64_t i, int64_t lanes, F* y) const {
    F b[kVectors];
    for (int v = 0; v < kVectors; ++v) {
      b[v] = kBase ? load_some(in.base + i + v * kLanes, lanes) : splat(0);
      y[v] = term(0, in.x[0] + i + v * kLanes, lanes, b[v]);
    }
    for (int m = 1; m < in.count; ++m) {
      for (int v = 0; v < kVectors; ++v) y[v] = add(y[v], term(m, in.x[m] + i + v * kLanes, lanes, b[v]));
    }
    for (int v = 0; kBase && v < kVectors; ++v) y[v] = add(b[v], y[v]);
  }

  template <class X>
  SN_INLINE F term(int m, const X* x, int64_t lanes, F b) const {
    const F a = load_some(x, lanes);
    return mul(splat(weights[m]), kBase ? sub(a, b) : a);
  }
};

struct Difference {
  static constexpr int kMany = 2;

  Difference from(int64_t) const { return *this; }

  template <int kVectors, class In>
  SN_INLINE void at(const In& in, Seen&, int64_t i, int64_t lanes, F* y) const {
    for (int v = 0; v < kVectors; ++v)
      y[v] = sub(load_some(in.x[0] + i + v * kLanes, lanes), load_some(in.base + i + v * kLanes, lanes));
  }
};

struct Ties {
  const float* weights;
  float lambda;
  bool normalize;
  static constexpr int kMany = 2;

  Ties from(int64_t) const { return *this; }

  template <int kVectors, class In>
  SN_INLINE void at(const In& in, Seen& seen, int64_t i, int64_t lanes, F* y) const {
    for (int v = 0; v < kVectors; ++v) y[v] = vector(in, seen, i + v * kLanes, lanes);
  }

  template <class In>
  SN_INLINE F vector(const In& in, Seen& seen, int64_t i, int64_t lanes) const {
    F all = splat(0);
    for (int m = 0; m < in.count; ++m) {
      F d = seen_load(seen, load_some(in.x[m] + i, lanes));
      all = add(all, mul(splat(weights[m]), d));
    }
    F sum = splat(0), weight = splat(0);
    const I zero = splat_int(0);
    for (int m = 0; m < in.count; ++m) {
      const F w = splat(weights[m]);
      const F value = mul(w, load_some(in.x[m] + i, lanes));
      // Turned by the elected sign, what agrees is positive. A sum of -0 elects nothing, since then all are zero.
      const M agrees = gt(raw_bits(turn(value, all)), zero);
      sum = add(sum, select(agrees, value, splat(0)));
      weight = add(weight, select(agrees, w, splat(0)));
    }
    if (normalize) sum = div(sum, select(eq(key(weight), zero), splat(1), weight));
    return add(seen_load(seen, load_some(in.base + i, lanes)), mul(splat(lambda), sum));
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

struct Dare {
  const float* weights;
  uint64_t seed;
  const int64_t* streams;
  int64_t first;   // a multiple of 64, as i is of 16 kVectors
  uint32_t below;  // words up to this are kept
  static constexpr int kMany = 4;

  Dare from(int64_t i) const { return {weights, seed, streams, first + i, below}; }

  template <int kVectors, class In>
  SN_INLINE void at(const In& in, Seen& seen, int64_t i, int64_t lanes, F* y) const {
    const uint64_t element = static_cast<uint64_t>(first + i), counter = element / 64 * 16;
    // Unsigned words compare as signed ones do once the upper bit is turned.
    const I turned = splat_int(INT32_MIN), limit = splat_int(static_cast<int32_t>(below ^ 0x80000000u));
    for (int v = 0; v < kVectors; ++v) y[v] = splat(0);
    for (int m = 0; m < in.count; ++m) {
      I words[4];
      philox(static_cast<uint32_t>(counter), static_cast<uint32_t>(counter >> 32), static_cast<uint64_t>(streams[m]),
             seed, words);
      const F w = splat(weights[m]);
      for (int v = 0; v < kVectors; ++v) {
        const int64_t at = i + v * kLanes;
        const I r = exclusive_or(words[kVectors == 4 ? v : element / 16 % 4], turned);
        const F b = load_some(in.base + at, lanes);
        const F d = mul(w, sub(seen_load(seen, load_some(in.x[m] + at, lanes)), b));
        y[v] = add(y[v], select(gt(r, limit), splat(0), d));
      }
    }
    for (int v = 0; v < kVectors; ++v) y[v] = add(seen_load(seen, load_some(in.base + i + v * kLanes, lanes)), y[v]);
  }
};

// Not inlined, so that all that goes by way of F32 has one copy.
template <bool kBypass, class Kind, class In, class Out>
SN_NOINLINE void merge_run(Seen& state, const Kind& kind, const In& in, Out* to, int64_t n) {
  Seen seen = state;
  for_lines(
      kBypass ? to_line(to) : 0, n,
      [&](int64_t i, int64_t lanes) {
        F y[1];
        kind.template at<1>(in, seen, i, lanes, y);
        seen.out = max(seen.out, key(y[0]));
        store_tail(to + i, y[0], lanes);
      },
      [&](int64_t i) {
        constexpr int kMany = Kind::kMany;
        in.fetch_ahead_of(i);
        for (int part = 0; part < 4; part += kMany) {
          F y[kMany];
          kind.template at<kMany>(in, seen, i + part * kLanes, kLanes, y);
          for (int v = 0; v < kMany; ++v) seen.out = max(seen.out, key(y[v]));
          for (int v = 0; v < kMany; v += 2) store_numbers<kBypass>(to + i + (part + v) * kLanes, y[v], y[v + 1]);
        }
      });
  state = seen;
}

// n elements of the results as F32, of inputs of any type.
template <class Kind>
void merge_floats(Seen& seen, const Kind& kind, const Inputs<float, float>& in, float* y, int64_t n) {
  merge_run<false>(seen, kind, in, y, n);
}
template <class Kind, class X, class Base>
void merge_floats(Seen& seen, const Kind& kind, const Inputs<X, Base>& in, float* y, int64_t n) {
  constexpr int64_t kFew = 256;
  float buffers[SN_MAX_INPUTS + 1][kFew];
  for (int64_t i = 0; i < n; i += kFew) {
    const int64_t here = min_of(kFew, n - i);
    Inputs<float, float> part = {{}, nullptr, in.count};
    if (in.base != nullptr) part.base = floats_of(in.base + i, here, buffers[SN_MAX_INPUTS]);
    for (int m = 0; m < in.count; ++m) part.x[m] = floats_of(in.x[m] + i, here, buffers[m]);
    merge_run<false>(seen, kind.from(i), part, y + i, here);
  }
}

// Where the base and results are of these types, results go straight to their place, else by way of F32.
constexpr bool goes_straight(const float*, const float*) { return true; }
constexpr bool goes_straight(const bf16*, const bf16*) { return true; }
constexpr bool goes_straight(const void*, const void*) { return false; }

template <class Kind, class X, class Base, class Out>
sn_status merge(sn_device* device, const Kind& kind, const Inputs<X, Base>& inputs, Out* out, int64_t elements,
                bool bypass) {
  int32_t broken = 0, overflow = 0;
  for_elements(
      device, elements, Seen{splat_int(0), splat_int(0)},
      [&](Seen& seen, int64_t offset, int64_t n) {
        const Inputs<X, Base> in = inputs.from(offset);
        const Kind here = kind.from(offset);
        Out* to = out + offset;
        if constexpr (goes_straight(static_cast<const Base*>(nullptr), static_cast<const Out*>(nullptr))) {
          bypass ? merge_run<true>(seen, here, in, to, n) : merge_run<false>(seen, here, in, to, n);
        } else {
          from_floats(to, n, bypass, [&](int64_t i, float* part, int64_t length) {
            merge_floats(seen, here.from(i), in.from(i), part, length);
          });
        }
      },
      [&](Seen& seen) {
        if (reduce_max(seen.in) >= kInfinityKey) atomic_or(&broken);
        if (reduce_max(seen.out) >= overflow_key(out)) atomic_or(&overflow);
      },
      1);
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

template <class X, class Base>
Inputs<X, Base> inputs_of(const X*, const sn_tensor* const* x, int count, const Base*, const sn_tensor* base) {
  Inputs<X, Base> in = {{}, base == nullptr ? nullptr : data_of<Base>(base), count};
  for (int m = 0; m < count; ++m) in.x[m] = data_of<X>(x[m]);
  return in;
}

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
  return with_merge_types(x[0], out, [&](auto* type, auto* out_type) {
    auto* to = data_of<typename Pointee<decltype(out_type)>::type>(out);
    const auto in = inputs_of(type, x, count, type, base);
    if (base == nullptr) return merge(device, WeightedSum<false>{weights}, in, to, out->elements, bypass);
    return merge(device, WeightedSum<true>{weights}, in, to, out->elements, bypass);
  });
}

sn_status difference(sn_device* device, const sn_tensor* x, const sn_tensor* base, sn_tensor* difference) {
  const bool bypass = merge_bypasses(&x, 1, base, difference);
  return with_floating(x->dtype, [&](auto* type) {
    return merge(device, Difference{}, inputs_of(type, &x, 1, type, base), data_of<float>(difference),
                 difference->elements, bypass);
  });
}

sn_status merge_ties(sn_device* device, const sn_tensor* base, const sn_tensor* const* differences, int32_t count,
                     const float* weights, float lambda, int32_t normalize, sn_tensor* out) {
  const bool bypass = merge_bypasses(differences, count, base, out);
  return with_merge_types(base, out, [&](auto* type, auto* out_type) {
    const auto in = inputs_of(static_cast<float*>(nullptr), differences, count, type, base);
    return merge(device, Ties{weights, lambda, normalize != 0}, in,
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
  return with_merge_types(base, out, [&](auto* type, auto* out_type) {
    return merge(device, Dare{weights, static_cast<uint64_t>(seed), streams, first, below},
                 inputs_of(type, x, count, type, base), data_of<typename Pointee<decltype(out_type)>::type>(out),
                 out->elements, bypass);
  });
}

namespace {

// x x, y y and x y summed over a block of n elements to out[0], out[1] and out[2]; false if one is not finite.
bool products(const float* x, const float* y, int64_t n, double* out) {
  D xx = zero_sum(), yy = zero_sum(), xy = zero_sum();
  I largest = splat_int(0);
  for_vectors(n, [&](int64_t i, int64_t lanes) {
    const F p = load_some(x + i, lanes), q = load_some(y + i, lanes);
    largest = max(largest, max(key(p), key(q)));
    add_product(xx, p, p);
    add_product(yy, q, q);
    add_product(xy, p, q);
  });
  out[0] = reduce(xx);
  out[1] = reduce(yy);
  out[2] = reduce(xy);
  return reduce_max(largest) < kInfinityKey;
}

}  // namespace

sn_status block_products(sn_device* device, const sn_tensor* a, const sn_tensor* b, sn_tensor* sums) {
  int32_t broken = 0;
  with_floating(a->dtype, [&](auto* type) {
    using T = typename Pointee<decltype(type)>::type;
    auto task = [&](int64_t block) {
      const int64_t begin = block * kBlock, n = min_of(kBlock, a->elements - begin);
      float buffer_x[kBlock], buffer_y[kBlock];
      const float* x = floats_of(data_of<T>(a) + begin, n, buffer_x);
      const float* y = floats_of(data_of<T>(b) + begin, n, buffer_y);
      if (!products(x, y, n, data_of<double>(sums) + 3 * block)) atomic_or(&broken);
    };
    for_tasks(device, ceil_div(a->elements, kBlock), task);
    return SN_OK;
  });
  return broken ? not_finite() : SN_OK;
}

}  // namespace SN_ISA_NAME
}  // namespace sn
