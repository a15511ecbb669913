// Quantize, and quantize and dequantize in one pass. See sinew.h.
#include "cpu/kernels/floats.h"
#include "cpu/kernels/runs.h"

namespace sn {
namespace SN_ISA_NAME {
namespace {

struct Largest {
  I key;
};

// Elements [i, i + lanes) of a slice, one vector or less.
template <class Quantizer, class T>
SN_NOINLINE void some_to_bytes(Largest& state, const T* x, int8_t* q, int64_t lanes, const Step& step) {
  const F v = load_some(x, lanes);
  state.key = max(state.key, key(v));
  const I codes = quantize_lanes(step.with<Quantizer>(), v);
  int8_t bytes[64];
  store_bytes(bytes, pack(codes, codes, codes, codes));
  memcpy(q, bytes, static_cast<size_t>(lanes));
}
// From a whole byte on; a last odd element is followed by the nibble 8 (zero).
template <class Quantizer, class T>
SN_NOINLINE void some_to_bytes(Largest& state, const T* x, uint8_t* q, int64_t lanes, const Step& step) {
  const F v = load_some(x, lanes);
  state.key = max(state.key, key(v));
  const I codes = select(first_lanes(lanes), quantize_lanes(step.with<Quantizer>(), v), splat_int(0));
  uint8_t bytes[32];
  store_nibbles(bytes, pack(codes, codes, codes, codes));
  memcpy(q, bytes, static_cast<size_t>((lanes + 1) / 2));
}
// Where element i lies, and 64 from there on.
SN_INLINE int8_t* place_of(int8_t* q, int64_t i) { return q + i; }
SN_INLINE uint8_t* place_of(uint8_t* q, int64_t i) { return q + (i >> 1); }
// Whether to bypass caches is asked here, since two copies of all that calls this would take twice as long to compile.
SN_INLINE void store_64(int8_t* q, B bytes, bool bypass) {
  bypass ? store_bytes<true>(q, bytes) : store_bytes<false>(q, bytes);
}
SN_INLINE void store_64(uint8_t* q, B bytes, bool bypass) {
  bypass ? store_nibbles<true>(q, bytes) : store_nibbles<false>(q, bytes);
}
// Elements before the first whole line.
SN_INLINE int64_t head_of(const int8_t* q) { return to_line(q); }
SN_INLINE int64_t head_of(const uint8_t* q) { return 2 * to_line(q); }

// 64 elements as bytes, and their magnitudes' keys into `state`; the second step is that of the last 32.
template <class Quantizer, class T>
SN_INLINE B divide_64(Largest& state, const T* x, const Step& first, const Step& second) {
  const Quantizer y = first.with<Quantizer>(), z = second.with<Quantizer>();
  F a = load_folded(x), b = load_folded(x + 16), c = load_folded(x + 32), d = load_folded(x + 48);
  state.key = max(max(state.key, max(key(a), key(b))), max(key(c), key(d)));
  return pack_folded(x, quantize_lanes(y, a), quantize_lanes(y, b), quantize_lanes(z, c), quantize_lanes(z, d));
}

#if defined(SN_TIER_AVX2) || defined(SN_TIER_AVX512)
// With numbers beyond what quick quotients take, NaN or infinity.
template <class Quantizer, class T>
SN_NOINLINE B divide_64_rarely(Largest& state, const T* x, const Step& first, const Step& second) {
  return divide_64<Quantizer>(state, x, first, second);
}

// Makes 64 elements bytes by quick quotients, where these do; the second step is that of the last 32.
template <class Quantizer>
struct Quickly;
template <>
struct Quickly<Integers> {
  Quick y, z;
  ByteRange range;

  SN_INLINE Quickly(const Reciprocals& r, int64_t i, int64_t j, const Step& first, const Step& second)
      : y(r, i),
        z(r, j),
        range(byte_range(first.zero_point, second.zero_point, qmin(first.scheme), qmax(first.scheme))) {}
  template <class T>
  SN_INLINE bool operator()(const T* x, B& bytes) const {
    const I a = to_int(quotient(y, load_folded(x))), b = to_int(quotient(y, load_folded(x + 16)));
    const I c = to_int(quotient(z, load_folded(x + 32))), d = to_int(quotient(z, load_folded(x + 48)));
    return pack_within(x, a, b, c, d, range, bytes);
  }
};
template <>
struct Quickly<Float8> {
  Quick y, z;
  int32_t most;
  Float8 q;

  SN_INLINE Quickly(const Reciprocals& r, int64_t i, int64_t j, const Step& first, const Step&)
      : y(r, i), z(r, j), most(r.most[i] < r.most[j] ? r.most[i] : r.most[j]), q(first.with<Float8>()) {}
  template <class T>
  SN_INLINE bool operator()(const T* x, B& bytes) const {
    const F a = load_folded(x), b = load_folded(x + 16), c = load_folded(x + 32), d = load_folded(x + 48);
    if (any_above(x, a, b, c, d, most)) return false;
    bytes = pack_folded(x, code_of(q, quotient(y, a)), code_of(q, quotient(y, b)), code_of(q, quotient(z, c)),
                        code_of(q, quotient(z, d)));
    return true;
  }
};

template <class Quantizer, class T, class Q>
SN_INLINE void step_to_bytes(Largest& state, const T* x, Q* q, const Quickly<Quantizer>& quickly, const Step& first,
                             const Step& second, bool bypass) {
  B bytes;
  fetch_ahead(x, kFar);
  if (__builtin_expect(!quickly(x, bytes), 0)) bytes = divide_64_rarely<Quantizer>(state, x, first, second);
  store_64(q, bytes, bypass);
}
// The elements of one run, of any length and from anywhere.
template <class Quantizer, class T, class Q>
SN_NOINLINE void any_run_to_bytes(Largest& state, const T* x, Q* q, int64_t n, const Quickly<Quantizer>& constants,
                                  const Step& step, bool bypass) {
  const Quickly<Quantizer> quickly = constants;
  for_lines(
      bypass ? head_of(q) : 0, n,
      [&](int64_t i, int64_t lanes) { some_to_bytes<Quantizer>(state, x + i, place_of(q, i), lanes, step); },
      [&](int64_t i) { step_to_bytes(state, x + i, place_of(q, i), quickly, step, step, bypass); });
}

// The elements of a piece with the reciprocals of their scales, which are made for kLanes slices at a time:
// two(i, slice, reciprocals, at) for element i and the 63 after it where slices have 32 elements and those of both may
// be stored together, and one(run, reciprocals, at) for each run of the rest.
template <class Two, class One>
SN_INLINE void for_slices(const Piece& p, bool together, Two two, One one) {
  Reciprocals reciprocals;
  int64_t done = 0;
  if (p.slices->group == 32 && together) {
    const int64_t slice = p.slices->index(p.row, p.col);
    for (; done + 64 <= p.n; done += 64) {
      const int64_t i = done / 32, at = i % kLanes;
      if (at == 0) prepare(reciprocals, p.scales + slice + i, min_of(kLanes, p.n / 32 - i));
      two(done, slice + i, reciprocals, at);
    }
  }
  int64_t at = kLanes;
  for (SliceRun r(p, done); r.next(); ++at) {
    if (at == kLanes) {
      prepare(reciprocals, r.scales(), min_of(kLanes, r.count()));
      at = 0;
    }
    one(r, reciprocals, at);
  }
}

template <class Quantizer, class T, class Q>
SN_NOINLINE void piece_to_bytes(Quantizer*, Largest& state, const T* x, Q* q, const Piece& p, sn_scheme scheme,
                                bool bypass) {
  const int64_t group = p.slices->group;
  const bool aligned = !bypass || head_of(q) == 0;
  // All of the runs are made of steps, which for short ones saves work beside the elements.
  const bool even = aligned && p.n % 64 == 0 && group % 64 == 0 && p.slices->end(p.col) % 64 == p.col % 64;
  for_slices(
      p, aligned,
      [&](int64_t i, int64_t slice, const Reciprocals& reciprocals, int64_t at) {
        const Step first = p.step(slice, scheme), second = p.step(slice + 1, scheme);
        const Quickly<Quantizer> quickly(reciprocals, at, at + 1, first, second);
        step_to_bytes(state, x + i, place_of(q, i), quickly, first, second, bypass);
      },
      [&](const SliceRun& r, const Reciprocals& reciprocals, int64_t at) {
        const Step step = {r.scale, r.zero_point, scheme};
        const Quickly<Quantizer> quickly(reciprocals, at, at, step, step);
        const T* from = x + r.first;
        Q* to = place_of(q, r.first);
        if (even) {
          for (const T* end = from + r.n; from != end; from += 64, to = place_of(to, 64))
            step_to_bytes(state, from, to, quickly, step, step, bypass);
        } else {
          any_run_to_bytes(state, from, to, r.n, quickly, step, bypass);
        }
      });
}
#else
template <class Quantizer, class T, class Q>
SN_NOINLINE void piece_to_bytes(Quantizer*, Largest& state, const T* x, Q* q, const Piece& p, sn_scheme scheme,
                                bool bypass) {
  for (SliceRun r(p); r.next();) {
    const Step step = {r.scale, r.zero_point, scheme};
    const T* from = x + r.first;
    Q* to = place_of(q, r.first);
    for_lines(
        0, r.n,
        [&](int64_t i, int64_t lanes) { some_to_bytes<Quantizer>(state, from + i, place_of(to, i), lanes, step); },
        [&](int64_t i) { store_64(place_of(to, i), divide_64<Quantizer>(state, from + i, step, step), bypass); });
  }
}
#endif

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
          const auto* from = floats_or_words(in + row * s.cols + col, n, buffer);
          auto convert = [&](auto* kind, auto* to) { piece_to_bytes(kind, state, from, to, p, scheme, bypass); };
          if (int4) {
            convert(static_cast<Integers*>(nullptr), data_of<uint8_t>(q) + row * row_bytes + col / 2);
          } else {
            with_quantizer(scheme, [&](auto* kind) { convert(kind, data_of<int8_t>(q) + row * row_bytes + col); });
          }
        },
        [&](Largest& state) {
          if (reduce_max(state.key) >= kInfinityKey) atomic_or(&broken);
        });
    return SN_OK;
  });
  return broken ? not_finite() : SN_OK;
}

namespace {

// 1 to 16 elements.
template <class T, class Quantizer>
SN_NOINLINE void fake_some(const T* x, T* y, int64_t lanes, const Quantizer& z) {
  const F v = load_some(x, lanes);
  store_tail(y, select(gt(key(v), splat_int(kInfinityKey)), v, fake_lanes(z, v)), lanes);  // NaN stays
}

// 64 elements, where none is above `most`; the second quantizer is that of the last 32. Quotients come from y and z.
template <class T, class Quantizer, class Quotient>
SN_INLINE void fake_64(const T* x, T* to, const Quantizer& first, const Quantizer& second, const Quotient& y,
                       const Quotient& z, int32_t most, bool bypass) {
  fetch_ahead(x, kFar);
  const F a = load_paired(x), b = load_paired(x + 16), c = load_paired(x + 32), d = load_paired(x + 48);
  if (__builtin_expect(any_above(x, a, b, c, d, most), 0)) {
    for (int i = 0; i < 64; i += kLanes) fake_some(x + i, to + i, kLanes, i < 32 ? first : second);
    return;
  }
  const F e = value_of(first, quotient(y, a)), f = value_of(first, quotient(y, b));
  const F g = value_of(second, quotient(z, c)), h = value_of(second, quotient(z, d));
  if (bypass) {
    store_paired<true>(to, e, f);
    store_paired<true>(to + 32, g, h);
  } else {
    store_paired<false>(to, e, f);
    store_paired<false>(to + 32, g, h);
  }
}

template <class T, class Quantizer, class Quotient>
SN_INLINE void fake_run(const T* x, T* to, int64_t n, const Quantizer& z, const Quotient& y, int32_t most,
                        bool bypass) {
  for_lines(
      most < 0 ? n
      : bypass ? to_line(to)
               : 0,
      n, [&](int64_t i, int64_t lanes) { fake_some(x + i, to + i, lanes, z); },
      [&](int64_t i) { fake_64(x + i, to + i, z, z, y, y, most, bypass); });
}

#if defined(SN_TIER_AVX2) || defined(SN_TIER_AVX512)
template <class T, class Quantizer>
SN_NOINLINE void fake_runs(Quantizer*, const T* x, T* to, const Piece& p, sn_scheme scheme, bool bypass) {
  Quantizer z = quantizer<Quantizer>(1, 0, scheme);
  for_slices(
      p, !bypass || to_line(to) == 0,
      [&](int64_t i, int64_t slice, const Reciprocals& reciprocals, int64_t at) {
        const Quick first(reciprocals, at), second(reciprocals, at + 1);
        const int32_t* most = reciprocals.most + at;
        fake_64(x + i, to + i, p.step(slice, scheme).template with<Quantizer>(),
                p.step(slice + 1, scheme).template with<Quantizer>(), first, second,
                most[0] < most[1] ? most[0] : most[1], bypass);
      },
      [&](const SliceRun& r, const Reciprocals& reciprocals, int64_t at) {
        if (p.zero_points != nullptr) z = quantizer<Quantizer>(r.scale, r.zero_point, scheme);
        z.scale = splat(r.scale);
        fake_run(x + r.first, to + r.first, r.n, z, Quick(reciprocals, at), reciprocals.most[at], bypass);
      });
}
#else
template <class T, class Quantizer>
SN_NOINLINE void fake_runs(Quantizer*, const T* x, T* to, const Piece& p, sn_scheme scheme, bool bypass) {
  for (SliceRun r(p); r.next();) {
    const Quantizer z = quantizer<Quantizer>(r.scale, r.zero_point, scheme);
    const bool finite = (bits_of(r.scale) & 0x7fffffffu) < kInfinityKey;
    fake_run(x + r.first, to + r.first, r.n, z, static_cast<const Bounds&>(z), finite ? kInfinityKey : -1, bypass);
  }
}
#endif

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
          const auto* from = floats_or_words(in + row * s.cols + start, length, buffer);
          fake_piece(from, out + row * s.cols + start, buffer, length, bypass, [&](auto* to, bool past) {
            const Piece p = {&s, row, start, length, data_of<float>(scale), points_of(zero_point)};
            with_quantizer(scheme, [&](auto* kind) { fake_runs(kind, from, to, p, scheme, past); });
          });
        },
        [](Nothing&) {});
    return SN_OK;
  });
  return SN_OK;
}

}  // namespace SN_ISA_NAME
}  // namespace sn
