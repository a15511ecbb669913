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

// Elements [col, col + n) of a row, and the scales and zero points of all slices. What computes with them is a function
// of its own for each kind, so that short slices cost little beside their elements.
struct Piece {
  const Slices* slices;
  int64_t row, col, n;
  const float* scales;
  const int8_t* zero_points;  // or null

  Step step(int64_t slice, sn_scheme scheme) const {
    return {scales[slice], zero_points == nullptr ? 0 : zero_points[slice], scheme};
  }
};
// The runs of one slice within a piece: `n` elements from `first` on, counted from where the piece begins.
struct Run {
  int64_t first, n;
  float scale;
  int zero_point;

  // From element `begin` on, where a slice begins unless it is 0.
  SN_INLINE explicit Run(const Piece& p, int64_t begin = 0)
      : first(begin), n(0), left_(p.n - begin), whole_(p.slices->group), next_(whole_) {
    if (begin == 0) next_ = p.slices->end(p.col) - p.col;
    const int64_t slice = p.slices->index(p.row, p.col + begin);
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
  // Scales of the runs that are left, this one included, and their number.
  SN_INLINE const float* scales() const { return scales_ - 1; }
  SN_INLINE int64_t count() const { return 1 + ceil_div(left_, whole_); }

 private:
  int64_t left_, whole_, next_;
  const float* scales_;
  const int8_t* zero_points_;
};
inline const int8_t* points_of(const sn_tensor* zero_point) {
  return zero_point == nullptr ? nullptr : data_of<int8_t>(zero_point);
}

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

template <class Quantizer, class T, class Q>
SN_NOINLINE void piece_to_bytes(Quantizer*, Largest& state, const T* x, Q* q, const Piece& p, sn_scheme scheme,
                                bool bypass) {
  Reciprocals reciprocals;
  const int64_t group = p.slices->group;
  const bool aligned = !bypass || head_of(q) == 0;
  int64_t done = 0;
  if (group == 32 && aligned) {
    // Two slices at once.
    const int64_t slice = p.slices->index(p.row, p.col);
    for (; done + 64 <= p.n; done += 64) {
      const int64_t i = done / 32, at = i % kLanes;
      if (at == 0) prepare(reciprocals, p.scales + slice + i, min_of(kLanes, p.n / 32 - i));
      const Step first = p.step(slice + i, scheme), second = p.step(slice + i + 1, scheme);
      const Quickly<Quantizer> quickly(reciprocals, at, at + 1, first, second);
      step_to_bytes(state, x + done, place_of(q, done), quickly, first, second, bypass);
    }
  }
  // All of the runs are made of steps, which for short ones saves work beside the elements.
  const bool even = aligned && p.n % 64 == 0 && group % 64 == 0 && p.slices->end(p.col) % 64 == p.col % 64;
  int64_t at = kLanes;
  for (Run r(p, done); r.next(); ++at) {
    if (at == kLanes) {
      prepare(reciprocals, r.scales(), min_of(kLanes, r.count()));
      at = 0;
    }
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
  }
}
#else
template <class Quantizer, class T, class Q>
SN_NOINLINE void piece_to_bytes(Quantizer*, Largest& state, const T* x, Q* q, const Piece& p, sn_scheme scheme,
                                bool bypass) {
  for (Run r(p); r.next();) {
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

// What 32 nibbles at a time of one slice are, `zero` being the nibble of 0.
template <class T, bool kWords = sizeof(T) == 2>
struct Nibbles {
  F zero, scale;

  SN_INLINE Nibbles(float z, float s) : zero(splat(z)), scale(splat(s)) {}
  SN_INLINE F value_of(I code) const { return mul(sub(from_int(code), zero), scale); }
  template <bool kBypass>
  SN_INLINE void store_32(T* y, const uint8_t* q) const {
    fetch_ahead(q, kFar);
    store_numbers<kBypass>(y, value_of(load_nibbles(q)), value_of(load_nibbles(q + 8)));
  }
};
// A slice has but 16 values, so those of 16 bits are computed once and then looked up, which costs less than
// converting.
template <class T>
struct Nibbles<T, true> {
  Table table;

  SN_INLINE Nibbles(float z, float s)
      : table(table_of_numbers(static_cast<T*>(nullptr),
                               mul(sub(all_nibbles(static_cast<T*>(nullptr)), splat(z)), splat(s)))) {}
  template <bool kBypass>
  SN_INLINE void store_32(T* y, const uint8_t* q) const {
    fetch_ahead(q, kFar);
    store_looked_up<kBypass>(y, table, q);
  }
};
// n elements of one slice, from a whole byte on; the first `head` in the careful way.
template <bool kBypass, class T>
SN_NOINLINE void run_from_nibbles(int64_t head, const uint8_t* q, T* y, int64_t n, float zero, float scale) {
  const Nibbles<T> nibbles(zero, scale);
  for_lines<32>(
      head, n,
      [&](int64_t i, int64_t lanes) {
        uint8_t buffer[kLanes / 2] = {};
        memcpy(buffer, q + byte_of(i), static_cast<size_t>((lanes + 1) / 2));
        const F v = mul(sub(from_int(load_nibbles(buffer)), splat(zero)), splat(scale));
        store_tail(y + i, v, lanes);
      },
      [&](int64_t i) { nibbles.template store_32<kBypass>(y + i, q + byte_of(i)); });
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
  // All of the runs are made of steps, which for short ones saves half of the work beside the elements.
  const bool even = p.n % 32 == 0 && p.slices->group % 32 == 0 && p.slices->end(p.col) % 32 == p.col % 32 &&
                    (!kBypass || to_line(y) == 0);
  float zero = 8;
  for (Run r(p); r.next();) {
    T* to = y + r.first;
    const uint8_t* from = q + byte_of(r.first);
    if (p.zero_points != nullptr) zero = static_cast<float>(8 + r.zero_point);
    if (even && finite(r.scale)) {
      const Nibbles<T> nibbles(zero, r.scale);
      for (T* end = to + r.n; to != end; to += 32, from += 16) nibbles.template store_32<kBypass>(to, from);
    } else {
      run_from_nibbles<kBypass>(!finite(r.scale) ? r.n : kBypass ? to_line(to) : 0, from, to, r.n, zero, r.scale);
    }
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
  Reciprocals reciprocals;
  int64_t done = 0;
  if (p.slices->group == 32 && (!bypass || to_line(to) == 0)) {
    // Two slices at once.
    const int64_t slice = p.slices->index(p.row, p.col);
    for (; done + 64 <= p.n; done += 64) {
      const int64_t i = done / 32, at = i % kLanes;
      if (at == 0) prepare(reciprocals, p.scales + slice + i, min_of(kLanes, p.n / 32 - i));
      const Quick y(reciprocals, at), z(reciprocals, at + 1);
      const int32_t* most = reciprocals.most + at;
      fake_64(x + done, to + done, p.step(slice + i, scheme).template with<Quantizer>(),
              p.step(slice + i + 1, scheme).template with<Quantizer>(), y, z, most[0] < most[1] ? most[0] : most[1],
              bypass);
    }
  }
  Quantizer z = quantizer<Quantizer>(1, 0, scheme);
  int64_t at = kLanes;
  for (Run r(p, done); r.next(); ++at) {
    if (at == kLanes) {
      prepare(reciprocals, r.scales(), min_of(kLanes, r.count()));
      at = 0;
    }
    if (p.zero_points != nullptr) z = quantizer<Quantizer>(r.scale, r.zero_point, scheme);
    z.scale = splat(r.scale);
    fake_run(x + r.first, to + r.first, r.n, z, Quick(reciprocals, at), reciprocals.most[at], bypass);
  }
}
#else
template <class T, class Quantizer>
SN_NOINLINE void fake_runs(Quantizer*, const T* x, T* to, const Piece& p, sn_scheme scheme, bool bypass) {
  for (Run r(p); r.next();) {
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
