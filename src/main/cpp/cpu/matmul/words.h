// Vectors of 16-bit weights that are multiplied by 16-bit activations, and of F32 weights expanded from bitmaps: what
// the kinds of packed weights need beyond simd.h. A panel is 16 output channels, one a lane.
//
//   W   32 x i16   two columns of each channel, side by side
//   P              two columns of a row of activations, the same for every channel
#pragma once

#include "cpu/matmul/dot.h"

namespace sn {
namespace SN_ISA_NAME {

// Asks for the weights so many bytes ahead in a stream of several. It has not been tried with AVX2.
SN_INLINE void ask_ahead(const void* p, int64_t ahead = kAheadInStreams) {
#if defined(SN_TIER_AVX512)
  __builtin_prefetch(static_cast<const char*>(p) + ahead);
#else
  (void)p;
  (void)ahead;
#endif
}

#if defined(SN_TIER_AVX512)

struct W {
  __m512i v;
};
using P = __m512i;

SN_INLINE W load_words(const int16_t* p) { return {_mm512_loadu_si512(p)}; }
SN_INLINE void store_words(int16_t* p, W w) { _mm512_storeu_si512(p, w.v); }
// 32 bytes, sign-extended.
SN_INLINE W widen_bytes(const int8_t* p) {
  return {_mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
// Of 32 words of 4 nibbles each nibble kIndex, from the lowest on, as numbers from 0 to 15.
template <int kIndex>
SN_INLINE W nibble_of(W w) {
  const __m512i moved = _mm512_srli_epi16(w.v, 4 * kIndex);
  return {kIndex == 3 ? moved : _mm512_and_si512(moved, _mm512_set1_epi16(15))};
}
SN_INLINE P splat_pair(const int16_t* p) {
  int32_t pair;
  memcpy(&pair, p, 4);
  return _mm512_set1_epi32(pair);
}
// Adds the two products of each channel to its sum.
SN_INLINE I dot(I sum, W w, P x) {
#if defined(SN_TIER_VNNI)
  return {_mm512_dpwssd_epi32(sum.v, w.v, x)};
#else
  return {_mm512_add_epi32(sum.v, _mm512_madd_epi16(w.v, x))};
#endif
}
// The low 32 bits of the products.
SN_INLINE I multiply_low(I a, int32_t b) { return {_mm512_mullo_epi32(a.v, _mm512_set1_epi32(b))}; }

// Values from `from` on in the order of W, where the mask is not set 0.
SN_INLINE W expand_words(const int8_t* from, uint64_t mask) {
#if defined(SN_TIER_AMX)  // these processors have VBMI2
  const auto* all = reinterpret_cast<const __m256i*>(from);
  const __m256i bytes = _mm256_maskz_expand_epi8(static_cast<__mmask32>(mask), _mm256_loadu_si256(all));
#else
  const __m256i bytes =
      _mm256_set_m128i(expand_bytes(from + ones_of(mask & 0xffff), mask >> 16), expand_bytes(from, mask & 0xffff));
#endif
  return {_mm512_cvtepi8_epi16(bytes)};
}
// The next 16 values.
template <class T>
SN_INLINE F expand_floats(const T*& values, uint32_t mask) {
  const F all = load(values);
  values += __builtin_popcount(mask);
  return _mm512_maskz_expand_ps(static_cast<__mmask16>(mask), all);
}

#elif defined(SN_TIER_AVX2)

struct W {
  __m256i a, b;
};
using P = __m256i;

SN_INLINE W load_words(const int16_t* p) { return {load256(p), load256(p + 16)}; }
SN_INLINE void store_words(int16_t* p, W w) {
  store256(p, w.a);
  store256(p + 16, w.b);
}
SN_INLINE W widen_bytes(const int8_t* p) {
  return {_mm256_cvtepi8_epi16(load128(p)), _mm256_cvtepi8_epi16(load128(p + 16))};
}
template <int kIndex>
SN_INLINE __m256i nibble256(__m256i v) {
  const __m256i moved = kIndex == 0 ? v : _mm256_srli_epi16(v, 4 * kIndex);
  return kIndex == 3 ? moved : _mm256_and_si256(moved, _mm256_set1_epi16(15));
}
template <int kIndex>
SN_INLINE W nibble_of(W w) {
  return {nibble256<kIndex>(w.a), nibble256<kIndex>(w.b)};
}
SN_INLINE P splat_pair(const int16_t* p) {
  int32_t pair;
  memcpy(&pair, p, 4);
  return _mm256_set1_epi32(pair);
}
SN_INLINE I dot(I sum, W w, P x) {
  return {_mm256_add_epi32(sum.a, _mm256_madd_epi16(w.a, x)), _mm256_add_epi32(sum.b, _mm256_madd_epi16(w.b, x))};
}
SN_INLINE I multiply_low(I a, int32_t b) {
  const __m256i factor = _mm256_set1_epi32(b);
  return {_mm256_mullo_epi32(a.a, factor), _mm256_mullo_epi32(a.b, factor)};
}

SN_INLINE W expand_words(const int8_t* from, uint64_t mask) {
  return {_mm256_cvtepi8_epi16(expand_bytes(from, mask & 0xffff)),
          _mm256_cvtepi8_epi16(expand_bytes(from + ones_of(mask & 0xffff), mask >> 16))};
}

SN_INLINE __m128i expand8(const uint16_t* values, uint64_t mask) {
  return _mm_shuffle_epi8(load_any128(values), load_any128(kLaneTables.expand_words[mask]));
}
SN_INLINE __m256 expand8(const bf16* values, uint64_t mask) {
  const __m128i words = expand8(reinterpret_cast<const uint16_t*>(values), mask);
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(words), 16));
}
SN_INLINE __m256 expand8(const f16* values, uint64_t mask) {
  return _mm256_cvtph_ps(expand8(reinterpret_cast<const uint16_t*>(values), mask));
}
SN_INLINE __m256 expand8(const float* values, uint64_t mask) {
  const __m256i index = _mm256_cvtepi8_epi32(load_low64(kLaneTables.expand[mask]));
  const __m256i moved = _mm256_permutevar8x32_epi32(load256(values), index);
  return _mm256_castsi256_ps(_mm256_andnot_si256(_mm256_srai_epi32(index, 31), moved));
}
template <class T>
SN_INLINE F expand_floats(const T*& values, uint32_t mask) {
  const uint64_t low = mask & 255, high = mask >> 8;
  const T* second = values + ones_of(low);
  const F r = {expand8(values, low), expand8(second, high)};
  values = second + ones_of(high);
  return r;
}
SN_INLINE F expand_floats(const f8e4m3*& values, uint32_t mask) {
  f8e4m3 bytes[16];
  expand_16<false>(reinterpret_cast<uint8_t*>(bytes), reinterpret_cast<const uint8_t*>(values), mask);
  values += ones_of(mask);
  return load(bytes);
}

#else

struct W {
  int16_t v[32];
};
struct P {
  int16_t v[2];
};

SN_INLINE W load_words(const int16_t* p) {
  W w;
  memcpy(w.v, p, sizeof w.v);
  return w;
}
SN_INLINE void store_words(int16_t* p, W w) { memcpy(p, w.v, sizeof w.v); }
SN_INLINE W widen_bytes(const int8_t* p) {
  W w;
  for (int i = 0; i < 32; ++i) w.v[i] = p[i];
  return w;
}
template <int kIndex>
SN_INLINE W nibble_of(W w) {
  for (int16_t& v : w.v) v = static_cast<int16_t>(static_cast<uint16_t>(v) >> (4 * kIndex) & 15);
  return w;
}
SN_INLINE P splat_pair(const int16_t* p) { return {{p[0], p[1]}}; }
SN_INLINE I dot(I sum, W w, P x) {
  for (int i = 0; i < 16; ++i) sum.v[i] += w.v[2 * i] * x.v[0] + w.v[2 * i + 1] * x.v[1];
  return sum;
}
SN_INLINE I multiply_low(I a, int32_t b) {
  for (int32_t& v : a.v) v = static_cast<int32_t>(static_cast<uint32_t>(v) * static_cast<uint32_t>(b));
  return a;
}

SN_INLINE W expand_words(const int8_t* from, uint64_t mask) {
  W w;
  for (int i = 0; i < 32; ++i) w.v[i] = static_cast<int16_t>((mask >> i & 1) != 0 ? *from++ : 0);
  return w;
}
template <class T>
SN_INLINE F expand_floats(const T*& values, uint32_t mask) {
  F r;
  for (int i = 0; i < 16; ++i) r.v[i] = (mask >> i & 1) != 0 ? to_float(*values++) : 0;
  return r;
}

#endif

}  // namespace SN_ISA_NAME
}  // namespace sn
