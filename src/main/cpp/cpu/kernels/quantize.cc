// Quantize, dequantize, and both in one pass. See sinew.h.
#include "cpu/kernels/floats.h"
#include "cpu/kernels/slices.h"

namespace sn {
namespace SN_ISA_NAME {
namespace {

struct Largest {
  I key;
};

// How a slice is quantized.
struct Step {
  float scale;
  int zero_point;
  sn_scheme scheme;

  template <class Quantizer>
  Quantizer with() const {
    return quantizer<Quantizer>(scale, zero_point, scheme);
  }
};

// 64 elements as bytes, and their magnitudes' keys into `state`.
template <class T, class Quantizer>
SN_INLINE B divide_64(const T* x, const Quantizer& z, Largest& state) {
  F a = load_folded(x), b = load_folded(x + 16), c = load_folded(x + 32), d = load_folded(x + 48);
  state.key = max(max(state.key, max(key(a), key(b))), max(key(c), key(d)));
  return pack_folded(x, quantize_lanes(z, a), quantize_lanes(z, b), quantize_lanes(z, c), quantize_lanes(z, d));
}

// Calls f with a function of an address that gives the 64 elements there as bytes.
template <class T, class Body>
SN_INLINE void with_bytes_of_64(Float8*, Largest& state, const T*, const Step& step, Body f) {
  const Float8 z = step.with<Float8>();
  f([&](const T* x) { return divide_64(x, z, state); });
}
#if defined(SN_TIER_AVX2) || defined(SN_TIER_AVX512)
// With numbers beyond what a quick quotient takes, NaN or infinity.
template <class T>
SN_NOINLINE B divide_64_rarely(const T* x, const Step& step, Largest& state) {
  return divide_64(x, step.with<Integers>(), state);
}
template <class T, class Body>
SN_INLINE void with_bytes_of_64(Integers*, Largest& state, const T*, const Step& step, Body f) {
  // What is at most 2^22 times the scale has a quotient that an integer holds: then bytes can be clamped instead of it.
  const bool normal = step.scale >= 0x1p-100f && step.scale <= 0x1p100f;
  const int32_t most = normal ? static_cast<int32_t>(bits_of(step.scale * 0x1p22f)) : -1;
  const F scale = splat(step.scale);
  const ByteRange range = byte_range(step.zero_point, qmin(step.scheme), qmax(step.scheme));
  f([&](const T* x) {
    const F a = load_folded(x), b = load_folded(x + 16), c = load_folded(x + 32), d = load_folded(x + 48);
    if (__builtin_expect(any_above(x, a, b, c, d, most), 0)) return divide_64_rarely(x, step, state);
    return pack_within(x, to_int(div(a, scale)), to_int(div(b, scale)), to_int(div(c, scale)), to_int(div(d, scale)),
                       range);
  });
}
#else
template <class T, class Body>
SN_INLINE void with_bytes_of_64(Integers*, Largest& state, const T*, const Step& step, Body f) {
  const Integers z = step.with<Integers>();
  f([&](const T* x) { return divide_64(x, z, state); });
}
#endif

// n elements of one slice to int8 or fp8.
template <bool kBypass, class T, class Quantizer>
inline void to_bytes(Quantizer* kind, Largest& state, const T* x, int8_t* q, int64_t n, const Step& step) {
  with_bytes_of_64(kind, state, x, step, [&](auto bytes_of_64) {
    for_lines(
        kBypass ? to_line(q) : 0, n,
        [&](int64_t i, int64_t lanes) {
          const F v = load_some(x + i, lanes);
          state.key = max(state.key, key(v));
          const I r = quantize_lanes(step.with<Quantizer>(), v);
          int8_t bytes[64];
          store_bytes(bytes, pack(r, r, r, r));
          memcpy(q + i, bytes, static_cast<size_t>(lanes));
        },
        [&](int64_t i) {
          fetch_ahead(x + i, kFar);
          store_bytes<kBypass>(q + i, bytes_of_64(x + i));
        });
  });
}

// n elements of one slice to nibbles, from a whole byte on; a last odd element is followed by the nibble 8 (zero).
template <bool kBypass, class T>
inline void to_nibbles(Largest& state, const T* x, uint8_t* q, int64_t n, const Step& step) {
  with_bytes_of_64(static_cast<Integers*>(nullptr), state, x, step, [&](auto bytes_of_64) {
    for_lines(
        kBypass ? 2 * to_line(q) : 0, n,
        [&](int64_t i, int64_t lanes) {
          const F v = load_some(x + i, lanes);
          state.key = max(state.key, key(v));
          const I r = select(first_lanes(lanes), quantize_lanes(step.with<Integers>(), v), splat_int(0));
          uint8_t bytes[32];
          store_nibbles(bytes, pack(r, r, r, r));
          memcpy(q + i / 2, bytes, static_cast<size_t>((lanes + 1) / 2));
        },
        [&](int64_t i) {
          fetch_ahead(x + i, kFar);
          store_nibbles<kBypass>(q + i / 2, bytes_of_64(x + i));
        });
  });
}

// Elements [col, col + n) of a row, and the scales and zero points of all slices. What computes with them is a function
// of its own for each kind, so that short slices cost little beside their elements.
struct Piece {
  const Slices* slices;
  int64_t row, col, n;
  const float* scales;
  const int8_t* zero_points;  // or null
};
// The runs of one slice within a piece: `n` elements from `first` on, counted from where the piece begins.
struct Run {
  int64_t first, n;
  float scale;
  int zero_point;

  SN_INLINE explicit Run(const Piece& p)
      : first(0), n(0), left_(p.n), whole_(p.slices->group), next_(p.slices->end(p.col) - p.col) {
    const int64_t slice = p.slices->index(p.row, p.col);
    scales_ = p.scales + slice;
    zero_points_ = p.zero_points == nullptr ? nullptr : p.zero_points + slice;
  }
  SN_INLINE bool next() {
    if (left_ == 0) return false;
    first += n;
    n = min_of(next_, left_);
    next_ = whole_;
    left_ -= n;
    scale = *scales_++;
    zero_point = zero_points_ == nullptr ? 0 : *zero_points_++;
    return true;
  }

 private:
  int64_t left_, whole_, next_;
  const float* scales_;
  const int8_t* zero_points_;
};
inline const int8_t* points_of(const sn_tensor* zero_point) {
  return zero_point == nullptr ? nullptr : data_of<int8_t>(zero_point);
}

template <bool kBypass, class T, class Quantizer>
SN_NOINLINE void piece_to_bytes(Quantizer* kind, Largest& state, const T* x, int8_t* q, const Piece& p,
                                sn_scheme scheme) {
  for (Run r(p); r.next();)
    to_bytes<kBypass>(kind, state, x + r.first, q + r.first, r.n, Step{r.scale, r.zero_point, scheme});
}
template <bool kBypass, class T>
SN_NOINLINE void piece_to_nibbles(Largest& state, const T* x, uint8_t* q, const Piece& p, sn_scheme scheme) {
  for (Run r(p); r.next();)
    to_nibbles<kBypass>(state, x + r.first, q + r.first / 2, r.n, Step{r.scale, r.zero_point, scheme});
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
        [&](Largest& state, int64_t row, int64_t col, int64_t n) {
          const Piece p = {&s, row, col, n, data_of<float>(scale), points_of(zero_point)};
          float buffer[kBlock];
          const auto* from = floats_or_bf16(in + row * s.cols + col, n, buffer);
          if (int4) {
            uint8_t* to = data_of<uint8_t>(q) + row * row_bytes + col / 2;
            bypass ? piece_to_nibbles<true>(state, from, to, p, scheme)
                   : piece_to_nibbles<false>(state, from, to, p, scheme);
            return;
          }
          int8_t* to = data_of<int8_t>(q) + row * row_bytes + col;
          with_quantizer(scheme, [&](auto* kind) {
            bypass ? piece_to_bytes<true>(kind, state, from, to, p, scheme)
                   : piece_to_bytes<false>(kind, state, from, to, p, scheme);
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

// Dequantizing takes steps of 32 elements, since such groups are common.

// n elements of one slice from int8; the first `head` in the careful way.
template <bool kBypass, class T>
SN_INLINE void bytes_from(int64_t head, const int8_t* q, T* y, int64_t n, float scale, int zero_point) {
  auto some = [&](int64_t i, int64_t lanes) {
    int8_t buffer[kLanes] = {};
    memcpy(buffer, q + i, static_cast<size_t>(lanes));
    store_tail(y + i, mul(from_int(sub(load_int(buffer), splat_int(zero_point))), splat(scale)), lanes);
  };
  const F step = splat(scale / (1 << paired_bits(static_cast<const T*>(nullptr))));
  auto paired = [&](int64_t i) { return mul(from_int(load_int_paired(y, q + i, zero_point)), step); };
  for_lines<32>(head, n, some, [&](int64_t i) {
    fetch_ahead(q + i, kFar);
    store_paired<kBypass>(y + i, paired(i), paired(i + kLanes));
  });
}

// The byte that holds nibble i; a division would care for negative ones.
SN_INLINE int64_t byte_of(int64_t i) { return i >> 1; }

// n elements of one slice from nibbles, from a whole byte on; the first `head` in the careful way.
template <bool kBypass, class T>
SN_INLINE void nibbles_from(int64_t head, const uint8_t* q, T* y, int64_t n, float scale, int zero_point) {
  const F step = splat(scale), zero = splat(static_cast<float>(8 + zero_point));
  auto value_of = [&](I code) { return mul(sub(from_int(code), zero), step); };
  auto some = [&](int64_t i, int64_t lanes) {
    uint8_t buffer[kLanes / 2] = {};
    memcpy(buffer, q + byte_of(i), static_cast<size_t>((lanes + 1) / 2));
    store_tail(y + i, value_of(load_nibbles(buffer)), lanes);
  };
  if constexpr (sizeof(T) == 2) {
    // A slice has but 16 values, so they are computed once and then looked up, which costs less than converting.
    static constexpr uint8_t kAll[8] = {0x10, 0x32, 0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe};
    const Table table = table_of_numbers(y, value_of(load_nibbles(kAll)));
    for_lines<32>(head, n, some, [&](int64_t i) {
      fetch_ahead(q + byte_of(i), kFar);
      store_looked_up<kBypass>(y + i, table, q + byte_of(i));
    });
  } else {
    for_lines<32>(head, n, some, [&](int64_t i) {
      fetch_ahead(q + byte_of(i), kFar);
      store_numbers<kBypass>(y + i, value_of(load_nibbles(q + byte_of(i))), value_of(load_nibbles(q + byte_of(i) + 8)));
    });
  }
}

// Only a scale that is not finite gives NaN, and what takes many elements at once takes numbers only.
inline bool finite(float scale) { return (bits_of(scale) & 0x7fffffffu) < bits_of(__builtin_inff()); }

// n elements of one slice from fp8.
template <bool kBypass, class T>
SN_INLINE void from_float8(const f8e4m3* q, T* y, int64_t n, F scale) {
  // NaN among the values keeps its payload; which one is kept of two is not defined, so a scale that is NaN yields.
  const bool numbers = reduce_max(key(scale)) < kInfinityKey;
  for_lines<32>(
      !numbers  ? n
      : kBypass ? to_line(y)
                : 0,
      n,
      [&](int64_t i, int64_t lanes) {
        const F v = load_some(q + i, lanes);
        store_tail(y + i, select(gt(key(v), splat_int(kInfinityKey)), v, mul(v, scale)), lanes);
      },
      [&](int64_t i) {
        fetch_ahead(q + i, kNear);
        store<kBypass>(y + i, mul(load(q + i), scale));
        store<kBypass>(y + i + kLanes, mul(load(q + i + kLanes), scale));
      });
}

template <bool kBypass, class T>
SN_NOINLINE void piece_from_bytes(const int8_t* q, T* y, const Piece& p) {
  for (Run r(p); r.next();) {
    // Nor may a scale be divided whose last bits would be lost.
    const bool plain = finite(r.scale) && (bits_of(r.scale) & 0x7fffffffu) >= bits_of(0x1p-100f);
    T* to = y + r.first;
    bytes_from<kBypass>(!plain ? r.n : kBypass ? to_line(to) : 0, q + r.first, to, r.n, r.scale, r.zero_point);
  }
}
template <bool kBypass, class T>
SN_NOINLINE void piece_from_nibbles(const uint8_t* q, T* y, const Piece& p) {
  for (Run r(p); r.next();) {
    T* to = y + r.first;
    const int64_t head = !finite(r.scale) ? r.n : kBypass ? to_line(to) : 0;
    nibbles_from<kBypass>(head, q + r.first / 2, to, r.n, r.scale, r.zero_point);
  }
}
template <bool kBypass, class T>
SN_NOINLINE void piece_from_float8(const f8e4m3* q, T* y, const Piece& p) {
  for (Run r(p); r.next();) from_float8<kBypass>(q + r.first, y + r.first, r.n, splat(r.scale));
}
// f(y, bypass) dequantizes n elements to where they go; those of F64 come by way of F32.
template <class T, class F_>
SN_INLINE void piece_to(T* y, int64_t, bool bypass, F_ f) {
  f(y, bypass);
}
template <class F_>
SN_INLINE void piece_to(double* y, int64_t n, bool, F_ f) {
  float part[kBlock];
  f(part, false);
  store_as<false>(part, y, n);
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
        [&](Nothing&, int64_t row, int64_t col, int64_t n) {
          const Piece p = {&s, row, col, n, data_of<float>(scale), points_of(zero_point)};
          const uint8_t* bytes = data_of<uint8_t>(q) + row * row_bytes + (int4 ? col / 2 : col);
          piece_to(out + row * s.cols + col, n, bypass, [&](auto* to, bool past) {
            if (q->dtype == SN_F8_E4M3) {
              const auto* from = reinterpret_cast<const f8e4m3*>(bytes);
              past ? piece_from_float8<true>(from, to, p) : piece_from_float8<false>(from, to, p);
            } else if (int4) {
              // Nibbles must stay in pairs.
              past&& to_line(to) % 2 == 0 ? piece_from_nibbles<true>(bytes, to, p)
                                          : piece_from_nibbles<false>(bytes, to, p);
            } else {
              const auto* from = reinterpret_cast<const int8_t*>(bytes);
              past ? piece_from_bytes<true>(from, to, p) : piece_from_bytes<false>(from, to, p);
            }
          });
        },
        [](Nothing&) {});
    return SN_OK;
  });
  return SN_OK;
}

namespace {

// 1 to 16 elements.
template <class T, class Quantizer>
SN_INLINE void fake_some(const T* x, T* y, int64_t lanes, const Quantizer& z) {
  const F v = load_some(x, lanes);
  store_tail(y, select(gt(key(v), splat_int(kInfinityKey)), v, fake_lanes(z, v)), lanes);  // NaN stays
}

template <bool kBypass, class T, class Quantizer>
SN_NOINLINE void fake_run(const T* x, T* y, int64_t n, const Quantizer& z, bool numbers) {
  auto some = [&](int64_t i, int64_t lanes) { fake_some(x + i, y + i, lanes, z); };
  for_lines(!numbers  ? n
            : kBypass ? to_line(y)
                      : 0,
            n, some, [&](int64_t i) {
              fetch_ahead(x + i, kFar);
              const F a = load_paired(x + i), b = load_paired(x + i + 16);
              const F c = load_paired(x + i + 32), d = load_paired(x + i + 48);
              if (__builtin_expect(any_above(x + i, a, b, c, d, kInfinityKey), 0)) {
                for (int64_t j = i; j < i + 64; j += kLanes) some(j, kLanes);
                return;
              }
              store_paired<kBypass>(y + i, fake_lanes(z, a), fake_lanes(z, b));
              store_paired<kBypass>(y + i + 32, fake_lanes(z, c), fake_lanes(z, d));
            });
}

// f(y, bypass) makes n elements of x where they go, or in their buffer if x was converted to F32.
template <class X, class T, class F_>
SN_INLINE void fake_piece(const X*, T* y, float* buffer, int64_t n, bool bypass, F_ f) {
  if constexpr (sizeof(X) == sizeof(T)) {
    f(y, bypass);
  } else {
    f(buffer, false);
    bypass ? store_as<true>(buffer, y, n) : store_as<false>(buffer, y, n);
  }
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
          float buffer[kBlock];
          const auto* from = floats_or_bf16(in + row * s.cols + start, length, buffer);
          fake_piece(from, out + row * s.cols + start, buffer, length, bypass, [&](auto* to, bool past) {
            for_runs(s, row, start, length, [&](int64_t col, int64_t n, int64_t slice) {
              const Step step = {data_of<float>(scale)[slice], zero_point_at(zero_point, slice), scheme};
              const bool numbers = (bits_of(step.scale) & 0x7fffffffu) < kInfinityKey;
              const int64_t i = col - start;
              with_quantizer(scheme, [&](auto* kind) {
                const auto z = step.with<typename Pointee<decltype(kind)>::type>();
                past ? fake_run<true>(from + i, to + i, n, z, numbers)
                     : fake_run<false>(from + i, to + i, n, z, numbers);
              });
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
