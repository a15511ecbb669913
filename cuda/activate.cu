// Activations of layers. See sinew.h.
#include "activation.h"
#include "launch.h"

namespace sn {
namespace cuda {
namespace {

struct Activate {
  static constexpr bool kFinds = false;
  sn_dtype dtype;
  const void* x;
  sn_activation activation;
  void* y;
  int64_t elements;

  SN_HD void step(int64_t i, Findings&) const {
    const int n = length_of(i, elements);
    Elements<float> v = load_reals(dtype, x, i * kStep, n);
    SN_UNROLL
    for (int j = 0; j < kStep; ++j) v.of[j] = activate(v.of[j], activation);
    store_reals(dtype, y, i * kStep, v, n);
  }
};

}  // namespace

sn_status activate(sn_device* device, const sn_tensor* x, sn_activation activation, sn_tensor* y) {
  Call call(device);
  return run(call, Activate{x->dtype, x->data, activation, y->data, x->elements}, steps_of_elements(x->elements),
             nullptr);
}

}  // namespace cuda
}  // namespace sn
