// Rows of numbers as symmetric int8 with a scale each.
#pragma once

#include "cpu/kernels/driver.h"

namespace sn {
namespace SN_ISA_NAME {

// One row of activations as integers: x = q scale.
struct Token {
  float scale;  // NaN when the row holds NaN or infinity, and then all q are 0
  int32_t sum;  // of q
};

// 64 integers.
SN_INLINE void store_quantized(int8_t* p, I a, I b, I c, I d) { store_bytes(p, pack(a, b, c, d)); }
SN_INLINE void store_quantized(int16_t* p, I a, I b, I c, I d) {
#if defined(SN_TIER_AVX512)
  const __m512i order = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
  _mm512_storeu_si512(p, _mm512_permutexvar_epi64(order, _mm512_packs_epi32(a.v, b.v)));
  _mm512_storeu_si512(p + 32, _mm512_permutexvar_epi64(order, _mm512_packs_epi32(c.v, d.v)));
#elif defined(SN_TIER_AVX2)
  const auto words = [](I x) { return _mm256_permute4x64_epi64(_mm256_packs_epi32(x.a, x.b), 0xd8); };
  store256(p, words(a));
  store256(p + 16, words(b));
  store256(p + 32, words(c));
  store256(p + 48, words(d));
#else
  for (int i = 0; i < 16; ++i) {
    p[i] = static_cast<int16_t>(a.v[i]);
    p[16 + i] = static_cast<int16_t>(b.v[i]);
    p[32 + i] = static_cast<int16_t>(c.v[i]);
    p[48 + i] = static_cast<int16_t>(d.v[i]);
  }
#endif
}

inline int32_t reduce_sum(I x) {
  int32_t lanes[kLanes];
  store_int(lanes, x);
  int32_t sum = 0;
  for (int32_t v : lanes) sum += v;
  return sum;
}

// Calls f(quotient), where quotient(x) is x / divisor as IEEE 754 rounds it, or, if that is less than 1/4, may be
// another number less than 1/4. The reciprocal is improved twice by fused multiply-adds, which take a third of the time
// of a division (docs/numerics.md).
template <class F_>
void with_quotients(float divisor, F_ f) {
  const F by = splat(divisor);
#if defined(SN_TIER_AVX512) || defined(SN_TIER_AVX2)
  if (divisor > 0x1p-80f && divisor < 0x1p80f) {
    const F reciprocal = splat(1 / divisor), minus = sub(splat(0), by);
    return f([=](F x) {
      const F first = mul(x, reciprocal);
      const F second = multiply_add(multiply_add(first, minus, x), reciprocal, first);
      return multiply_add(multiply_add(second, minus, x), reciprocal, second);
    });
  }
#endif
  f([=](F x) { return div(x, by); });
}

// Quantizes n numbers by the rules of symmetric int8 (see sn_quantize_per_token), and fills q with zeros up to
// `padded`, less than 64 more. Each 64 of them begin `pitch` after the last. at(i, lanes) gives those from the i-th on,
// and 0 in lanes beyond n.
template <class At, class Q>
inline Token quantize_numbers(const At& at, int64_t n, Q* q, int64_t padded, int64_t pitch) {
  I largest = splat_int(0);
  for_vectors(n, [&](int64_t i, int64_t lanes) { largest = max(largest, key(at(i, lanes))); });
  const int32_t absmax = reduce_max(largest);
  if (absmax >= kInfinityKey) {
    for (int64_t i = 0; i < padded; i += 64)
      memset(static_cast<void*>(q + i / 64 * pitch), 0, static_cast<size_t>(min_of(64, padded - i)) * sizeof(Q));
    return {float_of(0x7fc00000), 0};
  }
  const float scale = symmetric_scale(absmax);
  I sum = splat_int(0);
  with_quotients(scale, [&](auto quotient) {
    const F low = splat(-127.0f), high = splat(127.0f);
    const auto quantized = [&](F v) { return to_int(min(max(quotient(v), low), high)); };
    int64_t i = 0;
    for (; i + 64 <= n; i += 64) {
      const I a = quantized(at(i, kLanes)), b = quantized(at(i + 16, kLanes));
      const I c = quantized(at(i + 32, kLanes)), d = quantized(at(i + 48, kLanes));
      sum = add(sum, add(add(a, b), add(c, d)));
      store_quantized(q + i / 64 * pitch, a, b, c, d);
    }
    if (i >= padded) return;
    Q rest[64] = {};
    for_vectors(n - i, [&](int64_t j, int64_t lanes) {
      const I a = quantized(at(i + j, lanes));
      sum = add(sum, a);
      Q words[64];
      store_quantized(words, a, a, a, a);
      memcpy(rest + j, words, kLanes * sizeof(Q));
    });
    memcpy(q + i / 64 * pitch, rest, static_cast<size_t>(padded - i) * sizeof(Q));
  });
  return {scale, reduce_sum(sum)};
}
template <class T, class Q>
inline Token quantize_token(const T* x, int64_t n, Q* q, int64_t padded, int64_t pitch = 64) {
  return quantize_numbers([x](int64_t i, int64_t lanes) { return load_some(x + i, lanes); }, n, q, padded, pitch);
}

}  // namespace SN_ISA_NAME
}  // namespace sn
