// Conversions between floating types. See sinew.h.
#include "launch.h"

namespace sn {
namespace cuda {
namespace {

struct Convert {
  static constexpr bool kFinds = false;
  sn_dtype from, to;
  const void* x;
  void* y;
  int64_t elements;

  SN_HD void step(int64_t i, Findings&) const {
    const int n = length_of(i, elements);
    store_numbers(to, y, i * kStep, load_numbers(from, x, i * kStep, n), n);
  }
};

}  // namespace

sn_status convert(sn_device* device, const sn_tensor* x, sn_tensor* y) {
  Call call(device);
  if (x->dtype == y->dtype) return call.copy(y->data, x->data, x->bytes());
  return run(call, Convert{x->dtype, y->dtype, x->data, y->data, x->elements}, steps_of_elements(x->elements), nullptr);
}

}  // namespace cuda
}  // namespace sn
