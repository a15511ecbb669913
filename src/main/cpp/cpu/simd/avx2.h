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
  __m256d a, b, c, d;
};
struct B {
  __m256i a, b;
};

SN_INLINE __m256i load256(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
SN_INLINE __m128i load128(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }
SN_INLINE __m128i load_low64(const void* p) { return _mm_loadl_epi64(static_cast<const __m128i*>(p)); }
SN_INLINE void store256(void* p, __m256i v) { _mm256_storeu_si256(static_cast<__m256i*>(p), v); }
SN_INLINE void store128(void* p, __m128i v) { _mm_storeu_si128(static_cast<__m128i*>(p), v); }
SN_INLINE __m256 join(__m128 low, __m128 high) { return _mm256_insertf128_ps(_mm256_castps128_ps256(low), high, 1); }
SN_INLINE __m256i join(__m128i low, __m128i high) {
  return _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
}

SN_INLINE F load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
SN_INLINE F load(const double* p) {
  return {join(_mm256_cvtpd_ps(_mm256_loadu_pd(p)), _mm256_cvtpd_ps(_mm256_loadu_pd(p + 4))),
          join(_mm256_cvtpd_ps(_mm256_loadu_pd(p + 8)), _mm256_cvtpd_ps(_mm256_loadu_pd(p + 12)))};
}
SN_INLINE F load(const f16* p) { return {_mm256_cvtph_ps(load128(p)), _mm256_cvtph_ps(load128(p + 8))}; }
SN_INLINE __m256 widen_bf16(const bf16* p) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load128(p)), 16));
}
SN_INLINE F load(const bf16* p) { return {widen_bf16(p), widen_bf16(p + 8)}; }
SN_INLINE F load(const f8e4m3* p) {
  // As F16 words whose exponent is 8 too small; NaN gets F16's largest exponent.
  __m256i w = _mm256_cvtepu8_epi16(load128(p)), low = _mm256_set1_epi16(0x7f);
  __m256i magnitude = _mm256_and_si256(w, low);
  __m256i nan = _mm256_and_si256(_mm256_cmpeq_epi16(magnitude, low), _mm256_set1_epi16(0x7c00));
  __m256i sign = _mm256_slli_epi16(_mm256_andnot_si256(low, w), 8);
  __m256i half = _mm256_or_si256(_mm256_or_si256(_mm256_slli_epi16(magnitude, 7), sign), nan);
  __m256 mend = _mm256_set1_ps(256);
  return {_mm256_mul_ps(_mm256_cvtph_ps(_mm256_castsi256_si128(half)), mend),
          _mm256_mul_ps(_mm256_cvtph_ps(_mm256_extracti128_si256(half, 1)), mend)};
}

SN_INLINE __m256i to_f16(F x) {
  constexpr int nearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  return join(_mm256_cvtps_ph(x.a, nearest), _mm256_cvtps_ph(x.b, nearest));
}
// Each lane rounded to BF16, in its lower 16 bits; NaN may become infinity.
SN_INLINE __m256i round_number(__m256 x) {
  __m256i b = _mm256_castps_si256(x);
  __m256i last = _mm256_and_si256(_mm256_srli_epi32(b, 16), _mm256_set1_epi32(1));
  return _mm256_srli_epi32(_mm256_add_epi32(_mm256_add_epi32(b, _mm256_set1_epi32(0x7fff)), last), 16);
}
SN_INLINE __m256i round_bf16(__m256 x) {
  __m256i quiet = _mm256_or_si256(_mm256_srli_epi32(_mm256_castps_si256(x), 16), _mm256_set1_epi32(0x40));
  return _mm256_blendv_epi8(round_number(x), quiet, _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q)));
}
SN_INLINE __m256i pack_words(__m256i low, __m256i high) {
  return _mm256_permute4x64_epi64(_mm256_packus_epi32(low, high), 0xd8);
}
SN_INLINE __m256i to_bf16(F x) { return pack_words(round_bf16(x.a), round_bf16(x.b)); }
SN_INLINE __m256d widen_low(__m256 x) { return _mm256_cvtps_pd(_mm256_castps256_ps128(x)); }
SN_INLINE __m256d widen_high(__m256 x) { return _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1)); }

// kBypass writes past the caches; the address is then a multiple of the vector's size.
template <bool kBypass>
SN_INLINE void write(void* p, __m256i v) {
  kBypass ? _mm256_stream_si256(static_cast<__m256i*>(p), v) : store256(p, v);
}
template <bool kBypass>
SN_INLINE void write(void* p, __m128i v) {
  kBypass ? _mm_stream_si128(static_cast<__m128i*>(p), v) : store128(p, v);
}
template <bool kBypass>
SN_INLINE void write(double* p, __m256d v) {
  write<kBypass>(p, _mm256_castpd_si256(v));
}

template <bool kBypass = false>
SN_INLINE void store(float* p, F x) {
  write<kBypass>(p, _mm256_castps_si256(x.a));
  write<kBypass>(p + 8, _mm256_castps_si256(x.b));
}
template <bool kBypass = false>
SN_INLINE void store(double* p, F x) {
  write<kBypass>(p, widen_low(x.a));
  write<kBypass>(p + 4, widen_high(x.a));
  write<kBypass>(p + 8, widen_low(x.b));
  write<kBypass>(p + 12, widen_high(x.b));
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
SN_INLINE void store_numbers(T* p, F x, F y) {
  store<kBypass>(p, x);
  store<kBypass>(p + 16, y);
}
template <bool kBypass>
SN_INLINE void store_numbers(bf16* p, F x, F y) {
  write<kBypass>(p, pack_words(round_number(x.a), round_number(x.b)));
  write<kBypass>(p + 16, pack_words(round_number(y.a), round_number(y.b)));
}
SN_INLINE void stream_fence() { _mm_sfence(); }

SN_INLINE F splat(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
SN_INLINE I splat_int(int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
SN_INLINE F add(F x, F y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
SN_INLINE F sub(F x, F y) { return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
SN_INLINE F mul(F x, F y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
SN_INLINE F multiply_add(F x, F y, F sum) {
  return {_mm256_fmadd_ps(x.a, y.a, sum.a), _mm256_fmadd_ps(x.b, y.b, sum.b)};
}
SN_INLINE F div(F x, F y) { return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
SN_INLINE F min(F x, F y) { return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)}; }
SN_INLINE F max(F x, F y) { return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
SN_INLINE F abs(F x) {
  __m256 mask = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
  return {_mm256_and_ps(x.a, mask), _mm256_and_ps(x.b, mask)};
}
SN_INLINE I key(F x) {
  __m256i mask = _mm256_set1_epi32(0x7fffffff);
  return {_mm256_and_si256(_mm256_castps_si256(x.a), mask), _mm256_and_si256(_mm256_castps_si256(x.b), mask)};
}
SN_INLINE I raw_bits(F x) { return {_mm256_castps_si256(x.a), _mm256_castps_si256(x.b)}; }
SN_INLINE F turn(F x, F y) {
  __m256 sign = _mm256_set1_ps(-0.0f);
  return {_mm256_xor_ps(x.a, _mm256_and_ps(y.a, sign)), _mm256_xor_ps(x.b, _mm256_and_ps(y.b, sign))};
}
SN_INLINE __m256i order8(__m256 x) {
  __m256i b = _mm256_castps_si256(x);
  return _mm256_xor_si256(b, _mm256_or_si256(_mm256_srai_epi32(b, 31), _mm256_set1_epi32(INT32_MIN)));
}
SN_INLINE I order_value(F x) { return {order8(x.a), order8(x.b)}; }
SN_INLINE I to_int(F x) { return {_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b)}; }
SN_INLINE F from_int(I x) { return {_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)}; }
SN_INLINE I add(I x, I y) { return {_mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b)}; }
SN_INLINE I sub(I x, I y) { return {_mm256_sub_epi32(x.a, y.a), _mm256_sub_epi32(x.b, y.b)}; }
SN_INLINE I exclusive_or(I x, I y) { return {_mm256_xor_si256(x.a, y.a), _mm256_xor_si256(x.b, y.b)}; }
SN_INLINE void multiply8(__m256i x, __m256i m, __m256i* high, __m256i* low) {
  __m256i even = _mm256_mul_epu32(x, m), odd = _mm256_mul_epu32(_mm256_srli_epi64(x, 32), m);
  *low = _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xaa);
  *high = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa);
}
SN_INLINE void multiply(I x, uint32_t m, I* high, I* low) {
  __m256i factor = _mm256_set1_epi32(static_cast<int>(m));
  multiply8(x.a, factor, &high->a, &low->a);
  multiply8(x.b, factor, &high->b, &low->b);
}
SN_INLINE F as_float(I x) { return {_mm256_castsi256_ps(x.a), _mm256_castsi256_ps(x.b)}; }
SN_INLINE I bit_and(I x, I y) { return {_mm256_and_si256(x.a, y.a), _mm256_and_si256(x.b, y.b)}; }
SN_INLINE I bit_or(I x, I y) { return {_mm256_or_si256(x.a, y.a), _mm256_or_si256(x.b, y.b)}; }
template <int kBits>
SN_INLINE I shift_right(I x) {
  return {_mm256_srai_epi32(x.a, kBits), _mm256_srai_epi32(x.b, kBits)};
}
SN_INLINE I max(I x, I y) { return {_mm256_max_epi32(x.a, y.a), _mm256_max_epi32(x.b, y.b)}; }
SN_INLINE I shift_left(I x, I by) { return {_mm256_sllv_epi32(x.a, by.a), _mm256_sllv_epi32(x.b, by.b)}; }
SN_INLINE I increment(I x, M m) { return {_mm256_sub_epi32(x.a, m.a), _mm256_sub_epi32(x.b, m.b)}; }
SN_INLINE M gt(F x, F y) {
  return {_mm256_castps_si256(_mm256_cmp_ps(x.a, y.a, _CMP_GT_OQ)),
          _mm256_castps_si256(_mm256_cmp_ps(x.b, y.b, _CMP_GT_OQ))};
}
SN_INLINE M gt(I x, I y) { return {_mm256_cmpgt_epi32(x.a, y.a), _mm256_cmpgt_epi32(x.b, y.b)}; }
SN_INLINE M eq(I x, I y) { return {_mm256_cmpeq_epi32(x.a, y.a), _mm256_cmpeq_epi32(x.b, y.b)}; }
SN_INLINE uint32_t bits(M m) {
  uint32_t low = static_cast<uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(m.a)));
  uint32_t high = static_cast<uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(m.b)));
  return low | high << 8;
}
SN_INLINE M mask_of(uint32_t b) {
  __m256i lane = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  __m256i low = _mm256_and_si256(_mm256_set1_epi32(static_cast<int>(b & 255)), lane);
  __m256i high = _mm256_and_si256(_mm256_set1_epi32(static_cast<int>(b >> 8 & 255)), lane);
  return {_mm256_cmpeq_epi32(low, lane), _mm256_cmpeq_epi32(high, lane)};
}
SN_INLINE F select(M m, F x, F y) {
  return {_mm256_blendv_ps(y.a, x.a, _mm256_castsi256_ps(m.a)), _mm256_blendv_ps(y.b, x.b, _mm256_castsi256_ps(m.b))};
}
SN_INLINE I select(M m, I x, I y) { return {_mm256_blendv_epi8(y.a, x.a, m.a), _mm256_blendv_epi8(y.b, x.b, m.b)}; }
SN_INLINE I rotate(I x, int j, int m) {
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
SN_INLINE int32_t reduce_max(I x) {
  __m256i eight = _mm256_max_epi32(x.a, x.b);
  __m128i four = _mm_max_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
  four = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  return _mm_cvtsi128_si32(_mm_max_epi32(four, _mm_shuffle_epi32(four, 0xb1)));
}
SN_INLINE float reduce_max(F x) {
  __m256 eight = _mm256_max_ps(x.a, x.b);
  __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  four = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(four, _mm_shuffle_ps(four, four, 1)));
}
SN_INLINE float reduce_min(F x) {
  __m256 eight = _mm256_min_ps(x.a, x.b);
  __m128 four = _mm_min_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  four = _mm_min_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_min_ss(four, _mm_shuffle_ps(four, four, 1)));
}
SN_INLINE void store_int(int32_t* p, I x) {
  store256(p, x.a);
  store256(p + 8, x.b);
}

SN_INLINE __m256i mask16(M m) { return _mm256_permute4x64_epi64(_mm256_packs_epi32(m.a, m.b), 0xd8); }
template <bool kBypass = false>
SN_INLINE void store_kept(float* out, const float* in, M keep) {
  write<kBypass>(out, _mm256_and_si256(load256(in), keep.a));
  write<kBypass>(out + 8, _mm256_and_si256(load256(in + 8), keep.b));
}
template <bool kBypass>
SN_INLINE void store_kept4(double* out, const double* in, __m128i keep) {
  write<kBypass>(out, _mm256_and_si256(load256(in), _mm256_cvtepi32_epi64(keep)));
}
template <bool kBypass = false>
SN_INLINE void store_kept(double* out, const double* in, M keep) {
  store_kept4<kBypass>(out, in, _mm256_castsi256_si128(keep.a));
  store_kept4<kBypass>(out + 4, in + 4, _mm256_extracti128_si256(keep.a, 1));
  store_kept4<kBypass>(out + 8, in + 8, _mm256_castsi256_si128(keep.b));
  store_kept4<kBypass>(out + 12, in + 12, _mm256_extracti128_si256(keep.b, 1));
}
template <bool kBypass = false>
SN_INLINE void store_kept(f16* out, const f16* in, M keep) {
  write<kBypass>(out, _mm256_and_si256(load256(in), mask16(keep)));
}
template <bool kBypass = false>
SN_INLINE void store_kept(bf16* out, const bf16* in, M keep) {
  write<kBypass>(out, _mm256_and_si256(load256(in), mask16(keep)));
}
template <bool kBypass = false>
SN_INLINE void store_bool(uint8_t* out, M keep) {
  __m256i words = mask16(keep);
  __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  write<kBypass>(out, _mm_and_si128(bytes, _mm_set1_epi8(1)));
}

// F16 and BF16 as they are stored: their magnitudes order as integers of 16 bits too.
struct Words {
  __m256i v;
};
SN_INLINE Words splat_word(int16_t x) { return {_mm256_set1_epi16(x)}; }
SN_INLINE int reduce_max(Words w) {
  // The maximum of what is not negative is the complement of the least complement.
  __m128i half = _mm_max_epi16(_mm256_castsi256_si128(w.v), _mm256_extracti128_si256(w.v, 1));
  return 0xffff - _mm_extract_epi16(_mm_minpos_epu16(_mm_xor_si128(half, _mm_set1_epi16(-1))), 0);
}
// Of the 64 words at `in` those whose magnitude is above `limit`, else 0; the number of those kept that are not 0.
// `largest` takes up the magnitudes.
template <bool kBypass>
SN_INLINE int64_t keep_words(const void* in, void* out, Words limit, Words& largest) {
  const __m256i magnitude = _mm256_set1_epi16(0x7fff), zero = _mm256_setzero_si256();
  int64_t nonzeros = 0;
  for (int i = 0; i < 128; i += 64) {
    __m256i x = load256(static_cast<const char*>(in) + i), y = load256(static_cast<const char*>(in) + i + 32);
    __m256i k = _mm256_and_si256(x, magnitude), l = _mm256_and_si256(y, magnitude);
    largest.v = _mm256_max_epi16(largest.v, _mm256_max_epi16(k, l));
    __m256i keep_x = _mm256_cmpgt_epi16(k, limit.v), keep_y = _mm256_cmpgt_epi16(l, limit.v);
    write<kBypass>(static_cast<char*>(out) + i, _mm256_and_si256(x, keep_x));
    write<kBypass>(static_cast<char*>(out) + i + 32, _mm256_and_si256(y, keep_y));
    __m256i counted = _mm256_packs_epi16(_mm256_and_si256(keep_x, _mm256_cmpgt_epi16(k, zero)),
                                         _mm256_and_si256(keep_y, _mm256_cmpgt_epi16(l, zero)));
    nonzeros += __builtin_popcount(static_cast<unsigned>(_mm256_movemask_epi8(counted)));
  }
  return nonzeros;
}

SN_INLINE __m256i pack32(I x, I y) {
  // Packing works within 128-bit lanes; the permutation puts the 4-byte pieces back in order.
  __m256i packed = _mm256_packs_epi16(_mm256_packs_epi32(x.a, x.b), _mm256_packs_epi32(y.a, y.b));
  return _mm256_permutevar8x32_epi32(packed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}
SN_INLINE B pack(I x, I y, I z, I w) { return {pack32(x, y), pack32(z, w)}; }
SN_INLINE bool any(M m) { return _mm256_movemask_epi8(_mm256_or_si256(m.a, m.b)) != 0; }
struct ByteRange {
  __m256i first, second;  // zero points of 32 elements each
  __m256i low, high;
};
SN_INLINE ByteRange byte_range(int first, int second, int low, int high) {
  return {_mm256_set1_epi16(static_cast<int16_t>(first)), _mm256_set1_epi16(static_cast<int16_t>(second)),
          _mm256_set1_epi8(static_cast<char>(low)), _mm256_set1_epi8(static_cast<char>(high))};
}
// Sums of saturated words, packed within 128-bit lanes; `least` takes up the words.
SN_INLINE __m256i pack_within32(I x, I y, __m256i zero_point, const ByteRange& r, __m256i& least) {
  __m256i a = _mm256_packs_epi32(x.a, x.b), b = _mm256_packs_epi32(y.a, y.b);
  least = _mm256_min_epi16(least, _mm256_min_epi16(a, b));
  __m256i sums = _mm256_packs_epi16(_mm256_adds_epi16(a, zero_point), _mm256_adds_epi16(b, zero_point));
  return _mm256_max_epi8(_mm256_min_epi8(sums, r.high), r.low);
}
SN_INLINE bool pack_within64(I x, I y, I z, I w, const ByteRange& r, B& bytes) {
  __m256i least = _mm256_setzero_si256();
  bytes = {pack_within32(x, y, r.first, r, least), pack_within32(z, w, r.second, r, least)};
  return _mm256_movemask_epi8(_mm256_cmpeq_epi16(least, _mm256_set1_epi16(INT16_MIN))) == 0;
}
template <class T>
SN_INLINE bool pack_within(const T*, I x, I y, I z, I w, const ByteRange& r, B& bytes) {
  __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  const bool all = pack_within64(x, y, z, w, r, bytes);
  bytes = {_mm256_permutevar8x32_epi32(bytes.a, order), _mm256_permutevar8x32_epi32(bytes.b, order)};
  return all;
}
SN_INLINE bool any_word_above(const void* words, int limit) {
  const char* x = static_cast<const char*>(words);
  const __m256i magnitude = _mm256_set1_epi16(0x7fff);
  __m256i a = _mm256_and_si256(load256(x), magnitude), b = _mm256_and_si256(load256(x + 32), magnitude);
  __m256i c = _mm256_and_si256(load256(x + 64), magnitude), d = _mm256_and_si256(load256(x + 96), magnitude);
  __m256i largest = _mm256_max_epi16(_mm256_max_epi16(a, b), _mm256_max_epi16(c, d));
  return _mm256_movemask_epi8(_mm256_cmpgt_epi16(largest, _mm256_set1_epi16(static_cast<int16_t>(limit)))) != 0;
}
SN_INLINE bool any_above(const bf16* x, F, F, F, F, int32_t limit) { return any_word_above(x, limit >> 16); }
SN_INLINE bool any_above(const f16* x, F, F, F, F, int32_t limit) {
  // The key in F16, rounded down.
  __m128 key = _mm_castsi128_ps(_mm_cvtsi32_si128(limit));
  const int rounded = _mm_extract_epi16(_mm_cvtps_ph(key, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC), 0);
  return any_word_above(x, limit < 0 ? -1 : rounded);
}
// BF16 is unfolded within 128-bit lanes by unpacking, which packing undoes.
SN_INLINE F load_folded(const bf16* p) {
  __m256i v = load256(p), zero = _mm256_setzero_si256();
  return {_mm256_castsi256_ps(_mm256_unpacklo_epi16(zero, v)), _mm256_castsi256_ps(_mm256_unpackhi_epi16(zero, v))};
}
SN_INLINE __m256i pack_folded32(I x, I y) {
  __m256i packed = _mm256_packs_epi16(_mm256_packs_epi32(x.a, x.b), _mm256_packs_epi32(y.a, y.b));
  return _mm256_permute4x64_epi64(packed, 0xd8);
}
SN_INLINE B pack_folded(const bf16*, I x, I y, I z, I w) { return {pack_folded32(x, y), pack_folded32(z, w)}; }
SN_INLINE bool pack_within(const bf16*, I x, I y, I z, I w, const ByteRange& r, B& bytes) {
  const bool all = pack_within64(x, y, z, w, r, bytes);
  bytes = {_mm256_permute4x64_epi64(bytes.a, 0xd8), _mm256_permute4x64_epi64(bytes.b, 0xd8)};
  return all;
}
// Or taken apart into even and odd elements.
SN_INLINE __m256i upper_words(__m256i x) { return _mm256_and_si256(x, _mm256_set1_epi32(-65536)); }
SN_INLINE F load_paired(const bf16* p) {
  __m256i v = load256(p);
  return {_mm256_castsi256_ps(_mm256_slli_epi32(v, 16)), _mm256_castsi256_ps(upper_words(v))};
}
SN_INLINE I load_int_paired(const bf16*, const int8_t* p, int zero_point) {
  __m256i v = _mm256_sub_epi16(_mm256_cvtepi8_epi16(load128(p)), _mm256_set1_epi16(static_cast<int16_t>(zero_point)));
  return {_mm256_slli_epi32(v, 16), upper_words(v)};
}
constexpr int paired_bits(const bf16*) { return 16; }
// As round_number, the BF16 in the upper 16 bits.
SN_INLINE __m256i round_upper(__m256 x) {
  __m256i b = _mm256_castps_si256(x);
  __m256 odd = _mm256_castsi256_ps(_mm256_slli_epi32(b, 15));  // the sign says whether the last place is 1
  __m256 below = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fff)), half = _mm256_castsi256_ps(_mm256_set1_epi32(0x8000));
  return _mm256_add_epi32(b, _mm256_castps_si256(_mm256_blendv_ps(below, half, odd)));
}
SN_INLINE __m256i join_pairs(F x) {
  return _mm256_blend_epi16(_mm256_srli_epi32(round_upper(x.a), 16), round_upper(x.b), 0xaa);
}
template <bool kBypass>
SN_INLINE void store_paired(bf16* p, F x, F y) {
  write<kBypass>(p, join_pairs(x));
  write<kBypass>(p + 16, join_pairs(y));
}
template <bool kBypass = false>
SN_INLINE void store_bytes(int8_t* p, B b) {
  write<kBypass>(p, b.a);
  write<kBypass>(p + 32, b.b);
}
SN_INLINE __m256i nibbles(B b) {
  __m256i eight = _mm256_set1_epi8(8), shift = _mm256_set1_epi16(0x1001);
  __m256i x = _mm256_maddubs_epi16(_mm256_add_epi8(b.a, eight), shift);  // first + 16 times second
  __m256i y = _mm256_maddubs_epi16(_mm256_add_epi8(b.b, eight), shift);
  return _mm256_permute4x64_epi64(_mm256_packus_epi16(x, y), 0xd8);
}
template <bool kBypass = false>
SN_INLINE void store_nibbles(uint8_t* p, B b) {
  write<kBypass>(p, nibbles(b));
}
SN_INLINE I load_int(const int32_t* p) { return {load256(p), load256(p + 8)}; }
SN_INLINE I load_int(const int8_t* p) {
  return {_mm256_cvtepi8_epi32(load_low64(p)), _mm256_cvtepi8_epi32(load_low64(p + 8))};
}
SN_INLINE I load_index(const uint8_t* p) {
  return {_mm256_cvtepu8_epi32(load_low64(p)), _mm256_cvtepu8_epi32(load_low64(p + 8))};
}
SN_INLINE I index_of(uint64_t low, uint64_t high) {
  __m128i v = _mm_set_epi64x(static_cast<int64_t>(high), static_cast<int64_t>(low));
  return {_mm256_cvtepu8_epi32(v), _mm256_cvtepu8_epi32(_mm_srli_si128(v, 8))};
}
SN_INLINE F look_up8(const float* table, I index) {
  __m256 entries = _mm256_loadu_ps(table);
  return {_mm256_permutevar8x32_ps(entries, index.a), _mm256_permutevar8x32_ps(entries, index.b)};
}
SN_INLINE F gather(const float* table, I index) {
  return {_mm256_i32gather_ps(table, index.a, 4), _mm256_i32gather_ps(table, index.b, 4)};
}
// Each lane gets its nibble from a copy of all 8: cheaper than taking bytes apart and widening them.
SN_INLINE __m256i load_nibbles8(const uint8_t* p) {
  int32_t eight;
  memcpy(&eight, p, 4);
  __m256i moved = _mm256_srlv_epi32(_mm256_set1_epi32(eight), _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28));
  return _mm256_and_si256(moved, _mm256_set1_epi32(15));
}
SN_INLINE I load_nibbles(const uint8_t* p) { return {load_nibbles8(p), load_nibbles8(p + 4)}; }

struct Table {
  __m256i low, high;  // bytes of the 16 entries, in each half
};
SN_INLINE __m256i words_of(const bf16*, F x) { return to_bf16(x); }
SN_INLINE __m256i words_of(const f16*, F x) { return to_f16(x); }
SN_INLINE Table table_of_words(__m256i words) {
  // Low and high bytes of 8 entries in each half.
  __m256i apart = _mm256_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15, 0, 2, 4, 6, 8, 10, 12, 14, 1,
                                   3, 5, 7, 9, 11, 13, 15);
  __m256i bytes = _mm256_shuffle_epi8(words, apart);
  return {_mm256_permute4x64_epi64(bytes, 0x88), _mm256_permute4x64_epi64(bytes, 0xdd)};
}
template <class T>
SN_INLINE Table table_of(const T* type, F entries) {
  return table_of_words(words_of(type, entries));
}
template <class T>
SN_INLINE Table table_of_numbers(const T* type, F entries) {
  return table_of(type, entries);
}
SN_INLINE Table table_of_numbers(const bf16*, F x) { return table_of_words(join_pairs(x)); }
SN_INLINE F all_nibbles(const bf16*) {
  return {_mm256_setr_ps(0, 2, 4, 6, 8, 10, 12, 14), _mm256_setr_ps(1, 3, 5, 7, 9, 11, 13, 15)};
}
template <bool kBypass>
SN_INLINE void store_looked_up(void* p, const Table& table, const uint8_t* q) {
  // Bytes 0-3 and 8-11 as words in the lower half, the others in the upper: what unpacking within halves puts in order.
  __m256i order = _mm256_setr_epi8(0, -1, 1, -1, 2, -1, 3, -1, 8, -1, 9, -1, 10, -1, 11, -1, 4, -1, 5, -1, 6, -1, 7, -1,
                                   12, -1, 13, -1, 14, -1, 15, -1);
  __m256i words = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(load128(q)), order);
  // The low nibble stays where it is, the high one moves to the upper byte.
  __m256i index = _mm256_and_si256(_mm256_or_si256(words, _mm256_slli_epi16(words, 4)), _mm256_set1_epi16(0x0f0f));
  __m256i low = _mm256_shuffle_epi8(table.low, index), high = _mm256_shuffle_epi8(table.high, index);
  write<kBypass>(p, _mm256_unpacklo_epi8(low, high));
  write<kBypass>(static_cast<char*>(p) + 32, _mm256_unpackhi_epi8(low, high));
}

SN_INLINE D zero_sum() { return {_mm256_setzero_pd(), _mm256_setzero_pd(), _mm256_setzero_pd(), _mm256_setzero_pd()}; }
SN_INLINE void add(D& s, F x) {
  s.a = _mm256_add_pd(s.a, widen_low(x.a));
  s.b = _mm256_add_pd(s.b, widen_high(x.a));
  s.c = _mm256_add_pd(s.c, widen_low(x.b));
  s.d = _mm256_add_pd(s.d, widen_high(x.b));
}
SN_INLINE void add_product(D& s, F x, F y) {
  s.a = _mm256_add_pd(s.a, _mm256_mul_pd(widen_low(x.a), widen_low(y.a)));
  s.b = _mm256_add_pd(s.b, _mm256_mul_pd(widen_high(x.a), widen_high(y.a)));
  s.c = _mm256_add_pd(s.c, _mm256_mul_pd(widen_low(x.b), widen_low(y.b)));
  s.d = _mm256_add_pd(s.d, _mm256_mul_pd(widen_high(x.b), widen_high(y.b)));
}
SN_INLINE double reduce(D s) {
  __m256d four = _mm256_add_pd(_mm256_add_pd(s.a, s.c), _mm256_add_pd(s.b, s.d));
  __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
  return _mm_cvtsd_f64(two) + _mm_cvtsd_f64(_mm_unpackhi_pd(two, two));
}

}  // namespace avx2
}  // namespace sn

#include "cpu/simd/shuffles.h"

namespace sn {
namespace avx2 {

SN_INLINE uint64_t nonzero_64(const uint8_t* p) {
  __m256i zero = _mm256_setzero_si256();
  uint32_t low = static_cast<uint32_t>(_mm256_movemask_epi8(_mm256_cmpeq_epi8(load256(p), zero)));
  uint32_t high = static_cast<uint32_t>(_mm256_movemask_epi8(_mm256_cmpeq_epi8(load256(p + 32), zero)));
  return ~(low | static_cast<uint64_t>(high) << 32);
}
SN_INLINE uint64_t nonzero_64(const uint16_t* p) {
  uint64_t zeros = 0;
  for (int i = 0; i < 64; i += 32) {
    __m256i a = _mm256_cmpeq_epi16(load256(p + i), _mm256_setzero_si256());
    __m256i b = _mm256_cmpeq_epi16(load256(p + i + 16), _mm256_setzero_si256());
    // Packing works within 128-bit lanes; the permutation puts the 8-byte pieces back in order.
    __m256i bytes = _mm256_permute4x64_epi64(_mm256_packs_epi16(a, b), 0xd8);
    zeros |= static_cast<uint64_t>(static_cast<uint32_t>(_mm256_movemask_epi8(bytes))) << i;
  }
  return ~zeros;
}
SN_INLINE uint64_t nonzero_64(const uint32_t* p) {
  uint64_t zeros = 0;
  for (int i = 0; i < 64; i += 8) {
    __m256i equal = _mm256_cmpeq_epi32(load256(p + i), _mm256_setzero_si256());
    zeros |= static_cast<uint64_t>(static_cast<uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(equal)))) << i;
  }
  return ~zeros;
}
SN_INLINE uint64_t nonzero_64(const uint64_t* p) {
  uint64_t zeros = 0;
  for (int i = 0; i < 64; i += 4) {
    __m256i equal = _mm256_cmpeq_epi64(load256(p + i), _mm256_setzero_si256());
    zeros |= static_cast<uint64_t>(static_cast<uint32_t>(_mm256_movemask_pd(_mm256_castsi256_pd(equal)))) << i;
  }
  return ~zeros;
}

// The 32-bit places of 64-bit lanes, from four lanes; kNone stays negative.
SN_INLINE __m256i pair_indices(const uint8_t* lanes) {
  int32_t four;
  memcpy(&four, lanes, 4);
  __m256i index = _mm256_cvtepi8_epi64(_mm_cvtsi32_si128(four));
  __m256i twice = _mm256_shuffle_epi32(_mm256_add_epi64(index, index), 0xa0);
  return _mm256_add_epi32(twice, _mm256_set1_epi64x(int64_t{1} << 32));
}
SN_INLINE void compress_16(uint32_t* out, const uint32_t* in, uint64_t mask) {
  const uint64_t low = mask & 255, high = mask >> 8;
  __m256i a = _mm256_cvtepu8_epi32(load_low64(kLaneTables.compress[low]));
  __m256i b = _mm256_cvtepu8_epi32(load_low64(kLaneTables.compress[high]));
  store256(out, _mm256_permutevar8x32_epi32(load256(in), a));
  store256(out + ones_of(low), _mm256_permutevar8x32_epi32(load256(in + 8), b));
}
SN_INLINE void compress_16(uint64_t* out, const uint64_t* in, uint64_t mask) {
  for (int i = 0; i < 16; i += 4) {
    const uint64_t four = mask >> i & 15;
    store256(out, _mm256_permutevar8x32_epi32(load256(in + i), pair_indices(kLaneTables.compress[four])));
    out += ones_of(four);
  }
}
template <bool kBypass>
SN_INLINE void expand_16(uint32_t* out, const uint32_t* in, uint64_t mask) {
  for (int i = 0; i < 16; i += 8) {
    const uint64_t eight = mask >> i & 255;
    __m256i index = _mm256_cvtepi8_epi32(load_low64(kLaneTables.expand[eight]));
    __m256i moved = _mm256_permutevar8x32_epi32(load256(in), index);
    write<kBypass>(out + i, _mm256_andnot_si256(_mm256_srai_epi32(index, 31), moved));
    in += ones_of(eight);
  }
}
template <bool kBypass>
SN_INLINE void expand_16(uint64_t* out, const uint64_t* in, uint64_t mask) {
  for (int i = 0; i < 16; i += 4) {
    const uint64_t four = mask >> i & 15;
    __m256i index = pair_indices(kLaneTables.expand[four]);
    __m256i moved = _mm256_permutevar8x32_epi32(load256(in), index);
    write<kBypass>(out + i, _mm256_andnot_si256(_mm256_srai_epi32(index, 31), moved));
    in += ones_of(four);
  }
}

}  // namespace avx2
}  // namespace sn
