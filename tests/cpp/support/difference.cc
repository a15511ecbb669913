// Whether an output is what the oracle says.
#include <cmath>
#include <cstdio>
#include <cstring>

#include "support/call.h"

namespace sinew_test {
namespace {

std::string hex(const uint8_t* p, int64_t size) {
  static const char digits[] = "0123456789abcdef";
  std::string text = "0x";
  for (int64_t i = size - 1; i >= 0; --i) {
    text += digits[p[i] >> 4];
    text += digits[p[i] & 15];
  }
  return text;
}

double number_of(sn_dtype dtype, const uint8_t* p) {
  if (dtype != SN_F64) return static_cast<double>(as_f32(dtype, p));
  double value;
  std::memcpy(&value, p, sizeof value);
  return value;
}
bool is_nan(sn_dtype dtype, const uint8_t* p) { return dtype <= SN_BF16 && std::isnan(number_of(dtype, p)); }

std::string compare(const Operand& operand, const std::vector<uint8_t>& expected, const uint8_t* actual, bool any_nan) {
  if (static_cast<int64_t>(expected.size()) != operand.size())
    return "the oracle gives " + std::to_string(expected.size()) + " bytes";
  if (expected.empty() || std::memcmp(expected.data(), actual, expected.size()) == 0) return "";
  const int64_t size = size_of(operand.dtype);
  for (int64_t i = 0; i < operand.count(); ++i) {
    const uint8_t* e = expected.data() + i * size;
    const uint8_t* a = actual + i * size;
    if (std::memcmp(e, a, static_cast<size_t>(size)) == 0) continue;
    if (any_nan && is_nan(operand.dtype, e) && is_nan(operand.dtype, a)) continue;
    std::string text = "element " + std::to_string(i) + " is " + hex(a, size) + ", expected " + hex(e, size);
    if (operand.dtype <= SN_BF16) {
      text += " (as F32 " + std::to_string(as_f32(operand.dtype, a)) + ", expected " +
              std::to_string(as_f32(operand.dtype, e)) + ")";
    }
    return text;
  }
  return "";
}

std::string compare(const Operand& operand, const Bounded& expected, const uint8_t* actual) {
  if (static_cast<int64_t>(expected.value.size()) != operand.count() || expected.bound.size() != expected.value.size())
    return "the oracle gives " + std::to_string(expected.value.size()) + " numbers";
  for (size_t i = 0; i < expected.value.size(); ++i) {
    const double a = number_of(operand.dtype, actual + static_cast<int64_t>(i) * size_of(operand.dtype));
    const double e = expected.value[i];
    // The bound of an infinite sum is infinite, too, and says nothing.
    if (std::isnan(e) ? std::isnan(a) : a == e || (!std::isinf(e) && std::fabs(a - e) <= expected.bound[i])) continue;
    char text[200];
    std::snprintf(text, sizeof text, "element %zu is %.9g, expected %.9g with an error of at most %.3g", i, a, e,
                  expected.bound[i]);
    return text;
  }
  return "";
}

// FNV-1a.
uint64_t fingerprint_of(const std::vector<std::vector<uint8_t>>& outputs) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const auto& bytes : outputs) {
    for (uint8_t byte : bytes) hash = (hash ^ byte) * 0x100000001b3;
  }
  return hash;
}

}  // namespace

std::string difference(const Call& call, size_t i, const uint8_t* actual) {
  return call.bounded.empty() ? compare(call.outputs[i], call.expected[i], actual, call.any_nan)
                              : compare(call.outputs[i], call.bounded[i], actual);
}

std::string other_fingerprint(const Call& call, const std::vector<std::vector<uint8_t>>& outputs) {
  if (call.fingerprint == 0) return "";
  const uint64_t fingerprint = fingerprint_of(outputs);
  if (fingerprint == call.fingerprint) return "";
  char text[120];
  std::snprintf(text, sizeof text, "the fingerprint of the outputs is 0x%016llx, expected 0x%016llx",
                static_cast<unsigned long long>(fingerprint), static_cast<unsigned long long>(call.fingerprint));
  return text;
}

}  // namespace sinew_test
