// AVX-512 F, BW, VL, DQ. See simd.h.
#pragma once

#include <immintrin.h>

namespace sn {
namespace avx512 {

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

inline F load(const float* p) { return _mm512_loadu_ps(p); }
inline F load(const double* p) {
  return _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(_mm512_loadu_pd(p))),
                            _mm512_cvtpd_ps(_mm512_loadu_pd(p + 8)), 1);
}
inline F load(const f16* p) { return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))); }
inline F load(const bf16* p) {
  return _mm512_castsi512_ps(
      _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))), 16));
}
inline __m256i to_f16(F x) { return _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
// Not vcvtneps2bf16, which flushes denormals.
inline __m256i to_bf16(F x) {
  __m512i b = _mm512_castps_si512(x);
  __m512i top = _mm512_srli_epi32(b, 16);
  __m512i rounded = _mm512_srli_epi32(
      _mm512_add_epi32(b, _mm512_add_epi32(_mm512_set1_epi32(0x7fff), _mm512_and_si512(top, _mm512_set1_epi32(1)))),
      16);
  __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
  return _mm512_cvtepi32_epi16(_mm512_mask_or_epi32(rounded, nan, top, _mm512_set1_epi32(0x40)));
}
inline __m512d low_f64(F x) { return _mm512_cvtps_pd(_mm512_castps512_ps256(x)); }
inline __m512d high_f64(F x) { return _mm512_cvtps_pd(_mm512_extractf32x8_ps(x, 1)); }

inline void store(float* p, F x) { _mm512_storeu_ps(p, x); }
inline void store(double* p, F x) {
  _mm512_storeu_pd(p, low_f64(x));
  _mm512_storeu_pd(p + 8, high_f64(x));
}
inline void store(f16* p, F x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), to_f16(x)); }
inline void store(bf16* p, F x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), to_bf16(x)); }
inline void stream(float* p, F x) { _mm512_stream_ps(p, x); }
inline void stream(double* p, F x) {
  _mm512_stream_pd(p, low_f64(x));
  _mm512_stream_pd(p + 8, high_f64(x));
}
inline void stream(f16* p, F x) { _mm256_stream_si256(reinterpret_cast<__m256i*>(p), to_f16(x)); }
inline void stream(bf16* p, F x) { _mm256_stream_si256(reinterpret_cast<__m256i*>(p), to_bf16(x)); }
inline void stream_fence() { _mm_sfence(); }

inline F splat(float x) { return _mm512_set1_ps(x); }
inline I splat_int(int32_t x) { return {_mm512_set1_epi32(x)}; }
inline F sub(F a, F b) { return _mm512_sub_ps(a, b); }
inline F mul(F a, F b) { return _mm512_mul_ps(a, b); }
inline F div(F a, F b) { return _mm512_div_ps(a, b); }
inline F min(F a, F b) { return _mm512_min_ps(a, b); }
inline F max(F a, F b) { return _mm512_max_ps(a, b); }
inline F abs(F a) { return _mm512_abs_ps(a); }
inline I key(F a) { return {_mm512_and_si512(_mm512_castps_si512(a), _mm512_set1_epi32(0x7fffffff))}; }
inline I order_value(F a) {
  __m512i b = _mm512_castps_si512(a);
  return {_mm512_xor_si512(b, _mm512_or_si512(_mm512_srai_epi32(b, 31), _mm512_set1_epi32(INT32_MIN)))};
}
inline I to_int(F a) { return {_mm512_cvtps_epi32(a)}; }
inline F from_int(I a) { return _mm512_cvtepi32_ps(a.v); }
inline I add(I a, I b) { return {_mm512_add_epi32(a.v, b.v)}; }
inline I sub(I a, I b) { return {_mm512_sub_epi32(a.v, b.v)}; }
inline I max(I a, I b) { return {_mm512_max_epi32(a.v, b.v)}; }
inline M gt(I a, I b) { return {_mm512_cmpgt_epi32_mask(a.v, b.v)}; }
inline M eq(I a, I b) { return {_mm512_cmpeq_epi32_mask(a.v, b.v)}; }
inline uint32_t bits(M m) { return m.v; }
inline M mask_of(uint32_t b) { return {static_cast<__mmask16>(b)}; }
inline F select(M m, F a, F b) { return _mm512_mask_blend_ps(m.v, b, a); }
inline I select(M m, I a, I b) { return {_mm512_mask_blend_epi32(m.v, b.v, a.v)}; }
inline I rotate(I a, int j, int m) {
  __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  __m512i inside = _mm512_and_si512(_mm512_add_epi32(lane, _mm512_set1_epi32(j)), _mm512_set1_epi32(m - 1));
  return {_mm512_permutexvar_epi32(_mm512_or_si512(_mm512_andnot_si512(_mm512_set1_epi32(m - 1), lane), inside), a.v)};
}
inline int32_t reduce_max(I a) { return _mm512_reduce_max_epi32(a.v); }
inline float reduce_max(F a) { return _mm512_reduce_max_ps(a); }
inline float reduce_min(F a) { return _mm512_reduce_min_ps(a); }
inline void store_int(int32_t* p, I a) { _mm512_storeu_si512(p, a.v); }

inline void store_kept(float* out, const float* in, M keep) {
  _mm512_storeu_ps(out, _mm512_maskz_loadu_ps(keep.v, in));
}
inline void store_kept(double* out, const double* in, M keep) {
  __mmask8 low = static_cast<__mmask8>(keep.v);
  __mmask8 high = static_cast<__mmask8>(keep.v >> 8);
  _mm512_storeu_pd(out, _mm512_maskz_loadu_pd(low, in));
  _mm512_storeu_pd(out + 8, _mm512_maskz_loadu_pd(high, in + 8));
}
inline void store_kept16(void* out, const void* in, M keep) {
  _mm256_storeu_si256(static_cast<__m256i*>(out), _mm256_maskz_loadu_epi16(keep.v, in));
}
inline void store_kept(f16* out, const f16* in, M keep) { store_kept16(out, in, keep); }
inline void store_kept(bf16* out, const bf16* in, M keep) { store_kept16(out, in, keep); }
inline void store_bool(uint8_t* out, M keep) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm_maskz_set1_epi8(keep.v, 1));
}

inline B pack(I a, I b, I c, I d) {
  // Packing works within 128-bit lanes; the permutation puts the 4-byte pieces back in order.
  __m512i packed = _mm512_packs_epi16(_mm512_packs_epi32(a.v, b.v), _mm512_packs_epi32(c.v, d.v));
  return {_mm512_permutexvar_epi32(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), packed)};
}
inline void store_bytes(int8_t* p, B b) { _mm512_storeu_si512(p, b.v); }
inline void stream_bytes(int8_t* p, B b) { _mm512_stream_si512(reinterpret_cast<__m512i*>(p), b.v); }
inline __m256i nibbles(B b) {
  __m512i v = _mm512_add_epi8(b.v, _mm512_set1_epi8(8));
  __m512i pairs = _mm512_or_si512(v, _mm512_srli_epi16(v, 4));  // low byte: first | second << 4
  return _mm512_cvtepi16_epi8(pairs);
}
inline void store_nibbles(uint8_t* p, B b) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), nibbles(b)); }
inline void stream_nibbles(uint8_t* p, B b) { _mm256_stream_si256(reinterpret_cast<__m256i*>(p), nibbles(b)); }
inline I load_int(const int8_t* p) {
  return {_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
}
inline I load_nibbles(const uint8_t* p) {
  __m128i v = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
  __m128i mask = _mm_set1_epi8(15);
  __m128i bytes = _mm_unpacklo_epi8(_mm_and_si128(v, mask), _mm_and_si128(_mm_srli_epi16(v, 4), mask));
  return {_mm512_sub_epi32(_mm512_cvtepi8_epi32(bytes), _mm512_set1_epi32(8))};
}

inline D zero_sum() { return {_mm512_setzero_pd(), _mm512_setzero_pd()}; }
inline void add(D& s, F x) {
  s.a = _mm512_add_pd(s.a, low_f64(x));
  s.b = _mm512_add_pd(s.b, high_f64(x));
}
inline void add_product(D& s, F x, F y) {
  s.a = _mm512_add_pd(s.a, _mm512_mul_pd(low_f64(x), low_f64(y)));
  s.b = _mm512_add_pd(s.b, _mm512_mul_pd(high_f64(x), high_f64(y)));
}
inline double reduce(D s) {
  __m512d eight = _mm512_add_pd(s.a, s.b);
  __m256d four = _mm256_add_pd(_mm512_castpd512_pd256(eight), _mm512_extractf64x4_pd(eight, 1));
  __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
  return _mm_cvtsd_f64(two) + _mm_cvtsd_f64(_mm_unpackhi_pd(two, two));
}

}  // namespace avx512
}  // namespace sn
