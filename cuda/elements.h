// Elements of floating types as kernels load, convert and store them. Compiled by nvcc for the GPU and by g++ for tests
// on the CPU, to give the bits that the CPU's kernels give.
#pragma once

#include "core/dtype.h"
#include "core/tensor.h"

// Before a loop that must not stay one, since it indexes what is to be in registers, and before one that is to stay
// one, since it is rarely run and would take long to compile.
#if defined(__CUDA_ARCH__)
#define SN_UNROLL _Pragma("unroll")
#define SN_KEEP_LOOP _Pragma("unroll 1")
#else
#define SN_UNROLL
#define SN_KEEP_LOOP
#endif

namespace sn {
namespace cuda {

constexpr uint32_t kInfinityKey = 0x7f800000u;
constexpr int kStep = 16;  // elements that a thread takes at once

// The F32 bits without the sign, which order magnitudes.
SN_HD SN_LOCAL uint32_t key_of(float x) { return bits_of(x) & 0x7fffffffu; }
// Orders values, or their magnitudes, as unsigned integers.
SN_HD SN_LOCAL uint32_t order_key(float x, sn_order order) {
  const uint32_t bits = bits_of(x);
  if (order == SN_ORDER_MAGNITUDE) return bits & 0x7fffffffu;
  return bits ^ (bits >> 31 != 0 ? 0xffffffffu : 0x80000000u);
}
SN_HD SN_LOCAL bool is_nan(float x) { return key_of(x) > kInfinityKey; }

// GPUs give one and the same NaN for every operation, but the CPU's conversions keep a NaN's sign and upper payload.
SN_HD SN_LOCAL float number_of(float x) { return x; }
SN_HD SN_LOCAL float number_of(bf16 x) { return to_float(x); }
SN_HD SN_LOCAL float number_of(f16 x) { return to_float(x); }
SN_HD SN_LOCAL float number_of(double x) {
  uint64_t b;
  memcpy(&b, &x, 8);
  if ((b & 0x7fffffffffffffffull) <= 0x7ff0000000000000ull) return static_cast<float>(x);
  return float_of(static_cast<uint32_t>(b >> 32 & 0x80000000u) | 0x7fc00000u |
                  static_cast<uint32_t>(b >> 29 & 0x3fffffu));
}
SN_HD SN_LOCAL void put(float x, float* out) { *out = x; }
SN_HD SN_LOCAL void put(float x, bf16* out) { from_float(x, out); }
SN_HD SN_LOCAL void put(float x, f16* out) { from_float(x, out); }
SN_HD SN_LOCAL void put(float x, double* out) {
  if (!is_nan(x)) {
    *out = static_cast<double>(x);
    return;
  }
  const uint64_t b = bits_of(x);
  const uint64_t wide = (b & 0x80000000u) << 32 | 0x7ff8000000000000ull | (b & 0x3fffffu) << 29;
  memcpy(out, &wide, 8);
}

// a * b with the NaN of x86: the operand's, quiet, or where two numbers have no product the one with the sign set.
SN_HD SN_LOCAL float product(float a, float b) {
  const float y = a * b;
  if (!is_nan(y)) return y;
  if (is_nan(a)) return float_of(bits_of(a) | 0x00400000u);
  if (is_nan(b)) return float_of(bits_of(b) | 0x00400000u);
  return float_of(0xffc00000u);
}

// a + b likewise.
SN_HD SN_LOCAL float plus(float a, float b) {
  const float y = a + b;
  if (!is_nan(y)) return y;
  if (is_nan(a)) return float_of(bits_of(a) | 0x00400000u);
  if (is_nan(b)) return float_of(bits_of(b) | 0x00400000u);
  return float_of(0xffc00000u);
}

// kStep elements, in words of 16 bytes if they are all there (n == kStep) and aligned; what is missing becomes zero.
struct alignas(16) Word {
  uint32_t part[4];
};
template <class T>
struct Elements {
  static_assert(sizeof(T) * kStep % 16 == 0, "a step is whole words");
  static constexpr int kWords = static_cast<int>(sizeof(T)) * kStep / 16;
  T of[kStep];
};
SN_HD SN_LOCAL bool is_word_aligned(const void* p) { return (reinterpret_cast<uintptr_t>(p) & 15) == 0; }

template <class T>
SN_HD SN_LOCAL Elements<T> load(const T* p, int n) {
  Elements<T> x;
  if (n == kStep && is_word_aligned(p)) {
    Word words[Elements<T>::kWords];
    const Word* from = reinterpret_cast<const Word*>(p);
    for (int i = 0; i < Elements<T>::kWords; ++i) {
#if defined(__CUDA_ARCH__)
      words[i] = from[i];
#else
      memcpy(words + i, from + i, sizeof(Word));
#endif
    }
    memcpy(static_cast<void*>(&x), words, sizeof x);
    return x;
  }
  memset(static_cast<void*>(&x), 0, sizeof x);
  SN_UNROLL
  for (int i = 0; i < kStep; ++i) {
    if (i < n) x.of[i] = p[i];
  }
  return x;
}

template <class T>
SN_HD SN_LOCAL void store(T* p, const Elements<T>& x, int n) {
  if (n == kStep && is_word_aligned(p)) {
    Word words[Elements<T>::kWords];
    memcpy(static_cast<void*>(words), &x, sizeof x);
    Word* to = reinterpret_cast<Word*>(p);
    for (int i = 0; i < Elements<T>::kWords; ++i) {
#if defined(__CUDA_ARCH__)
      // Said so, as the compiler takes a structure apart and does not always find its parts again.
      const uint32_t* part = words[i].part;
      __stwb(reinterpret_cast<uint4*>(to + i), make_uint4(part[0], part[1], part[2], part[3]));
#else
      memcpy(to + i, words + i, sizeof(Word));
#endif
    }
    return;
  }
  SN_UNROLL
  for (int i = 0; i < kStep; ++i) {
    if (i < n) p[i] = x.of[i];
  }
}

// kStep elements from the i-th on of a floating type, as F32. The type is looked at while the kernel runs, which costs
// nothing beside the memory, as all threads have the same; kernels for each type would take minutes to compile. Types
// of 16 bits are loaded and stored by the same code. load_reals and store_reals do not take F64.
SN_HD SN_LOCAL Elements<float> load_reals(sn_dtype dtype, const void* p, int64_t i, int n) {
  if (dtype == SN_F32) return load(static_cast<const float*>(p) + i, n);
  const Elements<uint16_t> bits = load(static_cast<const uint16_t*>(p) + i, n);
  Elements<float> numbers;
  if (dtype == SN_BF16) {
    SN_UNROLL
    for (int j = 0; j < kStep; ++j) numbers.of[j] = number_of(bf16{bits.of[j]});
  } else {
    SN_UNROLL
    for (int j = 0; j < kStep; ++j) numbers.of[j] = number_of(f16{bits.of[j]});
  }
  return numbers;
}
SN_HD SN_LOCAL Elements<float> load_numbers(sn_dtype dtype, const void* p, int64_t i, int n) {
  if (dtype != SN_F64) return load_reals(dtype, p, i, n);
  const Elements<double> x = load(static_cast<const double*>(p) + i, n);
  Elements<float> numbers;
  SN_UNROLL
  for (int j = 0; j < kStep; ++j) numbers.of[j] = number_of(x.of[j]);
  return numbers;
}
SN_HD SN_LOCAL void store_reals(sn_dtype dtype, void* p, int64_t i, const Elements<float>& numbers, int n) {
  if (dtype == SN_F32) {
    store(static_cast<float*>(p) + i, numbers, n);
    return;
  }
  Elements<uint16_t> bits;
  if (dtype == SN_BF16) {
    SN_UNROLL
    for (int j = 0; j < kStep; ++j) {
      bf16 x;
      put(numbers.of[j], &x);
      bits.of[j] = x.bits;
    }
  } else {
    SN_UNROLL
    for (int j = 0; j < kStep; ++j) {
      f16 x;
      put(numbers.of[j], &x);
      bits.of[j] = x.bits;
    }
  }
  store(static_cast<uint16_t*>(p) + i, bits, n);
}
SN_HD SN_LOCAL void store_numbers(sn_dtype dtype, void* p, int64_t i, const Elements<float>& numbers, int n) {
  if (dtype != SN_F64) {
    store_reals(dtype, p, i, numbers, n);
    return;
  }
  Elements<double> x;
  SN_UNROLL
  for (int j = 0; j < kStep; ++j) put(numbers.of[j], x.of + j);
  store(static_cast<double*>(p) + i, x, n);
}
// What storing and loading them again makes of numbers.
template <class T>
SN_HD SN_LOCAL void round_as(Elements<float>& numbers) {
  SN_UNROLL
  for (int j = 0; j < kStep; ++j) {
    T x;
    put(numbers.of[j], &x);
    numbers.of[j] = number_of(x);
  }
}
SN_HD SN_LOCAL void round_numbers(sn_dtype dtype, Elements<float>& numbers) {
  if (dtype == SN_BF16) round_as<bf16>(numbers);
  if (dtype == SN_F16) round_as<f16>(numbers);
}
SN_HD SN_LOCAL float number_at(sn_dtype dtype, const void* p, int64_t i) {
  if (dtype == SN_F32) return static_cast<const float*>(p)[i];
  if (dtype == SN_BF16) return number_of(static_cast<const bf16*>(p)[i]);
  if (dtype == SN_F16) return number_of(static_cast<const f16*>(p)[i]);
  return number_of(static_cast<const double*>(p)[i]);
}
SN_HD SN_LOCAL void put_number(sn_dtype dtype, void* p, int64_t i, float v) {
  if (dtype == SN_F32) {
    static_cast<float*>(p)[i] = v;
  } else if (dtype == SN_BF16) {
    put(v, static_cast<bf16*>(p) + i);
  } else if (dtype == SN_F16) {
    put(v, static_cast<f16*>(p) + i);
  } else {
    put(v, static_cast<double*>(p) + i);
  }
}

template <class P>
struct Pointee;
template <class T>
struct Pointee<T*> {
  using type = T;
};
template <class T>
const T* data_of(const sn_tensor* t) {
  return static_cast<const T*>(t->data);
}
template <class T>
T* data_of(sn_tensor* t) {
  return static_cast<T*>(t->data);
}

}  // namespace cuda
}  // namespace sn
