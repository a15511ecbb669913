#include "support/number.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace sinew_test {
namespace {

// A format with `mantissa` stored bits whose least normal exponent is `least` and whose bias is 1 - least.
struct Format {
  int mantissa, least;
  uint32_t infinity;
};
constexpr Format kF16 = {10, -14, 0x7c00};
constexpr Format kBf16 = {7, -126, 0x7f80};

// 2^exponent, for the exponents that occur here; std::ldexp would take most of the tests' time.
double power_of_two(int exponent) {
  static const std::vector<double> powers = [] {
    std::vector<double> all;
    for (int e = -400; e <= 400; ++e) all.push_back(std::ldexp(1.0, e));
    return all;
  }();
  return powers[static_cast<size_t>(exponent + 400)];
}

uint16_t encode(Format format, double x) {
  const uint32_t sign = std::signbit(x) ? 0x8000 : 0;
  const double a = std::fabs(x);
  if (std::isinf(a)) return static_cast<uint16_t>(sign | format.infinity);
  int exponent = 0;
  std::frexp(a, &exponent);
  exponent = a == 0 ? format.least : std::max(exponent - 1, format.least);
  // Steps of the last place, ties to even; a carry into the next exponent comes out right by itself.
  const double steps = std::nearbyint(a * power_of_two(format.mantissa - exponent));
  const double code = (exponent - format.least) * power_of_two(format.mantissa) + steps;
  return static_cast<uint16_t>(sign | std::min(static_cast<uint32_t>(code), format.infinity));
}

double decode(Format format, uint16_t bits) {
  const int magnitude = bits & 0x7fff;
  const int exponent = magnitude >> format.mantissa, fraction = magnitude & ((1 << format.mantissa) - 1);
  const double value =
      exponent == 0 ? fraction * power_of_two(format.least - format.mantissa)
                    : ((1 << format.mantissa) + fraction) * power_of_two(exponent - 1 + format.least - format.mantissa);
  return bits & 0x8000 ? -value : value;
}

// The NaN whose sign and upper payload bits are those of the F32 NaN x, in a 16-bit format; quiet.
uint16_t encode_nan(Format format, float x) {
  const uint32_t b = bits_of(x);
  const uint32_t payload = (b & 0x7fffff) >> (23 - format.mantissa);
  return static_cast<uint16_t>((b >> 31 << 15) | format.infinity | (1u << (format.mantissa - 1)) | payload);
}

// E4M3 by the formula of its specification.
double decode_e4m3(uint8_t bits) {
  const int exponent = bits >> 3 & 15, fraction = bits & 7;
  if (exponent == 15 && fraction == 7) return std::nan("");
  const double value = exponent == 0 ? std::ldexp(fraction, -9) : std::ldexp(8 + fraction, exponent - 10);
  return bits & 0x80 ? -value : value;
}

// The nearest of E4M3's magnitudes, found by looking through them; of two the one with the even code.
uint8_t encode_e4m3(double x) {
  static const std::vector<double> magnitudes = [] {
    std::vector<double> all;
    for (uint8_t code = 0; code < 0x7f; ++code) all.push_back(decode_e4m3(code));
    return all;
  }();
  const double a = std::fabs(x);
  const auto above = std::lower_bound(magnitudes.begin(), magnitudes.end(), a);
  auto nearest = above == magnitudes.end() ? above - 1 : above;
  if (above != magnitudes.begin() && above != magnitudes.end()) {
    const double up = *above - a, down = a - *(above - 1);
    if (down < up || (down == up && (above - 1 - magnitudes.begin()) % 2 == 0)) nearest = above - 1;
  }
  return static_cast<uint8_t>((std::signbit(x) ? 0x80 : 0) | (nearest - magnitudes.begin()));
}

template <class T>
T at(const void* p) {
  T value;
  std::memcpy(&value, p, sizeof value);
  return value;
}
template <class T>
void set(void* p, T value) {
  std::memcpy(p, &value, sizeof value);
}

}  // namespace

int64_t size_of(sn_dtype dtype) {
  static const int64_t sizes[] = {8, 4, 2, 2, 8, 4, 2, 1, 1, 1, 1};
  return sizes[dtype];
}

const char* name_of(sn_dtype dtype) {
  static const char* const names[] = {"f64", "f32", "f16", "bf16", "i64", "i32", "i16", "i8", "u8", "bool", "f8e4m3"};
  return names[dtype];
}

uint32_t bits_of(float x) { return at<uint32_t>(&x); }
float float_of(uint32_t bits) { return at<float>(&bits); }

float as_f32(sn_dtype dtype, const void* p) {
  switch (dtype) {
    case SN_F64: {
      const uint64_t b = at<uint64_t>(p);
      if ((b & 0x7fffffffffffffff) <= 0x7ff0000000000000) return static_cast<float>(at<double>(p));
      return float_of(static_cast<uint32_t>(b >> 63 << 31) | 0x7fc00000u | static_cast<uint32_t>((b >> 29) & 0x3fffff));
    }
    case SN_F16: {
      const uint16_t b = at<uint16_t>(p);
      const uint32_t magnitude = b & 0x7fffu;
      if (magnitude < kF16.infinity) return static_cast<float>(decode(kF16, b));
      const uint32_t quiet = magnitude > 0x7c00 ? 0x400000u : 0u;
      return float_of((b & 0x8000u) << 16 | 0x7f800000u | quiet | (b & 0x3ffu) << 13);
    }
    case SN_BF16: {
      const uint16_t b = at<uint16_t>(p);
      if ((b & 0x7fffu) < kBf16.infinity) return static_cast<float>(decode(kBf16, b));
      return float_of(static_cast<uint32_t>(b) * 65536u);
    }
    case SN_F8_E4M3: {
      const uint8_t b = at<uint8_t>(p);
      // The three fraction bits of NaN stay at the top.
      return (b & 0x7f) == 0x7f ? float_of(b & 0x80 ? 0xfff00000u : 0x7ff00000u) : static_cast<float>(decode_e4m3(b));
    }
    default:
      return at<float>(p);
  }
}

std::vector<float> as_f32s(sn_dtype dtype, const std::vector<uint8_t>& bytes) {
  const int64_t size = size_of(dtype);
  std::vector<float> values(bytes.size() / static_cast<size_t>(size));
  for (size_t i = 0; i < values.size(); ++i) values[i] = as_f32(dtype, bytes.data() + static_cast<int64_t>(i) * size);
  return values;
}

void put_f32(sn_dtype dtype, float x, void* p) {
  switch (dtype) {
    case SN_F64:
      if (std::isnan(x)) {
        const uint64_t b = bits_of(x);
        set(p, b >> 31 << 63 | 0x7ff8000000000000 | (b & 0x3fffff) << 29);
      } else {
        set(p, static_cast<double>(x));
      }
      break;
    case SN_F16:
      set(p, std::isnan(x) ? encode_nan(kF16, x) : encode(kF16, static_cast<double>(x)));
      break;
    case SN_BF16:
      set(p, std::isnan(x) ? encode_nan(kBf16, x) : encode(kBf16, static_cast<double>(x)));
      break;
    case SN_F8_E4M3:
      set(p, std::isnan(x) ? static_cast<uint8_t>(0x7f) : encode_e4m3(static_cast<double>(x)));
      break;
    default:
      set(p, x);
  }
}

void put(sn_dtype dtype, double value, void* p) {
  if (dtype == SN_F64) {
    set(p, value);
  } else {
    put_f32(dtype, static_cast<float>(value), p);
  }
}

std::vector<uint8_t> elements(sn_dtype dtype, const std::vector<double>& values) {
  const int64_t size = size_of(dtype);
  std::vector<uint8_t> bytes(values.size() * static_cast<size_t>(size));
  for (size_t i = 0; i < values.size(); ++i) put(dtype, values[i], bytes.data() + static_cast<int64_t>(i) * size);
  return bytes;
}

}  // namespace sinew_test
