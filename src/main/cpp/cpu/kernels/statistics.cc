// What a tensor holds, how two differ, and changing the element type. See sinew.h.
#include "cpu/kernels/floats.h"

namespace sn {
namespace SN_ISA_NAME {
namespace {

// Partial results of one block; blocks are combined in index order.
struct Summary {
  double lo, hi, sum;
  int64_t zeros, nan, plus, minus, finite;
};

inline Summary empty_summary() { return {__builtin_inf(), -__builtin_inf(), 0, 0, 0, 0, 0, 0}; }

inline void summarize_value(Summary& s, double v) {
  s.zeros += v == 0;
  if (v != v) {
    ++s.nan;
  } else if (v == __builtin_inf()) {
    ++s.plus;
  } else if (v == -__builtin_inf()) {
    ++s.minus;
  } else {
    ++s.finite;
    s.sum += v;
    s.lo = v < s.lo ? v : s.lo;
    s.hi = v > s.hi ? v : s.hi;
  }
}

// F64 and integers, at their own precision.
template <class T>
void summarize_block(Summary& s, const T* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) summarize_value(s, static_cast<double>(x[i]));
}
// A stored BOOL, in which any byte but 0 is true.
struct Bool {
  uint8_t byte;
};
void summarize_block(Summary& s, const Bool* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) summarize_value(s, x[i].byte != 0);
}

void summarize_vectors(Summary& s, const float* x, int64_t n) {
  F lo = splat(__builtin_inff()), hi = splat(-__builtin_inff());
  D sum = zero_sum();
  const I infinity = splat_int(kInfinityKey), zero = splat_int(0);
  for_vectors(n, [&](int64_t i, int64_t lanes) {
    F v = load_some(x + i, lanes);
    I k = key(v);
    const uint32_t valid = (1u << lanes) - 1u;
    const uint32_t finite = bits(gt(infinity, k)) & valid;
    s.zeros += __builtin_popcount(bits(eq(k, zero)) & valid);
    s.finite += __builtin_popcount(finite);
    if (finite != valid) {
      s.nan += __builtin_popcount(bits(gt(k, infinity)) & valid);
      float values[kLanes];
      store(values, v);
      for (int64_t l = 0; l < lanes; ++l) {
        s.plus += values[l] == __builtin_inff();
        s.minus += values[l] == -__builtin_inff();
      }
    }
    M usable = mask_of(finite);
    lo = min(select(usable, v, lo), lo);
    hi = max(select(usable, v, hi), hi);
    add(sum, select(usable, v, splat(0)));
  });
  const double low = static_cast<double>(reduce_min(lo)), high = static_cast<double>(reduce_max(hi));
  s.lo = low < s.lo ? low : s.lo;
  s.hi = high > s.hi ? high : s.hi;
  s.sum += reduce(sum);
}
template <class T>
void summarize_floats(Summary& s, const T* x, int64_t n) {
  float buffer[kBlock];
  summarize_vectors(s, floats_of(x, n, buffer), n);
}
void summarize_block(Summary& s, const float* x, int64_t n) { summarize_floats(s, x, n); }
void summarize_block(Summary& s, const f16* x, int64_t n) { summarize_floats(s, x, n); }
void summarize_block(Summary& s, const bf16* x, int64_t n) { summarize_floats(s, x, n); }
void summarize_block(Summary& s, const f8e4m3* x, int64_t n) { summarize_floats(s, x, n); }

// block(first, n, &partials[b]) for blocks of 4096 elements in parallel, then fold(partial) in index order.
template <class Partial, class Block, class Fold>
void in_blocks(sn_device* device, int64_t elements, Block block, Fold fold) {
  constexpr int64_t kWindow = 1024;
  Partial partials[kWindow];
  const int64_t blocks = ceil_div(elements, kBlock);
  for (int64_t first = 0; first < blocks; first += kWindow) {
    const int64_t here = min_of(kWindow, blocks - first);
    auto task = [&](int64_t b) {
      const int64_t begin = (first + b) * kBlock;
      block(begin, min_of(kBlock, elements - begin), partials + b);
    };
    for_tasks(device, here, task);
    for (int64_t b = 0; b < here; ++b) fold(partials[b]);
  }
}

template <class T>
Summary summarize(sn_device* device, const T* x, int64_t elements) {
  Summary total = empty_summary();
  in_blocks<Summary>(
      device, elements,
      [&](int64_t begin, int64_t n, Summary* s) {
        *s = empty_summary();
        summarize_block(*s, x + begin, n);
      },
      [&](const Summary& s) {
        total.lo = s.lo < total.lo ? s.lo : total.lo;
        total.hi = s.hi > total.hi ? s.hi : total.hi;
        total.sum += s.sum;
        total.zeros += s.zeros;
        total.nan += s.nan;
        total.plus += s.plus;
        total.minus += s.minus;
        total.finite += s.finite;
      });
  return total;
}

}  // namespace

sn_status statistics(sn_device* device, const sn_tensor* x, sn_tensor* result) {
  Summary s;
  switch (x->dtype) {
    case SN_I64:
      s = summarize(device, data_of<int64_t>(x), x->elements);
      break;
    case SN_I32:
      s = summarize(device, data_of<int32_t>(x), x->elements);
      break;
    case SN_I16:
      s = summarize(device, data_of<int16_t>(x), x->elements);
      break;
    case SN_I8:
      s = summarize(device, data_of<int8_t>(x), x->elements);
      break;
    case SN_U8:
      s = summarize(device, data_of<uint8_t>(x), x->elements);
      break;
    case SN_BOOL:
      s = summarize(device, data_of<Bool>(x), x->elements);
      break;
    case SN_F8_E4M3:
      s = summarize(device, data_of<f8e4m3>(x), x->elements);
      break;
    case SN_F64:
      s = summarize(device, data_of<double>(x), x->elements);
      break;
    case SN_F16:
      s = summarize(device, data_of<f16>(x), x->elements);
      break;
    case SN_BF16:
      s = summarize(device, data_of<bf16>(x), x->elements);
      break;
    default:
      s = summarize(device, data_of<float>(x), x->elements);
      break;
  }
  double* out = data_of<double>(result);
  // Which of -0 and +0 is the smaller differs between instruction sets; adding +0 makes both +0.
  out[0] = s.finite > 0 ? s.lo + 0.0 : __builtin_nan("");
  out[1] = s.finite > 0 ? s.hi + 0.0 : __builtin_nan("");
  out[2] = s.finite > 0 ? (-s.lo > s.hi ? -s.lo : s.hi) + 0.0 : 0;
  out[3] = s.sum;
  out[4] = static_cast<double>(s.zeros);
  out[5] = static_cast<double>(s.nan);
  out[6] = static_cast<double>(s.plus);
  out[7] = static_cast<double>(s.minus);
  return SN_OK;
}

namespace {

struct Difference {
  double largest, noise, a, b, product;
};

const float* block_of(const sn_tensor* x, int64_t begin, int64_t n, float* buffer) {
  const float* floats = nullptr;
  with_floating(x->dtype, [&](auto* type) {
    floats = floats_of(data_of<typename Pointee<decltype(type)>::type>(x) + begin, n, buffer);
    return SN_OK;
  });
  return floats;
}

Difference differ(sn_device* device, const sn_tensor* a, const sn_tensor* b) {
  Difference total = {0, 0, 0, 0, 0};
  in_blocks<Difference>(
      device, a->elements,
      [&](int64_t begin, int64_t n, Difference* d) {
        float buffers[2][kBlock];
        const float *as = block_of(a, begin, n, buffers[0]), *bs = block_of(b, begin, n, buffers[1]);
        F largest = splat(0);
        D noise = zero_sum(), aa = zero_sum(), bb = zero_sum(), ab = zero_sum();
        const I infinity = splat_int(kInfinityKey);
        for_vectors(n, [&](int64_t i, int64_t lanes) {
          F x = load_some(as + i, lanes), y = load_some(bs + i, lanes);
          M usable = gt(infinity, max(key(x), key(y)));
          x = select(usable, x, splat(0));
          y = select(usable, y, splat(0));
          F e = sub(x, y);
          largest = max(abs(e), largest);
          add_product(noise, e, e);
          add_product(aa, x, x);
          add_product(bb, y, y);
          add_product(ab, x, y);
        });
        *d = {static_cast<double>(reduce_max(largest)), reduce(noise), reduce(aa), reduce(bb), reduce(ab)};
      },
      [&](const Difference& d) {
        total.largest = d.largest > total.largest ? d.largest : total.largest;
        total.noise += d.noise;
        total.a += d.a;
        total.b += d.b;
        total.product += d.product;
      });
  return total;
}

}  // namespace

sn_status compare(sn_device* device, const sn_tensor* a, const sn_tensor* b, sn_tensor* result) {
  const Difference d = differ(device, a, b);
  memcpy(result->data, &d, sizeof d);
  return SN_OK;
}

sn_status convert(sn_device* device, const sn_tensor* x, sn_tensor* y) {
  const bool bypass = bypass_caches(y);
  if (x->dtype == y->dtype) {
    for_elements(
        device, x->bytes(), 0,
        [&](int&, int64_t offset, int64_t n) {
          memcpy(data_of<char>(y) + offset, data_of<char>(x) + offset, static_cast<size_t>(n));
        },
        [](int&) {});
    return SN_OK;
  }
  return with_floating(x->dtype, [&](auto* from_type) {
    return with_floating(y->dtype, [&](auto* to_type) {
      using From = typename Pointee<decltype(from_type)>::type;
      using To = typename Pointee<decltype(to_type)>::type;
      for_elements(
          device, x->elements, 0,
          [&](int&, int64_t i, int64_t n) {
            const From* from = data_of<From>(x) + i;
            To* to = data_of<To>(y) + i;
            if constexpr (sizeof(From) == 4 || sizeof(To) == 4) {
              bypass ? store_as<true>(from, to, n) : store_as<false>(from, to, n);
            } else {
              float buffer[kBlock];
              store_as<false>(from, buffer, n);
              bypass ? store_as<true>(buffer, to, n) : store_as<false>(buffer, to, n);
            }
          },
          [](int&) {});
      return SN_OK;
    });
  });
}

sn_status memory_probe(sn_device* device, const sn_tensor* x, sn_tensor* y) {
  // Steps of one cache line on the shorter side and `ratio` lines on the longer; a side of no bytes is left out.
  const bool bypass = bypass_caches(x, y);
  const int64_t in_lines = x->bytes() / 64, out_lines = y->bytes() / 64;
  const int64_t shorter = min_of(in_lines, out_lines), longer = max_of(in_lines, out_lines);
  const int64_t ratio = shorter == 0 ? 1 : longer / shorter;
  const int64_t in_step = in_lines == 0 ? 0 : in_lines >= out_lines ? ratio : 1;
  const int64_t out_step = out_lines == 0 ? 0 : out_lines > in_lines ? ratio : 1;
  const int64_t steps = shorter == 0 ? longer : shorter;
  const float* in = data_of<float>(x);
  float* out = data_of<float>(y);
  struct Sink {
    F value;
  };
  int64_t sink = 0;
  for_pieces(
      device, 1, steps * ratio * kLanes, ratio * kLanes, Sink{splat(0)},
      [&](Sink& s, int64_t, int64_t offset, int64_t n) {
        const int64_t first = offset / (ratio * kLanes), last = first + n / (ratio * kLanes);
        const float* from = in + first * in_step * kLanes;
        float* to = out + first * out_step * kLanes;
        for (int64_t i = first; i < last; ++i) {
          F v = splat(0);
          for (int64_t l = 0; l < in_step; ++l, from += kLanes) {
            __builtin_prefetch(reinterpret_cast<const void*>(reinterpret_cast<uintptr_t>(from) + kNear));
            v = load(from);
            s.value = max(v, s.value);
          }
          for (int64_t l = 0; l < out_step; ++l, to += kLanes) {
            if (bypass) {
              store<true>(to, v);
            } else {
              store(to, v);
            }
          }
        }
      },
      // Makes the loads count as used.
      [&](Sink& s) { atomic_add(&sink, static_cast<int64_t>(bits(gt(key(s.value), splat_int(0))))); });
  return SN_OK;
}

}  // namespace SN_ISA_NAME
}  // namespace sn
