// Quantize, dequantize, and both in one pass. See sinew.h.
#include "cpu/kernels/slices.h"

namespace sn {
namespace SN_ISA_NAME {
namespace {

struct Largest {
  I key;
};

// n elements of one slice to int8.
template <class T, bool kBypass>
inline void to_bytes(Largest& state, const T* x, int8_t* q, int64_t n, const Quantizer& z) {
  I largest = state.key;
  int64_t i = 0;
  auto some = [&](int64_t lanes) {
    F v = load_some(x + i, lanes);
    largest = max(largest, key(v));
    I r = quantize_lanes(z, v);
    int8_t bytes[64];
    store_bytes(bytes, pack(r, r, r, r));
    memcpy(q + i, bytes, static_cast<size_t>(lanes));
    i += lanes;
  };
  if (kBypass) {
    const int64_t head = min_of(n, static_cast<int64_t>(-reinterpret_cast<uintptr_t>(q) & 63));
    while (i < head) some(min_of(kLanes, head - i));
  }
  for (; i + 64 <= n; i += 64) {
    F a = load(x + i), b = load(x + i + 16), c = load(x + i + 32), d = load(x + i + 48);
    largest = max(max(largest, max(key(a), key(b))), max(key(c), key(d)));
    B packed = pack(quantize_lanes(z, a), quantize_lanes(z, b), quantize_lanes(z, c), quantize_lanes(z, d));
    if (kBypass) {
      stream_bytes(q + i, packed);
    } else {
      store_bytes(q + i, packed);
    }
  }
  while (i < n) some(min_of(kLanes, n - i));
  state.key = largest;
}

// n elements of one slice to nibbles, from a whole byte on; a last odd element is followed by the nibble 8 (zero).
template <class T>
inline void to_nibbles(Largest& state, const T* x, uint8_t* q, int64_t n, const Quantizer& z) {
  I largest = state.key;
  int64_t i = 0;
  for (; i + 64 <= n; i += 64) {
    F a = load(x + i), b = load(x + i + 16), c = load(x + i + 32), d = load(x + i + 48);
    largest = max(max(largest, max(key(a), key(b))), max(key(c), key(d)));
    store_nibbles(q + i / 2,
                  pack(quantize_lanes(z, a), quantize_lanes(z, b), quantize_lanes(z, c), quantize_lanes(z, d)));
  }
  while (i < n) {
    const int64_t lanes = min_of(kLanes, n - i);
    F v = load_some(x + i, lanes);
    largest = max(largest, key(v));
    I r = select(first_lanes(lanes), quantize_lanes(z, v), splat_int(0));
    uint8_t bytes[32];
    store_nibbles(bytes, pack(r, r, r, r));
    memcpy(q + i / 2, bytes, static_cast<size_t>((lanes + 1) / 2));
    i += lanes;
  }
  state.key = largest;
}

// Calls f(offset, row, col, n, slice) for the runs of one slice within a piece.
template <class F>
inline void for_runs(const Slices& s, int64_t row, int64_t col, int64_t n, F f) {
  for (const int64_t end = col + n; col < end;) {
    const int64_t stop = min_of(s.end(col), end);
    f(col, stop - col, s.index(row, col));
    col = stop;
  }
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
  const sn_scheme scheme = int4 ? (zero_point ? SN_INT4_ASYMMETRIC : SN_INT4_SYMMETRIC)
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
            const Quantizer z = quantizer(data_of<float>(scale)[slice], zero_point_at(zero_point, slice), scheme);
            const T* from = in + row * s.cols + col;
            if (int4) {
              to_nibbles(state, from, data_of<uint8_t>(q) + row * row_bytes + col / 2, n, z);
            } else if (bypass) {
              to_bytes<T, true>(state, from, data_of<int8_t>(q) + row * row_bytes + col, n, z);
            } else {
              to_bytes<T, false>(state, from, data_of<int8_t>(q) + row * row_bytes + col, n, z);
            }
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

// n elements of one slice from int8 or, from a whole byte on, from nibbles.
template <class T, bool kBypass, bool kInt4>
inline void from_integers(const void* q, T* y, int64_t n, F scale, I zero_point) {
  auto lanes_at = [&](int64_t i) {
    return kInt4 ? load_nibbles(static_cast<const uint8_t*>(q) + i / 2) : load_int(static_cast<const int8_t*>(q) + i);
  };
  auto values_at = [&](int64_t i) { return mul(from_int(sub(lanes_at(i), zero_point)), scale); };
  auto tail = [&](int64_t i, int64_t lanes) {
    int8_t buffer[kLanes] = {};
    const int64_t bytes = kInt4 ? (lanes + 1) / 2 : lanes;
    memcpy(buffer, static_cast<const int8_t*>(q) + (kInt4 ? i / 2 : i), static_cast<size_t>(bytes));
    I v = kInt4 ? load_nibbles(reinterpret_cast<const uint8_t*>(buffer)) : load_int(buffer);
    store_tail(y + i, mul(from_int(sub(v, zero_point)), scale), lanes);
  };
  int64_t i = 0;
  if (kBypass) {
    // Elements up to a cache line's border; an even number, so that nibbles stay paired.
    const int64_t head = static_cast<int64_t>(-reinterpret_cast<uintptr_t>(y) & 63) / static_cast<int64_t>(sizeof(T));
    if (kInt4 && head % 2 != 0) {
      from_integers<T, false, kInt4>(q, y, n, scale, zero_point);
      return;
    }
    while (i < min_of(head, n)) {
      const int64_t lanes = min_of(kLanes, min_of(head, n) - i);
      tail(i, lanes);
      i += lanes;
    }
  }
  for (; i + 64 <= n; i += 64) {
    for (int64_t j = i; j < i + 64; j += kLanes) {
      if (kBypass) {
        stream(y + j, values_at(j));
      } else {
        store(y + j, values_at(j));
      }
    }
  }
  for (; i + kLanes <= n; i += kLanes) store(y + i, values_at(i));
  if (i < n) tail(i, n - i);
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
            const F step = splat(data_of<float>(scale)[slice]);
            const I zero = splat_int(zero_point_at(zero_point, slice));
            const uint8_t* from = data_of<uint8_t>(q) + row * row_bytes + (int4 ? col / 2 : col);
            T* to = out + row * s.cols + col;
            if (int4) {
              bypass ? from_integers<T, true, true>(from, to, n, step, zero)
                     : from_integers<T, false, true>(from, to, n, step, zero);
            } else {
              bypass ? from_integers<T, true, false>(from, to, n, step, zero)
                     : from_integers<T, false, false>(from, to, n, step, zero);
            }
          });
        },
        [](Nothing&) {});
    return SN_OK;
  });
  return SN_OK;
}

sn_status fake_quantize(sn_device* device, const sn_tensor* x, const sn_tensor* scale, const sn_tensor* zero_point,
                        int64_t group, sn_scheme scheme, sn_tensor* y) {
  Slices s = slices_of(x, group, scale->elements);
  flatten(s);
  const bool bypass = bypass_caches(y) && x->data != y->data;
  with_floating(x->dtype, [&](auto* type) {
    using T = typename Pointee<decltype(type)>::type;
    const T* in = data_of<T>(x);
    T* out = data_of<T>(y);
    for_pieces(
        device, s.rows, s.cols, 64, Nothing{},
        [&](Nothing&, int64_t row, int64_t start, int64_t length) {
          for_runs(s, row, start, length, [&](int64_t col, int64_t n, int64_t slice) {
            const Quantizer z = quantizer(data_of<float>(scale)[slice], zero_point_at(zero_point, slice), scheme);
            const I infinity = splat_int(kInfinityKey);
            const T* from = in + row * s.cols + col;
            T* to = out + row * s.cols + col;
            auto lanes_of = [&](F v) { return select(gt(key(v), infinity), v, fake_lanes(z, v)); };
            int64_t i = 0;
            if (bypass && reinterpret_cast<uintptr_t>(to) % 64 == 0) {
              for (; i + 64 <= n; i += 64) {
                for (int64_t j = i; j < i + 64; j += kLanes) stream(to + j, lanes_of(load(from + j)));
              }
            }
            for (; i + kLanes <= n; i += kLanes) store(to + i, lanes_of(load(from + i)));
            if (i < n) store_tail(to + i, lanes_of(load_tail(from + i, n - i)), n - i);
          });
        },
        [](Nothing&) {});
    return SN_OK;
  });
  return SN_OK;
}

}  // namespace SN_ISA_NAME
}  // namespace sn
