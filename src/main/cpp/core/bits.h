// Elements as the integers of their bits, for what copies them and does not compute (compiled by g++ and nvcc).
#pragma once

#include "core/dtype.h"

namespace sn {

// Calls f with a null pointer of the unsigned integer that is as large as an element.
template <class F>
auto with_integers(sn_dtype dtype, F f) {
  switch (dtype_size(dtype)) {
    case 8:
      return f(static_cast<uint64_t*>(nullptr));
    case 4:
      return f(static_cast<uint32_t*>(nullptr));
    case 2:
      return f(static_cast<uint16_t*>(nullptr));
    default:
      return f(static_cast<uint8_t*>(nullptr));
  }
}

}  // namespace sn
