// Products of a panel of int8 weights with rows of quantized activations, exact in int32 on every tier.
//
// A panel is 16 output channels. Its weights lie in steps of 4 columns: for each step 16 x 4 bytes, the 4 of one
// channel side by side, which is what 8-bit dot products and the tiles of AMX read. Columns are padded with zeros to
// whole steps.
#pragma once

#include "cpu/kernels/driver.h"

namespace sn {
namespace SN_ISA_NAME {

constexpr int64_t kPanel = 16;
constexpr int64_t kStep = 4;
constexpr int64_t kStepBytes = kPanel * kStep;

#if defined(SN_TIER_VNNI)
// vpdpbusd multiplies unsigned by signed bytes. The weights are the unsigned ones, stored with 128 added, for then the
// correction, 128 times the sum of a row's activations, joins that for zero points.
constexpr int kWeightOffset = 128;
using Quantized = int8_t;
#elif defined(SN_TIER_AVX2)
// vpmaddubsw multiplies unsigned by signed bytes: magnitudes of weights by activations that took over the weights'
// signs. Two products are at most 2 x 128 x 127, which fits in 16 bits.
constexpr int kWeightOffset = 0;
using Quantized = int8_t;
#else
constexpr int kWeightOffset = 0;
// vpmaddwd multiplies 16-bit integers, and adds two products, which fit.
using Quantized = int16_t;
#endif

// How many rows of activations multiply_panel takes at once.
#if defined(SN_TIER_AVX512)
constexpr int kMostRows = 12;
#else
constexpr int kMostRows = 4;
#endif
// How many panels it takes at once for a single row: each is a stream of memory, and processors reach the memory's
// speed only with several.
#if defined(SN_TIER_AVX512) || defined(SN_TIER_AVX2)
constexpr int kMostPanels = 4;
#else
constexpr int kMostPanels = 1;
#endif
// How far ahead of their use weights are asked for in each of several streams, in bytes: more than the processor does
// by itself.
#if defined(SN_TIER_AVX512)
constexpr int64_t kAheadInStreams = 2 << 10;
#else
constexpr int64_t kAheadInStreams = 1 << 10;
#endif
// Steps are padded to a multiple of this: a tile has 64 columns.
#if defined(SN_TIER_AMX)
constexpr int64_t kStepsMultiple = 16;
#else
constexpr int64_t kStepsMultiple = 1;
#endif

// Makes the compiler see a new value in the register, which keeps it from moving sums to the stack and back when they
// almost fill the registers: 1.4 times as fast with g++ 12.
#define SN_IN_REGISTER(v) __asm__("" : "+v"(v))

// sums[r][c] += the products of row r of x with channel c of the panel, over so many steps. For one row, several
// panels, `distance` bytes apart: sums[p][c].
#if defined(SN_TIER_VNNI)

template <int kRows, int kPanels>
SN_INLINE void multiply_panel(const Quantized* x, int64_t stride, const uint8_t* panel, int64_t distance, int64_t steps,
                              int32_t* sums) {
  constexpr int kSums = kRows * kPanels;
  __m512i acc[kSums];
#pragma GCC unroll 16
  for (int i = 0; i < kSums; ++i) acc[i] = _mm512_loadu_si512(sums + i * kPanel);
  for (int64_t s = 0; s < steps; ++s) {
#pragma GCC unroll 16
    for (int p = 0; p < kPanels; ++p) {
      const uint8_t* bytes = panel + p * distance + s * kStepBytes;
      if (kPanels > 1) __builtin_prefetch(bytes + kAheadInStreams);
      const __m512i w = _mm512_loadu_si512(bytes);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        int32_t four;
        memcpy(&four, x + r * stride + s * kStep, 4);
        __m512i& sum = acc[r * kPanels + p];
        sum = _mm512_dpbusd_epi32(sum, w, _mm512_set1_epi32(four));
        SN_IN_REGISTER(sum);
      }
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < kSums; ++i) _mm512_storeu_si512(sums + i * kPanel, acc[i]);
}

#elif defined(SN_TIER_AVX512)

template <int kRows, int kPanels>
SN_INLINE void multiply_panel(const Quantized* x, int64_t stride, const uint8_t* panel, int64_t distance, int64_t steps,
                              int32_t* sums) {
  constexpr int kSums = kRows * kPanels;
  __m512i acc[kSums][2];  // of 8 channels each, two sums of two columns for each channel
#pragma GCC unroll 16
  for (int i = 0; i < kSums; ++i) acc[i][0] = acc[i][1] = _mm512_setzero_si512();
  for (int64_t s = 0; s < steps; ++s) {
#pragma GCC unroll 16
    for (int p = 0; p < kPanels; ++p) {
      const auto* bytes = reinterpret_cast<const __m256i*>(panel + p * distance + s * kStepBytes);
      const __m512i low = _mm512_cvtepi8_epi16(_mm256_loadu_si256(bytes));
      const __m512i high = _mm512_cvtepi8_epi16(_mm256_loadu_si256(bytes + 1));
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        int64_t four;
        memcpy(&four, x + r * stride + s * kStep, 8);
        const __m512i v = _mm512_set1_epi64(four);
        __m512i* sum = acc[r * kPanels + p];
        sum[0] = _mm512_add_epi32(sum[0], _mm512_madd_epi16(v, low));
        sum[1] = _mm512_add_epi32(sum[1], _mm512_madd_epi16(v, high));
        SN_IN_REGISTER(sum[0]);
        SN_IN_REGISTER(sum[1]);
      }
    }
  }
  const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
#pragma GCC unroll 16
  for (int i = 0; i < kSums; ++i) {
    const __m512i sum = _mm512_add_epi32(_mm512_permutex2var_epi32(acc[i][0], even, acc[i][1]),
                                         _mm512_permutex2var_epi32(acc[i][0], odd, acc[i][1]));
    int32_t* to = sums + i * kPanel;
    _mm512_storeu_si512(to, _mm512_add_epi32(_mm512_loadu_si512(to), sum));
  }
}

#elif defined(SN_TIER_AVX2)

// The same of one stream: past the chunk that is computed with.
constexpr int64_t kAhead = 16 << 10;

template <int kRows, int kPanels>
SN_INLINE void multiply_panel(const Quantized* x, int64_t stride, const uint8_t* panel, int64_t distance, int64_t steps,
                              int32_t* sums) {
  constexpr int kSums = kRows * kPanels;
  __m256i acc[kSums][2];  // of 8 channels each
#pragma GCC unroll 8
  for (int i = 0; i < kSums; ++i) {
    acc[i][0] = load256(sums + i * kPanel);
    acc[i][1] = load256(sums + i * kPanel + 8);
  }
  const __m256i ones = _mm256_set1_epi16(1);
  const auto add_products = [&](__m256i sum, __m256i magnitude, __m256i w, __m256i a) {
    const __m256i pairs = _mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(a, w));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, ones));
  };
  for (int64_t s = 0; s < steps; ++s) {
#pragma GCC unroll 8
    for (int p = 0; p < kPanels; ++p) {
      const uint8_t* bytes = panel + p * distance + s * kStepBytes;
      _mm_prefetch(reinterpret_cast<const char*>(bytes + (kPanels == 1 ? kAhead : kAheadInStreams)), _MM_HINT_T1);
      const __m256i low = load256(bytes), high = load256(bytes + 32);
      const __m256i low_magnitude = _mm256_abs_epi8(low), high_magnitude = _mm256_abs_epi8(high);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        int32_t four;
        memcpy(&four, x + r * stride + s * kStep, 4);
        const __m256i a = _mm256_set1_epi32(four);
        __m256i* sum = acc[r * kPanels + p];
        sum[0] = add_products(sum[0], low_magnitude, low, a);
        SN_IN_REGISTER(sum[0]);
        sum[1] = add_products(sum[1], high_magnitude, high, a);
        SN_IN_REGISTER(sum[1]);
      }
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < kSums; ++i) {
    store256(sums + i * kPanel, acc[i][0]);
    store256(sums + i * kPanel + 8, acc[i][1]);
  }
}

#else

template <int kRows, int kPanels>
inline void multiply_panel(const Quantized* x, int64_t stride, const uint8_t* panel, int64_t, int64_t steps,
                           int32_t* sums) {
  for (int r = 0; r < kRows; ++r) {
    for (int64_t s = 0; s < steps; ++s) {
      const auto* w = reinterpret_cast<const int8_t*>(panel + s * kStepBytes);
      const Quantized* v = x + r * stride + s * kStep;
      for (int c = 0; c < kPanel; ++c) {
        for (int i = 0; i < kStep; ++i) sums[r * kPanel + c] += v[i] * w[c * kStep + i];
      }
    }
  }
}

#endif

// multiply_panel for any number of rows up to kMostRows, and of one panel.
template <int kRows = kMostRows>
inline void multiply_rows(int64_t rows, const Quantized* x, int64_t stride, const uint8_t* panel, int64_t steps,
                          int32_t* sums) {
  if constexpr (kRows == 1) {
    multiply_panel<1, 1>(x, stride, panel, 0, steps, sums);
  } else if (rows == kRows) {
    multiply_panel<kRows, 1>(x, stride, panel, 0, steps, sums);
  } else {
    multiply_rows<kRows - 1>(rows, x, stride, panel, steps, sums);
  }
}

#undef SN_IN_REGISTER

}  // namespace SN_ISA_NAME
}  // namespace sn
