// AVX-512 F, BW, VL, DQ. See simd.h.
#pragma once

#include <immintrin.h>

namespace sn {
namespace SN_ISA_NAME {

using F = __m512;
struct I {
  __m512i v;
};
struct M {
  __mmask16 v;
};
struct D {
  __m512d a, b;
};
struct B {
  __m512i v;
};

SN_INLINE __m128i load_low64(const void* p) { return _mm_loadl_epi64(static_cast<const __m128i*>(p)); }
SN_INLINE F load(const float* p) { return _mm512_loadu_ps(p); }
SN_INLINE F load(const double* p) {
  return _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(_mm512_loadu_pd(p))),
                            _mm512_cvtpd_ps(_mm512_loadu_pd(p + 8)), 1);
}
SN_INLINE F load(const f16* p) { return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))); }
SN_INLINE F load(const bf16* p) {
  return _mm512_castsi512_ps(
      _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))), 16));
}
SN_INLINE F load(const f8e4m3* p) {
  // As F16 words whose exponent is 8 too small; NaN gets F16's largest exponent.
  __m256i w = _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))), low = _mm256_set1_epi16(0x7f);
  __m256i magnitude = _mm256_and_si256(w, low);
  __m256i sign = _mm256_slli_epi16(_mm256_andnot_si256(low, w), 8);
  __m256i half = _mm256_or_si256(_mm256_slli_epi16(magnitude, 7), sign);
  __m256i nan = _mm256_and_si256(_mm256_cmpeq_epi16(magnitude, low), _mm256_set1_epi16(0x7c00));
  return _mm512_mul_ps(_mm512_cvtph_ps(_mm256_or_si256(half, nan)), _mm512_set1_ps(256));
}
SN_INLINE __m256i to_f16(F x) { return _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
// Each lane rounded to BF16, in its upper 16 bits; NaN may become infinity. Not vcvtneps2bf16, which flushes denormals.
SN_INLINE __m512i round_number(F x) {
  __m512i b = _mm512_castps_si512(x);
  __m512i last = _mm512_and_si512(_mm512_srli_epi32(b, 16), _mm512_set1_epi32(1));
  return _mm512_add_epi32(_mm512_add_epi32(b, _mm512_set1_epi32(0x7fff)), last);
}
SN_INLINE __m256i to_bf16(F x) {
  __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
  __m512i rounded = _mm512_mask_or_epi32(round_number(x), nan, _mm512_castps_si512(x), _mm512_set1_epi32(0x400000));
  return _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16));
}
SN_INLINE __m512d low_f64(F x) { return _mm512_cvtps_pd(_mm512_castps512_ps256(x)); }
SN_INLINE __m512d high_f64(F x) { return _mm512_cvtps_pd(_mm512_extractf32x8_ps(x, 1)); }

// kBypass writes past the caches; the address is then a multiple of the vector's size.
template <bool kBypass>
SN_INLINE void write(void* p, __m512i v) {
  kBypass ? _mm512_stream_si512(static_cast<__m512i*>(p), v) : _mm512_storeu_si512(p, v);
}
template <bool kBypass>
SN_INLINE void write(void* p, __m256i v) {
  kBypass ? _mm256_stream_si256(static_cast<__m256i*>(p), v) : _mm256_storeu_si256(static_cast<__m256i*>(p), v);
}
template <bool kBypass>
SN_INLINE void write(void* p, __m128i v) {
  kBypass ? _mm_stream_si128(static_cast<__m128i*>(p), v) : _mm_storeu_si128(static_cast<__m128i*>(p), v);
}

template <bool kBypass = false>
SN_INLINE void store(float* p, F x) {
  write<kBypass>(p, _mm512_castps_si512(x));
}
template <bool kBypass = false>
SN_INLINE void store(double* p, F x) {
  write<kBypass>(p, _mm512_castpd_si512(low_f64(x)));
  write<kBypass>(p + 8, _mm512_castpd_si512(high_f64(x)));
}
template <bool kBypass = false>
SN_INLINE void store(f16* p, F x) {
  write<kBypass>(p, to_f16(x));
}
template <bool kBypass = false>
SN_INLINE void store(bf16* p, F x) {
  write<kBypass>(p, to_bf16(x));
}
template <bool kBypass, class T>
SN_INLINE void store_numbers(T* p, F a, F b) {
  store<kBypass>(p, a);
  store<kBypass>(p + 16, b);
}
template <bool kBypass>
SN_INLINE void store_numbers(bf16* p, F a, F b) {
  // Words 1, 3, 5, ... of the two vectors.
  __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  __m512i upper_halves =
      _mm512_add_epi32(_mm512_mullo_epi32(lane, _mm512_set1_epi32(0x40004)), _mm512_set1_epi32(0x30001));
  write<kBypass>(p, _mm512_permutex2var_epi16(round_number(a), upper_halves, round_number(b)));
}
SN_INLINE void stream_fence() { _mm_sfence(); }

SN_INLINE F splat(float x) { return _mm512_set1_ps(x); }
SN_INLINE I splat_int(int32_t x) { return {_mm512_set1_epi32(x)}; }
SN_INLINE F add(F a, F b) { return _mm512_add_ps(a, b); }
SN_INLINE F sub(F a, F b) { return _mm512_sub_ps(a, b); }
SN_INLINE F mul(F a, F b) { return _mm512_mul_ps(a, b); }
SN_INLINE F multiply_add(F a, F b, F sum) { return _mm512_fmadd_ps(a, b, sum); }
SN_INLINE F div(F a, F b) { return _mm512_div_ps(a, b); }
SN_INLINE F min(F a, F b) { return _mm512_min_ps(a, b); }
SN_INLINE F max(F a, F b) { return _mm512_max_ps(a, b); }
SN_INLINE F abs(F a) { return _mm512_abs_ps(a); }
SN_INLINE I key(F a) { return {_mm512_and_si512(_mm512_castps_si512(a), _mm512_set1_epi32(0x7fffffff))}; }
SN_INLINE I raw_bits(F a) { return {_mm512_castps_si512(a)}; }
SN_INLINE F turn(F a, F b) {
  // Bits of a where the mask is 0, of a xor b where it is 1.
  return _mm512_castsi512_ps(
      _mm512_ternarylogic_epi32(_mm512_castps_si512(a), _mm512_castps_si512(b), _mm512_set1_epi32(INT32_MIN), 0x78));
}
SN_INLINE I order_value(F a) {
  __m512i b = _mm512_castps_si512(a);
  return {_mm512_xor_si512(b, _mm512_or_si512(_mm512_srai_epi32(b, 31), _mm512_set1_epi32(INT32_MIN)))};
}
SN_INLINE I to_int(F a) { return {_mm512_cvtps_epi32(a)}; }
SN_INLINE F from_int(I a) { return _mm512_cvtepi32_ps(a.v); }
SN_INLINE I add(I a, I b) { return {_mm512_add_epi32(a.v, b.v)}; }
SN_INLINE I sub(I a, I b) { return {_mm512_sub_epi32(a.v, b.v)}; }
SN_INLINE I exclusive_or(I a, I b) { return {_mm512_xor_si512(a.v, b.v)}; }
SN_INLINE void multiply(I a, uint32_t m, I* high, I* low) {
  __m512i factor = _mm512_set1_epi32(static_cast<int>(m));
  __m512i even = _mm512_mul_epu32(a.v, factor), odd = _mm512_mul_epu32(_mm512_srli_epi64(a.v, 32), factor);
  low->v = _mm512_mask_blend_epi32(0xaaaa, even, _mm512_slli_epi64(odd, 32));
  high->v = _mm512_mask_blend_epi32(0xaaaa, _mm512_srli_epi64(even, 32), odd);
}
SN_INLINE F as_float(I a) { return _mm512_castsi512_ps(a.v); }
SN_INLINE I bit_and(I a, I b) { return {_mm512_and_si512(a.v, b.v)}; }
SN_INLINE I bit_or(I a, I b) { return {_mm512_or_si512(a.v, b.v)}; }
template <int kBits>
SN_INLINE I shift_right(I a) {
  return {_mm512_srai_epi32(a.v, kBits)};
}
SN_INLINE I max(I a, I b) { return {_mm512_max_epi32(a.v, b.v)}; }
SN_INLINE I shift_left(I a, I by) { return {_mm512_sllv_epi32(a.v, by.v)}; }
SN_INLINE I increment(I a, M m) { return {_mm512_mask_add_epi32(a.v, m.v, a.v, _mm512_set1_epi32(1))}; }
SN_INLINE M gt(F a, F b) { return {_mm512_cmp_ps_mask(a, b, _CMP_GT_OQ)}; }
SN_INLINE M gt(I a, I b) { return {_mm512_cmpgt_epi32_mask(a.v, b.v)}; }
SN_INLINE M eq(I a, I b) { return {_mm512_cmpeq_epi32_mask(a.v, b.v)}; }
SN_INLINE uint32_t bits(M m) { return m.v; }
SN_INLINE M mask_of(uint32_t b) { return {static_cast<__mmask16>(b)}; }
SN_INLINE F select(M m, F a, F b) { return _mm512_mask_blend_ps(m.v, b, a); }
SN_INLINE I select(M m, I a, I b) { return {_mm512_mask_blend_epi32(m.v, b.v, a.v)}; }
SN_INLINE I rotate(I a, int j, int m) {
  __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  __m512i inside = _mm512_and_si512(_mm512_add_epi32(lane, _mm512_set1_epi32(j)), _mm512_set1_epi32(m - 1));
  return {_mm512_permutexvar_epi32(_mm512_or_si512(_mm512_andnot_si512(_mm512_set1_epi32(m - 1), lane), inside), a.v)};
}
SN_INLINE int32_t reduce_max(I a) { return _mm512_reduce_max_epi32(a.v); }
SN_INLINE float reduce_max(F a) { return _mm512_reduce_max_ps(a); }
SN_INLINE float reduce_min(F a) { return _mm512_reduce_min_ps(a); }
SN_INLINE void store_int(int32_t* p, I a) { _mm512_storeu_si512(p, a.v); }

template <bool kBypass = false>
SN_INLINE void store_kept(float* out, const float* in, M keep) {
  write<kBypass>(out, _mm512_maskz_loadu_epi32(keep.v, in));
}
template <bool kBypass = false>
SN_INLINE void store_kept(double* out, const double* in, M keep) {
  write<kBypass>(out, _mm512_maskz_loadu_epi64(static_cast<__mmask8>(keep.v), in));
  write<kBypass>(out + 8, _mm512_maskz_loadu_epi64(static_cast<__mmask8>(keep.v >> 8), in + 8));
}
template <bool kBypass = false>
SN_INLINE void store_kept(f16* out, const f16* in, M keep) {
  write<kBypass>(out, _mm256_maskz_loadu_epi16(keep.v, in));
}
template <bool kBypass = false>
SN_INLINE void store_kept(bf16* out, const bf16* in, M keep) {
  write<kBypass>(out, _mm256_maskz_loadu_epi16(keep.v, in));
}
template <bool kBypass = false>
SN_INLINE void store_bool(uint8_t* out, M keep) {
  write<kBypass>(out, _mm_maskz_set1_epi8(keep.v, 1));
}

// F16 and BF16 as they are stored: their magnitudes order as integers of 16 bits too.
struct Words {
  __m512i v;
};
SN_INLINE Words splat_word(int16_t x) { return {_mm512_set1_epi16(x)}; }
SN_INLINE int reduce_max(Words w) {
  __m512i even = _mm512_and_si512(w.v, _mm512_set1_epi32(0xffff)), odd = _mm512_srli_epi32(w.v, 16);
  return _mm512_reduce_max_epi32(_mm512_max_epi32(even, odd));
}
// Of the 64 words at `in` those whose magnitude is above `limit`, else 0; the number of those kept that are not 0.
// `largest` takes up the magnitudes.
template <bool kBypass>
SN_INLINE int64_t keep_words(const void* in, void* out, Words limit, Words& largest) {
  const __m512i magnitude = _mm512_set1_epi16(0x7fff);
  int64_t nonzeros = 0;
  for (int i = 0; i < 128; i += 64) {
    __m512i x = _mm512_loadu_si512(static_cast<const char*>(in) + i);
    __m512i k = _mm512_and_si512(x, magnitude);
    largest.v = _mm512_max_epi16(largest.v, k);
    __mmask32 keep = _mm512_cmpgt_epi16_mask(k, limit.v);
    write<kBypass>(static_cast<char*>(out) + i, _mm512_maskz_mov_epi16(keep, x));
    nonzeros += __builtin_popcount(_mm512_mask_test_epi16_mask(keep, k, k));
  }
  return nonzeros;
}

SN_INLINE B pack(I a, I b, I c, I d) {
  // Packing works within 128-bit lanes; the permutation puts the 4-byte pieces back in order.
  __m512i packed = _mm512_packs_epi16(_mm512_packs_epi32(a.v, b.v), _mm512_packs_epi32(c.v, d.v));
  return {_mm512_permutexvar_epi32(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), packed)};
}
SN_INLINE bool any(M m) { return m.v != 0; }
struct ByteRange {
  __m512i first, second;  // zero points of 32 elements each
  __m512i low, high;
};
SN_INLINE ByteRange byte_range(int first, int second, int low, int high) {
  return {_mm512_set1_epi16(static_cast<int16_t>(first)), _mm512_set1_epi16(static_cast<int16_t>(second)),
          _mm512_set1_epi8(static_cast<char>(low)), _mm512_set1_epi8(static_cast<char>(high))};
}
template <class T>
SN_INLINE bool pack_within(const T*, I a, I b, I c, I d, const ByteRange& r, B& bytes) {
  __m512i first = _mm512_packs_epi32(a.v, b.v), second = _mm512_packs_epi32(c.v, d.v);
  __m512i sums = _mm512_packs_epi16(_mm512_adds_epi16(first, r.first), _mm512_adds_epi16(second, r.second));
  __m512i packed = _mm512_max_epi8(_mm512_min_epi8(sums, r.high), r.low);
  bytes = {_mm512_permutexvar_epi32(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), packed)};
  return _mm512_cmpeq_epi16_mask(_mm512_min_epi16(first, second), _mm512_set1_epi16(INT16_MIN)) == 0;
}
template <bool kBypass = false>
SN_INLINE void store_bytes(int8_t* p, B b) {
  write<kBypass>(p, b.v);
}
SN_INLINE __m256i nibbles(B b) {
  __m512i v = _mm512_add_epi8(b.v, _mm512_set1_epi8(8));
  __m512i pairs = _mm512_or_si512(v, _mm512_srli_epi16(v, 4));  // low byte: first | second << 4
  return _mm512_cvtepi16_epi8(pairs);
}
template <bool kBypass = false>
SN_INLINE void store_nibbles(uint8_t* p, B b) {
  write<kBypass>(p, nibbles(b));
}
SN_INLINE I load_int(const int32_t* p) { return {_mm512_loadu_si512(p)}; }
SN_INLINE I load_int(const int8_t* p) {
  return {_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
}
SN_INLINE I load_index(const uint8_t* p) {
  return {_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
}
SN_INLINE I index_of(uint64_t low, uint64_t high) {
  return {_mm512_cvtepu8_epi32(_mm_set_epi64x(static_cast<int64_t>(high), static_cast<int64_t>(low)))};
}
SN_INLINE F look_up8(const float* table, I index) {
  // The look-up sees four bits: the table stands there twice.
  return _mm512_permutexvar_ps(index.v, _mm512_broadcast_f32x8(_mm256_loadu_ps(table)));
}
SN_INLINE F gather(const float* table, I index) { return _mm512_i32gather_ps(index.v, table, 4); }
SN_INLINE I load_nibbles(const uint8_t* p) {
  __m128i v = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
  __m128i mask = _mm_set1_epi8(15);
  __m128i bytes = _mm_unpacklo_epi8(_mm_and_si128(v, mask), _mm_and_si128(_mm_srli_epi16(v, 4), mask));
  return {_mm512_cvtepu8_epi32(bytes)};
}

struct Table {
  __m512i words;  // the 16 entries twice
};
SN_INLINE __m256i words_of(const bf16*, F x) { return to_bf16(x); }
SN_INLINE __m256i words_of(const f16*, F x) { return to_f16(x); }
template <class T>
SN_INLINE Table table_of(const T* type, F entries) {
  return {_mm512_broadcast_i64x4(words_of(type, entries))};
}
template <class T>
SN_INLINE Table table_of_numbers(const T* type, F entries) {
  return table_of(type, entries);
}
template <bool kBypass>
SN_INLINE void store_looked_up(void* p, const Table& table, const uint8_t* q) {
  // Byte b of q becomes the words b and b >> 4, of which the look-up sees the low 5 bits: bit 4 picks one of two
  // copies.
  __m512i bytes = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(q)));
  __m512i index = _mm512_or_si512(bytes, _mm512_slli_epi32(bytes, 12));
  write<kBypass>(p, _mm512_permutexvar_epi16(index, table.words));
}

SN_INLINE D zero_sum() { return {_mm512_setzero_pd(), _mm512_setzero_pd()}; }
SN_INLINE void add(D& s, F x) {
  s.a = _mm512_add_pd(s.a, low_f64(x));
  s.b = _mm512_add_pd(s.b, high_f64(x));
}
SN_INLINE void add_product(D& s, F x, F y) {
  s.a = _mm512_add_pd(s.a, _mm512_mul_pd(low_f64(x), low_f64(y)));
  s.b = _mm512_add_pd(s.b, _mm512_mul_pd(high_f64(x), high_f64(y)));
}
SN_INLINE double reduce(D s) {
  __m512d eight = _mm512_add_pd(s.a, s.b);
  __m256d four = _mm256_add_pd(_mm512_castpd512_pd256(eight), _mm512_extractf64x4_pd(eight, 1));
  __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
  return _mm_cvtsd_f64(two) + _mm_cvtsd_f64(_mm_unpackhi_pd(two, two));
}

}  // namespace SN_ISA_NAME
}  // namespace sn

#include "cpu/simd/shuffles.h"

namespace sn {
namespace SN_ISA_NAME {

SN_INLINE __m512i load512(const void* p) { return _mm512_loadu_si512(p); }
SN_INLINE uint64_t nonzero_64(const uint8_t* p) { return _mm512_test_epi8_mask(load512(p), load512(p)); }
SN_INLINE uint64_t nonzero_64(const uint16_t* p) {
  __mmask32 low = _mm512_test_epi16_mask(load512(p), load512(p));
  __mmask32 high = _mm512_test_epi16_mask(load512(p + 32), load512(p + 32));
  return low | static_cast<uint64_t>(high) << 32;
}
SN_INLINE uint64_t nonzero_64(const uint32_t* p) {
  uint64_t set = 0;
  for (int i = 0; i < 64; i += 16)
    set |= static_cast<uint64_t>(_mm512_test_epi32_mask(load512(p + i), load512(p + i))) << i;
  return set;
}
SN_INLINE uint64_t nonzero_64(const uint64_t* p) {
  uint64_t set = 0;
  for (int i = 0; i < 64; i += 8)
    set |= static_cast<uint64_t>(_mm512_test_epi64_mask(load512(p + i), load512(p + i))) << i;
  return set;
}
// Compression within registers: its form that writes to memory is microcoded on AMD processors.
SN_INLINE void compress_16(uint32_t* out, const uint32_t* in, uint64_t mask) {
  write<false>(out, _mm512_maskz_compress_epi32(static_cast<__mmask16>(mask), load512(in)));
}
SN_INLINE void compress_16(uint64_t* out, const uint64_t* in, uint64_t mask) {
  const uint64_t low = mask & 255, high = mask >> 8;
  write<false>(out, _mm512_maskz_compress_epi64(static_cast<__mmask8>(low), load512(in)));
  write<false>(out + ones_of(low), _mm512_maskz_compress_epi64(static_cast<__mmask8>(high), load512(in + 8)));
}
template <bool kBypass>
SN_INLINE void expand_16(uint32_t* out, const uint32_t* in, uint64_t mask) {
  write<kBypass>(out, _mm512_maskz_expand_epi32(static_cast<__mmask16>(mask), load512(in)));
}
template <bool kBypass>
SN_INLINE void expand_16(uint64_t* out, const uint64_t* in, uint64_t mask) {
  const uint64_t low = mask & 255, high = mask >> 8;
  __m512i b = load512(in + ones_of(low));
  write<kBypass>(out, _mm512_maskz_expand_epi64(static_cast<__mmask8>(low), load512(in)));
  write<kBypass>(out + 8, _mm512_maskz_expand_epi64(static_cast<__mmask8>(high), b));
}

}  // namespace SN_ISA_NAME
}  // namespace sn
