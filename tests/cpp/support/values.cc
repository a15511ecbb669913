#include "support/values.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>
#include <random>

#include "support/number.h"

namespace sinew_test {
namespace {

constexpr uint64_t kFirstSeed = 20240;
// Longer data repeat: to make it takes longer than to compute with it. A prime, so that no two tasks get the same.
constexpr int64_t kPeriod = 262139;
uint64_t seed_counter = kFirstSeed;

double largest_of(sn_dtype dtype) {
  return dtype == SN_F16 ? 65504.0 : dtype == SN_BF16 ? std::ldexp(255.0, 120) : std::ldexp(16777215.0, 104);
}
double least_of(sn_dtype dtype) { return std::ldexp(1.0, dtype == SN_F16 ? -24 : dtype == SN_BF16 ? -133 : -149); }

void random_finite(sn_dtype dtype, std::mt19937_64& random, uint8_t* p) {
  do {
    uint64_t bits = random();
    if (dtype == SN_F64) {
      // F32's exponents, where all 52 bits of the fraction matter for rounding.
      const uint64_t exponent = 1023 - 152 + (bits >> 8) % 279;
      bits = (bits & 0x800fffffffffffff) | exponent << 52;
    }
    std::memcpy(p, &bits, static_cast<size_t>(size_of(dtype)));
  } while (!std::isfinite(as_f32(dtype, p)));
}

double few(std::mt19937_64& random) {
  static const double values[] = {0.0, -0.0, 0.5, -0.5, 0.25, -0.25, 1.0, -1.0, 3.0};
  return values[random() % 9];
}

}  // namespace

const char* name_of(Fill fill) {
  static const char* const names[] = {"weights", "bits", "few", "zeros", "tiny", "huge"};
  return names[static_cast<int>(fill)];
}

std::vector<uint8_t> random_elements(sn_dtype dtype, int64_t count, Fill fill, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal(0.0, 0.05);
  const int64_t size = size_of(dtype);
  std::vector<uint8_t> bytes(static_cast<size_t>(count * size));
  for (int64_t i = 0; i < std::min(count, kPeriod); ++i) {
    uint8_t* p = bytes.data() + i * size;
    const double sign = random() % 2 == 0 ? 1.0 : -1.0;
    switch (fill) {
      case Fill::kWeights:
        put(dtype, normal(random), p);
        break;
      case Fill::kBits:
        random_finite(dtype, random, p);
        break;
      case Fill::kFew:
        put(dtype, few(random), p);
        break;
      case Fill::kZeros:
        put(dtype, sign * 0.0, p);
        break;
      case Fill::kTiny:
        put(dtype, sign * static_cast<double>(random() % 40) * least_of(dtype), p);
        break;
      case Fill::kHuge:
        put(dtype, sign * largest_of(dtype) * std::ldexp(1.0, -static_cast<int>(random() % 4)), p);
        break;
    }
  }
  for (int64_t i = kPeriod; i < count; i += kPeriod)
    std::memcpy(bytes.data() + i * size, bytes.data(), static_cast<size_t>(std::min(kPeriod, count - i) * size));
  return bytes;
}

std::vector<uint8_t> random_bytes(int64_t count, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<uint8_t> bytes(static_cast<size_t>(count));
  for (uint8_t& b : bytes) b = static_cast<uint8_t>(random() >> 11);
  return bytes;
}

std::vector<uint8_t> random_two_of_four(int64_t rows, int64_t cols, uint64_t seed) {
  constexpr uint32_t kPlaces[] = {0, 1, 2, 4, 8, 3, 5, 6, 9, 10, 12};  // a bit for each
  std::mt19937_64 random(seed);
  std::vector<uint8_t> bytes(static_cast<size_t>(rows * cols));
  uint32_t places = 0;
  for (int64_t i = 0; i < rows * cols; ++i) {
    const int64_t place = i % cols % 4;
    if (place == 0) places = kPlaces[random() % std::size(kPlaces)];
    if ((places >> place & 1) != 0) bytes[static_cast<size_t>(i)] = static_cast<uint8_t>(1 + random() % 255);
  }
  return bytes;
}

uint64_t next_seed() { return ++seed_counter; }
void restart_seeds() { seed_counter = kFirstSeed; }

}  // namespace sinew_test
