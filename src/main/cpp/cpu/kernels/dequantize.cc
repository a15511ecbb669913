// Dequantize. See sinew.h.
#include "cpu/kernels/floats.h"
#include "cpu/kernels/runs.h"

namespace sn {
namespace SN_ISA_NAME {
namespace {

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
  for (SliceRun r(p); r.next();) {
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
  for (SliceRun r(p); r.next();) {
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
  for (SliceRun r(p); r.next();) from_float8<kBypass>(q + r.first, y + r.first, r.n, splat(r.scale));
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

}  // namespace SN_ISA_NAME
}  // namespace sn
