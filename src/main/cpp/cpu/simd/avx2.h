// AVX2 with F16C: 16 lanes in two registers. See simd.h.
#pragma once

#include <immintrin.h>

namespace sn {
namespace avx2 {

struct F {
  __m256 a, b;
};
struct I {
  __m256i a, b;
};
struct M {  // all ones or zero in each lane
  __m256i a, b;
};
struct D {
  __m256d v[4];
};
struct B {
  __m256i a, b;
};

inline __m256i load256(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
inline __m128i load128(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }
inline void store256(void* p, __m256i v) { _mm256_storeu_si256(static_cast<__m256i*>(p), v); }
inline void store128(void* p, __m128i v) { _mm_storeu_si128(static_cast<__m128i*>(p), v); }
inline __m256 join(__m128 low, __m128 high) { return _mm256_insertf128_ps(_mm256_castps128_ps256(low), high, 1); }
inline __m256i join(__m128i low, __m128i high) { return _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1); }

inline F load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
inline F load(const double* p) {
  return {join(_mm256_cvtpd_ps(_mm256_loadu_pd(p)), _mm256_cvtpd_ps(_mm256_loadu_pd(p + 4))),
          join(_mm256_cvtpd_ps(_mm256_loadu_pd(p + 8)), _mm256_cvtpd_ps(_mm256_loadu_pd(p + 12)))};
}
inline F load(const f16* p) { return {_mm256_cvtph_ps(load128(p)), _mm256_cvtph_ps(load128(p + 8))}; }
inline __m256 widen_bf16(const bf16* p) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load128(p)), 16));
}
inline F load(const bf16* p) { return {widen_bf16(p), widen_bf16(p + 8)}; }

inline __m256i to_f16(F x) {
  constexpr int nearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  return join(_mm256_cvtps_ph(x.a, nearest), _mm256_cvtps_ph(x.b, nearest));
}
inline __m256i round_bf16(__m256 x) {
  __m256i b = _mm256_castps_si256(x);
  __m256i top = _mm256_srli_epi32(b, 16);
  __m256i rounded = _mm256_srli_epi32(
      _mm256_add_epi32(b, _mm256_add_epi32(_mm256_set1_epi32(0x7fff), _mm256_and_si256(top, _mm256_set1_epi32(1)))),
      16);
  __m256i quiet = _mm256_or_si256(top, _mm256_set1_epi32(0x40));
  return _mm256_blendv_epi8(rounded, quiet, _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q)));
}
inline __m256i to_bf16(F x) {
  return _mm256_permute4x64_epi64(_mm256_packus_epi32(round_bf16(x.a), round_bf16(x.b)), 0xd8);
}
inline __m256d widen_low(__m256 x) { return _mm256_cvtps_pd(_mm256_castps256_ps128(x)); }
inline __m256d widen_high(__m256 x) { return _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1)); }

inline void store(float* p, F x) {
  _mm256_storeu_ps(p, x.a);
  _mm256_storeu_ps(p + 8, x.b);
}
inline void store(double* p, F x) {
  _mm256_storeu_pd(p, widen_low(x.a));
  _mm256_storeu_pd(p + 4, widen_high(x.a));
  _mm256_storeu_pd(p + 8, widen_low(x.b));
  _mm256_storeu_pd(p + 12, widen_high(x.b));
}
inline void store(f16* p, F x) { store256(p, to_f16(x)); }
inline void store(bf16* p, F x) { store256(p, to_bf16(x)); }
inline void stream(float* p, F x) {
  _mm256_stream_ps(p, x.a);
  _mm256_stream_ps(p + 8, x.b);
}
inline void stream(double* p, F x) {
  _mm256_stream_pd(p, widen_low(x.a));
  _mm256_stream_pd(p + 4, widen_high(x.a));
  _mm256_stream_pd(p + 8, widen_low(x.b));
  _mm256_stream_pd(p + 12, widen_high(x.b));
}
inline void stream(f16* p, F x) { _mm256_stream_si256(reinterpret_cast<__m256i*>(p), to_f16(x)); }
inline void stream(bf16* p, F x) { _mm256_stream_si256(reinterpret_cast<__m256i*>(p), to_bf16(x)); }
inline void stream_fence() { _mm_sfence(); }

inline F splat(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
inline I splat_int(int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
inline F sub(F x, F y) { return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
inline F mul(F x, F y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
inline F div(F x, F y) { return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
inline F min(F x, F y) { return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)}; }
inline F max(F x, F y) { return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
inline F abs(F x) {
  __m256 mask = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
  return {_mm256_and_ps(x.a, mask), _mm256_and_ps(x.b, mask)};
}
inline I key(F x) {
  __m256i mask = _mm256_set1_epi32(0x7fffffff);
  return {_mm256_and_si256(_mm256_castps_si256(x.a), mask), _mm256_and_si256(_mm256_castps_si256(x.b), mask)};
}
inline __m256i order8(__m256 x) {
  __m256i b = _mm256_castps_si256(x);
  return _mm256_xor_si256(b, _mm256_or_si256(_mm256_srai_epi32(b, 31), _mm256_set1_epi32(INT32_MIN)));
}
inline I order_value(F x) { return {order8(x.a), order8(x.b)}; }
inline I to_int(F x) { return {_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b)}; }
inline F from_int(I x) { return {_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)}; }
inline I add(I x, I y) { return {_mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b)}; }
inline I sub(I x, I y) { return {_mm256_sub_epi32(x.a, y.a), _mm256_sub_epi32(x.b, y.b)}; }
inline I max(I x, I y) { return {_mm256_max_epi32(x.a, y.a), _mm256_max_epi32(x.b, y.b)}; }
inline M gt(I x, I y) { return {_mm256_cmpgt_epi32(x.a, y.a), _mm256_cmpgt_epi32(x.b, y.b)}; }
inline M eq(I x, I y) { return {_mm256_cmpeq_epi32(x.a, y.a), _mm256_cmpeq_epi32(x.b, y.b)}; }
inline uint32_t bits(M m) {
  uint32_t low = static_cast<uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(m.a)));
  uint32_t high = static_cast<uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(m.b)));
  return low | high << 8;
}
inline M mask_of(uint32_t b) {
  __m256i lane = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  __m256i low = _mm256_and_si256(_mm256_set1_epi32(static_cast<int>(b & 255)), lane);
  __m256i high = _mm256_and_si256(_mm256_set1_epi32(static_cast<int>(b >> 8 & 255)), lane);
  return {_mm256_cmpeq_epi32(low, lane), _mm256_cmpeq_epi32(high, lane)};
}
inline F select(M m, F x, F y) {
  return {_mm256_blendv_ps(y.a, x.a, _mm256_castsi256_ps(m.a)), _mm256_blendv_ps(y.b, x.b, _mm256_castsi256_ps(m.b))};
}
inline I select(M m, I x, I y) { return {_mm256_blendv_epi8(y.a, x.a, m.a), _mm256_blendv_epi8(y.b, x.b, m.b)}; }
inline I rotate(I x, int j, int m) {
  __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  __m256i inside =
      _mm256_and_si256(_mm256_add_epi32(lane, _mm256_set1_epi32(j)), _mm256_set1_epi32((m > 8 ? 8 : m) - 1));
  if (m <= 8) {
    __m256i index = _mm256_or_si256(_mm256_andnot_si256(_mm256_set1_epi32(m - 1), lane), inside);
    return {_mm256_permutevar8x32_epi32(x.a, index), _mm256_permutevar8x32_epi32(x.b, index)};
  }
  // m = 16: rotate both halves, then swap the lanes that have crossed the border between them.
  __m256i a = _mm256_permutevar8x32_epi32(x.a, inside), b = _mm256_permutevar8x32_epi32(x.b, inside);
  __m256i crossed = _mm256_cmpgt_epi32(_mm256_add_epi32(lane, _mm256_set1_epi32(j & 7)), _mm256_set1_epi32(7));
  __m256i swap = _mm256_xor_si256(crossed, _mm256_set1_epi32(j & 8 ? -1 : 0));
  return {_mm256_blendv_epi8(a, b, swap), _mm256_blendv_epi8(b, a, swap)};
}
inline int32_t reduce_max(I x) {
  __m256i eight = _mm256_max_epi32(x.a, x.b);
  __m128i four = _mm_max_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
  four = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  return _mm_cvtsi128_si32(_mm_max_epi32(four, _mm_shuffle_epi32(four, 0xb1)));
}
inline float reduce_max(F x) {
  __m256 eight = _mm256_max_ps(x.a, x.b);
  __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  four = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(four, _mm_shuffle_ps(four, four, 1)));
}
inline float reduce_min(F x) {
  __m256 eight = _mm256_min_ps(x.a, x.b);
  __m128 four = _mm_min_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  four = _mm_min_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_min_ss(four, _mm_shuffle_ps(four, four, 1)));
}
inline void store_int(int32_t* p, I x) {
  store256(p, x.a);
  store256(p + 8, x.b);
}

inline __m256i mask16(M m) { return _mm256_permute4x64_epi64(_mm256_packs_epi32(m.a, m.b), 0xd8); }
inline void store_kept(float* out, const float* in, M keep) {
  store256(out, _mm256_and_si256(load256(in), keep.a));
  store256(out + 8, _mm256_and_si256(load256(in + 8), keep.b));
}
inline void store_kept4(double* out, const double* in, __m128i keep) {
  store256(out, _mm256_and_si256(load256(in), _mm256_cvtepi32_epi64(keep)));
}
inline void store_kept(double* out, const double* in, M keep) {
  store_kept4(out, in, _mm256_castsi256_si128(keep.a));
  store_kept4(out + 4, in + 4, _mm256_extracti128_si256(keep.a, 1));
  store_kept4(out + 8, in + 8, _mm256_castsi256_si128(keep.b));
  store_kept4(out + 12, in + 12, _mm256_extracti128_si256(keep.b, 1));
}
inline void store_kept(f16* out, const f16* in, M keep) { store256(out, _mm256_and_si256(load256(in), mask16(keep))); }
inline void store_kept(bf16* out, const bf16* in, M keep) {
  store256(out, _mm256_and_si256(load256(in), mask16(keep)));
}
inline void store_bool(uint8_t* out, M keep) {
  __m256i words = mask16(keep);
  __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  store128(out, _mm_and_si128(bytes, _mm_set1_epi8(1)));
}

inline __m256i pack32(I x, I y) {
  // Packing works within 128-bit lanes; the permutation puts the 4-byte pieces back in order.
  __m256i packed = _mm256_packs_epi16(_mm256_packs_epi32(x.a, x.b), _mm256_packs_epi32(y.a, y.b));
  return _mm256_permutevar8x32_epi32(packed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}
inline B pack(I x, I y, I z, I w) { return {pack32(x, y), pack32(z, w)}; }
inline void store_bytes(int8_t* p, B b) {
  store256(p, b.a);
  store256(p + 32, b.b);
}
inline void stream_bytes(int8_t* p, B b) {
  _mm256_stream_si256(reinterpret_cast<__m256i*>(p), b.a);
  _mm256_stream_si256(reinterpret_cast<__m256i*>(p + 32), b.b);
}
inline __m256i nibbles(B b) {
  __m256i eight = _mm256_set1_epi8(8), low = _mm256_set1_epi16(0xff);
  __m256i x = _mm256_add_epi8(b.a, eight), y = _mm256_add_epi8(b.b, eight);
  x = _mm256_and_si256(_mm256_or_si256(x, _mm256_srli_epi16(x, 4)), low);  // low byte: first | second << 4
  y = _mm256_and_si256(_mm256_or_si256(y, _mm256_srli_epi16(y, 4)), low);
  return _mm256_permute4x64_epi64(_mm256_packus_epi16(x, y), 0xd8);
}
inline void store_nibbles(uint8_t* p, B b) { store256(p, nibbles(b)); }
inline void stream_nibbles(uint8_t* p, B b) { _mm256_stream_si256(reinterpret_cast<__m256i*>(p), nibbles(b)); }
inline I widen_bytes(__m128i v) { return {_mm256_cvtepi8_epi32(v), _mm256_cvtepi8_epi32(_mm_srli_si128(v, 8))}; }
inline I load_int(const int8_t* p) { return widen_bytes(load128(p)); }
inline I load_nibbles(const uint8_t* p) {
  __m128i v = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
  __m128i mask = _mm_set1_epi8(15);
  __m128i bytes = _mm_unpacklo_epi8(_mm_and_si128(v, mask), _mm_and_si128(_mm_srli_epi16(v, 4), mask));
  return widen_bytes(_mm_sub_epi8(bytes, _mm_set1_epi8(8)));
}

inline D zero_sum() { return {{_mm256_setzero_pd(), _mm256_setzero_pd(), _mm256_setzero_pd(), _mm256_setzero_pd()}}; }
inline void add(D& s, F x) {
  s.v[0] = _mm256_add_pd(s.v[0], widen_low(x.a));
  s.v[1] = _mm256_add_pd(s.v[1], widen_high(x.a));
  s.v[2] = _mm256_add_pd(s.v[2], widen_low(x.b));
  s.v[3] = _mm256_add_pd(s.v[3], widen_high(x.b));
}
inline void add_product(D& s, F x, F y) {
  s.v[0] = _mm256_add_pd(s.v[0], _mm256_mul_pd(widen_low(x.a), widen_low(y.a)));
  s.v[1] = _mm256_add_pd(s.v[1], _mm256_mul_pd(widen_high(x.a), widen_high(y.a)));
  s.v[2] = _mm256_add_pd(s.v[2], _mm256_mul_pd(widen_low(x.b), widen_low(y.b)));
  s.v[3] = _mm256_add_pd(s.v[3], _mm256_mul_pd(widen_high(x.b), widen_high(y.b)));
}
inline double reduce(D s) {
  __m256d four = _mm256_add_pd(_mm256_add_pd(s.v[0], s.v[2]), _mm256_add_pd(s.v[1], s.v[3]));
  __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
  return _mm_cvtsd_f64(two) + _mm_cvtsd_f64(_mm_unpackhi_pd(two, two));
}

}  // namespace avx2
}  // namespace sn
