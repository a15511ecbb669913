// Softmax, the norms, and rows quantized to bytes, as they are or normed. See sinew.h.
#include "cpu/kernels/math.h"
#include "cpu/kernels/rows.h"
#include "cpu/kernels/tokens.h"

namespace sn {
namespace SN_ISA_NAME {
namespace {

SN_INLINE F only_lanes(F x, int64_t lanes, float other) {
  return lanes == kLanes ? x : select(first_lanes(lanes), x, splat(other));
}

template <class T>
void softmax_row(const T* x, T* y, int64_t n) {
  const float lowest = -__builtin_inff();
  F largest = splat(lowest);
  // NaN is passed over here, and makes the sum NaN.
  for_vectors(
      n, [&](int64_t i, int64_t lanes) { largest = max(only_lanes(load_some(x + i, lanes), lanes, lowest), largest); });
  const F top = splat(reduce_max(largest));
  D sum = zero_sum();
  for_vectors(n, [&](int64_t i, int64_t lanes) {
    const F e = exponential(sub(load_some(x + i, lanes), top));
    add(sum, only_lanes(e, lanes, 0));
    // F32 keeps what it has computed; a narrower type would lose digits, so it computes again below.
    if (sizeof(T) == sizeof(float)) store_some(y + i, e, lanes);
  });
  const F divisor = splat(static_cast<float>(reduce(sum)));
  for_vectors(n, [&](int64_t i, int64_t lanes) {
    const F e = sizeof(T) == sizeof(float) ? load_some(y + i, lanes) : exponential(sub(load_some(x + i, lanes), top));
    store_some(y + i, div(e, divisor), lanes);
  });
}

// What a row's elements are to be multiplied with, one over the root of their mean square.
template <class T>
float inverse_rms(const T* x, int64_t n, double eps) {
  D squares = zero_sum();
  for_vectors(n, [&](int64_t i, int64_t lanes) {
    const F v = load_some(x + i, lanes);
    add_product(squares, v, v);
  });
  return static_cast<float>(1 / __builtin_sqrt(reduce(squares) / static_cast<double>(n) + eps));
}

template <class T>
SN_INLINE F scaled(const T* x, const float* weight, F factor, int64_t i, int64_t lanes) {
  const F v = mul(load_some(x + i, lanes), factor);
  return weight == nullptr ? v : mul(v, load_some(weight + i, lanes));
}

template <class T>
void layer_norm_row(const T* x, const float* weight, const float* bias, double eps, T* y, int64_t n) {
  D sum = zero_sum();
  for_vectors(n, [&](int64_t i, int64_t lanes) { add(sum, load_some(x + i, lanes)); });
  const F mean = splat(static_cast<float>(reduce(sum) / static_cast<double>(n)));
  D squares = zero_sum();
  for_vectors(n, [&](int64_t i, int64_t lanes) {
    const F d = only_lanes(sub(load_some(x + i, lanes), mean), lanes, 0);
    add_product(squares, d, d);
  });
  const F factor = splat(static_cast<float>(1 / __builtin_sqrt(reduce(squares) / static_cast<double>(n) + eps)));
  for_vectors(n, [&](int64_t i, int64_t lanes) {
    F v = mul(sub(load_some(x + i, lanes), mean), factor);
    if (weight != nullptr) v = mul(v, load_some(weight + i, lanes));
    if (bias != nullptr) v = add(v, load_some(bias + i, lanes));
    store_some(y + i, v, lanes);
  });
}

template <class T>
void rms_norm_row(const T* x, const float* weight, double eps, T* y, int64_t n) {
  const F factor = splat(inverse_rms(x, n, eps));
  for_vectors(n, [&](int64_t i, int64_t lanes) { store_some(y + i, scaled(x, weight, factor, i, lanes), lanes); });
}

template <class T, class F_>
void for_rows_of(sn_device* device, const sn_tensor* x, F_ f) {
  const int64_t n = last_size(x);
  if (n == 0) return;
  for_rows(device, x->elements / n, n, [&](int64_t row) { f(data_of<T>(x) + row * n, row, n); });
}

// f(in, q, n) quantizes each row of x to q, and returns its scale.
template <class F_>
void quantize_rows(sn_device* device, const sn_tensor* x, sn_tensor* q, sn_tensor* scale, F_ f) {
  float* scales = data_of<float>(scale);
  // Rows of no elements are all zero.
  if (last_size(x) == 0) {
    for (int64_t row = 0; row < scale->elements; ++row) scales[row] = 1;
  }
  with_real(x->dtype, [&](auto* type) {
    using T = typename Pointee<decltype(type)>::type;
    for_rows_of<T>(device, x,
                   [&](const T* in, int64_t row, int64_t n) { scales[row] = f(in, data_of<int8_t>(q) + row * n, n); });
  });
}

const float* floats_or_null(const sn_tensor* t) { return t == nullptr ? nullptr : data_of<float>(t); }

}  // namespace

sn_status softmax(sn_device* device, const sn_tensor* x, sn_tensor* y) {
  with_real(x->dtype, [&](auto* type) {
    using T = typename Pointee<decltype(type)>::type;
    for_rows_of<T>(device, x,
                   [&](const T* in, int64_t row, int64_t n) { softmax_row(in, data_of<T>(y) + row * n, n); });
  });
  return SN_OK;
}

sn_status layer_norm(sn_device* device, const sn_tensor* x, const sn_tensor* weight, const sn_tensor* bias, double eps,
                     sn_tensor* y) {
  with_real(x->dtype, [&](auto* type) {
    using T = typename Pointee<decltype(type)>::type;
    for_rows_of<T>(device, x, [&](const T* in, int64_t row, int64_t n) {
      layer_norm_row(in, floats_or_null(weight), floats_or_null(bias), eps, data_of<T>(y) + row * n, n);
    });
  });
  return SN_OK;
}

sn_status rms_norm(sn_device* device, const sn_tensor* x, const sn_tensor* weight, double eps, sn_tensor* y) {
  with_real(x->dtype, [&](auto* type) {
    using T = typename Pointee<decltype(type)>::type;
    for_rows_of<T>(device, x, [&](const T* in, int64_t row, int64_t n) {
      rms_norm_row(in, floats_or_null(weight), eps, data_of<T>(y) + row * n, n);
    });
  });
  return SN_OK;
}

sn_status quantize_per_token(sn_device* device, const sn_tensor* x, sn_tensor* q, sn_tensor* scale) {
  quantize_rows(device, x, q, scale,
                [](const auto* in, int8_t* to, int64_t n) { return quantize_token(in, n, to, n).scale; });
  return SN_OK;
}

sn_status rms_norm_quantize(sn_device* device, const sn_tensor* x, const sn_tensor* weight, double eps, sn_tensor* q,
                            sn_tensor* scale) {
  quantize_rows(device, x, q, scale, [&](const auto* in, int8_t* to, int64_t n) {
    const F factor = splat(inverse_rms(in, n, eps));
    // Lanes that are not there would be NaN where the factor is infinite.
    const auto at = [&](int64_t i, int64_t lanes) {
      return only_lanes(scaled(in, floats_or_null(weight), factor, i, lanes), lanes, 0);
    };
    return quantize_numbers(at, n, to, n, 64).scale;
  });
  return SN_OK;
}

sn_status batch_norm(sn_device* device, const sn_tensor* x, const sn_tensor* mean, const sn_tensor* variance,
                     const sn_tensor* weight, const sn_tensor* bias, double eps, sn_tensor* y) {
  const float *means = data_of<float>(mean), *variances = data_of<float>(variance);
  const float *weights = floats_or_null(weight), *biases = floats_or_null(bias);
  const int64_t channels = x->shape[1];
  if (x->elements == 0) return SN_OK;
  const int64_t rows = x->shape[0] * channels, cols = x->elements / rows;
  with_real(x->dtype, [&](auto* type) {
    using T = typename Pointee<decltype(type)>::type;
    const T* in = data_of<T>(x);
    T* out = data_of<T>(y);
    for_pieces(
        device, rows, cols, 64, 0,
        [&](int, int64_t row, int64_t col, int64_t n) {
          const int64_t c = row % channels;
          const double w = weights == nullptr ? 1 : static_cast<double>(weights[c]);
          const double b = biases == nullptr ? 0 : static_cast<double>(biases[c]);
          const double exact = w / __builtin_sqrt(static_cast<double>(variances[c]) + eps);
          const F factor = splat(static_cast<float>(exact));
          const F term = splat(static_cast<float>(b - static_cast<double>(means[c]) * exact));
          const int64_t at = row * cols + col;
          for_vectors(n, [&](int64_t i, int64_t lanes) {
            store_some(out + at + i, add(mul(load_some(in + at + i, lanes), factor), term), lanes);
          });
        },
        [](int) {});
  });
  return SN_OK;
}

}  // namespace SN_ISA_NAME
}  // namespace sn
