// What the pruning operations have in common.
#pragma once

#include <string>
#include <vector>

#include "support/call.h"
#include "support/values.h"

namespace sinew_test {

// A call without label and run function that keeps the elements with kept[i]: output 0 is x pruned or a BOOL mask,
// number 0 the zeros afterwards.
Call pruning_call(sn_dtype dtype, const std::vector<int64_t>& shape, std::vector<uint8_t> bytes,
                  const std::vector<bool>& kept, bool mask);

// NaN and infinities, one at a time, at the beginning, the end and in a tail: each call must be refused.
// make(dtype, shape, bytes, argument, mask, what) describes a call of finite or other elements.
template <class Make, class Argument>
void not_finite_calls(const Emit& emit, Make make, Argument argument);

// For each such place and value: bytes of n elements, all finite but one.
struct Spoiled {
  sn_dtype dtype;
  std::vector<uint8_t> bytes;
  std::string what;
};
std::vector<Spoiled> spoiled_elements(int64_t n);

template <class Make, class Argument>
void not_finite_calls(const Emit& emit, Make make, Argument argument) {
  for (int64_t n : {1, 16, 39, 4099}) {
    for (const Spoiled& spoiled : spoiled_elements(n)) {
      Call call = make(spoiled.dtype, {n}, spoiled.bytes, argument, false, spoiled.what);
      call.status = SN_NOT_FINITE;
      emit(call);
    }
  }
}

// Dtypes that the large tests cover: all, or those whose code differs most when a sanitizer makes the machine slow.
std::vector<sn_dtype> large_dtypes();

}  // namespace sinew_test
