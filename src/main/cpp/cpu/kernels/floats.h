// Elements of any floating type by way of F32, for kernels that would take long to compile for each type.
#pragma once

#include "cpu/kernels/driver.h"

namespace sn {
namespace SN_ISA_NAME {

constexpr int64_t kPart = 1024;  // elements of a part, which stays in the first-level cache

// y = x in another type.
template <bool kBypass, class From, class To>
SN_NOINLINE void store_as(const From* x, To* y, int64_t n) {
  for_lines(
      kBypass ? to_line(y) : 0, n, [&](int64_t i, int64_t lanes) { store_tail(y + i, load_some(x + i, lanes), lanes); },
      [&](int64_t first) {
        fetch_ahead(x + first, kNear);
        for (int64_t i = first; i < first + 64; i += kLanes) store<kBypass>(y + i, load(x + i));
      });
}

// f(i, x, n) for n elements from the i-th on, as F32.
template <class F>
SN_INLINE void as_floats(const float* x, int64_t n, F f) {
  f(int64_t{0}, x, n);
}
template <class T, class F>
SN_INLINE void as_floats(const T* x, int64_t n, F f) {
  float part[kPart];
  for (int64_t i = 0; i < n; i += kPart) {
    const int64_t here = min_of(kPart, n - i);
    store_as<false>(x + i, part, here);
    f(i, part, here);
  }
}

// n <= kBlock elements as F32: x itself, or copied to `buffer`.
inline const float* floats_of(const float* x, int64_t, float*) { return x; }
template <class T>
inline const float* floats_of(const T* x, int64_t n, float* buffer) {
  store_as<false>(x, buffer, n);
  return buffer;
}

// The same where kernels are compiled for BF16 and, but for scalar code, F16 too.
inline const bf16* floats_or_words(const bf16* x, int64_t, float*) { return x; }
#if defined(SN_TIER_AVX2) || defined(SN_TIER_AVX512)
inline const f16* floats_or_words(const f16* x, int64_t, float*) { return x; }
#endif
template <class T>
inline const float* floats_or_words(const T* x, int64_t n, float* buffer) {
  return floats_of(x, n, buffer);
}
// f(i, y, n) makes n elements from the i-th on as F32, which go to y in its type.
template <class T, class F>
SN_INLINE void from_floats(T* y, int64_t n, bool bypass, F f) {
  float part[kPart];
  for (int64_t i = 0; i < n; i += kPart) {
    const int64_t here = min_of(kPart, n - i);
    f(i, part, here);
    bypass ? store_as<true>(part, y + i, here) : store_as<false>(part, y + i, here);
  }
}

}  // namespace SN_ISA_NAME
}  // namespace sn
