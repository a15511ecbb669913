// RMS norm, alone and fused with quantizing its result. See sinew.h.
#include "rms_norm.h"

namespace sn {
namespace cuda {
namespace {

// Rows of no elements are all zero.
struct Ones {
  static constexpr bool kFinds = false;
  float* scale;

  SN_HD void step(int64_t i, Findings&) const { scale[i] = 1.0f; }
};

const float* floats_or_null(const sn_tensor* t) { return t == nullptr ? nullptr : data_of<float>(t); }

}  // namespace

sn_status rms_norm(sn_device* device, const sn_tensor* x, const sn_tensor* weight, double eps, sn_tensor* y) {
  Call call(device);
  const int64_t cols = x->shape[x->rank - 1];
  if (x->elements == 0) return call.status();
  const RmsNorm<false> body = {x->dtype, x->data, floats_or_null(weight), eps, cols, y->data, nullptr};
  return run_teams(call, body, x->elements / cols, nullptr);
}

sn_status rms_norm_quantize(sn_device* device, const sn_tensor* x, const sn_tensor* weight, double eps, sn_tensor* q,
                            sn_tensor* scale) {
  Call call(device);
  const int64_t cols = x->shape[x->rank - 1];
  float* scales = data_of<float>(scale);
  if (cols == 0) return run(call, Ones{scales}, scale->elements, nullptr);
  if (x->elements == 0) return call.status();
  const RmsNorm<true> body = {x->dtype, x->data, floats_or_null(weight), eps, cols, q->data, scales};
  return run_teams(call, body, x->elements / cols, nullptr);
}

}  // namespace cuda
}  // namespace sn
