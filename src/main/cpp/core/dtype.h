// Element types and their exact conversions to and from F32, shared by every back end (compiled by g++ and nvcc).
#pragma once

#include <stdint.h>
#include <string.h>

#include "sinew.h"

#if defined(__CUDACC__)
#define SN_HD __host__ __device__
#else
#define SN_HD
#endif
// Kernels include this file under different instruction sets. A function with external linkage would be merged into one
// copy for all of them, and that copy could be the AVX-512 one; internal linkage keeps them apart.
#define SN_LOCAL static inline

namespace sn {

struct f16 {
  uint16_t bits;
};
struct bf16 {
  uint16_t bits;
};
struct f8e4m3 {
  uint8_t bits;
};

SN_HD SN_LOCAL uint32_t bits_of(float x) {
  uint32_t b;
  memcpy(&b, &x, 4);
  return b;
}
SN_HD SN_LOCAL float float_of(uint32_t b) {
  float x;
  memcpy(&x, &b, 4);
  return x;
}

SN_HD SN_LOCAL float to_float(float x) { return x; }
SN_HD SN_LOCAL float to_float(double x) { return static_cast<float>(x); }
SN_HD SN_LOCAL float to_float(bf16 x) { return float_of(static_cast<uint32_t>(x.bits) << 16); }
SN_HD SN_LOCAL float to_float(f16 x) {
  // Shifting the 15 magnitude bits into F32 position leaves an exponent that is 112 too small; multiplying by 2^112
  // mends it and normalizes denormals, exactly. Infinity and NaN have the exponent 31 and are put right separately.
  uint32_t magnitude = static_cast<uint32_t>(x.bits & 0x7fff) << 13;
  uint32_t sign = static_cast<uint32_t>(x.bits & 0x8000) << 16;
  uint32_t value = bits_of(float_of(magnitude) * 0x1p112f);
  if (magnitude >= 0x0f800000) value = magnitude | 0x7f800000;
  // A signalling NaN becomes quiet, as the hardware conversions make it.
  if (magnitude > 0x0f800000) value |= 0x00400000;
  return float_of(sign | value);
}

SN_HD SN_LOCAL float to_float(f8e4m3 x) {
  // As for f16: the exponent is 120 too small, and the only special magnitude is NaN.
  uint32_t magnitude = static_cast<uint32_t>(x.bits & 0x7f) << 20;
  uint32_t sign = static_cast<uint32_t>(x.bits & 0x80) << 24;
  uint32_t value = (x.bits & 0x7f) == 0x7f ? 0x7ff00000 : bits_of(float_of(magnitude) * 0x1p120f);
  return float_of(sign | value);
}

// Rounds to nearest even; NaN becomes quiet and keeps its upper payload, as in the hardware conversions.
SN_HD SN_LOCAL void from_float(float x, float* out) { *out = x; }
SN_HD SN_LOCAL void from_float(float x, double* out) { *out = x; }
SN_HD SN_LOCAL void from_float(float x, bf16* out) {
  uint32_t b = bits_of(x);
  uint32_t rounded = b + 0x7fff + ((b >> 16) & 1);
  bool nan = (b & 0x7fffffff) > 0x7f800000;
  out->bits = static_cast<uint16_t>(nan ? (b >> 16) | 0x40 : rounded >> 16);
}
SN_HD SN_LOCAL void from_float(float x, f16* out) {
  uint32_t b = bits_of(x);
  uint32_t sign = (b >> 16) & 0x8000;
  uint32_t magnitude = b & 0x7fffffff;
  uint32_t half;
  if (magnitude > 0x7f800000) {
    half = 0x7e00 | ((magnitude >> 13) & 0x3ff);
  } else if (magnitude >= 0x477ff000) {  // 65520 and above round to infinity
    half = 0x7c00;
  } else if (magnitude < 0x38800000) {  // below 2^-14: the sum's last place is 2^-24, that of the denormals
    half = bits_of(float_of(magnitude) + 0.5f) - 0x3f000000;
  } else {
    half = (magnitude - 0x38000000 + 0xfff + ((magnitude >> 13) & 1)) >> 13;
  }
  out->bits = static_cast<uint16_t>(sign | half);
}

SN_LOCAL int64_t dtype_size(sn_dtype dtype) {
  switch (dtype) {
    case SN_F64:
    case SN_I64:
      return 8;
    case SN_F32:
    case SN_I32:
      return 4;
    case SN_F16:
    case SN_BF16:
    case SN_I16:
      return 2;
    case SN_I8:
    case SN_U8:
    case SN_BOOL:
    case SN_F8_E4M3:
      return 1;
    default:
      return 0;
  }
}
SN_LOCAL bool is_floating(sn_dtype dtype) { return dtype >= SN_F64 && dtype <= SN_BF16; }

SN_LOCAL const char* dtype_name(sn_dtype dtype) {
  static const char* const names[] = {"F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL", "F8_E4M3"};
  return dtype >= 0 && dtype <= SN_F8_E4M3 ? names[dtype] : "unknown";
}

// Calls f with a null pointer of the element type that belongs to a floating dtype.
template <class F>
auto with_floating(sn_dtype dtype, F f) {
  switch (dtype) {
    case SN_F64:
      return f(static_cast<double*>(nullptr));
    case SN_F16:
      return f(static_cast<f16*>(nullptr));
    case SN_BF16:
      return f(static_cast<bf16*>(nullptr));
    default:
      return f(static_cast<float*>(nullptr));
  }
}

// What a scheme quantizes to; the largest magnitude divides the range of symmetric schemes.
SN_HD SN_LOCAL bool is_asymmetric(sn_scheme scheme) {
  return scheme == SN_INT8_ASYMMETRIC || scheme == SN_INT4_ASYMMETRIC;
}
SN_HD SN_LOCAL bool is_int4(sn_scheme scheme) { return scheme == SN_INT4_SYMMETRIC || scheme == SN_INT4_ASYMMETRIC; }
SN_HD SN_LOCAL int qmin(sn_scheme scheme) { return is_int4(scheme) ? -8 : scheme == SN_INT8_SYMMETRIC ? -127 : -128; }
SN_HD SN_LOCAL int qmax(sn_scheme scheme) { return is_int4(scheme) ? 7 : 127; }
constexpr float kLargestF8 = 448;
SN_HD SN_LOCAL double symmetric_steps(sn_scheme scheme) {
  return scheme == SN_FP8 ? static_cast<double>(kLargestF8) : is_int4(scheme) ? 7.5 : 127.0;
}
// The scale that sn_scale gives symmetric int8 for the largest magnitude with these bits, which is finite.
SN_HD SN_LOCAL float symmetric_scale(int32_t absmax_bits) {
  if (absmax_bits == 0) return 1;
  const double absmax = static_cast<double>(float_of(static_cast<uint32_t>(absmax_bits)));
  const float scale = static_cast<float>(absmax / symmetric_steps(SN_INT8_SYMMETRIC));
  return scale == 0 ? float_of(1) : scale;
}

}  // namespace sn
