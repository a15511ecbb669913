// Reductions across tensors, the arithmetic of collectives. See sinew.h.
#include "cpu/kernels/driver.h"

namespace sn {
namespace SN_ISA_NAME {
namespace {

constexpr int32_t kNanBits = 0x7fc00000;

// What is reduced, any number of tensors.
struct Job {
  const void* const* x;
  int count;
  void* const* out;
  int outs;
  int64_t offset;
};

// Two tensors into one output or two. Pointers that nothing written can change stay in registers: with Job's, most
// instructions of a loop would fetch them again.
struct Pair {
  static constexpr int count = 2;
  const void* x[2];
  void* out[2];
  int outs;
  int64_t offset;

  explicit Pair(const Job& job)
      : x{job.x[0], job.x[1]}, out{job.out[0], job.out[job.outs - 1]}, outs(job.outs), offset(job.offset) {}
};
template <class T, class AnyJob>
SN_INLINE const T* input(const AnyJob& job, int m) {
  return static_cast<const T*>(job.x[m]) + job.offset;
}
template <class T, class AnyJob>
SN_INLINE T* output(const AnyJob& job, int j) {
  return static_cast<T*>(job.out[j]) + job.offset;
}
// f(j) for each output.
template <class F>
SN_INLINE void for_outs(const Job& job, F f) {
  for (int j = 0; j < job.outs; ++j) f(j);
}
template <class F>
SN_INLINE void for_outs(const Pair& job, F f) {
  f(0);
  if (job.outs == 2) f(1);
}

template <sn_reduction kOp>
SN_INLINE F combine(F sum, F v) {
  // As minps and maxps these keep the second operand when the two are equal: of zeros the first rank's.
  if (kOp == SN_MIN) return min(v, sum);
  if (kOp == SN_MAX) return max(v, sum);
  return add(sum, v);
}

// kVectors vectors of results from element i on, each of `lanes` elements. Every NaN becomes the same one: which
// operand gives its payload would depend on how the code was compiled.
template <class T, sn_reduction kOp, int kVectors, class AnyJob>
SN_INLINE void floats_at(const AnyJob& job, int64_t i, int64_t lanes, F divisor, F* y) {
  constexpr bool kSum = kOp == SN_SUM || kOp == SN_AVERAGE;
  I seen[kVectors];
  for (int v = 0; v < kVectors; ++v) {
    y[v] = load_some(input<T>(job, 0) + i + v * kLanes, lanes);
    if (!kSum) seen[v] = key(y[v]);
  }
  for (int m = 1; m < job.count; ++m) {
    const T* x = input<T>(job, m) + i;
    for (int v = 0; v < kVectors; ++v) {
      const F next = load_some(x + v * kLanes, lanes);
      if (!kSum) seen[v] = max(seen[v], key(next));
      y[v] = combine<kOp>(y[v], next);
    }
  }
  const F nan = as_float(splat_int(kNanBits));
  for (int v = 0; v < kVectors; ++v) {
    if (kOp == SN_AVERAGE) y[v] = div(y[v], divisor);
    if (kSum) seen[v] = key(y[v]);
    y[v] = select(gt(seen[v], splat_int(kInfinityKey)), nan, y[v]);
  }
}

template <class T, sn_reduction kOp, bool kBypass, class AnyJob>
SN_INLINE void reduce_lines(const AnyJob& job, int64_t n) {
  const F divisor = splat(static_cast<float>(job.count));
  for_lines(
      kBypass ? to_line(output<T>(job, 0)) : 0, n,
      [&](int64_t i, int64_t lanes) {
        F y[1];
        floats_at<T, kOp, 1>(job, i, lanes, divisor, y);
        for_outs(job, [&](int j) { store_tail(output<T>(job, j) + i, y[0], lanes); });
      },
      [&](int64_t i) {
        for (int part = 0; part < 4; part += 2) {
          F y[2];
          floats_at<T, kOp, 2>(job, i + part * kLanes, kLanes, divisor, y);
          for_outs(job, [&](int j) {
            T* to = output<T>(job, j) + i + part * kLanes;
            store<kBypass>(to, y[0]);
            store<kBypass>(to + kLanes, y[1]);
          });
        }
      });
}

template <class T, sn_reduction kOp, bool kBypass>
void reduce_floats(const Job& job, int64_t n) {
  // F32 only: all types would take twice as long to compile.
  if constexpr (sizeof(T) == sizeof(float) && (kOp == SN_SUM || kOp == SN_AVERAGE)) {
    if (job.count == 2 && job.outs <= 2) return reduce_lines<T, kOp, kBypass>(Pair(job), n);
  }
  reduce_lines<T, kOp, kBypass>(job, n);
}

// Sums of bytes are exact in F32, and their quotients far enough from ties that rounding cannot make one.
template <sn_reduction kOp>
SN_INLINE void bytes_at(const Job& job, int64_t i, F divisor, int8_t* to) {
  F y[4];
  for (int v = 0; v < 4; ++v) y[v] = from_int(load_int(input<int8_t>(job, 0) + i + v * kLanes));
  for (int m = 1; m < job.count; ++m) {
    const int8_t* x = input<int8_t>(job, m) + i;
    for (int v = 0; v < 4; ++v) y[v] = combine<kOp>(y[v], from_int(load_int(x + v * kLanes)));
  }
  for (int v = 0; v < 4; ++v) {
    if (kOp == SN_AVERAGE) y[v] = div(y[v], divisor);
    if (kOp == SN_SUM) y[v] = max(min(y[v], splat(127)), splat(-128));
  }
  store_bytes(to, pack(to_int(y[0]), to_int(y[1]), to_int(y[2]), to_int(y[3])));
}

template <sn_reduction kOp>
void reduce_bytes(const Job& job, int64_t n) {
  const F divisor = splat(static_cast<float>(job.count));
  int8_t result[64];
  int64_t i = 0;
  for (; i + 64 <= n; i += 64) {
    bytes_at<kOp>(job, i, divisor, result);
    for (int j = 0; j < job.outs; ++j) memcpy(output<int8_t>(job, j) + i, result, 64);
  }
  for (; i < n; ++i) {
    float y = input<int8_t>(job, 0)[i];
    for (int m = 1; m < job.count; ++m) {
      const float v = input<int8_t>(job, m)[i];
      y = kOp == SN_MIN ? (v < y ? v : y) : kOp == SN_MAX ? (v > y ? v : y) : y + v;
    }
    if (kOp == SN_AVERAGE) y = __builtin_rintf(y / static_cast<float>(job.count));
    if (kOp == SN_SUM) y = y > 127 ? 127 : y < -128 ? -128 : y;
    for (int j = 0; j < job.outs; ++j) output<int8_t>(job, j)[i] = static_cast<int8_t>(y);
  }
}

// Sums of 32-bit integers are exact in F64, as far from ties as those above.
template <sn_reduction kOp>
void reduce_words(const Job& job, int64_t n) {
  constexpr int64_t kWords = 256;
  double sums[kWords];
  int32_t result[kWords];
  const double divisor = job.count;
  for (int64_t i = 0; i < n; i += kWords) {
    const int64_t length = min_of(kWords, n - i);
    const int32_t* first = input<int32_t>(job, 0) + i;
    for (int64_t k = 0; k < length; ++k) sums[k] = first[k];
    for (int m = 1; m < job.count; ++m) {
      const int32_t* x = input<int32_t>(job, m) + i;
      for (int64_t k = 0; k < length; ++k) {
        const double v = x[k];
        sums[k] = kOp == SN_MIN   ? (v < sums[k] ? v : sums[k])
                  : kOp == SN_MAX ? (v > sums[k] ? v : sums[k])
                                  : sums[k] + v;
      }
    }
    for (int64_t k = 0; k < length; ++k) {
      double y = sums[k];
      if (kOp == SN_AVERAGE) y = __builtin_rint(y / divisor);
      if (kOp == SN_SUM) y = y > INT32_MAX ? INT32_MAX : y < INT32_MIN ? INT32_MIN : y;
      result[k] = static_cast<int32_t>(y);
    }
    for (int j = 0; j < job.outs; ++j) {
      memcpy(output<int32_t>(job, j) + i, result, static_cast<size_t>(length) * sizeof *result);
    }
  }
}

template <sn_reduction kOp>
void reduce_some(const Job& job, int64_t n, sn_dtype dtype, bool bypass) {
  switch (dtype) {
    case SN_F16:
      return bypass ? reduce_floats<f16, kOp, true>(job, n) : reduce_floats<f16, kOp, false>(job, n);
    case SN_BF16:
      return bypass ? reduce_floats<bf16, kOp, true>(job, n) : reduce_floats<bf16, kOp, false>(job, n);
    case SN_I32:
      return reduce_words<kOp>(job, n);
    case SN_I8:
      return reduce_bytes<kOp>(job, n);
    default:
      return bypass ? reduce_floats<float, kOp, true>(job, n) : reduce_floats<float, kOp, false>(job, n);
  }
}

void reduce_by(const Job& job, int64_t n, sn_dtype dtype, sn_reduction reduction, bool bypass) {
  switch (reduction) {
    case SN_AVERAGE:
      return reduce_some<SN_AVERAGE>(job, n, dtype, bypass);
    case SN_MIN:
      return reduce_some<SN_MIN>(job, n, dtype, bypass);
    case SN_MAX:
      return reduce_some<SN_MAX>(job, n, dtype, bypass);
    default:
      return reduce_some<SN_SUM>(job, n, dtype, bypass);
  }
}

// Lines that lie in the caches already are not written past them, and all outputs have to begin at the same place of a
// line.
bool reduction_bypasses(const void* const* x, int count, void* const* out, int outs) {
  for (int j = 0; j < outs; ++j) {
    if (to_line(static_cast<char*>(out[j])) != to_line(static_cast<char*>(out[0]))) return false;
    for (int m = 0; m < count; ++m) {
      if (x[m] == out[j]) return false;
    }
  }
  return true;
}

}  // namespace

sn_status reduce(sn_device* device, const void* const* x, int32_t count, int64_t elements, sn_dtype dtype,
                 sn_reduction reduction, void* const* out, int32_t outs, int64_t whole) {
  const bool bypass = whole * dtype_size(dtype) >= kStreamFrom && reduction_bypasses(x, count, out, outs);
  auto some = [&](int64_t offset, int64_t n) {
    reduce_by(Job{x, count, out, outs, offset}, n, dtype, reduction, bypass);
  };
  if (device == nullptr) {
    some(0, elements);
    stream_fence();
  } else {
    for_elements(
        device, elements, 0, [&](int, int64_t offset, int64_t n) { some(offset, n); }, [](int) {});
  }
  return SN_OK;
}

}  // namespace SN_ISA_NAME
}  // namespace sn
