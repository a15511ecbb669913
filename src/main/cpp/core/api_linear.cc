// The C interface of layers with packed weights: checks every argument once, then calls the device's slot.
#include "core/checks.h"
#include "core/weights.h"

namespace {

using namespace sn::checks;
using sn::dtype_name;
using sn::fail;

// Sums of products of int8 stay within int32 up to so many columns: 65536 x 127 x 255 is below 2^31.
constexpr int64_t kMostColumns = 65536;

// Per tensor or per row of the weights.
sn_status row_scales(const sn_tensor* weight, const sn_tensor* scale, const sn_tensor* zero_point) {
  SN_TRY(present(scale, "scale"));
  SN_TRY(one_device(weight, scale));
  if (scale->dtype != SN_F32 || (scale->elements != 1 && scale->elements != weight->rows)) {
    return fail(SN_INVALID_ARGUMENT, "scale is %s with %lld elements; F32 with 1 or %lld is needed for %s",
                dtype_name(scale->dtype), static_cast<long long>(scale->elements), static_cast<long long>(weight->rows),
                describe(weight).text);
  }
  if (zero_point == nullptr) return SN_OK;
  SN_TRY(typed(zero_point, "zero_point", SN_I8, scale->elements));
  return one_device(weight, zero_point);
}

// A new handle that `fill` gives its parts.
template <class Fill>
sn_status pack(const sn_tensor* weight, sn_kind kind, int64_t rows, int64_t cols, sn_weights** weights, Fill fill) {
  if (weights == nullptr) return fail(SN_INVALID_ARGUMENT, "the result pointer is null");
  sn_weights* made = nullptr;
  SN_TRY(sn::create_weights(weight->device, kind, weight->dtype, rows, cols, &made));
  const sn_status status = fill(made);
  if (status != SN_OK) {
    sn_weights_close(made);
    return status;
  }
  *weights = made;
  return SN_OK;
}

bool takes_activations(const sn_tensor* t) { return t->dtype == SN_F32 || t->dtype == SN_BF16; }

// x [..., in] and y [..., out] for weights [out, in].
sn_status layer(const sn_tensor* x, const sn_weights* weights, const sn_tensor* bias, sn_activation activation,
                const sn_tensor* y) {
  SN_TRY(present(x, "x"));
  if (weights == nullptr) return fail(SN_INVALID_ARGUMENT, "the weights are null");
  SN_TRY(present(y, "y"));
  const long long out = weights->rows, in = weights->cols;
  if (!takes_activations(x) || x->rank < 1 || x->shape[x->rank - 1] != in) {
    return fail(SN_INVALID_ARGUMENT, "x is %s; F32 or BF16 [..., %lld] is needed for weights [%lld, %lld]",
                describe(x).text, in, out, in);
  }
  const int64_t rows = sn::leading_rows(x);
  int64_t elements = 0;
  const bool overflow = __builtin_mul_overflow(rows, weights->rows, &elements);
  if (!takes_activations(y) || y->rank < 1 || y->shape[y->rank - 1] != out || overflow || y->elements != elements) {
    return fail(SN_INVALID_ARGUMENT, "y is %s; F32 or BF16 with %lld rows of %lld is needed for x %s", describe(y).text,
                static_cast<long long>(rows), out, describe(x).text);
  }
  if (weights->device->backend != x->device->backend)
    return fail(SN_INVALID_ARGUMENT, "x and the weights are on different devices");
  SN_TRY(output(x, y, "y", false));
  if (activation < SN_NONE || activation > SN_TANH)
    return fail(SN_INVALID_ARGUMENT, "%d is not an activation", activation);
  if (bias == nullptr) return SN_OK;
  SN_TRY(typed(bias, "bias", SN_F32, weights->rows));
  SN_TRY(one_device(x, bias));
  return apart(bias, y, false);
}

// The number of windows in a dimension; 0 where none fits.
int64_t windows(int64_t size, const int64_t* window, int i) {
  const int64_t rest = size + 2 * window[4 + i] - window[6 + i] * (window[i] - 1) - 1;
  return rest < 0 ? 0 : rest / window[2 + i] + 1;
}

constexpr int64_t kMostWindow = 1 << 20;

// x [batch, channels, height, width] and y [batch, out, rows, columns] for weights of windows.
sn_status convolution(const sn_tensor* x, const sn_weights* weights, const int64_t* window, int64_t groups,
                      const sn_tensor* bias, sn_activation activation, const sn_tensor* y) {
  SN_TRY(present(x, "x"));
  if (weights == nullptr) return fail(SN_INVALID_ARGUMENT, "the weights are null");
  if (window == nullptr) return fail(SN_INVALID_ARGUMENT, "the window is null");
  SN_TRY(present(y, "y"));
  for (int i = 0; i < 8; ++i) {
    const int least = i == 4 || i == 5 ? 0 : 1;
    if (window[i] < least || window[i] > kMostWindow)
      return fail(SN_INVALID_ARGUMENT, "%lld at index %d of the window is not within %d..%lld",
                  static_cast<long long>(window[i]), i, least, static_cast<long long>(kMostWindow));
  }
  const long long out = weights->rows, in = weights->cols, kernel = window[0] * window[1];
  if (!takes_activations(x) || x->rank != 4 || groups < 1 || x->shape[1] % groups != 0 || out % groups != 0 ||
      in % kernel != 0 || x->shape[1] / groups != in / kernel) {
    return fail(SN_INVALID_ARGUMENT,
                "x is %s, which does not fit weights [%lld, %lld] of %lld x %lld windows in %lld groups: F32 or BF16 "
                "[batch, groups x %lld / %lld, height, width] is needed",
                describe(x).text, out, in, static_cast<long long>(window[0]), static_cast<long long>(window[1]),
                static_cast<long long>(groups), in, kernel);
  }
  if (weights->kind == SN_W8A8 && groups == 1 && in > 0 &&
      (weights->kernel_rows != window[0] || weights->kernel_cols != window[1])) {
    return fail(
        SN_INVALID_ARGUMENT,
        "the weights [%lld, %lld] were packed from kernels of %lld x %lld, not %lld x %lld; pack them from a tensor "
        "[out, channels, height, width]",
        out, in, static_cast<long long>(weights->kernel_rows), static_cast<long long>(weights->kernel_cols),
        static_cast<long long>(window[0]), static_cast<long long>(window[1]));
  }
  const int64_t rows = windows(x->shape[2], window, 0), cols = windows(x->shape[3], window, 1);
  if (!takes_activations(y) || y->rank != 4 || y->shape[0] != x->shape[0] || y->shape[1] != out ||
      y->shape[2] != rows || y->shape[3] != cols) {
    return fail(SN_INVALID_ARGUMENT, "y is %s; F32 or BF16 [%lld, %lld, %lld, %lld] is needed for x %s",
                describe(y).text, static_cast<long long>(x->shape[0]), out, static_cast<long long>(rows),
                static_cast<long long>(cols), describe(x).text);
  }
  if (weights->device->backend != x->device->backend)
    return fail(SN_INVALID_ARGUMENT, "x and the weights are on different devices");
  SN_TRY(output(x, y, "y", false));
  if (activation < SN_NONE || activation > SN_TANH)
    return fail(SN_INVALID_ARGUMENT, "%d is not an activation", activation);
  return parameter(bias, "bias", weights->rows, y);
}

}  // namespace

sn_status sn_pack_w8a8(const sn_tensor* weight, const sn_tensor* scale, const sn_tensor* zero_point,
                       sn_weights** weights) {
  SN_TRY(present(weight, "weight"));
  SN_TRY(typed(weight, "weight", SN_I8, weight->elements));
  if (weight->cols > kMostColumns) {
    return fail(SN_INVALID_ARGUMENT, "weight is %s with %lld columns; int32 sums of int8 products take at most %lld",
                describe(weight).text, static_cast<long long>(weight->cols), static_cast<long long>(kMostColumns));
  }
  SN_TRY(row_scales(weight, scale, zero_point));
  return pack(weight, SN_W8A8, weight->rows, weight->cols, weights, [&](sn_weights* made) {
    const bool windows = weight->rank == 4 && weight->cols > 0;
    made->kernel_rows = windows ? weight->shape[2] : 1;
    made->kernel_cols = windows ? weight->shape[3] : 1;
    return SN_CALL(weight, pack_w8a8, weight, scale, zero_point, made);
  });
}

sn_status sn_pack_float(const sn_tensor* weight, sn_weights** weights) {
  SN_TRY(real(weight, "weight"));
  return pack(weight, SN_FLOAT, weight->rows, weight->cols, weights,
              [&](sn_weights* made) { return SN_CALL(weight, pack_float, weight, made); });
}

sn_status sn_linear(const sn_tensor* x, const sn_weights* weights, const sn_tensor* bias, sn_activation activation,
                    sn_tensor* y) {
  SN_TRY(layer(x, weights, bias, activation, y));
  switch (weights->kind) {
    case SN_W8A8:
      return SN_CALL(x, linear_w8a8, x, weights, bias, activation, y);
    case SN_W8:
      return SN_CALL(x, linear_w8, x, weights, bias, activation, y);
    case SN_W4:
      return SN_CALL(x, linear_w4, x, weights, bias, activation, y);
    case SN_SPARSE:
      return SN_CALL(x, linear_sparse, x, weights, bias, activation, y);
    case SN_CLUSTERED:
      return SN_CALL(x, linear_clustered, x, weights, bias, activation, y);
    case SN_FLOAT:
      return SN_CALL(x, linear_float, x, weights, bias, activation, y);
    default:
      return fail(SN_INTERNAL, "there is no operation for weights of kind %d", weights->kind);
  }
}

sn_status sn_conv2d(const sn_tensor* x, const sn_weights* weights, const int64_t* window, int64_t groups,
                    const sn_tensor* bias, sn_activation activation, sn_tensor* y) {
  SN_TRY(convolution(x, weights, window, groups, bias, activation, y));
  return SN_CALL(x, conv2d, x, weights, window, groups, bias, activation, y);
}
