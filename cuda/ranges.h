// What range.cu takes from percentile.cu and error.cu: ranges that begin as the extremes and become narrower.
#pragma once

#include "device.h"

namespace sn {
namespace cuda {

sn_status narrow_to_percentile(Call& call, const sn_tensor* x, int64_t group, bool symmetric, double percentile,
                               sn_tensor* lo, sn_tensor* hi);
sn_status narrow_to_least_error(Call& call, const sn_tensor* x, int64_t group, sn_scheme scheme, sn_tensor* lo,
                                sn_tensor* hi);

}  // namespace cuda
}  // namespace sn
