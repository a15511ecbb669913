// Every argument that an operation refuses: the status, a sentence that names the trouble, and no output touched.
#include <cmath>
#include <limits>

#include "support/arguments.h"

namespace sinew_test {
namespace {

const float kInfinity = std::numeric_limits<float>::infinity();
const float kNan = std::nanf("");

TEST_F(Arguments, PruneThreshold) {
  refused(sn_prune_threshold(nullptr, 1, out, &number), "x is null");
  refused(sn_prune_threshold(x, 1, nullptr, &number), "out is null");
  refused(sn_prune_threshold(ints, 1, out, &number), "x is I32");
  refused(sn_prune_threshold(x16, 1, out, &number), "out is F32 with 24 elements; F16 or BOOL with 24 is needed");
  refused(sn_prune_threshold(longer, 1, out, &number), "out is F32 with 24");
  for (float threshold : {-1.0f, -0x1p-149f, kInfinity, -kInfinity, kNan})
    refused(sn_prune_threshold(x, threshold, out, &number), "threshold");
}

TEST_F(Arguments, PruneSmallest) {
  refused(sn_prune_smallest(nullptr, 1, 0, out, &number), "x is null");
  refused(sn_prune_smallest(x, 1, 0, nullptr, &number), "out is null");
  refused(sn_prune_smallest(x, 1, 0, ints, &number), "I32");
  refused(sn_prune_smallest(x, 1, -1, out, &number), "ties -1");
  for (float threshold : {-1.0f, kInfinity, kNan})
    refused(sn_prune_smallest(x, threshold, 0, out, &number), "threshold");
}

TEST_F(Arguments, PruneNm) {
  refused(sn_prune_nm(nullptr, 2, 4, out, &number), "x is null");
  refused(sn_prune_nm(x, 2, 4, nullptr, &number), "out is null");
  refused(sn_prune_nm(x, 0, 4, out, &number), "0:4");
  refused(sn_prune_nm(x, -1, 4, out, &number), "-1:4");
  refused(sn_prune_nm(x, 5, 4, out, &number), "5:4");
  refused(sn_prune_nm(x, 1, 4097, out, &number), "1:4097");
  refused(sn_prune_nm(x, INT32_MIN, INT32_MIN, out, &number), "N:M");
  refused(sn_prune_nm(x, INT32_MAX, INT32_MAX, out, &number), "N:M");
}

TEST_F(Arguments, KeyHistogram) {
  refused(sn_key_histogram(nullptr, SN_ORDER_VALUE, -1, counts), "x is null");
  refused(sn_key_histogram(x, SN_ORDER_VALUE, -1, nullptr), "histogram is null");
  refused(sn_key_histogram(ints, SN_ORDER_VALUE, -1, counts), "x is I32");
  refused(sn_key_histogram(x, SN_ORDER_VALUE, -1, eight), "65536");
  refused(sn_key_histogram(x, 2, -1, counts), "2 is not an order");
  refused(sn_key_histogram(x, -1, -1, counts), "-1 is not an order");
  refused(sn_key_histogram(x, SN_ORDER_VALUE, 65536, counts), "65536 has more than 16 bits");
}

TEST_F(Arguments, MagnitudeCount) {
  int64_t other = 0;
  refused(sn_magnitude_count(nullptr, 1, &number, &other), "x is null");
  refused(sn_magnitude_count(ints, 1, &number, &other), "x is I32");
  refused(sn_magnitude_count(x, kNan, &number, &other), "threshold");
  refused(sn_magnitude_count(x, 1, nullptr, &number), "null");
  refused(sn_magnitude_count(x, 1, &number, nullptr), "null");
}

TEST_F(Arguments, Range) {
  const auto range = [&](const sn_tensor* t, int64_t group, sn_scheme scheme, sn_range_method method, float percentile,
                         sn_tensor* low,
                         sn_tensor* high) { return sn_range(t, group, scheme, method, percentile, low, high); };
  refused(range(nullptr, 0, 0, 0, 0, lo, hi), "x is null");
  refused(range(ints, 0, 0, 0, 0, lo, hi), "x is I32");
  refused(range(x, 0, 0, 0, 0, nullptr, hi), "lo is null");
  refused(range(x, 0, 0, 0, 0, lo, nullptr), "hi is null");
  refused(range(x, 0, -1, 0, 0, lo, hi), "-1 is not a quantization scheme");
  refused(range(x, 0, 5, 0, 0, lo, hi), "5 is not a quantization scheme");
  refused(range(x, -1, 0, 0, 0, lo, hi), "group size -1");
  refused(range(x, INT64_MIN, 0, 0, 0, lo, hi), "group size");
  refused(range(x, 2, 0, 0, 0, lo, hi), "12 slices");
  refused(range(x, 0, 0, 0, 0, three, hi), "lo has 3 elements; 4 slices");
  refused(range(x, 0, 0, 0, 0, lo, three), "hi is F32 with 3");
  refused(range(x, 0, 0, 0, 0, f64s, hi), "lo is F64");
  refused(range(x, 0, 0, 0, 0, lo, lo), "overlap");
  refused(range(x, 0, 0, 3, 0, lo, hi), "3 is not a range method");
  refused(range(x, 0, 0, -1, 0, lo, hi), "-1 is not a range method");
  for (float percentile : {0.0f, -1.0f, 100.001f, kInfinity, kNan})
    refused(range(x, 0, 0, SN_RANGE_PERCENTILE, percentile, lo, hi), "percentile");
}

TEST_F(Arguments, Scale) {
  refused(sn_scale(nullptr, hi, 0, scale, nullptr), "lo is null");
  refused(sn_scale(lo, nullptr, 0, scale, nullptr), "hi is null");
  refused(sn_scale(lo, hi, 0, nullptr, nullptr), "scale is null");
  refused(sn_scale(f64s, hi, 0, scale, nullptr), "lo is F64");
  refused(sn_scale(lo, three, 0, scale, nullptr), "hi is F32 with 3");
  refused(sn_scale(lo, hi, 0, three, nullptr), "scale is F32 with 3");
  refused(sn_scale(lo, hi, 9, scale, nullptr), "9 is not a quantization scheme");
  refused(sn_scale(lo, hi, SN_INT8_SYMMETRIC, scale, zero_point), "no zero points");
  refused(sn_scale(lo, hi, SN_INT8_ASYMMETRIC, scale, nullptr), "zero_point is null");
  refused(sn_scale(lo, hi, SN_INT8_ASYMMETRIC, scale, three_zeros), "zero_point is I8 with 3");
  refused(sn_scale(lo, hi, SN_INT8_ASYMMETRIC, scale, shorts), "zero_point is I16");
  refused(sn_scale(lo, hi, 0, hi, nullptr), "overlap");
}

TEST_F(Arguments, Quantize) {
  refused(sn_quantize(nullptr, scale, nullptr, 0, q8), "x is null");
  refused(sn_quantize(x, nullptr, nullptr, 0, q8), "scale is null");
  refused(sn_quantize(x, scale, nullptr, 0, nullptr), "q is null");
  refused(sn_quantize(ints, scale, nullptr, 0, q8), "x is I32");
  refused(sn_quantize(x, f64s, nullptr, 0, q8), "scale is F64");
  refused(sn_quantize(x, three, nullptr, 0, q8), "scale has 3");
  refused(sn_quantize(x, scale, three_zeros, 0, q8), "zero_point is I8 with 3");
  refused(sn_quantize(x, scale, shorts, 0, q8), "zero_point is I16");
  refused(sn_quantize(x, scale, nullptr, -3, q8), "group size -3");
  refused(sn_quantize(x, scale, nullptr, 3, q8), "8 slices");
  refused(sn_quantize(x, scale, nullptr, 0, mask), "q is BOOL");
  refused(sn_quantize(longer, scale, nullptr, 0, q8),
          "q is I8 with 24 elements; I8 or F8_E4M3 with 28 (int8, fp8) or U8 with 16 (int4)");
  refused(sn_quantize(longer, scale, nullptr, 0, q4), "q is U8 with 12");
  Tensor groups{device, SN_F32, {4, 2}};
  refused(sn_quantize(x, groups, nullptr, 5, q4), "even size, not 5");
  refused(sn_quantize(x, scale, zero_point, 0, f8), "F8_E4M3 values have no zero points");
  refused(sn_quantize(longer, scale, nullptr, 0, f8), "q is F8_E4M3 with 24 elements; I8 or F8_E4M3 with 28");
  refused(sn_quantize(f8, scale, nullptr, 0, q8), "x is F8_E4M3");
}

TEST_F(Arguments, Dequantize) {
  refused(sn_dequantize(nullptr, scale, nullptr, 0, y), "q is null");
  refused(sn_dequantize(q8, nullptr, nullptr, 0, y), "scale is null");
  refused(sn_dequantize(q8, scale, nullptr, 0, nullptr), "y is null");
  refused(sn_dequantize(q8, scale, nullptr, 0, ints), "y is I32");
  refused(sn_dequantize(x, scale, nullptr, 0, y), "q is F32");
  refused(sn_dequantize(q8, three, nullptr, 0, y), "scale has 3");
  refused(sn_dequantize(q8, scale, three_zeros, 0, y), "zero_point is I8 with 3");
  refused(sn_dequantize(q8, scale, nullptr, 0, longer), "q is I8 with 24");
  refused(sn_dequantize(q8, scale, nullptr, INT64_MIN, y), "group size");
  refused(sn_dequantize(f8, scale, zero_point, 0, y), "F8_E4M3 values have no zero points");
  refused(sn_dequantize(f8, scale, nullptr, 0, longer), "q is F8_E4M3 with 24");
  refused(sn_dequantize(q8, scale, nullptr, 0, f8), "y is F8_E4M3");
}

TEST_F(Arguments, FakeQuantize) {
  refused(sn_fake_quantize(nullptr, scale, nullptr, 0, 0, y), "x is null");
  refused(sn_fake_quantize(x, nullptr, nullptr, 0, 0, y), "scale is null");
  refused(sn_fake_quantize(x, scale, nullptr, 0, 0, nullptr), "y is null");
  refused(sn_fake_quantize(ints, scale, nullptr, 0, 0, y), "x is I32");
  refused(sn_fake_quantize(x16, scale, nullptr, 0, 0, y), "y is F32");
  refused(sn_fake_quantize(x, scale, nullptr, 0, 17, y), "17 is not a quantization scheme");
  refused(sn_fake_quantize(x, scale, nullptr, 0, SN_INT4_ASYMMETRIC, y), "zero_point is null");
  refused(sn_fake_quantize(x, scale, zero_point, 0, SN_INT4_SYMMETRIC, y), "no zero points");
  refused(sn_fake_quantize(x, scale, zero_point, 0, SN_FP8, y), "no zero points");
}

TEST_F(Arguments, QuantizationError) {
  refused(sn_quantization_error(nullptr, scale, nullptr, 0, errors), "x is null");
  refused(sn_quantization_error(x, nullptr, nullptr, 0, errors), "scale is null");
  refused(sn_quantization_error(x, scale, nullptr, 0, nullptr), "errors is null");
  refused(sn_quantization_error(ints, scale, nullptr, 0, errors), "x is I32");
  refused(sn_quantization_error(x, f64s, nullptr, 0, errors), "scale is F64");
  refused(sn_quantization_error(x, three, nullptr, 0, errors), "errors is F64 with 16 elements; F64 with 12");
  refused(sn_quantization_error(x, scale, nullptr, SN_INT8_ASYMMETRIC, errors), "zero_point is null");
  refused(sn_quantization_error(x, scale, nullptr, -2, errors), "-2 is not a quantization scheme");
}

TEST_F(Arguments, Clustering) {
  Tensor five_entries{device, SN_F32, {5}}, two{device, SN_F32, {2}}, many{device, SN_F32, {512}};
  refused(sn_cluster_assign(nullptr, codebook, q2), "x is null");
  refused(sn_cluster_assign(x, nullptr, q2), "codebook is null");
  refused(sn_cluster_assign(x, codebook, nullptr), "q is null");
  refused(sn_cluster_assign(ints, codebook, q2), "x is I32");
  refused(sn_cluster_assign(x, f64s, q2), "codebook is F64 with 4");
  for (const Tensor* wrong : {&five_entries, &two, &many, &three})
    refused(sn_cluster_assign(x, *wrong, q2), "a power of two from 4 to 256 is needed");
  refused(sn_cluster_assign(longer, codebook, q4), "q is U8 with 12 elements; U8 with 8");
  refused(sn_cluster_assign(x, codebook, q8), "q is I8");
  refused(sn_cluster_sums(nullptr, codebook, cluster_sums, cluster_counts), "x is null");
  refused(sn_cluster_sums(x, nullptr, cluster_sums, cluster_counts), "codebook is null");
  refused(sn_cluster_sums(x, codebook, nullptr, cluster_counts), "sums is null");
  refused(sn_cluster_sums(x, codebook, cluster_sums, nullptr), "counts is null");
  refused(sn_cluster_sums(x, codebook, counts, cluster_counts), "sums is I64 with 65536 elements; I64 with 128");
  refused(sn_cluster_sums(x, codebook, cluster_sums, counts), "counts is I64 with 65536 elements; I64 with 4");
  refused(sn_cluster_decode(nullptr, codebook, y), "q is null");
  refused(sn_cluster_decode(q2, nullptr, y), "codebook is null");
  refused(sn_cluster_decode(q2, codebook, nullptr), "y is null");
  refused(sn_cluster_decode(q2, codebook, ints), "y is I32");
  refused(sn_cluster_decode(q4, codebook, y), "q is U8 with 12 elements; U8 with 8");
  refused(sn_cluster_decode(q2, five_entries, y), "codebook is F32 with 5");
  // What it holds.
  float* entries = reinterpret_cast<float*>(codebook.data());
  entries[1] = -1.0f;
  refused(sn_cluster_assign(x, codebook, q2), "ascending");
  refused(sn_cluster_sums(x, codebook, cluster_sums, cluster_counts), "ascending");
  for (float bad : {kNan, -kInfinity, kInfinity}) {
    entries[1] = bad;
    refused(sn_cluster_assign(x, codebook, q2), "NaN or infinity", SN_NOT_FINITE);
    refused(sn_cluster_sums(x, codebook, cluster_sums, cluster_counts), "NaN or infinity", SN_NOT_FINITE);
  }
}

TEST_F(Arguments, Looking) {
  refused(sn_statistics(nullptr, eight), "x is null");
  refused(sn_statistics(x, nullptr), "result is null");
  refused(sn_statistics(x, five), "F64 with 8");
  refused(sn_statistics(x, y), "result is F32");
  refused(sn_value_histogram(nullptr, 0, 1, counts), "x is null");
  refused(sn_value_histogram(x, 0, 1, nullptr), "counts is null");
  refused(sn_value_histogram(ints, 0, 1, counts), "x is I32");
  refused(sn_value_histogram(x, 0, 1, eight), "counts is F64");
  Tensor no_bins{device, SN_I64, {0}};
  refused(sn_value_histogram(x, 0, 1, no_bins), "no bins");
  const double infinity = std::numeric_limits<double>::infinity();
  refused(sn_value_histogram(x, 1, 0, counts), "[1, 0]");
  refused(sn_value_histogram(x, -infinity, 0, counts), "finite interval");
  refused(sn_value_histogram(x, 0, infinity, counts), "finite interval");
  refused(sn_value_histogram(x, std::nan(""), 1, counts), "finite interval");
  refused(sn_value_histogram(x, 0, std::nan(""), counts), "finite interval");
  refused(sn_compare(nullptr, x, five), "a is null");
  refused(sn_compare(x, nullptr, five), "b is null");
  refused(sn_compare(x, x, nullptr), "result is null");
  refused(sn_compare(ints, x, five), "a is I32");
  refused(sn_compare(x, ints, five), "b is I32");
  refused(sn_compare(x, longer, five), "a has 24 elements and b 28");
  refused(sn_compare(x, x, eight), "F64 with 5");
  refused(sn_convert(nullptr, y), "x is null");
  refused(sn_convert(x, nullptr), "y is null");
  refused(sn_convert(ints, y), "x is I32");
  refused(sn_convert(x, ints), "y is I32");
  refused(sn_convert(longer, y), "x has 28 elements and y 24");
  refused(sn_memory_probe(nullptr, y), "x is null");
  refused(sn_memory_probe(x, nullptr), "y is null");
}

TEST_F(Arguments, Sparse) {
  // x is all zero, so its sparse form has no values.
  Tensor values{device, SN_F32, {0}}, bitmap{device, SN_U8, {4, 1}}, offsets{device, SN_I64, {5}};
  Tensor values16{device, SN_F16, {0}}, wide{device, SN_U8, {4, 2}}, few{device, SN_I64, {4}}, one{device, SN_F32, {1}};
  Tensor scratch{device, SN_F32, {4, 6}};  // for calls that may have begun to write when they fail
  for (Tensor* t : {&bitmap, &offsets}) t->fill(kPattern);
  refused(sn_count_nonzeros(nullptr, &number), "x is null");
  refused(sn_count_nonzeros(x, nullptr), "null");
  refused(sn_bitmap_encode(nullptr, 0, values, bitmap, offsets), "x is null");
  refused(sn_bitmap_encode(x, 0, nullptr, bitmap, offsets), "values is null");
  refused(sn_bitmap_encode(x, 0, values, nullptr, offsets), "bitmap is null");
  refused(sn_bitmap_encode(x, 0, values, bitmap, nullptr), "row_offsets is null");
  refused(sn_bitmap_encode(x, 0, values16, bitmap, offsets), "values is F16, but the matrix F32");
  refused(sn_bitmap_encode(x, 0, values, wide, offsets), "bitmap is U8 with 8 elements; U8 with 4");
  refused(sn_bitmap_encode(x, 0, values, offsets, offsets), "bitmap is I64");
  refused(sn_bitmap_encode(x, 0, values, bitmap, few), "row_offsets is I64 with 4 elements; I64 with 5");
  refused(sn_bitmap_encode(x, -1, values, bitmap, offsets), "-1 cannot be the first offset");
  refused(sn_bitmap_encode(x, INT64_MAX, values, bitmap, offsets), "first offset");
  EXPECT_TRUE(bitmap.holds_only(kPattern) && offsets.holds_only(kPattern));
  refused(sn_bitmap_encode(x, 0, one, bitmap, offsets), "values has 1 elements, but 0 are not zero");
  EXPECT_EQ(sn_bitmap_encode(x, 7, values, bitmap, offsets), SN_OK) << sn_last_error();
  refused(sn_bitmap_decode(nullptr, bitmap, offsets, y), "values is null");
  refused(sn_bitmap_decode(values, nullptr, offsets, y), "bitmap is null");
  refused(sn_bitmap_decode(values, bitmap, nullptr, y), "row_offsets is null");
  refused(sn_bitmap_decode(values, bitmap, offsets, nullptr), "y is null");
  refused(sn_bitmap_decode(values16, bitmap, offsets, y), "values is F16, but the matrix F32");
  refused(sn_bitmap_decode(values, wide, offsets, y), "bitmap is U8 with 8");
  refused(sn_bitmap_decode(values, bitmap, few, y), "row_offsets is I64 with 4");
  refused(sn_bitmap_decode(one, bitmap, offsets, y), "values has 1 elements, but the bitmap 0 ones");
  bitmap.data()[3] = 64;
  refused(sn_bitmap_decode(one, bitmap, offsets, y), "beyond the last column");
  bitmap.data()[3] = 32;
  refused(sn_bitmap_decode(one, bitmap, offsets, scratch), "row_offsets do not fit");
  // Outputs over inputs, and over each other.
  Tensor memory{device, SN_F32, {64}}, matrix, part, bytes, numbers;
  const int64_t shape[] = {4, 6}, none = 0, four = 4, five_elements = 5;
  ASSERT_EQ(sn_tensor_view(memory, 0, 2, shape, matrix.out()), SN_OK);
  ASSERT_EQ(sn_tensor_view(memory, 8, 1, &none, part.out()), SN_OK);
  ASSERT_EQ(sn_tensor_wrap(device, memory.data() + 16, SN_U8, 1, &four, bytes.out()), SN_OK);
  ASSERT_EQ(sn_tensor_wrap(device, memory.data() + 16, SN_I64, 1, &five_elements, numbers.out()), SN_OK);
  EXPECT_EQ(sn_bitmap_encode(matrix, 0, part, bitmap, offsets), SN_OK) << "nothing overlaps no memory";
  refused(sn_bitmap_encode(matrix, 0, values, bytes, offsets), "overlap");
  refused(sn_bitmap_encode(matrix, 0, values, bitmap, numbers), "overlap");
  refused(sn_bitmap_encode(x, 0, values, bytes, numbers), "overlap");
  refused(sn_bitmap_decode(values, bytes, offsets, matrix), "overlap");
  refused(sn_bitmap_decode(values, bitmap, numbers, matrix), "overlap");
}

TEST_F(Arguments, WeightedSum) {
  const sn_tensor *two[] = {x, y}, *none[] = {nullptr, x}, *later[] = {x, nullptr}, *kinds[] = {x, x16},
                  *lengths[] = {x, longer}, *halves[] = {x16, x16}, *integers[] = {ints, ints};
  const float weights[] = {1, 2};
  refused(sn_weighted_sum(nullptr, 2, weights, nullptr, out), "an array is null");
  refused(sn_weighted_sum(two, 2, nullptr, nullptr, out), "an array is null");
  refused(sn_weighted_sum(two, 2, weights, nullptr, nullptr), "out is null");
  refused(sn_weighted_sum(none, 2, weights, nullptr, out), "x is null");
  refused(sn_weighted_sum(later, 2, weights, nullptr, out), "x is null");
  for (int32_t count : {0, -1, 65, INT32_MIN, INT32_MAX})
    refused(sn_weighted_sum(two, count, weights, nullptr, out), "not within 1..64");
  refused(sn_weighted_sum(integers, 2, weights, nullptr, out), "x is I32");
  refused(sn_weighted_sum(two, 2, weights, nullptr, q8), "out is I8");
  refused(sn_weighted_sum(kinds, 2, weights, nullptr, out), "x is F16 with 24 elements; F32 with 24");
  refused(sn_weighted_sum(lengths, 2, weights, nullptr, out), "x is F32 with 28 elements; F32 with 24");
  refused(sn_weighted_sum(halves, 2, weights, nullptr, out), "x is F16; F32 like out, or F32");
  refused(sn_weighted_sum(two, 2, weights, x16, out), "base is F16");
  refused(sn_weighted_sum(two, 2, weights, longer, out), "base is F32 with 28");
  for (float bad : {kInfinity, -kInfinity, kNan}) {
    const float spoiled[] = {1, bad};
    refused(sn_weighted_sum(two, 2, spoiled, nullptr, out), "weight 1 is not a finite number");
  }
}

TEST_F(Arguments, Difference) {
  refused(sn_difference(nullptr, x, out), "x is null");
  refused(sn_difference(x, nullptr, out), "base is null");
  refused(sn_difference(x, x, nullptr), "difference is null");
  refused(sn_difference(x, x16, out), "base is F16");
  refused(sn_difference(x, longer, out), "base is F32 with 28");
  refused(sn_difference(ints, ints, out), "x is I32");
  refused(sn_difference(x, x, eight), "difference is F64");
}

TEST_F(Arguments, MergeTies) {
  const sn_tensor *two[] = {x, y}, *none[] = {nullptr, x}, *halves[] = {x16, x16}, *lengths[] = {x, longer};
  const float weights[] = {1, 2}, negative[] = {1, -2};
  const auto ties = [&](const sn_tensor* base, const sn_tensor* const* differences, const float* w, float lambda) {
    return sn_merge_ties(base, differences, 2, w, lambda, 1, out);
  };
  refused(ties(nullptr, two, weights, 1), "base is null");
  refused(ties(x, nullptr, weights, 1), "an array is null");
  refused(ties(x, two, nullptr, 1), "an array is null");
  refused(ties(x, none, weights, 1), "a difference is null");
  refused(ties(x, halves, weights, 1), "a difference is F16, not F32");
  refused(ties(x, lengths, weights, 1), "a difference is F32 with 28");
  refused(ties(longer, two, weights, 1), "base is F32 with 28");
  refused(ties(x16, two, weights, 1), "base is F16");
  refused(ties(x, two, negative, 1), "weight 1 is negative");
  refused(ties(x, two, weights, kNan), "lambda");
  refused(ties(x, two, weights, kInfinity), "lambda");
  refused(sn_merge_ties(x, two, 65, weights, 1, 0, out), "not within 1..64");
  refused(sn_merge_ties(x, two, 2, weights, 1, 0, nullptr), "out is null");
}

TEST_F(Arguments, MergeDare) {
  const sn_tensor *two[] = {x, y}, *none[] = {x, nullptr}, *halves[] = {x16, x16};
  const float weights[] = {1, 2};
  const int64_t streams[] = {1, 2};
  const auto dare = [&](const sn_tensor* base, const sn_tensor* const* models, double density, int64_t first) {
    return sn_merge_dare(base, models, 2, weights, density, 0, streams, first, out);
  };
  refused(dare(nullptr, two, 0.5, 0), "base is null");
  refused(dare(x, nullptr, 0.5, 0), "an array is null");
  refused(dare(x, none, 0.5, 0), "x is null");
  refused(dare(x, halves, 0.5, 0), "x is F16");
  refused(sn_merge_dare(x, two, 2, nullptr, 0.5, 0, streams, 0, out), "an array is null");
  refused(sn_merge_dare(x, two, 2, weights, 0.5, 0, nullptr, 0, out), "an array is null");
  refused(sn_merge_dare(x, two, 2, weights, 0.5, 0, streams, 0, nullptr), "out is null");
  for (double density : {0.0, -0.5, 1.0000001, std::nan(""), static_cast<double>(kInfinity)})
    refused(dare(x, two, density, 0), "density");
  for (int64_t first : {int64_t{1}, int64_t{63}, int64_t{-64}, INT64_MIN})
    refused(dare(x, two, 0.5, first), "not a multiple of 64");
}

TEST_F(Arguments, BlockProducts) {
  Tensor sums{device, SN_F64, {1, 3}};
  refused(sn_block_products(nullptr, x, sums), "a is null");
  refused(sn_block_products(x, nullptr, sums), "b is null");
  refused(sn_block_products(x, x, nullptr), "sums is null");
  refused(sn_block_products(x, x16, sums), "b is F16");
  refused(sn_block_products(x, longer, sums), "b is F32 with 28");
  refused(sn_block_products(x, y, five), "sums is F64 with 5 elements; F64 with 3");
}

}  // namespace
}  // namespace sinew_test
