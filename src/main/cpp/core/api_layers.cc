// The C interface of layers without packed weights: checks every argument once, then calls the device's slot.
#include "core/checks.h"

namespace {

using namespace sn::checks;
using sn::dtype_name;
using sn::fail;

long long shown(int64_t x) { return static_cast<long long>(x); }

sn_status last_dimension(const sn_tensor* x) {
  if (x->rank >= 1) return SN_OK;
  return fail(SN_INVALID_ARGUMENT, "x is a scalar; there is no dimension to take rows along");
}
int64_t row_length(const sn_tensor* x) { return x->shape[x->rank - 1]; }

sn_status valid_eps(double eps) {
  if (eps >= 0 && eps < __builtin_inf()) return SN_OK;
  return fail(SN_INVALID_ARGUMENT, "eps is %g, not a finite number of at least 0", eps);
}

// q has a byte for each element of x, and scale a number for each row.
sn_status quantized_rows(const sn_tensor* x, const sn_tensor* q, const sn_tensor* scale) {
  SN_TRY(real(x, "x"));
  SN_TRY(last_dimension(x));
  SN_TRY(typed(q, "q", SN_I8, x->elements));
  SN_TRY(output(x, q, "q", false));
  SN_TRY(typed(scale, "scale", SN_F32, sn::leading_rows(x)));
  SN_TRY(output(x, scale, "scale", false));
  return apart(q, scale, false);
}

// The size of the dimension of `t` that is aligned with dimension `i` of y.
int64_t aligned(const sn_tensor* t, const sn_tensor* y, int32_t i) {
  const int32_t at = i - (y->rank - t->rank);
  return at < 0 ? 1 : t->shape[at];
}

sn_status broadcast(const sn_tensor* a, const sn_tensor* b, const sn_tensor* y) {
  SN_TRY(real(a, "a"));
  SN_TRY(real(b, "b"));
  SN_TRY(present(y, "y"));
  SN_TRY(one_device(a, b));
  bool fits = a->dtype == b->dtype && y->dtype == a->dtype && a->rank <= y->rank && b->rank <= y->rank;
  for (int32_t i = 0; fits && i < y->rank; ++i) {
    const int64_t p = aligned(a, y, i), q = aligned(b, y, i);
    fits = (p == q || p == 1 || q == 1) && y->shape[i] == (p == 1 ? q : p);
  }
  if (!fits || (y->rank != a->rank && y->rank != b->rank)) {
    return fail(SN_INVALID_ARGUMENT, "a is %s and b is %s, which do not broadcast to y, %s", describe(a).text,
                describe(b).text, describe(y).text);
  }
  SN_TRY(output(a, y, "y", a->elements == y->elements));
  return apart(b, y, b->elements == y->elements);
}

// The number of windows in one dimension, or one more if that is what y has and it is allowed; 0 where none fits, and
// -1 where y's does not.
int64_t windows(int64_t size, int64_t kernel, int64_t stride, int64_t padding, int64_t dilation, int64_t wanted) {
  const int64_t span = dilation * (kernel - 1) + 1;
  if (size + 2 * padding < span) return 0;
  const int64_t rest = size + 2 * padding - span, count = rest / stride + 1;
  if (wanted == count) return count;
  const bool partial = rest % stride != 0 && count * stride < size + padding;
  return partial && wanted == count + 1 ? wanted : -1;
}

constexpr int64_t kMostWindow = 1 << 20;

sn_status pooled(const sn_tensor* x, const int64_t* window, const sn_tensor* y) {
  SN_TRY(real(x, "x"));
  if (window == nullptr) return fail(SN_INVALID_ARGUMENT, "the window is null");
  if (x->rank != 4)
    return fail(SN_INVALID_ARGUMENT, "x is %s; [batch, channels, height, width] is needed", describe(x).text);
  SN_TRY(present(y, "y"));
  for (int i = 0; i < 8; ++i) {
    const bool padding = i == 4 || i == 5;
    if (window[i] < (padding ? 0 : 1) || window[i] > kMostWindow)
      return fail(SN_INVALID_ARGUMENT, "%lld at index %d of the window is not within %d..%lld", shown(window[i]), i,
                  padding ? 0 : 1, shown(kMostWindow));
  }
  for (int i = 0; i < 2; ++i) {
    if (window[4 + i] > window[i] / 2)
      return fail(SN_INVALID_ARGUMENT, "a padding of %lld is more than half of the kernel's %lld", shown(window[4 + i]),
                  shown(window[i]));
  }
  int64_t count[2] = {0, 0};
  for (int i = 0; i < 2 && y->rank == 4; ++i)
    count[i] = windows(x->shape[2 + i], window[i], window[2 + i], window[4 + i], window[6 + i], y->shape[2 + i]);
  if (y->dtype != x->dtype || y->rank != 4 || y->shape[0] != x->shape[0] || y->shape[1] != x->shape[1] ||
      count[0] < 1 || count[1] < 1) {
    return fail(SN_INVALID_ARGUMENT,
                "y is %s, which is not what windows of %lld x %lld with strides %lld, %lld, paddings %lld, %lld and "
                "dilations %lld, %lld give for x %s",
                describe(y).text, shown(window[0]), shown(window[1]), shown(window[2]), shown(window[3]),
                shown(window[4]), shown(window[5]), shown(window[6]), shown(window[7]), describe(x).text);
  }
  return output(x, y, "y", false);
}

bool takes_products(const sn_tensor* t) { return t->dtype == SN_F32 || t->dtype == SN_BF16; }

}  // namespace

sn_status sn::checks::normalized(const sn_tensor* x, const sn_tensor* weight, const sn_tensor* bias, double eps,
                                 const sn_tensor* y) {
  SN_TRY(last_dimension(x));
  SN_TRY(valid_eps(eps));
  SN_TRY(parameter(weight, "weight", row_length(x), y));
  return parameter(bias, "bias", row_length(x), y);
}

sn_status sn_activate(const sn_tensor* x, sn_activation activation, sn_tensor* y) {
  SN_TRY(real(x, "x"));
  if (activation < SN_NONE || activation > SN_TANH)
    return fail(SN_INVALID_ARGUMENT, "%d is not an activation", activation);
  SN_TRY(like(x, y, true));
  return SN_CALL(x, activate, x, activation, y);
}

sn_status sn_add(const sn_tensor* a, const sn_tensor* b, sn_tensor* y) {
  SN_TRY(broadcast(a, b, y));
  return SN_CALL(a, add, a, b, y);
}

sn_status sn_multiply(const sn_tensor* a, const sn_tensor* b, sn_tensor* y) {
  SN_TRY(broadcast(a, b, y));
  return SN_CALL(a, multiply, a, b, y);
}

sn_status sn_softmax(const sn_tensor* x, sn_tensor* y) {
  SN_TRY(real(x, "x"));
  SN_TRY(last_dimension(x));
  SN_TRY(like(x, y, true));
  return SN_CALL(x, softmax, x, y);
}

sn_status sn_layer_norm(const sn_tensor* x, const sn_tensor* weight, const sn_tensor* bias, double eps, sn_tensor* y) {
  SN_TRY(real(x, "x"));
  SN_TRY(like(x, y, true));
  SN_TRY(normalized(x, weight, bias, eps, y));
  return SN_CALL(x, layer_norm, x, weight, bias, eps, y);
}

sn_status sn_rms_norm(const sn_tensor* x, const sn_tensor* weight, double eps, sn_tensor* y) {
  SN_TRY(real(x, "x"));
  SN_TRY(like(x, y, true));
  SN_TRY(normalized(x, weight, nullptr, eps, y));
  return SN_CALL(x, rms_norm, x, weight, eps, y);
}

sn_status sn_quantize_per_token(const sn_tensor* x, sn_tensor* q, sn_tensor* scale) {
  SN_TRY(quantized_rows(x, q, scale));
  return SN_CALL(x, quantize_per_token, x, q, scale);
}

sn_status sn_rms_norm_quantize(const sn_tensor* x, const sn_tensor* weight, double eps, sn_tensor* q,
                               sn_tensor* scale) {
  SN_TRY(quantized_rows(x, q, scale));
  SN_TRY(normalized(x, weight, nullptr, eps, q));
  if (weight != nullptr) SN_TRY(apart(weight, scale, false));
  return SN_CALL(x, rms_norm_quantize, x, weight, eps, q, scale);
}

sn_status sn_batch_norm(const sn_tensor* x, const sn_tensor* mean, const sn_tensor* variance, const sn_tensor* weight,
                        const sn_tensor* bias, double eps, sn_tensor* y) {
  SN_TRY(real(x, "x"));
  if (x->rank < 2) return fail(SN_INVALID_ARGUMENT, "x is %s; [batch, channels, ...] is needed", describe(x).text);
  SN_TRY(like(x, y, true));
  SN_TRY(valid_eps(eps));
  SN_TRY(present(mean, "mean"));
  SN_TRY(present(variance, "variance"));
  SN_TRY(parameter(mean, "mean", x->shape[1], y));
  SN_TRY(parameter(variance, "variance", x->shape[1], y));
  SN_TRY(parameter(weight, "weight", x->shape[1], y));
  SN_TRY(parameter(bias, "bias", x->shape[1], y));
  return SN_CALL(x, batch_norm, x, mean, variance, weight, bias, eps, y);
}

sn_status sn_embedding(const sn_tensor* ids, const sn_tensor* table, sn_tensor* y) {
  SN_TRY(present(ids, "ids"));
  if (ids->dtype != SN_I64 && ids->dtype != SN_I32)
    return fail(SN_INVALID_ARGUMENT, "ids is %s; I64 or I32 is needed", describe(ids).text);
  SN_TRY(real(table, "table"));
  if (table->rank != 2) return fail(SN_INVALID_ARGUMENT, "table is %s; [rows, width] is needed", describe(table).text);
  SN_TRY(one_device(ids, table));
  SN_TRY(present(y, "y"));
  int64_t elements = 0;
  if ((y->dtype != table->dtype && y->dtype != SN_F32) || y->rank < 1 || row_length(y) != table->shape[1] ||
      __builtin_mul_overflow(ids->elements, table->shape[1], &elements) || y->elements != elements) {
    return fail(SN_INVALID_ARGUMENT, "y is %s; %s or F32 with the shape of ids, %s, and %lld after it is needed",
                describe(y).text, dtype_name(table->dtype), describe(ids).text, shown(table->shape[1]));
  }
  SN_TRY(output(ids, y, "y", false));
  SN_TRY(apart(table, y, false));
  return SN_CALL(ids, embedding, ids, table, y);
}

sn_status sn_rotary_embedding(const sn_tensor* x, const sn_tensor* cosine, const sn_tensor* sine, int64_t position,
                              int32_t interleaved, sn_tensor* y) {
  SN_TRY(real(x, "x"));
  if (x->rank < 3) return fail(SN_INVALID_ARGUMENT, "x is %s; [..., tokens, heads, width] is needed", describe(x).text);
  SN_TRY(like(x, y, true));
  SN_TRY(present(cosine, "cosine"));
  SN_TRY(present(sine, "sine"));
  SN_TRY(parameter(cosine, "cosine", cosine->elements, y));
  SN_TRY(parameter(sine, "sine", cosine->elements, y));
  const int64_t tokens = x->shape[x->rank - 3];
  if (cosine->rank != 2 || cosine->shape[1] > row_length(x) / 2) {
    return fail(SN_INVALID_ARGUMENT, "cosine is %s; F32 [positions, at most %lld] is needed for x %s",
                describe(cosine).text, shown(row_length(x) / 2), describe(x).text);
  }
  if (position < 0 || tokens > cosine->shape[0] || position > cosine->shape[0] - tokens) {
    return fail(SN_INVALID_ARGUMENT,
                "positions from %lld on for %lld tokens are not within the %lld of cosine and sine", shown(position),
                shown(tokens), shown(cosine->shape[0]));
  }
  return SN_CALL(x, rotary_embedding, x, cosine, sine, position, interleaved, y);
}

sn_status sn_transpose_heads(const sn_tensor* x, int64_t first, sn_tensor* y) {
  SN_TRY(present(x, "x"));
  SN_TRY(present(y, "y"));
  const int64_t *s = x->shape, *d = y->shape;
  if (x->rank != 4 || y->rank != 4 || x->dtype != y->dtype || s[0] != d[0] || s[2] != d[1] || s[3] != d[3]) {
    return fail(SN_INVALID_ARGUMENT, "x is %s and y is %s; [a, b, c, d] and [a, c, s, d] of one dtype are needed",
                describe(x).text, describe(y).text);
  }
  if (first < 0 || s[1] > d[2] || first > d[2] - s[1]) {
    return fail(SN_INVALID_ARGUMENT, "%lld rows from %lld on are not within the %lld of y", shown(s[1]), shown(first),
                shown(d[2]));
  }
  SN_TRY(output(x, y, "y", false));
  return SN_CALL(x, transpose_heads, x, first, y);
}

sn_status sn_matmul(const sn_tensor* a, const sn_tensor* b, int32_t transpose_b, sn_tensor* y) {
  SN_TRY(present(a, "a"));
  SN_TRY(present(b, "b"));
  SN_TRY(present(y, "y"));
  SN_TRY(one_device(a, b));
  bool fits = takes_products(a) && takes_products(b) && takes_products(y) && a->rank >= 2 &&
              (b->rank == a->rank || b->rank == 2) && y->rank == a->rank;
  if (fits) {
    const int64_t *p = a->shape + a->rank - 2, *q = b->shape + b->rank - 2, *r = y->shape + y->rank - 2;
    fits = p[1] == q[transpose_b != 0] && r[0] == p[0] && r[1] == q[transpose_b == 0];
    for (int32_t i = 0; fits && i + 2 < a->rank; ++i)
      fits = y->shape[i] == a->shape[i] && (b->rank == 2 || b->shape[i] == a->shape[i]);
  }
  if (!fits) {
    return fail(SN_INVALID_ARGUMENT,
                "a is %s, b is %s%s and y is %s; F32 or BF16 [..., m, k], %s and [..., m, n] are needed",
                describe(a).text, describe(b).text, transpose_b ? ", transposed," : "", describe(y).text,
                transpose_b ? "[..., n, k]" : "[..., k, n]");
  }
  SN_TRY(output(a, y, "y", false));
  SN_TRY(apart(b, y, false));
  return SN_CALL(a, matmul, a, b, transpose_b, y);
}

sn_status sn_attention(const sn_tensor* q, const sn_tensor* k, const sn_tensor* v, int64_t length, int32_t causal,
                       double scale, sn_tensor* y) {
  SN_TRY(present(q, "q"));
  SN_TRY(present(k, "k"));
  SN_TRY(present(v, "v"));
  SN_TRY(present(y, "y"));
  SN_TRY(one_device(q, k));
  SN_TRY(one_device(q, v));
  const bool types = takes_products(q) && k->dtype == q->dtype && v->dtype == q->dtype && y->dtype == q->dtype;
  const bool ranks = q->rank == 4 && k->rank == 4 && v->rank == 4 && y->rank == 4;
  if (!types || !ranks || k->shape[0] != q->shape[0] || k->shape[1] < 1 || q->shape[1] % k->shape[1] != 0 ||
      k->shape[3] != q->shape[3] || v->shape[0] != k->shape[0] || v->shape[1] != k->shape[1] ||
      v->shape[2] != k->shape[2] || y->shape[0] != q->shape[0] || y->shape[1] != q->shape[1] ||
      y->shape[2] != q->shape[2] || y->shape[3] != v->shape[3]) {
    return fail(
        SN_INVALID_ARGUMENT,
        "q is %s, k is %s, v is %s and y is %s; [batch, heads, tokens, width], two of [batch, key heads, capacity, "
        "...] and [batch, heads, tokens, value width], all F32 or all BF16, are needed",
        describe(q).text, describe(k).text, describe(v).text, describe(y).text);
  }
  if (length < 0 || length > k->shape[2] || (causal != 0 && length < q->shape[2])) {
    return fail(SN_INVALID_ARGUMENT, "the length %lld is not within %lld..%lld for q %s and k %s", shown(length),
                shown(causal != 0 ? q->shape[2] : 0), shown(k->shape[2]), describe(q).text, describe(k).text);
  }
  if (!(scale > -__builtin_inf() && scale < __builtin_inf()))
    return fail(SN_INVALID_ARGUMENT, "the scale %g is not a finite number", scale);
  SN_TRY(output(q, y, "y", false));
  SN_TRY(apart(k, y, false));
  SN_TRY(apart(v, y, false));
  return SN_CALL(q, attention, q, k, v, length, causal, scale, y);
}

sn_status sn_max_pool2d(const sn_tensor* x, const int64_t* window, sn_tensor* y) {
  SN_TRY(pooled(x, window, y));
  return SN_CALL(x, max_pool2d, x, window, y);
}

sn_status sn_avg_pool2d(const sn_tensor* x, const int64_t* window, int32_t include_padding, sn_tensor* y) {
  SN_TRY(pooled(x, window, y));
  if (window[6] != 1 || window[7] != 1)
    return fail(SN_INVALID_ARGUMENT, "the dilations of a mean are %lld, %lld, not 1", shown(window[6]),
                shown(window[7]));
  return SN_CALL(x, avg_pool2d, x, window, include_padding, y);
}
