// The table of operations: those that have kernels, and for the others a sentence.
#include "device.h"

namespace sn {
namespace cuda {
namespace {

template <class Slot>
struct Missing;
template <class... Parameters>
struct Missing<sn_status (*)(Parameters...)> {
  template <const char* kName>
  static sn_status slot(Parameters...) {
    return fail(SN_UNSUPPORTED, "%s has no CUDA kernel yet: use the CPU's device", kName);
  }
};

#define SN_OP(name, params) constexpr char kName_##name[] = #name;
#include "core/ops.inc"
#undef SN_OP

sn_ops make_table() {
  sn_ops ops = {
#define SN_OP(name, params) Missing<decltype(sn_ops::name)>::slot<kName_##name>,
#include "core/ops.inc"
#undef SN_OP
  };
  ops.prune_threshold = prune_threshold;
  ops.range = range;
  ops.scale = scale;
  ops.quantize = quantize;
  ops.dequantize = dequantize;
  ops.fake_quantize = fake_quantize;
  return ops;
}

}  // namespace

const sn_ops* operations() {
  static const sn_ops ops = make_table();
  return &ops;
}

}  // namespace cuda
}  // namespace sn
