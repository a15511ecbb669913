// Operations of two operands whose shapes are broadcast.
#pragma once

#include "support/reals.h"

namespace sinew_test {

struct Shapes {
  std::vector<int64_t> a, b;
};
extern const std::vector<Shapes> kBroadcasts;

using Binary = sn_status (*)(const sn_tensor* a, const sn_tensor* b, sn_tensor* y);
// y = function(a, b) in F32, with random operands; in place where a has y's shape.
Call broadcast_call(const std::string& op, sn_dtype dtype, const Shapes& shapes, float (*function)(float, float),
                    Binary run);

}  // namespace sinew_test
