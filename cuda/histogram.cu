// Counts of keys, for exact selection by radix. See sinew.h.
#include "team.h"

namespace sn {
namespace cuda {
namespace {

// Adds to bins in the memory of the GPU, which the L2 cache does. Pruned weights are nearly all in one bin, that of
// zeros: a thread counts its own, and those of a warp are added together.
struct CountKeys {
  static constexpr bool kFinds = true;
  sn_dtype dtype;
  const void* x;
  int64_t elements;
  sn_order order;
  int32_t prefix;
  int64_t* bins;

  SN_HD void step(int64_t i, Findings& found) const {
    const int n = length_of(i, elements);
    const Elements<float> in = load_numbers(dtype, x, i * kStep, n);
    const uint32_t zero = order_key(0.0f, order);
    unsigned zeros = 0;
    SN_UNROLL
    for (int j = 0; j < kStep; ++j) {
      const uint32_t magnitude = key_of(in.of[j]), key = order_key(in.of[j], order);
      found.largest = magnitude > found.largest ? magnitude : found.largest;
      const bool counts = j < n && (prefix < 0 || key >> 16 == static_cast<uint32_t>(prefix));
      zeros += counts && key == zero;
      if (counts && key != zero) add_to(bins + (prefix < 0 ? key >> 16 : key & 0xffffu), 1);
    }
#if defined(__CUDA_ARCH__)
    const unsigned peers = __activemask();
    zeros = __reduce_add_sync(peers, zeros);
    if (static_cast<int>(threadIdx.x % 32) != __ffs(static_cast<int>(peers)) - 1) return;
#endif
    if (zeros != 0) add_to(bins + (prefix < 0 ? zero >> 16 : zero & 0xffffu), zeros);
  }
};

}  // namespace

sn_status key_histogram(sn_device* device, const sn_tensor* x, sn_order order, int32_t prefix, sn_tensor* histogram) {
  Call call(device);
  Findings found = {0, 0, 0};
  const CountKeys body = {x->dtype, x->data, x->elements, order, prefix, data_of<int64_t>(histogram)};
  const sn_status status = run(call, body, steps_of_elements(x->elements), &found);
  if (status != SN_OK) return status;
  return found.largest >= kInfinityKey ? not_finite() : SN_OK;
}

}  // namespace cuda
}  // namespace sn
