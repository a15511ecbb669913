// Elements of any floating type by way of F32, for kernels that would take long to compile for each type.
#pragma once

#include "cpu/kernels/driver.h"

namespace sn {
namespace SN_ISA_NAME {

constexpr int64_t kPart = 1024;  // elements of a part, which stays in the first-level cache

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
    for_vectors(here, [&](int64_t j, int64_t lanes) {
      if (j % 64 == 0) fetch_ahead(x + i + j, kFar);
      store(part + j, load_some(x + i + j, lanes));
    });
    f(i, part, here);
  }
}

// n <= kBlock elements as F32: x itself, or copied to `buffer`.
inline const float* floats_of(const float* x, int64_t, float*) { return x; }
template <class T>
inline const float* floats_of(const T* x, int64_t n, float* buffer) {
  for_vectors(n, [&](int64_t i, int64_t lanes) { store_tail(buffer + i, load_some(x + i, lanes), lanes); });
  return buffer;
}

template <bool kBypass, class T>
inline void store_floats(const float* x, T* y, int64_t n) {
  for_lines(
      kBypass ? to_line(y) : 0, n, [&](int64_t i, int64_t lanes) { store_tail(y + i, load_some(x + i, lanes), lanes); },
      [&](int64_t first) {
        for (int64_t i = first; i < first + 64; i += kLanes) store<kBypass>(y + i, load(x + i));
      });
}
// f(i, y, n) makes n elements from the i-th on as F32, which go to y in its type.
template <class T, class F>
SN_INLINE void from_floats(T* y, int64_t n, bool bypass, F f) {
  float part[kPart];
  for (int64_t i = 0; i < n; i += kPart) {
    const int64_t here = min_of(kPart, n - i);
    f(i, part, here);
    bypass ? store_floats<true>(part, y + i, here) : store_floats<false>(part, y + i, here);
  }
}

}  // namespace SN_ISA_NAME
}  // namespace sn
