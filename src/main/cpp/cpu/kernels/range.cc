// The range of real values that the integers of a slice cover, and the scale it gives. See sinew.h.
#include "cpu/kernels/floats.h"
#include "cpu/kernels/select.h"
#include "cpu/kernels/slices.h"

namespace sn {
namespace SN_ISA_NAME {
namespace {

struct Extremes {
  F lo, hi;
  I key;
};

inline Extremes no_extremes() { return {splat(0), splat(0), splat_int(0)}; }

template <class T>
inline void widen(Extremes& e, const T* x, int64_t n) {
  F lo = e.lo, hi = e.hi;
  I largest = e.key;
  int64_t i = 0;
  for (; i + 64 <= n; i += 64) {
    F a = load(x + i), b = load(x + i + 16), c = load(x + i + 32), d = load(x + i + 48);
    lo = min(min(min(a, b), min(c, d)), lo);
    hi = max(max(max(a, b), max(c, d)), hi);
    largest = max(max(largest, max(key(a), key(b))), max(key(c), key(d)));
  }
  for_vectors(n - i, [&](int64_t j, int64_t lanes) {
    F a = load_some(x + i + j, lanes);  // padding is zero, which every range includes
    lo = min(a, lo);
    hi = max(a, hi);
    largest = max(largest, key(a));
  });
  e = {lo, hi, largest};
}

// *target = min or max(*target, value) for values that straddle tasks.
typedef uint32_t __attribute__((may_alias)) FloatBits;

inline void atomic_lower(float* target, float value) {
  FloatBits* bits32 = reinterpret_cast<FloatBits*>(target);
  uint32_t old = __atomic_load_n(bits32, __ATOMIC_RELAXED);
  while (value < float_of(old) &&
         !__atomic_compare_exchange_n(bits32, &old, bits_of(value), true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
}
inline void atomic_raise(float* target, float value) {
  FloatBits* bits32 = reinterpret_cast<FloatBits*>(target);
  uint32_t old = __atomic_load_n(bits32, __ATOMIC_RELAXED);
  while (value > float_of(old) &&
         !__atomic_compare_exchange_n(bits32, &old, bits_of(value), true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
}

// The extremes of every slice, zero included; true if all elements are finite. Elements of half a slice or more in one
// piece and slices of several pieces meet in the atomics.
template <class T>
bool find_extremes(sn_device* device, const T* x, const Slices& s, float* lo, float* hi) {
  struct Running {
    Extremes extremes;  // of the slice `slice`, not yet stored
    int64_t slice;
    I largest;
  };
  for (int64_t i = 0; i < s.count(); ++i) lo[i] = hi[i] = 0.0f;
  int32_t broken = 0;
  auto flush = [&](Running& r) {
    if (r.slice < 0) return;
    atomic_lower(lo + r.slice, reduce_min(r.extremes.lo));
    atomic_raise(hi + r.slice, reduce_max(r.extremes.hi));
    r.largest = max(r.largest, r.extremes.key);
    r.extremes = no_extremes();
    r.slice = -1;
  };
  for_pieces(
      device, s.rows, s.cols, 64, Running{no_extremes(), -1, splat_int(0)},
      [&](Running& r, int64_t row, int64_t start, int64_t length) {
        float buffer[kBlock];
        const auto* from = floats_or_words(x + row * s.cols + start, length, buffer);
        for_runs(s, row, start, length, [&](int64_t col, int64_t n, int64_t slice) {
          if (slice != r.slice) {
            flush(r);
            r.slice = slice;
          }
          widen(r.extremes, from + col - start, n);
        });
      },
      [&](Running& r) {
        flush(r);
        if (reduce_max(r.largest) >= kInfinityKey) atomic_or(&broken);
      });
  return broken == 0;
}

inline I order_keys(F v, sn_order order) { return order == SN_ORDER_VALUE ? order_value(v) : key(v); }

constexpr int64_t kFew = 512;

// The k-th smallest (from 0) order key of at most kFew consecutive elements.
uint32_t select_among_few(const float* x, int64_t n, sn_order order, int64_t k) {
  int32_t keys[kFew + kLanes];
  for_vectors(n, [&](int64_t i, int64_t lanes) { store_int(keys + i, order_keys(load_some(x + i, lanes), order)); });
  uint32_t numbers[kFew];
  memcpy(numbers, keys, static_cast<size_t>(n) * sizeof(uint32_t));
  select_smallest(numbers, static_cast<int>(n), static_cast<int>(k) + 1);
  uint32_t largest = 0;
  for (int64_t i = 0; i <= k; ++i) largest = numbers[i] > largest ? numbers[i] : largest;
  return largest;
}

// Counts the digits of `width` bits from `shift` on of the keys whose bits above them are `above`; none are above 32.
void count_digits(const float* x, int64_t n, sn_order order, uint32_t above, int shift, int width, int64_t* bins) {
  for_vectors(n, [&](int64_t i, int64_t lanes) {
    int32_t keys[kLanes];
    store_int(keys, order_keys(load_some(x + i, lanes), order));
    for (int64_t l = 0; l < lanes; ++l) {
      const uint32_t u = static_cast<uint32_t>(keys[l]);
      if (shift + width == 32 || u >> (shift + width) == above) ++bins[(u >> shift) & ((1u << width) - 1u)];
    }
  });
}

// The k-th smallest (from 0) order key among the elements of one slice. Many are counted in three rounds of a radix of
// 11, 11 and 10 bits.
template <class T>
uint32_t select_key(const T* x, const Slices& s, int64_t row, int64_t col, sn_order order, int64_t k) {
  float buffer[kBlock];
  if (!s.shared && s.end(col) - col <= kFew)
    return select_among_few(floats_of(x + row * s.cols + col, s.end(col) - col, buffer), s.end(col) - col, order, k);
  uint32_t found = 0;
  for (int round = 0, shift = 21; round < 3; ++round) {
    const int width = round == 2 ? 10 : 11;
    int64_t bins[2048] = {};
    const int64_t rows = s.shared ? s.rows : row + 1;
    for (int64_t r = s.shared ? 0 : row; r < rows; ++r) {
      for (int64_t begin = col; begin < s.end(col); begin += kBlock) {
        const int64_t n = min_of(kBlock, s.end(col) - begin);
        count_digits(floats_of(x + r * s.cols + begin, n, buffer), n, order, found, shift, width, bins);
      }
    }
    uint32_t bin = 0;
    while (k >= bins[bin]) k -= bins[bin++];
    found = found << width | bin;
    shift -= round == 1 ? 10 : 11;
  }
  return found;
}

inline float value_of(uint32_t order_key) { return float_of(order_key >> 31 ? order_key ^ 0x80000000u : ~order_key); }

// Nearest rank: the smallest value that at least `percentile` percent do not exceed, as an index into the sorted slice.
// The product comes first, as it is exact (24 bits of percentile times n): 7 / 100 is above 0.07, and 100 x 0.07
// above 7.
inline int64_t rank_of(int64_t n, double percentile) {
  const double share = static_cast<double>(n) * percentile / 100.0;
  int64_t rank = static_cast<int64_t>(share);
  rank += static_cast<double>(rank) < share;
  return max_of(min_of(rank, n), 1) - 1;
}

// Calls f(slice, row, col, elements) for every slice, in parallel.
template <class F>
void for_slices(sn_device* device, const Slices& s, F f) {
  auto task = [&](int64_t slice) {
    const int64_t row = s.shared ? 0 : slice / s.per_row;
    const int64_t col = s.shared ? 0 : slice % s.per_row * s.group;
    f(slice, row, col, (s.end(col) - col) * (s.shared ? s.rows : 1));
  };
  for_tasks(device, s.count(), task);
}

template <class T>
void narrow_to_percentile(sn_device* device, const T* x, const Slices& s, bool symmetric, double percentile, float* lo,
                          float* hi) {
  for_slices(device, s, [&](int64_t slice, int64_t row, int64_t col, int64_t n) {
    if (symmetric) {
      const float bound = float_of(select_key(x, s, row, col, SN_ORDER_MAGNITUDE, rank_of(n, percentile)));
      if (bound > 0) {
        hi[slice] = bound;
        lo[slice] = -bound;
      }
      return;
    }
    const int64_t above = rank_of(n, percentile);
    const float upper = value_of(select_key(x, s, row, col, SN_ORDER_VALUE, above));
    const float lower = value_of(select_key(x, s, row, col, SN_ORDER_VALUE, n - 1 - above));
    const float high = upper > 0 ? upper : 0.0f, low = lower < 0 ? lower : 0.0f;
    if (high > 0 || low < 0) {
      hi[slice] = high;
      lo[slice] = low;
    }
  });
}

struct Parameters {
  float scale;
  int zero_point;
};

inline Parameters parameters_of(float lo, float hi, sn_scheme scheme) {
  const double low = static_cast<double>(lo), high = static_cast<double>(hi);
  const double width = is_asymmetric(scheme) ? (high - low) / (is_int4(scheme) ? 15.0 : 255.0)
                                             : (-low > high ? -low : high) / symmetric_steps(scheme);
  float scale = static_cast<float>(width);
  if (width == 0) scale = 1.0f;
  // A range so narrow that the scale would vanish takes the smallest scale there is.
  if (scale == 0) scale = float_of(1);
  if (!is_asymmetric(scheme)) return {scale, 0};
  const double z = static_cast<double>(qmin(scheme)) - low / static_cast<double>(scale);
  // Half to even, by the same addition as in to_int; z is within a few hundred of zero unless the scale was raised.
  const double bounded = z < qmin(scheme) ? qmin(scheme) : z > qmax(scheme) ? qmax(scheme) : z;
  return {scale, static_cast<int>((bounded + 6755399441055744.0) - 6755399441055744.0)};
}

// Squared error of the n elements of one block under one quantizer.
template <class Quantizer>
double block_error(const float* x, int64_t n, const Quantizer& z) {
  D sum = zero_sum();
  for_vectors(n, [&](int64_t i, int64_t lanes) {
    F v = load_some(x + i, lanes);
    F e = sub(v, fake_lanes(z, v));
    add_product(sum, e, e);
  });
  return reduce(sum);
}

constexpr int kCandidates = 61;

inline float candidate(float bound, int j) {
  return static_cast<float>(static_cast<double>(bound) * (100 - j) / 100.0);
}

// Blocks of a slice: within each row, from where the slice begins.
template <class Quantizer, class T>
void narrow_to_least_error(sn_device* device, const T* x, const Slices& s, sn_scheme scheme, float* lo, float* hi) {
  struct Choice {
    Quantizer z[kCandidates];
  };
  auto candidates_of = [&](float low, float high, Choice& choice) {
    for (int j = 0; j < kCandidates; ++j) {
      const Parameters p = parameters_of(candidate(low, j), candidate(high, j), scheme);
      choice.z[j] = quantizer<Quantizer>(p.scale, p.zero_point, scheme);
    }
  };
  auto settle = [&](int64_t slice, const double* errors) {
    int best = 0;
    for (int j = 1; j < kCandidates; ++j) {
      if (errors[j] < errors[best]) best = j;
    }
    lo[slice] = candidate(lo[slice], best);
    hi[slice] = candidate(hi[slice], best);
  };
  const int64_t length = s.shared ? s.cols : min_of(s.group, s.cols);
  const int64_t blocks_per_row = ceil_div(length, kBlock);
  if (s.count() >= 2 * int64_t{device->threads} || device->threads == 1) {
    for_slices(device, s, [&](int64_t slice, int64_t row, int64_t col, int64_t) {
      Choice choice;
      candidates_of(lo[slice], hi[slice], choice);
      double errors[kCandidates] = {};
      const int64_t last = s.shared ? s.rows : row + 1;
      for (int64_t r = s.shared ? 0 : row; r < last; ++r) {
        for (int64_t begin = col; begin < s.end(col); begin += kBlock) {
          const int64_t n = min_of(kBlock, s.end(col) - begin);
          float buffer[kBlock];
          const float* block = floats_of(x + r * s.cols + begin, n, buffer);
          for (int j = 0; j < kCandidates; ++j) errors[j] += block_error(block, n, choice.z[j]);
        }
      }
      settle(slice, errors);
    });
    return;
  }
  // Few, long slices: blocks in parallel, window by window, each window's sums then added in index order.
  constexpr int64_t kWindow = 256;
  for (int64_t slice = 0; slice < s.count(); ++slice) {
    const int64_t row = s.shared ? 0 : slice / s.per_row, col = s.shared ? 0 : slice % s.per_row * s.group;
    const int64_t total = blocks_per_row * (s.shared ? s.rows : 1);
    Choice choice;
    candidates_of(lo[slice], hi[slice], choice);
    double errors[kCandidates] = {};
    double window[kWindow][kCandidates];
    for (int64_t first = 0; first < total; first += kWindow) {
      const int64_t count_here = min_of(kWindow, total - first);
      auto task = [&](int64_t b) {
        const int64_t r = row + (first + b) / blocks_per_row, begin = col + (first + b) % blocks_per_row * kBlock;
        const int64_t n = max_of(0, min_of(kBlock, s.end(col) - begin));
        float buffer[kBlock];
        const float* block = floats_of(x + r * s.cols + begin, n, buffer);
        for (int j = 0; j < kCandidates; ++j) window[b][j] = block_error(block, n, choice.z[j]);
      };
      for_tasks(device, count_here, task);
      for (int64_t b = 0; b < count_here; ++b) {
        for (int j = 0; j < kCandidates; ++j) errors[j] += window[b][j];
      }
    }
    settle(slice, errors);
  }
}

}  // namespace

sn_status range(sn_device* device, const sn_tensor* x, int64_t group, sn_scheme scheme, sn_range_method method,
                float percentile, sn_tensor* lo, sn_tensor* hi) {
  Slices s = slices_of(x, group, lo->elements);
  float* low = data_of<float>(lo);
  float* high = data_of<float>(hi);
  return with_floating(x->dtype, [&](auto* type) {
    using T = typename Pointee<decltype(type)>::type;
    const T* in = data_of<T>(x);
    if (!find_extremes(device, in, s, low, high)) return not_finite();
    if (!is_asymmetric(scheme)) {
      for (int64_t i = 0; i < s.count(); ++i) {
        high[i] = -low[i] > high[i] ? -low[i] : high[i];
        low[i] = 0.0f - high[i];
      }
    }
    if (x->elements == 0) return SN_OK;
    if (method == SN_RANGE_PERCENTILE)
      narrow_to_percentile(device, in, s, !is_asymmetric(scheme), static_cast<double>(percentile), low, high);
    if (method == SN_RANGE_MSE) {
      with_quantizer(scheme, [&](auto* kind) {
        narrow_to_least_error<typename Pointee<decltype(kind)>::type>(device, in, s, scheme, low, high);
      });
    }
    return SN_OK;
  });
}

sn_status scale(sn_device*, const sn_tensor* lo, const sn_tensor* hi, sn_scheme scheme, sn_tensor* scale,
                sn_tensor* zero_point) {
  const float* low = data_of<float>(lo);
  const float* high = data_of<float>(hi);
  for (int64_t i = 0; i < lo->elements; ++i) {
    if ((bits_of(low[i]) & 0x7fffffffu) >= 0x7f800000u || (bits_of(high[i]) & 0x7fffffffu) >= 0x7f800000u) {
      return fail(SN_NOT_FINITE, "a range holds NaN or infinity");
    }
  }
  for (int64_t i = 0; i < lo->elements; ++i) {
    const Parameters p = parameters_of(low[i] < 0 ? low[i] : 0.0f, high[i] > 0 ? high[i] : 0.0f, scheme);
    data_of<float>(scale)[i] = p.scale;
    if (zero_point != nullptr) data_of<int8_t>(zero_point)[i] = static_cast<int8_t>(p.zero_point);
  }
  return SN_OK;
}

sn_status quantization_error(sn_device* device, const sn_tensor* x, const sn_tensor* scale, const sn_tensor* zero_point,
                             sn_scheme scheme, sn_tensor* errors) {
  const int64_t candidates = scale->elements, per_row = ceil_div(x->cols, kBlock);
  double* result = data_of<double>(errors);
  with_floating(x->dtype, [&](auto* type) {
    using T = typename Pointee<decltype(type)>::type;
    const T* in = data_of<T>(x);
    with_quantizer(scheme, [&](auto* kind) {
      using Quantizer = typename Pointee<decltype(kind)>::type;
      auto task = [&](int64_t block) {
        const int64_t row = block / per_row, col = block % per_row * kBlock, n = min_of(kBlock, x->cols - col);
        float buffer[kBlock];
        const float* elements = floats_of(in + row * x->cols + col, n, buffer);
        for (int64_t j = 0; j < candidates; ++j) {
          const Quantizer z = quantizer<Quantizer>(data_of<float>(scale)[j], zero_point_at(zero_point, j), scheme);
          result[block * candidates + j] = block_error(elements, n, z);
        }
      };
      for_tasks(device, x->rows * per_row, task);
    });
    return SN_OK;
  });
  return SN_OK;
}

}  // namespace SN_ISA_NAME
}  // namespace sn
