// The extremes of slices, and the scales that ranges give. See sinew.h.
#include "launch.h"
#include "quantizing.h"
#include "ranges.h"

namespace sn {
namespace cuda {
namespace {

// *target = max(*target, value). Looking first spares nearly all of the atomics.
SN_HD inline void raise(uint32_t* target, uint32_t value) {
#if defined(__CUDA_ARCH__)
  if (value > *static_cast<volatile uint32_t*>(target)) atomicMax(target, value);
#else
  if (value > *target) *target = value;
#endif
}

// Magnitudes of the extremes of each slice as integers, which numbers that are not negative order as; they begin at 0.
struct Extremes {
  static constexpr bool kFinds = true;
  sn_dtype dtype;
  const void* x;
  uint32_t* low;
  uint32_t* high;
  int64_t elements;
  Slices slices;

  // Of the threads that are here together those with one slice raise its extremes once.
  SN_HD void raise_both(int64_t slice, uint32_t below, uint32_t above) const {
#if defined(__CUDA_ARCH__)
    const unsigned peers = __match_any_sync(__activemask(), static_cast<unsigned long long>(slice));
    below = __reduce_max_sync(peers, below);
    above = __reduce_max_sync(peers, above);
    if (static_cast<int>(threadIdx.x % 32) != __ffs(static_cast<int>(peers)) - 1) return;
#endif
    raise(low + slice, below);
    raise(high + slice, above);
  }

  SN_HD void step(int64_t i, Findings& found) const {
    const int n = length_of(i, elements);
    const Elements<float> in = load_numbers(dtype, x, i * kStep, n);
    uint32_t largest = found.largest;
    for_slices(slices, i * kStep, n, [&](int64_t slice, int from, int to) {
      uint32_t below = 0, above = 0;
      SN_UNROLL
      for (int j = 0; j < kStep; ++j) {
        const uint32_t key = key_of(in.of[j]), here = j >= from && j < to ? key : 0;
        largest = key > largest ? key : largest;
        if (in.of[j] < 0) {
          below = here > below ? here : below;
        } else {
          above = here > above ? here : above;
        }
      }
      raise_both(slice, below, above);
    });
    found.largest = largest;
  }
};

// From magnitudes to ranges.
struct Settle {
  static constexpr bool kFinds = false;
  float* lo;
  float* hi;
  bool symmetric;

  SN_HD void step(int64_t i, Findings&) const {
    const float below = lo[i], above = hi[i];
    const float high = symmetric && below > above ? below : above;
    hi[i] = high;
    lo[i] = 0.0f - (symmetric ? high : below);
  }
};

struct Zero {
  static constexpr bool kFinds = false;
  float* lo;
  float* hi;

  SN_HD void step(int64_t i, Findings&) const { lo[i] = hi[i] = 0.0f; }
};

struct Scale {
  static constexpr bool kFinds = true;
  const float* lo;
  const float* hi;
  sn_scheme scheme;
  float* scale;
  int8_t* zero_point;

  SN_HD void step(int64_t i, Findings& found) const {
    const float low = lo[i], high = hi[i];
    const uint32_t largest = key_of(low) > key_of(high) ? key_of(low) : key_of(high);
    if (largest > found.largest) found.largest = largest;
    const Parameters p = parameters_of(low < 0 ? low : 0.0f, high > 0 ? high : 0.0f, scheme);
    scale[i] = p.scale;
    if (zero_point != nullptr) zero_point[i] = static_cast<int8_t>(p.zero_point);
  }
};

}  // namespace

sn_status range(sn_device* device, const sn_tensor* x, int64_t group, sn_scheme scheme, sn_range_method method,
                float percentile, sn_tensor* lo, sn_tensor* hi) {
  Call call(device);
  float* low = data_of<float>(lo);
  float* high = data_of<float>(hi);
  sn_status status = run(call, Zero{low, high}, lo->elements, nullptr);
  if (status != SN_OK) return status;
  Findings found = {0, 0, 0};
  const Extremes body = {x->dtype,
                         x->data,
                         reinterpret_cast<uint32_t*>(low),
                         reinterpret_cast<uint32_t*>(high),
                         x->elements,
                         slices_of(x, group, lo->elements)};
  status = run(call, body, steps_of_elements(x->elements), &found);
  if (status != SN_OK) return status;
  if (found.largest >= kInfinityKey) return not_finite();
  status = run(call, Settle{low, high, !is_asymmetric(scheme)}, lo->elements, nullptr);
  if (status != SN_OK || x->elements == 0 || method == SN_RANGE_MINMAX) return status;
  if (method == SN_RANGE_MSE) return narrow_to_least_error(call, x, group, scheme, lo, hi);
  return narrow_to_percentile(call, x, group, !is_asymmetric(scheme), static_cast<double>(percentile), lo, hi);
}

sn_status scale(sn_device* device, const sn_tensor* lo, const sn_tensor* hi, sn_scheme scheme, sn_tensor* scale,
                sn_tensor* zero_point) {
  Call call(device);
  Findings found = {0, 0, 0};
  const Scale body = {data_of<float>(lo), data_of<float>(hi), scheme, data_of<float>(scale),
                      zero_point == nullptr ? nullptr : data_of<int8_t>(zero_point)};
  const sn_status status = run(call, body, lo->elements, &found);
  if (status != SN_OK) return status;
  return found.largest >= kInfinityKey ? fail(SN_NOT_FINITE, "a range holds NaN or infinity") : SN_OK;
}

}  // namespace cuda
}  // namespace sn
