// Merging models: weighted sums, task vectors, TIES and DARE. See sinew.h.
#include "sums.h"
#include "team.h"

namespace sn {
namespace cuda {
namespace {

// Elements of several tensors of one type from a place on.
struct Inputs {
  const void* data[SN_MAX_INPUTS];
  float weights[SN_MAX_INPUTS];
  int count;
  sn_dtype dtype;

  SN_HD Elements<float> load_one(int m, int64_t i, int n) const { return load_numbers(dtype, data[m], i * kStep, n); }
};
Inputs inputs_of(const sn_tensor* const* x, int32_t count, const float* weights) {
  Inputs in = {};
  in.count = count;
  in.dtype = x[0]->dtype;
  for (int m = 0; m < count; ++m) {
    in.data[m] = x[m]->data;
    in.weights[m] = weights[m];
  }
  return in;
}

// Results and the largest keys: of the inputs, and of the results as they are stored.
struct Output {
  sn_dtype dtype;
  void* data;
  int64_t elements;

  SN_HD int length(int64_t i) const { return length_of(i, elements); }
  SN_HD void put(int64_t i, const Elements<float>& y, int n, Findings& found) const {
    store_numbers(dtype, data, i * kStep, y, n);
    SN_UNROLL
    for (int j = 0; j < kStep; ++j) see(y.of[j], overflow(), found);
  }
  SN_HD static void see(float v, uint32_t limit, Findings& found) {
    if (key_of(v) >= limit) found.largest = kInfinityKey;
  }
  // The least magnitude that rounds to infinity.
  SN_HD uint32_t overflow() const {
    return dtype == SN_F16 ? 0x477ff000u : dtype == SN_BF16 ? 0x7f7f8000u : kInfinityKey;
  }
};

// f(j) for the elements of a step.
template <class F>
SN_HD inline void for_step(F f) {
  SN_UNROLL
  for (int j = 0; j < kStep; ++j) f(j);
}

// NaN and infinity in an input always reach the result.
struct WeightedSum {
  static constexpr bool kFinds = true;
  using ManyRegisters = void;
  Inputs in;
  const void* base;  // or null
  Output out;

  SN_HD void step(int64_t i, Findings& found) const {
    const int n = out.length(i);
    Elements<float> b = {}, y = {};
    if (base != nullptr) b = load_numbers(in.dtype, base, i * kStep, n);
    for (int m = 0; m < in.count; ++m) {
      const Elements<float> x = in.load_one(m, i, n);
      const float w = in.weights[m];
      for_step([&](int j) {
        const float term = w * (base != nullptr ? x.of[j] - b.of[j] : x.of[j]);
        y.of[j] = m == 0 ? term : y.of[j] + term;
      });
    }
    if (base != nullptr) for_step([&](int j) { y.of[j] = b.of[j] + y.of[j]; });
    out.put(i, y, n, found);
  }
};

struct Difference {
  static constexpr bool kFinds = true;
  sn_dtype dtype;
  const void* x;
  const void* base;
  Output out;

  SN_HD void step(int64_t i, Findings& found) const {
    const int n = out.length(i);
    const Elements<float> a = load_numbers(dtype, x, i * kStep, n), b = load_numbers(dtype, base, i * kStep, n);
    Elements<float> y;
    for_step([&](int j) { y.of[j] = a.of[j] - b.of[j]; });
    out.put(i, y, n, found);
  }
};

struct Ties {
  static constexpr bool kFinds = true;
  using ManyRegisters = void;
  Inputs in;
  sn_dtype dtype;
  const void* base;
  float lambda;
  bool normalize;
  Output out;

  SN_HD void step(int64_t i, Findings& found) const {
    const int n = out.length(i);
    Elements<float> all = {}, sum = {}, weight = {};
    for (int m = 0; m < in.count; ++m) {
      const Elements<float> d = in.load_one(m, i, n);
      for_step([&](int j) {
        Output::see(d.of[j], kInfinityKey, found);
        all.of[j] = all.of[j] + in.weights[m] * d.of[j];
      });
    }
    for (int m = 0; m < in.count; ++m) {
      const Elements<float> d = in.load_one(m, i, n);
      const float w = in.weights[m];
      for_step([&](int j) {
        const float value = w * d.of[j];
        // Turned by the elected sign, what agrees is positive; of a sum of -0 all are zero.
        const uint32_t turned = bits_of(value) ^ (bits_of(all.of[j]) & 0x80000000u);
        const bool agrees = static_cast<int32_t>(turned) > 0;
        sum.of[j] = sum.of[j] + (agrees ? value : 0.0f);
        weight.of[j] = weight.of[j] + (agrees ? w : 0.0f);
      });
    }
    const Elements<float> b = load_numbers(dtype, base, i * kStep, n);
    for_step([&](int j) {
      Output::see(b.of[j], kInfinityKey, found);
      float s = sum.of[j];
      if (normalize) s = s / (key_of(weight.of[j]) == 0 ? 1.0f : weight.of[j]);
      sum.of[j] = b.of[j] + lambda * s;
    });
    out.put(i, sum, n, found);
  }
};

// A product of 32 bits by 32.
struct Wide {
  uint32_t high, low;
};
SN_HD inline Wide multiply(uint32_t a, uint32_t b) {
  const uint64_t product = static_cast<uint64_t>(a) * b;
  return {static_cast<uint32_t>(product >> 32), static_cast<uint32_t>(product)};
}

// Word `which` of Philox4x32-10.
SN_HD inline uint32_t philox(uint64_t counter, uint64_t stream, uint64_t seed, int which) {
  uint32_t c0 = static_cast<uint32_t>(counter), c1 = static_cast<uint32_t>(counter >> 32);
  uint32_t c2 = static_cast<uint32_t>(stream), c3 = static_cast<uint32_t>(stream >> 32);
  uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
  SN_UNROLL
  for (int round = 0; round < 10; ++round) {
    const Wide a = multiply(c0, 0xd2511f53u), b = multiply(c2, 0xcd9e8d57u);
    c0 = b.high ^ c1 ^ k0;
    c1 = b.low;
    c2 = a.high ^ c3 ^ k1;
    c3 = a.low;
    k0 += 0x9e3779b9u;
    k1 += 0xbb67ae85u;
  }
  return which == 0 ? c0 : which == 1 ? c1 : which == 2 ? c2 : c3;
}

struct Dare {
  static constexpr bool kFinds = true;
  using ManyRegisters = void;
  Inputs in;
  uint64_t streams[SN_MAX_INPUTS];
  const void* base;
  uint64_t seed;
  int64_t first;   // a multiple of 64
  uint32_t below;  // words up to this are kept
  Output out;

  SN_HD void step(int64_t i, Findings& found) const {
    const int n = out.length(i);
    // The 16 elements of a step take one word of as many counters.
    const uint64_t element = static_cast<uint64_t>(first + i * kStep), counter = element / 64 * 16;
    const int which = static_cast<int>(element / 16 % 4);
    const Elements<float> b = load_numbers(in.dtype, base, i * kStep, n);
    Elements<float> y = {};
    for (int m = 0; m < in.count; ++m) {
      const Elements<float> x = in.load_one(m, i, n);
      const float w = in.weights[m];
      uint32_t kept = 0;
#if defined(__CUDA_ARCH__)
#pragma unroll 2
#endif
      for (int j = 0; j < kStep; ++j) {
        const uint32_t r = philox(counter + static_cast<uint64_t>(j), streams[m], seed, which);
        kept |= static_cast<uint32_t>(r <= below) << j;
      }
      for_step([&](int j) {
        Output::see(x.of[j], kInfinityKey, found);
        y.of[j] = y.of[j] + ((kept >> j & 1u) != 0 ? w * (x.of[j] - b.of[j]) : 0.0f);
      });
    }
    for_step([&](int j) {
      Output::see(b.of[j], kInfinityKey, found);
      y.of[j] = b.of[j] + y.of[j];
    });
    out.put(i, y, n, found);
  }
};

// sum a^2, sum b^2 and sum a b of a block, in float64 over 16 lanes.
struct BlockProducts {
  static constexpr bool kFinds = true, kOrdered = false;
  static constexpr int kPhases = 3;
  struct State {};
  struct Shared {
    float a[kBlock], b[kBlock];
    double sums[3][kLanes];
  };
  sn_dtype dtype;
  const void* a;
  const void* b;
  int64_t elements;
  double* out;

  SN_HD void phase(int p, int64_t team, int thread, State&, Shared& shared, Findings& found) const {
    const int64_t begin = team * kBlock;
    const int n = elements - begin < kBlock ? static_cast<int>(elements - begin) : kBlock;
    if (p == 0) {
      const int left = n - thread * kStep;
      if (left <= 0) return;
      const int here = left < kStep ? left : kStep;
      const Elements<float> x = load_numbers(dtype, a, begin + thread * kStep, here);
      const Elements<float> y = load_numbers(dtype, b, begin + thread * kStep, here);
      for_step([&](int j) {
        Output::see(x.of[j], kInfinityKey, found);
        Output::see(y.of[j], kInfinityKey, found);
        shared.a[thread * kStep + j] = x.of[j];
        shared.b[thread * kStep + j] = y.of[j];
      });
      return;
    }
    if (p == 1) {
      if (thread >= 3 * kLanes) return;
      const float* x = thread / kLanes == 1 ? shared.b : shared.a;
      const float* y = thread / kLanes == 0 ? shared.a : shared.b;
      double sum = 0;
      for (int i = thread % kLanes; i < n; i += kLanes) sum += static_cast<double>(x[i]) * static_cast<double>(y[i]);
      shared.sums[thread / kLanes][thread % kLanes] = sum;
      return;
    }
    if (thread >= 3) return;
    out[3 * team + thread] = fold(shared.sums[thread]);
  }
};

Output output_of(sn_tensor* out) { return {out->dtype, out->data, out->elements}; }

template <class Body>
sn_status merge(Call& call, const Body& body) {
  Findings found = {0, 0, 0};
  const sn_status status = run(call, body, steps_of_elements(body.out.elements), &found);
  if (status != SN_OK || found.largest == 0) return status;
  return fail(SN_NOT_FINITE, "a tensor holds NaN or infinity, or a result is too large for its dtype");
}

}  // namespace

sn_status weighted_sum(sn_device* device, const sn_tensor* const* x, int32_t count, const float* weights,
                       const sn_tensor* base, sn_tensor* out) {
  Call call(device);
  return merge(call, WeightedSum{inputs_of(x, count, weights), base == nullptr ? nullptr : base->data, output_of(out)});
}

sn_status difference(sn_device* device, const sn_tensor* x, const sn_tensor* base, sn_tensor* difference) {
  Call call(device);
  return merge(call, Difference{x->dtype, x->data, base->data, output_of(difference)});
}

sn_status merge_ties(sn_device* device, const sn_tensor* base, const sn_tensor* const* differences, int32_t count,
                     const float* weights, float lambda, int32_t normalize, sn_tensor* out) {
  Call call(device);
  return merge(call, Ties{inputs_of(differences, count, weights), base->dtype, base->data, lambda, normalize != 0,
                          output_of(out)});
}

sn_status merge_dare(sn_device* device, const sn_tensor* base, const sn_tensor* const* x, int32_t count,
                     const float* weights, double density, int64_t seed, const int64_t* streams, int64_t first,
                     sn_tensor* out) {
  Call call(device);
  const double kept = __builtin_nearbyint(density * 0x1p32);
  Dare body = {inputs_of(x, count, weights),
               {},
               base->data,
               static_cast<uint64_t>(seed),
               first,
               kept < 1 ? 0 : static_cast<uint32_t>(static_cast<uint64_t>(kept) - 1),
               output_of(out)};
  for (int m = 0; m < count; ++m) body.streams[m] = static_cast<uint64_t>(streams[m]);
  return merge(call, body);
}

sn_status block_products(sn_device* device, const sn_tensor* a, const sn_tensor* b, sn_tensor* sums) {
  Call call(device);
  Findings found = {0, 0, 0};
  const BlockProducts body = {a->dtype, a->data, b->data, a->elements, data_of<double>(sums)};
  const sn_status status = run_teams(call, body, (a->elements + kBlock - 1) / kBlock, &found);
  if (status != SN_OK) return status;
  return found.largest >= kInfinityKey ? not_finite() : SN_OK;
}

}  // namespace cuda
}  // namespace sn
