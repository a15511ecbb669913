// What the norms' tests have in common.
#pragma once

#include <cmath>
#include <cstring>
#include <limits>

#include "support/reals.h"

namespace sinew_test {

// The call with a value that is not finite, in F32 element 40, which is in the second of three rows of 37: that row has
// to be NaN.
inline Call spoiled_norm(Call call, double value) {
  const float f = static_cast<float>(value);
  std::memcpy(call.inputs[0].bytes.data() + 40 * 4, &f, 4);
  for (size_t i = 37; i < 74; ++i) call.bounded[0].value[i] = std::nan("");
  return call;
}

}  // namespace sinew_test
