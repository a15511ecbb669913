// Pruning by magnitude. See sinew.h.
#include "launch.h"

namespace sn {
namespace cuda {
namespace {

template <class T>
SN_HD inline T kept(T x, bool keep, const T*) {
  T zero;
  memset(static_cast<void*>(&zero), 0, sizeof zero);
  return keep ? x : zero;
}
template <class T>
SN_HD inline uint8_t kept(T, bool keep, const uint8_t*) {
  return keep;
}

template <class T, class Out>
struct PruneThreshold {
  static constexpr bool kFinds = true;
  const T* x;
  Out* out;
  int64_t elements;
  uint32_t limit;

  SN_HD void step(int64_t i, Findings& found) const {
    const int n = length_of(i, elements);
    const Elements<T> in = load(x + i * kStep, n);
    Elements<Out> result;
    uint32_t largest = found.largest;
    int nonzeros = 0;
#if defined(__CUDA_ARCH__)
#pragma unroll
#endif
    for (int j = 0; j < kStep; ++j) {
      const uint32_t key = key_of(number_of(in.of[j]));
      largest = key > largest ? key : largest;
      const bool keep = key > limit;  // what is missing has key 0
      nonzeros += keep;
      result.of[j] = kept(in.of[j], keep, out);
    }
    store(out + i * kStep, result, n);
    found.largest = largest;
    found.count += static_cast<unsigned long long>(nonzeros);
  }
};

}  // namespace

sn_status prune_threshold(sn_device* device, const sn_tensor* x, float threshold, sn_tensor* out, int64_t* zeros) {
  Call call(device);
  Findings found = {0, 0};
  const sn_status status = with_floating(x->dtype, [&](auto* type) {
    using T = typename Pointee<decltype(type)>::type;
    const auto prune = [&](auto* kept) {
      using Out = typename Pointee<decltype(kept)>::type;
      const PruneThreshold<T, Out> body = {data_of<T>(x), kept, x->elements, key_of(threshold)};
      return run(call, body, steps_of_elements(x->elements), &found);
    };
    return out->dtype == SN_BOOL ? prune(data_of<uint8_t>(out)) : prune(data_of<T>(out));
  });
  if (zeros != nullptr) *zeros = x->elements - static_cast<int64_t>(found.count);
  if (status != SN_OK) return status;
  return found.largest >= kInfinityKey ? not_finite() : SN_OK;
}

}  // namespace cuda
}  // namespace sn
