// Additions and multiplications of tensors that are repeated to one shape. See sinew.h.
#include "launch.h"

namespace sn {
namespace cuda {
namespace {

// y's dimensions from the last to the first, of which neighbours that are repeated in the same operands are one.
struct Dimensions {
  static constexpr int kMost = SN_MAX_RANK;
  struct Dimension {
    int64_t size, a, b;  // a step moves so far in the operands: 0 where they are repeated
  };
  Dimension of[kMost];
  int count;
};

Dimensions dimensions_of(const sn_tensor* a, const sn_tensor* b, const sn_tensor* y) {
  Dimensions dimensions = {};
  int64_t a_step = 1, b_step = 1;
  for (int32_t i = 1; i <= y->rank; ++i) {
    const int64_t size = y->shape[y->rank - i];
    if (size == 1) continue;
    const bool in_a = i <= a->rank && a->shape[a->rank - i] != 1, in_b = i <= b->rank && b->shape[b->rank - i] != 1;
    Dimensions::Dimension* last = dimensions.count == 0 ? nullptr : dimensions.of + dimensions.count - 1;
    if (last != nullptr && (last->a != 0) == in_a && (last->b != 0) == in_b) {
      last->size *= size;
    } else {
      dimensions.of[dimensions.count++] = {size, in_a ? a_step : 0, in_b ? b_step : 0};
    }
    if (in_a) a_step *= size;
    if (in_b) b_step *= size;
  }
  if (dimensions.count == 0) dimensions.of[dimensions.count++] = {1, 0, 0};
  return dimensions;
}

// A step is kStep elements of y.
struct Combine {
  static constexpr bool kFinds = false;
  sn_dtype dtype;
  const void *a, *b;
  void* y;
  int64_t elements;
  bool adds;
  Dimensions dimensions;

  // Where the operands of element i of y are.
  SN_HD void find(int64_t i, int64_t* a_at, int64_t* b_at) const {
    *a_at = *b_at = 0;
    for (int d = 0; d < dimensions.count; ++d) {
      const auto& dimension = dimensions.of[d];
      const int64_t rest = i / dimension.size, index = i - rest * dimension.size;
      *a_at += index * dimension.a;
      *b_at += index * dimension.b;
      i = rest;
    }
  }
  SN_HD Elements<float> load_operand(const void* from, int64_t at, int64_t distance, int n) const {
    if (distance != 0) return load_reals(dtype, from, at, n);
    const float one = number_at(dtype, from, at);
    Elements<float> all;
    SN_UNROLL
    for (int j = 0; j < kStep; ++j) all.of[j] = one;
    return all;
  }

  SN_HD void step(int64_t i, Findings&) const {
    const int n = length_of(i, elements);
    const auto& inner = dimensions.of[0];
    const int64_t first = i * kStep;
    int64_t a_at, b_at;
    find(first, &a_at, &b_at);
    if (first % inner.size + n > inner.size) {
      step_singly(first, n);
      return;
    }
    Elements<float> u = load_operand(a, a_at, inner.a, n);
    const Elements<float> v = load_operand(b, b_at, inner.b, n);
    SN_UNROLL
    for (int j = 0; j < kStep; ++j) u.of[j] = combined(u.of[j], v.of[j]);
    store_reals(dtype, y, first, u, n);
  }

  // Where the inner dimension ends in the middle of a step.
  SN_HD void step_singly(int64_t first, int n) const {
    SN_KEEP_LOOP
    for (int64_t i = first; i < first + n; ++i) {
      int64_t a_at, b_at;
      find(i, &a_at, &b_at);
      put_number(dtype, y, i, combined(number_at(dtype, a, a_at), number_at(dtype, b, b_at)));
    }
  }
  SN_HD float combined(float u, float v) const { return adds ? u + v : u * v; }
};

sn_status combine(sn_device* device, const sn_tensor* a, const sn_tensor* b, sn_tensor* y, bool adds) {
  Call call(device);
  const Combine body = {y->dtype, a->data, b->data, y->data, y->elements, adds, dimensions_of(a, b, y)};
  return run(call, body, steps_of_elements(y->elements), nullptr);
}

}  // namespace

sn_status add(sn_device* device, const sn_tensor* a, const sn_tensor* b, sn_tensor* y) {
  return combine(device, a, b, y, true);
}
sn_status multiply(sn_device* device, const sn_tensor* a, const sn_tensor* b, sn_tensor* y) {
  return combine(device, a, b, y, false);
}

}  // namespace cuda
}  // namespace sn
