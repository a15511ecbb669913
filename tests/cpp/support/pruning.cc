#include "support/pruning.h"

#include <cmath>
#include <cstring>
#include <limits>

namespace sinew_test {

Call pruning_call(sn_dtype dtype, const std::vector<int64_t>& shape, std::vector<uint8_t> bytes,
                  const std::vector<bool>& kept, bool mask) {
  const int64_t size = size_of(dtype);
  std::vector<uint8_t> out;
  int64_t zeros = 0;
  if (!mask) out.assign(bytes.size(), 0);
  for (size_t i = 0; i < kept.size(); ++i) {
    const int64_t at = static_cast<int64_t>(i) * size;
    if (mask) {
      out.push_back(kept[i]);
    } else if (kept[i]) {
      std::memcpy(out.data() + at, bytes.data() + at, static_cast<size_t>(size));
    }
    zeros += !kept[i] || as_f32(dtype, bytes.data() + at) == 0.0f;
  }
  Call call;
  call.inputs = {{dtype, shape, std::move(bytes), true}};
  call.outputs = {{mask ? SN_BOOL : dtype, shape, {}, true}};
  call.expected = {std::move(out)};
  call.numbers = {zeros};
  call.in_place = !mask;
  return call;
}

std::vector<Spoiled> spoiled_elements(int64_t n) {
  const double infinity = std::numeric_limits<double>::infinity();
  std::vector<Spoiled> all;
  for (sn_dtype dtype : kFloats) {
    std::vector<double> bad = {infinity, -infinity, std::nan(""), -std::nan("")};
    if (dtype == SN_F64) bad.push_back(1e300);  // infinite as F32
    for (size_t b = 0; b < bad.size(); ++b) {
      for (int64_t at : {int64_t{0}, n / 2, n - 1}) {
        const uint64_t seed = next_seed();
        Spoiled spoiled = {dtype, random_elements(dtype, n, Fill::kWeights, seed), ""};
        put(dtype, bad[b], spoiled.bytes.data() + at * size_of(dtype));
        spoiled.what = std::to_string(bad[b]) + " at " + std::to_string(at) + " seed " + std::to_string(seed);
        all.push_back(std::move(spoiled));
      }
    }
  }
  return all;
}

std::vector<sn_dtype> large_dtypes() {
  if (quick()) return {SN_BF16};
  // F64 goes by way of F32, and convert has large ones.
  return {SN_F32, SN_F16, SN_BF16};
}

}  // namespace sinew_test
