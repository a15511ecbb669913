// Quantize, dequantize, and both in one pass. See sinew.h.
#include "launch.h"
#include "quantizing.h"

namespace sn {
namespace cuda {
namespace {

// Scales and zero points, one of each a slice.
struct Scales {
  Slices slices;
  const float* scale;
  const int8_t* zero_point;  // null for symmetric schemes
  sn_scheme scheme;

  SN_HD Quantizer at(int64_t slice) const {
    return quantizer(scale[slice], zero_point == nullptr ? 0 : zero_point[slice], scheme);
  }
};

// result[j] = f(j, quantizer) for n elements, the first of which is `first`. Nearly always they have one slice; the
// loop is there once so that the compiler need not unroll it twice, and computes all elements so that nothing branches.
template <class T, class F>
SN_HD inline void quantize_step(const Scales& scales, int64_t first, int n, Elements<T>& result, F f) {
  for_slices(scales.slices, first, n, [&](int64_t slice, int from, int to) {
    const Quantizer z = scales.at(slice);
    SN_UNROLL
    for (int j = 0; j < kStep; ++j) {
      const T value = f(j, z);
      result.of[j] = j >= from && j < to ? value : result.of[j];
    }
  });
}

// To bytes, or to nibbles where rows have whole bytes, so that all of x is one sequence.
template <bool kFloat8>
struct Quantize {
  static constexpr bool kFinds = true;
  sn_dtype dtype;
  const void* x;
  int8_t* q;
  int64_t elements;
  Scales scales;
  bool int4;

  SN_HD void step(int64_t i, Findings& found) const {
    const int n = length_of(i, elements);
    const Elements<float> in = load_numbers(dtype, x, i * kStep, n);
    found.largest = largest_key(in, found.largest);
    Elements<int8_t> out = {};
    quantize_step(scales, i * kStep, n, out,
                  [&in](int j, const Quantizer& z) { return static_cast<int8_t>(quantized<kFloat8>(z, in.of[j])); });
    if (kFloat8 || !int4) {
      store(q + i * kStep, out, n);
      return;
    }
    uint64_t nibbles = 0;
    SN_UNROLL
    for (int j = 0; j < kStep; ++j) nibbles |= static_cast<uint64_t>((out.of[j] + 8) & 15) << (4 * j);
    store_bytes(q + i * (kStep / 2), nibbles, (n + 1) / 2);
  }

  SN_HD static void store_bytes(int8_t* to, uint64_t bytes, int n) {
#if defined(__CUDA_ARCH__)
    if (n == 8 && (reinterpret_cast<uintptr_t>(to) & 7) == 0) {
      *reinterpret_cast<uint64_t*>(to) = bytes;
      return;
    }
#endif
    for (int j = 0; j < n; ++j) to[j] = static_cast<int8_t>(bytes >> (8 * j) & 255);
  }
};

// To nibbles where rows have an odd number of columns: one byte at a time.
struct QuantizePairs {
  static constexpr bool kFinds = true;
  sn_dtype dtype;
  const void* x;
  uint8_t* q;
  int64_t cols, row_bytes;
  Scales scales;

  SN_HD int nibble(int64_t element, Findings& found) const {
    const float v = number_at(dtype, x, element);
    found.largest = key_of(v) > found.largest ? key_of(v) : found.largest;
    return quantized<false>(scales.at(Walk(scales.slices, element).slice()), v) + 8;
  }
  SN_HD void step(int64_t i, Findings& found) const {
    const int64_t row = i / row_bytes, col = (i - row * row_bytes) * 2;
    const int low = nibble(row * cols + col, found);
    const int high = col + 1 < cols ? nibble(row * cols + col + 1, found) : 8;
    q[i] = static_cast<uint8_t>(low | high << 4);
  }
};

template <bool kFloat8>
struct FakeQuantize {
  static constexpr bool kFinds = false;
  sn_dtype dtype;
  const void* x;
  void* y;
  int64_t elements;
  Scales scales;

  SN_HD void step(int64_t i, Findings&) const {
    const int n = length_of(i, elements);
    const Elements<float> in = load_numbers(dtype, x, i * kStep, n);
    Elements<float> out = {};
    quantize_step(scales, i * kStep, n, out, [&in](int j, const Quantizer& z) { return faked<kFloat8>(z, in.of[j]); });
    store_numbers(dtype, y, i * kStep, out, n);
  }
};

SN_HD inline float value_of(int8_t q, const Quantizer& z) { return dequantized(q, z.scale, z.zero_point); }
SN_HD inline float value_of(f8e4m3 q, const Quantizer& z) { return dequantized(q, z.scale); }

// From bytes.
template <class Q>
struct Dequantize {
  static constexpr bool kFinds = false;
  using ManyRegisters = void;
  const Q* q;
  sn_dtype dtype;
  void* y;
  int64_t elements;
  Scales scales;

  SN_HD void step(int64_t i, Findings&) const {
    const int n = length_of(i, elements);
    const Elements<Q> in = load(q + i * kStep, n);
    Elements<float> out = {};
    quantize_step(scales, i * kStep, n, out, [&in](int j, const Quantizer& z) { return value_of(in.of[j], z); });
    store_numbers(dtype, y, i * kStep, out, n);
  }
};

// From nibbles; rows begin at whole bytes.
struct DequantizeNibbles {
  static constexpr bool kFinds = false;
  const uint8_t* q;
  sn_dtype dtype;
  void* y;
  int64_t elements, cols;
  Scales scales;

  // The nibbles of n elements from `first` on.
  SN_HD uint64_t nibbles(int64_t first, int n) const {
    const int64_t row_bytes = (cols + 1) / 2;
    int64_t row = first / cols, col = first - row * cols;
#if defined(__CUDA_ARCH__)
    const uint8_t* from = q + row * row_bytes + col / 2;
    if (cols % 2 == 0 && n == kStep && (reinterpret_cast<uintptr_t>(from) & 7) == 0)
      return *reinterpret_cast<const uint64_t*>(from);
#endif
    uint64_t all = 0;
    for (int j = 0; j < n; ++j) {
      all |= static_cast<uint64_t>(q[row * row_bytes + col / 2] >> (col % 2 * 4) & 15) << (4 * j);
      if (++col == cols) {
        col = 0;
        ++row;
      }
    }
    return all;
  }
  SN_HD void step(int64_t i, Findings&) const {
    const int n = length_of(i, elements);
    const uint64_t in = nibbles(i * kStep, n);
    Elements<float> out = {};
    quantize_step(scales, i * kStep, n, out, [in](int j, const Quantizer& z) {
      return dequantized(static_cast<int>(in >> (4 * j) & 15) - 8, z.scale, z.zero_point);
    });
    store_numbers(dtype, y, i * kStep, out, n);
  }
};

Scales scales_of(const sn_tensor* x, const sn_tensor* scale, const sn_tensor* zero_point, int64_t group,
                 sn_scheme scheme) {
  return {slices_of(x, group, scale->elements), data_of<float>(scale),
          zero_point == nullptr ? nullptr : data_of<int8_t>(zero_point), scheme};
}

sn_scheme scheme_of(const sn_tensor* q, const sn_tensor* zero_point) {
  if (q->dtype == SN_F8_E4M3) return SN_FP8;
  if (q->dtype == SN_U8) return zero_point == nullptr ? SN_INT4_SYMMETRIC : SN_INT4_ASYMMETRIC;
  return zero_point == nullptr ? SN_INT8_SYMMETRIC : SN_INT8_ASYMMETRIC;
}

}  // namespace

sn_status quantize(sn_device* device, const sn_tensor* x, const sn_tensor* scale, const sn_tensor* zero_point,
                   int64_t group, sn_tensor* q) {
  Call call(device);
  const Scales scales = scales_of(x, scale, zero_point, group, scheme_of(q, zero_point));
  const bool int4 = q->dtype == SN_U8;
  const int64_t steps = steps_of_elements(x->elements);
  Findings found = {0, 0, 0};
  sn_status status;
  if (int4 && x->cols % 2 != 0) {
    const QuantizePairs body = {x->dtype, x->data, data_of<uint8_t>(q), x->cols, (x->cols + 1) / 2, scales};
    status = run(call, body, q->elements, &found);
  } else if (scales.scheme == SN_FP8) {
    const Quantize<true> body = {x->dtype, x->data, data_of<int8_t>(q), x->elements, scales, false};
    status = run(call, body, steps, &found);
  } else {
    const Quantize<false> body = {x->dtype, x->data, data_of<int8_t>(q), x->elements, scales, int4};
    status = run(call, body, steps, &found);
  }
  if (status != SN_OK) return status;
  return found.largest >= kInfinityKey ? not_finite() : SN_OK;
}

sn_status dequantize(sn_device* device, const sn_tensor* q, const sn_tensor* scale, const sn_tensor* zero_point,
                     int64_t group, sn_tensor* y) {
  Call call(device);
  const Scales scales = scales_of(y, scale, zero_point, group, scheme_of(q, zero_point));
  const int64_t n = y->elements, steps = steps_of_elements(n);
  if (q->dtype == SN_U8)
    return run(call, DequantizeNibbles{data_of<uint8_t>(q), y->dtype, y->data, n, y->cols, scales}, steps, nullptr);
  if (q->dtype == SN_F8_E4M3)
    return run(call, Dequantize<f8e4m3>{data_of<f8e4m3>(q), y->dtype, y->data, n, scales}, steps, nullptr);
  return run(call, Dequantize<int8_t>{data_of<int8_t>(q), y->dtype, y->data, n, scales}, steps, nullptr);
}

sn_status fake_quantize(sn_device* device, const sn_tensor* x, const sn_tensor* scale, const sn_tensor* zero_point,
                        int64_t group, sn_scheme scheme, sn_tensor* y) {
  Call call(device);
  const Scales scales = scales_of(x, scale, zero_point, group, scheme);
  const int64_t steps = steps_of_elements(x->elements);
  if (scheme == SN_FP8)
    return run(call, FakeQuantize<true>{x->dtype, x->data, y->data, x->elements, scales}, steps, nullptr);
  return run(call, FakeQuantize<false>{x->dtype, x->data, y->data, x->elements, scales}, steps, nullptr);
}

}  // namespace cuda
}  // namespace sn
