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
#else
constexpr int kWeightOffset = 0;
// vpmaddwd multiplies 16-bit integers, and adds two products, which fit. vpmaddubsw would saturate.
using Quantized = int16_t;
#endif

// How many rows of activations multiply_panel takes at once.
#if defined(SN_TIER_AVX512)
constexpr int kMostRows = 12;
#elif defined(SN_TIER_AVX2)
constexpr int kMostRows = 6;
#else
constexpr int kMostRows = 4;
#endif

#if defined(SN_TIER_VNNI)

// sums[r][c] += the products of row r of x with channel c of the panel, over so many steps.
template <int kRows>
SN_INLINE void multiply_panel(const Quantized* x, int64_t stride, const uint8_t* panel, int64_t steps, int32_t* sums) {
  __m512i acc[kRows];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) acc[r] = _mm512_loadu_si512(sums + r * kPanel);
  for (int64_t s = 0; s < steps; ++s) {
    const __m512i w = _mm512_loadu_si512(panel + s * kStepBytes);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      int32_t four;
      memcpy(&four, x + r * stride + s * kStep, 4);
      acc[r] = _mm512_dpbusd_epi32(acc[r], w, _mm512_set1_epi32(four));
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) _mm512_storeu_si512(sums + r * kPanel, acc[r]);
}

#elif defined(SN_TIER_AVX512)

template <int kRows>
SN_INLINE void multiply_panel(const Quantized* x, int64_t stride, const uint8_t* panel, int64_t steps, int32_t* sums) {
  __m512i acc[kRows][2];  // of 8 channels each, two sums of two columns for each channel
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) acc[r][0] = acc[r][1] = _mm512_setzero_si512();
  for (int64_t s = 0; s < steps; ++s) {
    const auto* bytes = reinterpret_cast<const __m256i*>(panel + s * kStepBytes);
    const __m512i low = _mm512_cvtepi8_epi16(_mm256_loadu_si256(bytes));
    const __m512i high = _mm512_cvtepi8_epi16(_mm256_loadu_si256(bytes + 1));
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      int64_t four;
      memcpy(&four, x + r * stride + s * kStep, 8);
      const __m512i v = _mm512_set1_epi64(four);
      acc[r][0] = _mm512_add_epi32(acc[r][0], _mm512_madd_epi16(v, low));
      acc[r][1] = _mm512_add_epi32(acc[r][1], _mm512_madd_epi16(v, high));
    }
  }
  const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    const __m512i sum = _mm512_add_epi32(_mm512_permutex2var_epi32(acc[r][0], even, acc[r][1]),
                                         _mm512_permutex2var_epi32(acc[r][0], odd, acc[r][1]));
    int32_t* to = sums + r * kPanel;
    _mm512_storeu_si512(to, _mm512_add_epi32(_mm512_loadu_si512(to), sum));
  }
}

#elif defined(SN_TIER_AVX2)

SN_INLINE __m256i widened(const uint8_t* p) { return _mm256_cvtepi8_epi16(load128(p)); }

// So many vectors of 4 channels, from channel `first` of the panel on.
template <int kRows, int kVectors>
SN_INLINE void multiply_part(const Quantized* x, int64_t stride, const uint8_t* panel, int64_t steps, int first,
                             int32_t* sums) {
  __m256i acc[kRows][kVectors];  // two sums of two columns for each channel
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) acc[r][v] = _mm256_setzero_si256();
  }
  const uint8_t* bytes = panel + first * kStep;
  for (int64_t s = 0; s < steps; ++s) {
    __m256i w[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) w[v] = widened(bytes + s * kStepBytes + v * 16);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      int64_t four;
      memcpy(&four, x + r * stride + s * kStep, 8);
      const __m256i a = _mm256_set1_epi64x(four);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) acc[r][v] = _mm256_add_epi32(acc[r][v], _mm256_madd_epi16(a, w[v]));
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; v += 2) {
      // Adding neighbours works within 128-bit lanes.
      const __m256i sum = _mm256_permute4x64_epi64(_mm256_hadd_epi32(acc[r][v], acc[r][v + 1]), 0xd8);
      int32_t* to = sums + r * kPanel + first + 4 * v;
      store256(to, _mm256_add_epi32(load256(to), sum));
    }
  }
}
template <int kRows>
SN_INLINE void multiply_panel(const Quantized* x, int64_t stride, const uint8_t* panel, int64_t steps, int32_t* sums) {
  if constexpr (kRows <= 2) {
    multiply_part<kRows, 4>(x, stride, panel, steps, 0, sums);
  } else {  // the registers hold half a panel's sums
    multiply_part<kRows, 2>(x, stride, panel, steps, 0, sums);
    multiply_part<kRows, 2>(x, stride, panel, steps, 8, sums);
  }
}

#else

template <int kRows>
SN_INLINE void multiply_panel(const Quantized* x, int64_t stride, const uint8_t* panel, int64_t steps, int32_t* sums) {
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

// multiply_panel for any number of rows up to kMostRows.
template <int kRows = kMostRows>
inline void multiply_rows(int64_t rows, const Quantized* x, int64_t stride, const uint8_t* panel, int64_t steps,
                          int32_t* sums) {
  if constexpr (kRows == 1) {
    multiply_panel<1>(x, stride, panel, steps, sums);
  } else if (rows == kRows) {
    multiply_panel<kRows>(x, stride, panel, steps, sums);
  } else {
    multiply_rows<kRows - 1>(rows, x, stride, panel, steps, sums);
  }
}

}  // namespace SN_ISA_NAME
}  // namespace sn
