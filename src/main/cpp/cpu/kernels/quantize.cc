// Quantize, dequantize, and both in one pass. See sinew.h.
#include "cpu/kernels/slices.h"

namespace sn {
namespace SN_ISA_NAME {
namespace {

struct Largest {
  I key;
};

// 64 elements as bytes, and their magnitudes' keys into `largest`.
template <class T, class Quantizer>
SN_INLINE B quantize_64(const T* x, const Quantizer& z, I& largest) {
  fetch_ahead(x, kFar);
  F a = load_folded(x), b = load_folded(x + 16), c = load_folded(x + 32), d = load_folded(x + 48);
  largest = max(max(largest, max(key(a), key(b))), max(key(c), key(d)));
  return pack_folded(x, quantize_lanes(z, a), quantize_lanes(z, b), quantize_lanes(z, c), quantize_lanes(z, d));
}

// n elements of one slice to int8 or fp8.
template <bool kBypass, class T, class Quantizer>
inline void to_bytes(Largest& state, const T* x, int8_t* q, int64_t n, const Quantizer& z) {
  I largest = state.key;
  for_lines(
      kBypass ? to_line(q) : 0, n,
      [&](int64_t i, int64_t lanes) {
        F v = load_some(x + i, lanes);
        largest = max(largest, key(v));
        I r = quantize_lanes(z, v);
        int8_t bytes[64];
        store_bytes(bytes, pack(r, r, r, r));
        memcpy(q + i, bytes, static_cast<size_t>(lanes));
      },
      [&](int64_t i) { store_bytes<kBypass>(q + i, quantize_64(x + i, z, largest)); });
  state.key = largest;
}

// n elements of one slice to nibbles, from a whole byte on; a last odd element is followed by the nibble 8 (zero).
template <bool kBypass, class T>
inline void to_nibbles(Largest& state, const T* x, uint8_t* q, int64_t n, const Integers& z) {
  I largest = state.key;
  for_lines(
      kBypass ? 2 * to_line(q) : 0, n,
      [&](int64_t i, int64_t lanes) {
        F v = load_some(x + i, lanes);
        largest = max(largest, key(v));
        I r = select(first_lanes(lanes), quantize_lanes(z, v), splat_int(0));
        uint8_t bytes[32];
        store_nibbles(bytes, pack(r, r, r, r));
        memcpy(q + i / 2, bytes, static_cast<size_t>((lanes + 1) / 2));
      },
      [&](int64_t i) { store_nibbles<kBypass>(q + i / 2, quantize_64(x + i, z, largest)); });
  state.key = largest;
}

// A single slice over the tensor, without padded rows, is one long row.
inline void flatten(Slices& s) {
  if (!s.shared) return;
  s.cols *= s.rows;
  s.rows = 1;
  s.group = s.cols;
}

}  // namespace

sn_status quantize(sn_device* device, const sn_tensor* x, const sn_tensor* scale, const sn_tensor* zero_point,
                   int64_t group, sn_tensor* q) {
  Slices s = slices_of(x, group, scale->elements);
  const bool int4 = q->dtype == SN_U8;
  const sn_scheme scheme = q->dtype == SN_F8_E4M3 ? SN_FP8
                           : int4                 ? (zero_point ? SN_INT4_ASYMMETRIC : SN_INT4_SYMMETRIC)
                                                  : (zero_point ? SN_INT8_ASYMMETRIC : SN_INT8_SYMMETRIC);
  if (!int4) flatten(s);
  const int64_t row_bytes = int4 ? (s.cols + 1) / 2 : s.cols;
  const bool bypass = bypass_caches(q);
  int32_t broken = 0;
  with_floating(x->dtype, [&](auto* type) {
    using T = typename Pointee<decltype(type)>::type;
    const T* in = data_of<T>(x);
    for_pieces(
        device, s.rows, s.cols, 64, Largest{splat_int(0)},
        [&](Largest& state, int64_t row, int64_t start, int64_t length) {
          for_runs(s, row, start, length, [&](int64_t col, int64_t n, int64_t slice) {
            const float step = data_of<float>(scale)[slice];
            const T* from = in + row * s.cols + col;
            if (int4) {
              const Integers z = quantizer<Integers>(step, zero_point_at(zero_point, slice), scheme);
              uint8_t* to = data_of<uint8_t>(q) + row * row_bytes + col / 2;
              bypass ? to_nibbles<true>(state, from, to, n, z) : to_nibbles<false>(state, from, to, n, z);
              return;
            }
            int8_t* to = data_of<int8_t>(q) + row * row_bytes + col;
            with_quantizer(scheme, [&](auto* kind) {
              using Quantizer = typename Pointee<decltype(kind)>::type;
              const Quantizer z = quantizer<Quantizer>(step, zero_point_at(zero_point, slice), scheme);
              bypass ? to_bytes<true>(state, from, to, n, z) : to_bytes<false>(state, from, to, n, z);
            });
          });
        },
        [&](Largest& state) {
          if (reduce_max(state.key) >= kInfinityKey) atomic_or(&broken);
        });
    return SN_OK;
  });
  return broken ? not_finite() : SN_OK;
}

namespace {

struct Nothing {};

// n elements of one slice from int8 or, from a whole byte on, from nibbles; the first `head` in the careful way.
template <bool kBypass, bool kInt4, class T>
SN_INLINE void integers_from(int64_t head, const void* q, T* y, int64_t n, float scale, int zero_point) {
  auto value_of = [&](I v) { return mul(from_int(sub(v, splat_int(zero_point))), splat(scale)); };
  auto bytes_at = [&](int64_t i) { return static_cast<const uint8_t*>(q) + (kInt4 ? i / 2 : i); };
  auto load_some_integers = [&](const uint8_t* p) {
    return kInt4 ? load_nibbles(p) : load_int(reinterpret_cast<const int8_t*>(p));
  };
  auto some = [&](int64_t i, int64_t lanes) {
    uint8_t buffer[kLanes] = {};
    memcpy(buffer, bytes_at(i), static_cast<size_t>(kInt4 ? (lanes + 1) / 2 : lanes));
    store_tail(y + i, value_of(load_some_integers(buffer)), lanes);
  };
  if constexpr (kInt4 && sizeof(T) == 2) {
    // A slice has but 16 values, so they are computed once and then looked up, which costs less than converting.
    static constexpr uint8_t kAll[8] = {0x10, 0x32, 0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe};
    const Table table = table_of(y, value_of(load_nibbles(kAll)));
    for_lines(head, n, some, [&](int64_t i) {
      fetch_ahead(bytes_at(i), kFar);
      store_looked_up<kBypass>(y + i, table, bytes_at(i));
      store_looked_up<kBypass>(y + i + 32, table, bytes_at(i + 32));
    });
  } else if constexpr (kInt4) {
    for_lines(head, n, some, [&](int64_t first) {
      fetch_ahead(bytes_at(first), kFar);
      for (int64_t i = first; i < first + 64; i += 2 * kLanes) {
        store_numbers<kBypass>(y + i, value_of(load_nibbles(bytes_at(i))),
                               value_of(load_nibbles(bytes_at(i + kLanes))));
      }
    });
  } else {
    constexpr int kBits = folded_bits(static_cast<const T*>(nullptr));
    const F step = splat(scale / (1 << kBits));
    const I zero = splat_int(zero_point * (1 << kBits));
    auto folded = [&](int64_t i) {
      return mul(from_int(sub(load_int_folded(y, static_cast<const int8_t*>(q) + i), zero)), step);
    };
    for_lines(head, n, some, [&](int64_t first) {
      fetch_ahead(bytes_at(first), kFar);
      for (int64_t i = first; i < first + 64; i += 2 * kLanes)
        store_folded<kBypass>(y + i, folded(i), folded(i + kLanes));
    });
  }
}

template <bool kBypass, bool kInt4, class T>
SN_INLINE void from_integers(const void* q, T* y, int64_t n, float scale, int zero_point) {
  // Only a scale that is not finite gives NaN, and what takes 64 elements takes numbers only; nor may it divide a scale
  // whose last bits would be lost.
  const uint32_t magnitude = bits_of(scale) & 0x7fffffffu;
  const bool plain = magnitude >= bits_of(0x1p-100f) && magnitude < bits_of(__builtin_inff());
  const int64_t head = !plain ? n : kBypass ? to_line(y) : 0;
  if (kBypass && kInt4 && plain && head % 2 != 0) {  // nibbles must stay in pairs
    integers_from<false, kInt4>(0, q, y, n, scale, zero_point);
  } else {
    integers_from<kBypass, kInt4>(head, q, y, n, scale, zero_point);
  }
}

// n elements of one slice from fp8.
template <bool kBypass, class T>
SN_INLINE void from_float8(const f8e4m3* q, T* y, int64_t n, F scale) {
  // NaN among the values keeps its payload; which one is kept of two is not defined, so a scale that is NaN yields.
  const bool numbers = reduce_max(key(scale)) < kInfinityKey;
  for_lines(
      !numbers  ? n
      : kBypass ? to_line(y)
                : 0,
      n,
      [&](int64_t i, int64_t lanes) {
        const F v = load_some(q + i, lanes);
        store_tail(y + i, select(gt(key(v), splat_int(kInfinityKey)), v, mul(v, scale)), lanes);
      },
      [&](int64_t first) {
        fetch_ahead(q + first, kNear);
        for (int64_t i = first; i < first + 64; i += kLanes) store<kBypass>(y + i, mul(load(q + i), scale));
      });
}

}  // namespace

sn_status dequantize(sn_device* device, const sn_tensor* q, const sn_tensor* scale, const sn_tensor* zero_point,
                     int64_t group, sn_tensor* y) {
  Slices s = slices_of(y, group, scale->elements);
  const bool int4 = q->dtype == SN_U8;
  if (!int4) flatten(s);
  const int64_t row_bytes = int4 ? (s.cols + 1) / 2 : s.cols;
  const bool bypass = bypass_caches(y);
  with_floating(y->dtype, [&](auto* type) {
    using T = typename Pointee<decltype(type)>::type;
    T* out = data_of<T>(y);
    for_pieces(
        device, s.rows, s.cols, 64, Nothing{},
        [&](Nothing&, int64_t row, int64_t start, int64_t length) {
          for_runs(s, row, start, length, [&](int64_t col, int64_t n, int64_t slice) {
            const float step = data_of<float>(scale)[slice];
            const int zero = zero_point_at(zero_point, slice);
            const uint8_t* from = data_of<uint8_t>(q) + row * row_bytes + (int4 ? col / 2 : col);
            T* to = out + row * s.cols + col;
            if (q->dtype == SN_F8_E4M3) {
              const f8e4m3* codes = data_of<f8e4m3>(q) + row * row_bytes + col;
              bypass ? from_float8<true>(codes, to, n, splat(step)) : from_float8<false>(codes, to, n, splat(step));
            } else if (int4) {
              bypass ? from_integers<true, true>(from, to, n, step, zero)
                     : from_integers<false, true>(from, to, n, step, zero);
            } else {
              bypass ? from_integers<true, false>(from, to, n, step, zero)
                     : from_integers<false, false>(from, to, n, step, zero);
            }
          });
        },
        [](Nothing&) {});
    return SN_OK;
  });
  return SN_OK;
}

namespace {

template <bool kBypass, class T, class Quantizer>
inline void fake_run(const T* x, T* y, int64_t n, const Quantizer& z) {
  const I infinity = splat_int(kInfinityKey);
  auto some = [&](int64_t i, int64_t lanes) {
    F v = load_some(x + i, lanes);
    store_tail(y + i, select(gt(key(v), infinity), v, fake_lanes(z, v)), lanes);  // NaN stays
  };
  const bool numbers = reduce_max(key(z.scale)) < kInfinityKey;
  for_lines(!numbers  ? n
            : kBypass ? to_line(y)
                      : 0,
            n, some, [&](int64_t i) {
              fetch_ahead(x + i, kFar);
              F a = load_folded(x + i), b = load_folded(x + i + 16);
              F c = load_folded(x + i + 32), d = load_folded(x + i + 48);
              if (bits(gt(max(max(key(a), key(b)), max(key(c), key(d))), infinity)) != 0) {
                for (int64_t j = i; j < i + 64; j += kLanes) some(j, kLanes);
                return;
              }
              store_folded<kBypass>(y + i, fake_lanes(z, a), fake_lanes(z, b));
              store_folded<kBypass>(y + i + 32, fake_lanes(z, c), fake_lanes(z, d));
            });
}

}  // namespace

sn_status fake_quantize(sn_device* device, const sn_tensor* x, const sn_tensor* scale, const sn_tensor* zero_point,
                        int64_t group, sn_scheme scheme, sn_tensor* y) {
  Slices s = slices_of(x, group, scale->elements);
  flatten(s);
  const bool bypass = bypass_caches(x, y);
  with_floating(x->dtype, [&](auto* type) {
    using T = typename Pointee<decltype(type)>::type;
    const T* in = data_of<T>(x);
    T* out = data_of<T>(y);
    for_pieces(
        device, s.rows, s.cols, 64, Nothing{},
        [&](Nothing&, int64_t row, int64_t start, int64_t length) {
          for_runs(s, row, start, length, [&](int64_t col, int64_t n, int64_t slice) {
            const T* from = in + row * s.cols + col;
            T* to = out + row * s.cols + col;
            with_quantizer(scheme, [&](auto* kind) {
              using Quantizer = typename Pointee<decltype(kind)>::type;
              const Quantizer z =
                  quantizer<Quantizer>(data_of<float>(scale)[slice], zero_point_at(zero_point, slice), scheme);
              bypass ? fake_run<true>(from, to, n, z) : fake_run<false>(from, to, n, z);
            });
          });
        },
        [](Nothing&) {});
    return SN_OK;
  });
  return SN_OK;
}

}  // namespace SN_ISA_NAME
}  // namespace sn
