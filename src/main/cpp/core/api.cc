// The C interface of operations on tensors: checks every argument once, then calls the device's slot. Those that
// compute with packed weights are in api_linear.cc.
#include <math.h>

#include "core/checks.h"

namespace {

using namespace sn::checks;
using sn::dtype_name;
using sn::fail;
using sn::is_floating;

sn_status pruning(const sn_tensor* x, const sn_tensor* out) {
  SN_TRY(floating(x, "x"));
  SN_TRY(present(out, "out"));
  if ((out->dtype != x->dtype && out->dtype != SN_BOOL) || out->elements != x->elements) {
    return fail(SN_INVALID_ARGUMENT, "out is %s with %lld elements; %s or BOOL with %lld is needed",
                dtype_name(out->dtype), static_cast<long long>(out->elements), dtype_name(x->dtype),
                static_cast<long long>(x->elements));
  }
  return output(x, out, "out", true);
}

sn_status magnitude(float threshold) {
  if (!(threshold >= 0 && threshold < INFINITY))
    return fail(SN_INVALID_ARGUMENT, "the threshold %g is not a finite number of at least 0",
                static_cast<double>(threshold));
  return SN_OK;
}

sn_status valid_scheme(sn_scheme scheme) {
  if (scheme < SN_INT8_SYMMETRIC || scheme > SN_FP8)
    return fail(SN_INVALID_ARGUMENT, "%d is not a quantization scheme", scheme);
  return SN_OK;
}

// `slices` has one element a slice of x, or one for all when group is 0.
sn_status sliced(const sn_tensor* x, const sn_tensor* slices, const char* name, int64_t group) {
  SN_TRY(present(slices, name));
  SN_TRY(one_device(x, slices));
  if (slices->dtype != SN_F32) return fail(SN_INVALID_ARGUMENT, "%s is %s, not F32", name, dtype_name(slices->dtype));
  if (group < 0) return fail(SN_INVALID_ARGUMENT, "the group size %lld is negative", static_cast<long long>(group));
  if (group == 0 && slices->elements == 1) return SN_OK;
  const int64_t per_row = group == 0 ? 1 : x->cols / group + (x->cols % group != 0);
  if (slices->elements != x->rows * per_row) {
    return fail(SN_INVALID_ARGUMENT,
                "%s has %lld elements; %lld slices are needed for %lld rows of %lld columns in groups of %lld", name,
                static_cast<long long>(slices->elements), static_cast<long long>(x->rows * per_row),
                static_cast<long long>(x->rows), static_cast<long long>(x->cols), static_cast<long long>(group));
  }
  return SN_OK;
}

sn_status zero_points(const sn_tensor* scale, const sn_tensor* zero_point, bool needed) {
  if (!needed)
    return zero_point == nullptr ? SN_OK : fail(SN_INVALID_ARGUMENT, "a symmetric scheme has no zero points");
  SN_TRY(typed(zero_point, "zero_point", SN_I8, scale->elements));
  return one_device(scale, zero_point);
}

// The layout of quantized values q of real values x.
sn_status quantized(const sn_tensor* x, const sn_tensor* q, const sn_tensor* zero_point, int64_t group) {
  SN_TRY(present(q, "q"));
  SN_TRY(one_device(x, q));
  if (q->dtype == SN_F8_E4M3 && zero_point != nullptr)
    return fail(SN_INVALID_ARGUMENT, "F8_E4M3 values have no zero points");
  if ((q->dtype == SN_I8 || q->dtype == SN_F8_E4M3) && q->elements == x->elements) return SN_OK;
  const int64_t packed = x->rows * (x->cols / 2 + x->cols % 2);
  if (q->dtype != SN_U8 || q->elements != packed) {
    return fail(SN_INVALID_ARGUMENT,
                "q is %s with %lld elements; I8 or F8_E4M3 with %lld (int8, fp8) or U8 with %lld (int4) is needed",
                dtype_name(q->dtype), static_cast<long long>(q->elements), static_cast<long long>(x->elements),
                static_cast<long long>(packed));
  }
  if (group % 2 != 0 && group < x->cols)
    return fail(SN_INVALID_ARGUMENT, "int4 groups need an even size, not %lld", static_cast<long long>(group));
  return SN_OK;
}

// The parts of a sparse matrix, whose dense form is x.
sn_status bitmap_of(const sn_tensor* x, const sn_tensor* values, const sn_tensor* bitmap,
                    const sn_tensor* row_offsets) {
  SN_TRY(present(values, "values"));
  SN_TRY(one_device(x, values));
  if (values->dtype != x->dtype) {
    return fail(SN_INVALID_ARGUMENT, "values is %s, but the matrix %s", dtype_name(values->dtype),
                dtype_name(x->dtype));
  }
  SN_TRY(typed(bitmap, "bitmap", SN_U8, x->rows * (x->cols / 8 + (x->cols % 8 != 0))));
  SN_TRY(one_device(x, bitmap));
  SN_TRY(typed(row_offsets, "row_offsets", SN_I64, x->rows + 1));
  return one_device(x, row_offsets);
}

// A tensor that is merged into out: of the dtype of `like`, as many elements as out, and either apart from it or it.
sn_status merged(const sn_tensor* x, const char* name, const sn_tensor* like, const sn_tensor* out) {
  SN_TRY(floating(x, name));
  if (x->dtype != like->dtype || x->elements != out->elements) {
    return fail(SN_INVALID_ARGUMENT, "%s is %s with %lld elements; %s with %lld is needed", name, dtype_name(x->dtype),
                static_cast<long long>(x->elements), dtype_name(like->dtype), static_cast<long long>(out->elements));
  }
  SN_TRY(one_device(x, out));
  return apart(x, out, true);
}

// Arrays of one element a model.
sn_status arrays(const sn_tensor* const* x, int32_t count, const float* weights) {
  if (x == nullptr || weights == nullptr) return fail(SN_INVALID_ARGUMENT, "an array is null");
  if (count < 1 || count > SN_MAX_INPUTS)
    return fail(SN_INVALID_ARGUMENT, "%d tensors are not within 1..%d", count, SN_MAX_INPUTS);
  for (int32_t i = 0; i < count; ++i) {
    if (!isfinite(weights[i])) return fail(SN_INVALID_ARGUMENT, "weight %d is not a finite number", i);
  }
  return SN_OK;
}

sn_status all_merged(const sn_tensor* const* x, const char* name, int32_t count, const sn_tensor* like,
                     const sn_tensor* out) {
  for (int32_t i = 0; i < count; ++i) SN_TRY(merged(x[i], name, like, out));
  return SN_OK;
}

// An output of merging tensors like `x`, which is one of them.
sn_status merge_output(const sn_tensor* x, const char* name, const sn_tensor* out) {
  SN_TRY(floating(x, name));
  SN_TRY(floating(out, "out"));
  SN_TRY(writable(out, "out"));
  if (x->dtype != out->dtype && x->dtype != SN_F32)
    return fail(SN_INVALID_ARGUMENT, "%s is %s; %s like out, or F32, is needed", name, dtype_name(x->dtype),
                dtype_name(out->dtype));
  return SN_OK;
}

// The bits that indices into a codebook have; 0 for one of no valid size.
int index_bits(const sn_tensor* codebook) {
  for (int bits = 2; bits <= 8; ++bits) {
    if (codebook->elements == int64_t{1} << bits) return bits;
  }
  return 0;
}

sn_status valid_codebook(const sn_tensor* x, const sn_tensor* codebook) {
  SN_TRY(present(codebook, "codebook"));
  SN_TRY(one_device(x, codebook));
  if (codebook->dtype != SN_F32 || index_bits(codebook) == 0) {
    return fail(SN_INVALID_ARGUMENT,
                "codebook is %s with %lld elements; F32 with a power of two from 4 to 256 is needed",
                dtype_name(codebook->dtype), static_cast<long long>(codebook->elements));
  }
  return SN_OK;
}

// The layout of indices q of real values x.
sn_status indices(const sn_tensor* x, const sn_tensor* q, const sn_tensor* codebook) {
  const int bits = index_bits(codebook);
  return typed(q, "q", SN_U8, x->rows * (x->cols / 8 * bits + (x->cols % 8 * bits + 7) / 8));
}

}  // namespace

sn_status sn_prune_threshold(const sn_tensor* x, float threshold, sn_tensor* out, int64_t* zeros) {
  SN_TRY(pruning(x, out));
  SN_TRY(magnitude(threshold));
  return SN_CALL(x, prune_threshold, x, threshold, out, zeros);
}

sn_status sn_prune_smallest(const sn_tensor* x, float threshold, int64_t ties, sn_tensor* out, int64_t* zeros) {
  SN_TRY(pruning(x, out));
  SN_TRY(magnitude(threshold));
  if (ties < 0) return fail(SN_INVALID_ARGUMENT, "the number of ties %lld is negative", static_cast<long long>(ties));
  return SN_CALL(x, prune_smallest, x, threshold, ties, out, zeros);
}

sn_status sn_prune_nm(const sn_tensor* x, int32_t n, int32_t m, sn_tensor* out, int64_t* zeros) {
  SN_TRY(pruning(x, out));
  if (n < 1 || n > m || m > 4096)
    return fail(SN_INVALID_ARGUMENT, "%d:%d is not N:M sparsity with 1 <= N <= M <= 4096", n, m);
  return SN_CALL(x, prune_nm, x, n, m, out, zeros);
}

sn_status sn_key_histogram(const sn_tensor* x, sn_order order, int32_t prefix, sn_tensor* histogram) {
  SN_TRY(floating(x, "x"));
  SN_TRY(typed(histogram, "histogram", SN_I64, 65536));
  SN_TRY(output(x, histogram, "histogram", false));
  if (order != SN_ORDER_MAGNITUDE && order != SN_ORDER_VALUE)
    return fail(SN_INVALID_ARGUMENT, "%d is not an order", order);
  if (prefix > 65535) return fail(SN_INVALID_ARGUMENT, "the prefix %d has more than 16 bits", prefix);
  return SN_CALL(x, key_histogram, x, order, prefix, histogram);
}

sn_status sn_magnitude_count(const sn_tensor* x, float threshold, int64_t* less, int64_t* equal) {
  SN_TRY(floating(x, "x"));
  SN_TRY(magnitude(threshold));
  if (less == nullptr || equal == nullptr) return fail(SN_INVALID_ARGUMENT, "a result pointer is null");
  return SN_CALL(x, magnitude_count, x, threshold, less, equal);
}

sn_status sn_range(const sn_tensor* x, int64_t group, sn_scheme scheme, sn_range_method method, float percentile,
                   sn_tensor* lo, sn_tensor* hi) {
  SN_TRY(floating(x, "x"));
  SN_TRY(valid_scheme(scheme));
  SN_TRY(sliced(x, lo, "lo", group));
  SN_TRY(typed(hi, "hi", SN_F32, lo->elements));
  SN_TRY(output(x, lo, "lo", false));
  SN_TRY(output(x, hi, "hi", false));
  SN_TRY(apart(lo, hi, false));
  if (method < SN_RANGE_MINMAX || method > SN_RANGE_MSE)
    return fail(SN_INVALID_ARGUMENT, "%d is not a range method", method);
  if (method == SN_RANGE_PERCENTILE && !(percentile > 0 && percentile <= 100)) {
    return fail(SN_INVALID_ARGUMENT, "the percentile %g is not above 0 and at most 100",
                static_cast<double>(percentile));
  }
  return SN_CALL(x, range, x, group, scheme, method, percentile, lo, hi);
}

sn_status sn_scale(const sn_tensor* lo, const sn_tensor* hi, sn_scheme scheme, sn_tensor* scale,
                   sn_tensor* zero_point) {
  SN_TRY(present(lo, "lo"));
  SN_TRY(typed(lo, "lo", SN_F32, lo->elements));
  SN_TRY(typed(hi, "hi", SN_F32, lo->elements));
  SN_TRY(valid_scheme(scheme));
  SN_TRY(typed(scale, "scale", SN_F32, lo->elements));
  SN_TRY(output(lo, scale, "scale", true));
  SN_TRY(output(hi, scale, "scale", false));
  SN_TRY(zero_points(scale, zero_point, sn::is_asymmetric(scheme)));
  if (zero_point != nullptr) {
    SN_TRY(output(lo, zero_point, "zero_point", false));
    SN_TRY(apart(hi, zero_point, false));
    SN_TRY(apart(scale, zero_point, false));
  }
  return SN_CALL(lo, scale, lo, hi, scheme, scale, zero_point);
}

sn_status sn_quantize(const sn_tensor* x, const sn_tensor* scale, const sn_tensor* zero_point, int64_t group,
                      sn_tensor* q) {
  SN_TRY(floating(x, "x"));
  SN_TRY(sliced(x, scale, "scale", group));
  SN_TRY(zero_points(scale, zero_point, zero_point != nullptr));
  SN_TRY(quantized(x, q, zero_point, group));
  SN_TRY(output(x, q, "q", false));
  SN_TRY(apart_from_scales(scale, zero_point, q));
  return SN_CALL(x, quantize, x, scale, zero_point, group, q);
}

sn_status sn_dequantize(const sn_tensor* q, const sn_tensor* scale, const sn_tensor* zero_point, int64_t group,
                        sn_tensor* y) {
  SN_TRY(floating(y, "y"));
  SN_TRY(quantized(y, q, zero_point, group));
  SN_TRY(sliced(y, scale, "scale", group));
  SN_TRY(zero_points(scale, zero_point, zero_point != nullptr));
  SN_TRY(output(q, y, "y", false));
  SN_TRY(apart_from_scales(scale, zero_point, y));
  return SN_CALL(q, dequantize, q, scale, zero_point, group, y);
}

sn_status sn_fake_quantize(const sn_tensor* x, const sn_tensor* scale, const sn_tensor* zero_point, int64_t group,
                           sn_scheme scheme, sn_tensor* y) {
  SN_TRY(floating(x, "x"));
  SN_TRY(valid_scheme(scheme));
  SN_TRY(sliced(x, scale, "scale", group));
  SN_TRY(zero_points(scale, zero_point, sn::is_asymmetric(scheme)));
  SN_TRY(present(y, "y"));
  SN_TRY(typed(y, "y", x->dtype, x->elements));
  SN_TRY(output(x, y, "y", true));
  SN_TRY(apart_from_scales(scale, zero_point, y));
  return SN_CALL(x, fake_quantize, x, scale, zero_point, group, scheme, y);
}

sn_status sn_quantization_error(const sn_tensor* x, const sn_tensor* scale, const sn_tensor* zero_point,
                                sn_scheme scheme, sn_tensor* errors) {
  SN_TRY(floating(x, "x"));
  SN_TRY(valid_scheme(scheme));
  SN_TRY(present(scale, "scale"));
  SN_TRY(typed(scale, "scale", SN_F32, scale->elements));
  SN_TRY(zero_points(scale, zero_point, sn::is_asymmetric(scheme)));
  const int64_t blocks = x->rows * (x->cols / 4096 + (x->cols % 4096 != 0));
  int64_t results;
  if (__builtin_mul_overflow(blocks, scale->elements, &results))
    return fail(SN_INVALID_ARGUMENT, "there are too many candidates");
  SN_TRY(typed(errors, "errors", SN_F64, results));
  SN_TRY(one_device(x, scale));
  SN_TRY(output(x, errors, "errors", false));
  SN_TRY(apart_from_scales(scale, zero_point, errors));
  return SN_CALL(x, quantization_error, x, scale, zero_point, scheme, errors);
}

sn_status sn_weighted_sum(const sn_tensor* const* x, int32_t count, const float* weights, const sn_tensor* base,
                          sn_tensor* out) {
  SN_TRY(arrays(x, count, weights));
  SN_TRY(merge_output(x[0], "x", out));
  SN_TRY(all_merged(x, "x", count, x[0], out));
  if (base != nullptr) SN_TRY(merged(base, "base", x[0], out));
  return SN_CALL(x[0], weighted_sum, x, count, weights, base, out);
}

sn_status sn_difference(const sn_tensor* x, const sn_tensor* base, sn_tensor* difference) {
  SN_TRY(floating(x, "x"));
  SN_TRY(typed(difference, "difference", SN_F32, x->elements));
  SN_TRY(writable(difference, "difference"));
  SN_TRY(merged(x, "x", x, difference));
  SN_TRY(merged(base, "base", x, difference));
  return SN_CALL(x, difference, x, base, difference);
}

sn_status sn_merge_ties(const sn_tensor* base, const sn_tensor* const* differences, int32_t count, const float* weights,
                        float lambda, int32_t normalize, sn_tensor* out) {
  SN_TRY(merge_output(base, "base", out));
  SN_TRY(merged(base, "base", base, out));
  SN_TRY(arrays(differences, count, weights));
  SN_TRY(present(differences[0], "a difference"));
  if (differences[0]->dtype != SN_F32)
    return fail(SN_INVALID_ARGUMENT, "a difference is %s, not F32", dtype_name(differences[0]->dtype));
  SN_TRY(all_merged(differences, "a difference", count, differences[0], out));
  for (int32_t i = 0; normalize != 0 && i < count; ++i) {
    if (weights[i] < 0) return fail(SN_INVALID_ARGUMENT, "weight %d is negative, and weights are normalized", i);
  }
  if (!isfinite(lambda)) return fail(SN_INVALID_ARGUMENT, "lambda is not a finite number");
  return SN_CALL(base, merge_ties, base, differences, count, weights, lambda, normalize, out);
}

sn_status sn_merge_dare(const sn_tensor* base, const sn_tensor* const* x, int32_t count, const float* weights,
                        double density, int64_t seed, const int64_t* streams, int64_t first, sn_tensor* out) {
  SN_TRY(merge_output(base, "base", out));
  SN_TRY(merged(base, "base", base, out));
  SN_TRY(arrays(x, count, weights));
  SN_TRY(all_merged(x, "x", count, base, out));
  if (streams == nullptr) return fail(SN_INVALID_ARGUMENT, "an array is null");
  if (!(density > 0 && density <= 1))
    return fail(SN_INVALID_ARGUMENT, "the density %g is not above 0 and at most 1", density);
  if (first < 0 || first % 64 != 0 || first > INT64_MAX - out->elements)
    return fail(SN_INVALID_ARGUMENT, "the first element %lld is not a multiple of 64", static_cast<long long>(first));
  return SN_CALL(base, merge_dare, base, x, count, weights, density, seed, streams, first, out);
}

sn_status sn_block_products(const sn_tensor* a, const sn_tensor* b, sn_tensor* sums) {
  SN_TRY(floating(a, "a"));
  SN_TRY(present(b, "b"));
  SN_TRY(typed(b, "b", a->dtype, a->elements));
  SN_TRY(one_device(a, b));
  SN_TRY(typed(sums, "sums", SN_F64, 3 * (a->elements / 4096 + (a->elements % 4096 != 0))));
  SN_TRY(output(a, sums, "sums", false));
  SN_TRY(apart(b, sums, false));
  return SN_CALL(a, block_products, a, b, sums);
}

sn_status sn_cluster_assign(const sn_tensor* x, const sn_tensor* codebook, sn_tensor* q) {
  SN_TRY(floating(x, "x"));
  SN_TRY(valid_codebook(x, codebook));
  SN_TRY(present(q, "q"));
  SN_TRY(indices(x, q, codebook));
  SN_TRY(output(x, q, "q", false));
  SN_TRY(apart(codebook, q, false));
  return SN_CALL(x, cluster_assign, x, codebook, q);
}

sn_status sn_cluster_sums(const sn_tensor* x, const sn_tensor* codebook, sn_tensor* sums, sn_tensor* counts) {
  SN_TRY(floating(x, "x"));
  SN_TRY(valid_codebook(x, codebook));
  SN_TRY(typed(sums, "sums", SN_I64, 32 * codebook->elements));
  SN_TRY(typed(counts, "counts", SN_I64, codebook->elements));
  SN_TRY(output(x, sums, "sums", false));
  SN_TRY(output(x, counts, "counts", false));
  SN_TRY(apart(codebook, sums, false));
  SN_TRY(apart(codebook, counts, false));
  SN_TRY(apart(sums, counts, false));
  return SN_CALL(x, cluster_sums, x, codebook, sums, counts);
}

sn_status sn_cluster_decode(const sn_tensor* q, const sn_tensor* codebook, sn_tensor* y) {
  SN_TRY(floating(y, "y"));
  SN_TRY(valid_codebook(y, codebook));
  SN_TRY(present(q, "q"));
  SN_TRY(indices(y, q, codebook));
  SN_TRY(output(q, y, "y", false));
  SN_TRY(apart(codebook, y, false));
  return SN_CALL(q, cluster_decode, q, codebook, y);
}

sn_status sn_statistics(const sn_tensor* x, sn_tensor* result) {
  SN_TRY(present(x, "x"));
  SN_TRY(typed(result, "result", SN_F64, 8));
  SN_TRY(output(x, result, "result", false));
  return SN_CALL(x, statistics, x, result);
}

sn_status sn_value_histogram(const sn_tensor* x, double lo, double hi, sn_tensor* counts) {
  SN_TRY(floating(x, "x"));
  SN_TRY(present(counts, "counts"));
  if (counts->elements < 1) return fail(SN_INVALID_ARGUMENT, "counts has no bins");
  SN_TRY(typed(counts, "counts", SN_I64, counts->elements));
  SN_TRY(output(x, counts, "counts", false));
  if (!(lo <= hi) || isinf(lo) || isinf(hi))
    return fail(SN_INVALID_ARGUMENT, "[%g, %g] is not a finite interval", lo, hi);
  return SN_CALL(x, value_histogram, x, lo, hi, counts);
}

sn_status sn_compare(const sn_tensor* a, const sn_tensor* b, sn_tensor* result) {
  SN_TRY(floating(a, "a"));
  SN_TRY(floating(b, "b"));
  SN_TRY(one_device(a, b));
  if (a->elements != b->elements)
    return fail(SN_INVALID_ARGUMENT, "a has %lld elements and b %lld", static_cast<long long>(a->elements),
                static_cast<long long>(b->elements));
  SN_TRY(typed(result, "result", SN_F64, 5));
  SN_TRY(output(a, result, "result", false));
  SN_TRY(apart(b, result, false));
  return SN_CALL(a, compare, a, b, result);
}

sn_status sn_convert(const sn_tensor* x, sn_tensor* y) {
  SN_TRY(floating(x, "x"));
  SN_TRY(floating(y, "y"));
  if (x->elements != y->elements)
    return fail(SN_INVALID_ARGUMENT, "x has %lld elements and y %lld", static_cast<long long>(x->elements),
                static_cast<long long>(y->elements));
  SN_TRY(output(x, y, "y", false));
  return SN_CALL(x, convert, x, y);
}

sn_status sn_count_nonzeros(const sn_tensor* x, int64_t* count) {
  SN_TRY(present(x, "x"));
  if (count == nullptr) return fail(SN_INVALID_ARGUMENT, "the result pointer is null");
  return SN_CALL(x, count_nonzeros, x, count);
}

sn_status sn_bitmap_encode(const sn_tensor* x, int64_t first, sn_tensor* values, sn_tensor* bitmap,
                           sn_tensor* row_offsets) {
  SN_TRY(present(x, "x"));
  SN_TRY(bitmap_of(x, values, bitmap, row_offsets));
  SN_TRY(output(x, values, "values", false));
  SN_TRY(output(x, bitmap, "bitmap", false));
  SN_TRY(output(x, row_offsets, "row_offsets", false));
  SN_TRY(apart(values, bitmap, false));
  SN_TRY(apart(values, row_offsets, false));
  SN_TRY(apart(bitmap, row_offsets, false));
  if (first < 0 || first > INT64_MAX - x->elements)
    return fail(SN_INVALID_ARGUMENT, "%lld cannot be the first offset", static_cast<long long>(first));
  return SN_CALL(x, bitmap_encode, x, first, values, bitmap, row_offsets);
}

sn_status sn_bitmap_decode(const sn_tensor* values, const sn_tensor* bitmap, const sn_tensor* row_offsets,
                           sn_tensor* y) {
  SN_TRY(present(y, "y"));
  SN_TRY(bitmap_of(y, values, bitmap, row_offsets));
  SN_TRY(output(values, y, "y", false));
  SN_TRY(apart(bitmap, y, false));
  SN_TRY(apart(row_offsets, y, false));
  return SN_CALL(y, bitmap_decode, values, bitmap, row_offsets, y);
}

sn_status sn_memory_probe(const sn_tensor* x, sn_tensor* y) {
  SN_TRY(present(x, "x"));
  SN_TRY(output(x, y, "y", true));
  if ((reinterpret_cast<uintptr_t>(x->data) | reinterpret_cast<uintptr_t>(y->data)) % 64 != 0) {
    return fail(SN_INVALID_ARGUMENT, "a memory probe needs tensors that begin at a multiple of 64 bytes");
  }
  return SN_CALL(x, memory_probe, x, y);
}
