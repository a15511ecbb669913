// The vector vocabulary that kernels are written in. Every instruction set gives the same one: vectors of 16 lanes, so
// that loop bounds, tails and the order of float64 sums are the same everywhere, and with them every result bit.
//
// clang-format off
//   F      16 x f32   load, store, splat, add, sub, mul, div, multiply_add (fused, but for scalar), min, max, turn, gt, select, look_up8, gather
//   I      16 x i32   key, order_value, raw_bits, as_float, to_int, from_int, add, multiply, gt, eq, bit_and, shifts, ...
//   M      16 x bool  bits, count
//   D      16 x f64   sums: add, add_product, reduce (always folded 16 -> 8 -> 4 -> 2 -> 1)
//   B      64 x i8    pack of four I; stored as bytes or as 32 bytes of nibbles
//   Words             F16 and BF16 elements as integers of 16 bits
//   Table             16 words that nibbles select
// clang-format on
//
// Elements as unsigned integers of their size are also counted, compacted and expanded: nonzero_64, compress_16,
// expand_16.
//
// Stores take kBypass, which writes past the caches: for outputs that are too large to stay there, so that no line is
// read only to be overwritten. The address must then be a multiple of what is written.
//
// Each tier is one namespace in one header, chosen by SN_ISA_NAME, so that no symbol of one tier can stand in for
// another's. Kernel files must not include standard headers with inline code: the linker could keep the copy compiled
// for AVX-512.
#pragma once

#include <stdint.h>
#include <string.h>

#include "core/dtype.h"

// For what is inside the innermost loops: vectors that pass through memory cost more than they compute. Scalar code
// keeps them in memory anyway, and would only take minutes to compile.
#if defined(SN_TIER_AVX512) || defined(SN_TIER_AVX2)
#define SN_INLINE inline __attribute__((always_inline))
#else
#define SN_INLINE inline
#endif
// For what one copy of is enough, however many call it.
#define SN_NOINLINE __attribute__((noinline))

#if defined(SN_TIER_AVX512)
// The tiers that add matrix instructions have the same vectors, in namespaces of their own.
#if defined(SN_TIER_AMX)
#define SN_ISA_NAME amx
#elif defined(SN_TIER_VNNI)
#define SN_ISA_NAME vnni
#else
#define SN_ISA_NAME avx512
#endif
#include "cpu/simd/avx512.h"
#elif defined(SN_TIER_AVX2)
#define SN_ISA_NAME avx2
#include "cpu/simd/avx2.h"
#else
#define SN_ISA_NAME scalar
#include "cpu/simd/scalar.h"
#endif

namespace sn {
namespace SN_ISA_NAME {

constexpr int64_t kLanes = 16;

// Vectors whose lanes are in an order of the tier's own, which spares permutations where all that happens is lane by
// lane: what load_folded gives for T is in order again after pack_folded or pack_within for T, what load_paired or
// load_int_paired gives after store_paired.
template <class T>
SN_INLINE F load_folded(const T* p) {
  return load(p);
}
// Whether the key of an element is above the limit: of the 64 at x, which a to d hold in any order.
template <class T>
SN_INLINE bool any_above(const T*, F a, F b, F c, F d, int32_t limit) {
  return any(gt(max(max(key(a), key(b)), max(key(c), key(d))), splat_int(limit)));
}
template <class T>
SN_INLINE B pack_folded(const T*, I a, I b, I c, I d) {
  return pack(a, b, c, d);
}
template <class T>
SN_INLINE F load_paired(const T* p) {
  return load(p);
}
// Integers less the zero point, times 2^paired_bits.
template <class T>
SN_INLINE I load_int_paired(const T*, const int8_t* p, int zero_point) {
  return sub(load_int(p), splat_int(zero_point));
}
template <class T>
constexpr int paired_bits(const T*) {
  return 0;
}
template <bool kBypass, class T>
SN_INLINE void store_paired(T* p, F a, F b) {
  store_numbers<kBypass>(p, a, b);
}

// The numbers 0 to 15, from whose values table_of_numbers makes a table that nibbles select from.
template <class T>
SN_INLINE F all_nibbles(const T*) {
  static constexpr float kAll[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  return load(kAll);
}

// 0..15 elements as a vector, the missing ones zero. Goes through the stack, so it never touches memory past the end.
template <class T>
SN_INLINE F load_tail(const T* p, int64_t n) {
  T buffer[kLanes] = {};
  memcpy(static_cast<void*>(buffer), p, static_cast<size_t>(n) * sizeof(T));
  return load(buffer);
}

template <class T>
SN_INLINE void store_tail(T* p, F v, int64_t n) {
  T buffer[kLanes];
  store(buffer, v);
  memcpy(static_cast<void*>(p), buffer, static_cast<size_t>(n) * sizeof(T));
}

SN_INLINE M first_lanes(int64_t n) { return mask_of((1u << n) - 1u); }

}  // namespace SN_ISA_NAME
}  // namespace sn
