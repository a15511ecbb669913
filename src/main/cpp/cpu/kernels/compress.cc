// Groups of elements as bytes with a scale each, for collectives that send less. See sinew.h.
#include "cpu/kernels/rows.h"
#include "cpu/kernels/tokens.h"

namespace sn {
namespace SN_ISA_NAME {
namespace {

constexpr int64_t kGroup = SN_COMPRESSED_GROUP;
constexpr int64_t kGroupsOfATask = 256;

// f(group, first, n) for the groups of `elements` elements.
template <class F>
void for_groups(sn_device* device, int64_t elements, F f) {
  const int64_t groups = ceil_div(elements, kGroup);
  auto some = [&](int64_t begin, int64_t end) {
    for (int64_t g = begin; g < end; ++g) f(g, g * kGroup, min_of(kGroup, elements - g * kGroup));
  };
  if (device == nullptr) return some(0, groups);
  auto task = [&](int64_t index) { some(index * kGroupsOfATask, min_of(groups, (index + 1) * kGroupsOfATask)); };
  for_tasks(device, ceil_div(groups, kGroupsOfATask), task);
}

// 16 bytes, of which those from n on are zero.
SN_INLINE F numbers_at(const int8_t* q, int64_t n) {
  if (n >= kLanes) return from_int(load_int(q));
  int8_t padded[kLanes] = {};
  memcpy(padded, q, static_cast<size_t>(n));
  return from_int(load_int(padded));
}

template <class T>
void expand_part(float scale, const int8_t* q, T* y, int64_t n) {
  const F s = splat(scale);
  for_vectors(n, [&](int64_t i, int64_t lanes) { store_some(y + i, mul(numbers_at(q + i, lanes), s), lanes); });
}

}  // namespace

sn_status compress(sn_device* device, const void* x, int64_t elements, sn_dtype dtype, float* scale, int8_t* q) {
  with_real(dtype, [&](auto* type) {
    using T = typename Pointee<decltype(type)>::type;
    for_groups(device, elements, [&](int64_t group, int64_t first, int64_t n) {
      scale[group] = quantize_token(static_cast<const T*>(x) + first, n, q + first, n).scale;
    });
  });
  return SN_OK;
}

sn_status reduce_compressed(sn_device* device, const float* const* scales, const int8_t* const* qs, int32_t count,
                            int64_t elements, sn_reduction reduction, float* scale, int8_t* q) {
  const F divisor = splat(static_cast<float>(count));
  for_groups(device, elements, [&](int64_t group, int64_t first, int64_t n) {
    float sums[kGroup] = {};
    for (int32_t m = 0; m < count; ++m) {
      const F s = splat(scales[m][group]);
      for (int64_t i = 0; i < n; i += kLanes) {
        const F v = mul(numbers_at(qs[m] + first + i, n - i), s);
        store(sums + i, m == 0 ? v : add(load(sums + i), v));
      }
    }
    if (reduction == SN_AVERAGE) {
      for (int64_t i = 0; i < n; i += kLanes) store(sums + i, div(load(sums + i), divisor));
    }
    scale[group] = quantize_token(sums, n, q + first, n).scale;
  });
  return SN_OK;
}

sn_status expand(sn_device* device, const float* scale, const int8_t* q, int64_t elements, sn_dtype dtype, void* y) {
  with_real(dtype, [&](auto* type) {
    using T = typename Pointee<decltype(type)>::type;
    for_groups(device, elements, [&](int64_t group, int64_t first, int64_t n) {
      expand_part(scale[group], q + first, static_cast<T*>(y) + first, n);
    });
  });
  return SN_OK;
}

}  // namespace SN_ISA_NAME
}  // namespace sn
