// Counts of keys, for exact selection by radix, and of values, for people. See sinew.h.
#include "cpu/kernels/floats.h"

namespace sn {
namespace SN_ISA_NAME {
namespace {

constexpr int64_t kBins = 65536;

// Counts n elements into bins; returns the largest magnitude key seen.
I count_keys(const float* x, int64_t n, sn_order order, int32_t prefix, int64_t* bins) {
  I largest = splat_int(0);
  int32_t keys[kLanes];
  for_vectors(n, [&](int64_t i, int64_t lanes) {
    F v = load_some(x + i, lanes);
    I magnitude = key(v);
    largest = max(largest, magnitude);
    store_int(keys, order == SN_ORDER_VALUE ? order_value(v) : magnitude);
    for (int64_t l = 0; l < lanes; ++l) {
      const uint32_t k = static_cast<uint32_t>(keys[l]);
      if (prefix < 0) {
        ++bins[k >> 16];
      } else if (static_cast<int32_t>(k >> 16) == prefix) {
        ++bins[k & 0xffff];
      }
    }
  });
  return largest;
}

}  // namespace

sn_status key_histogram(sn_device* device, const sn_tensor* x, sn_order order, int32_t prefix, sn_tensor* histogram) {
  int64_t* result = data_of<int64_t>(histogram);
  int32_t broken = 0, starved = 0;
  // One table a task, so few and long tasks; alone, the result itself is the table.
  const int64_t tasks = device->threads == 1 ? 1 : min_of(device->threads, ceil_div(x->elements, 1 << 18));
  with_floating(x->dtype, [&](auto* type) {
    using T = typename Pointee<decltype(type)>::type;
    const T* in = data_of<T>(x);
    const int64_t share = ceil_div(x->elements, max_of(tasks, 1));
    auto task = [&](int64_t index) {
      const int64_t first = index * share;
      const int64_t n = max_of(0, min_of(share, x->elements - first));
      int64_t* bins = tasks == 1 ? result : static_cast<int64_t*>(scratch_allocate(kBins * 8));
      if (bins == nullptr) {
        atomic_or(&starved);
        return;
      }
      as_floats(in + first, n, [&](int64_t, const float* part, int64_t here) {
        if (reduce_max(count_keys(part, here, order, prefix, bins)) >= kInfinityKey) atomic_or(&broken);
      });
      if (bins != result) {
        for (int64_t b = 0; b < kBins; ++b) {
          if (bins[b] != 0) atomic_add(result + b, bins[b]);
        }
        scratch_free(bins);
      }
    };
    for_tasks(device, tasks, task);
    return SN_OK;
  });
  if (starved) return fail(SN_OUT_OF_MEMORY, "no memory for a histogram");
  return broken ? not_finite() : SN_OK;
}

sn_status value_histogram(sn_device*, const sn_tensor* x, double lo, double hi, sn_tensor* counts) {
  int64_t* bins = data_of<int64_t>(counts);
  const int64_t last = counts->elements - 1;
  const double parts = static_cast<double>(counts->elements);
  // hi - lo can be beyond F64 where its parts are not.
  const double width = hi - lo < __builtin_inf() ? (hi - lo) / parts : hi / parts - lo / parts;
  with_floating(x->dtype, [&](auto* type) {
    using T = typename Pointee<decltype(type)>::type;
    const T* in = data_of<T>(x);
    for (int64_t i = 0; i < x->elements; ++i) {
      const double v = static_cast<double>(to_float(in[i]));
      if (!(v >= lo && v <= hi)) continue;
      const int64_t bin = width > 0 ? static_cast<int64_t>((v - lo) / width) : 0;
      ++bins[min_of(max_of(bin, 0), last)];
    }
    return SN_OK;
  });
  return SN_OK;
}

}  // namespace SN_ISA_NAME
}  // namespace sn
