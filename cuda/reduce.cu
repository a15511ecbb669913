// Reductions over several tensors of one GPU. See sinew.h.
#include "launch.h"
#include "reduction.h"

namespace sn {
namespace cuda {
namespace {

struct Reduce {
  static constexpr bool kFinds = false;
  using ManyRegisters = void;  // integers are summed in 64 bits
  const void* x[SN_MAX_WORLD_SIZE];
  void* out[SN_MAX_WORLD_SIZE];
  int count, outs;
  sn_dtype dtype;
  sn_reduction reduction;
  int64_t elements;

  SN_HD void step(int64_t i, Findings&) const {
    reduce_step(Tensors{x}, count, dtype, reduction, i * kStep, length_of(i, elements), out, outs);
  }
};

}  // namespace

sn_status reduce(sn_device* device, const void* const* x, int32_t count, int64_t elements, sn_dtype dtype,
                 sn_reduction reduction, void* const* out, int32_t outs, int64_t) {
  Call call(device);
  Reduce body = {{}, {}, count, outs, dtype, reduction, elements};
  for (int m = 0; m < count; ++m) body.x[m] = x[m];
  for (int j = 0; j < outs; ++j) body.out[j] = out[j];
  return run(call, body, steps_of_elements(elements), nullptr);
}

}  // namespace cuda
}  // namespace sn
