// Memory that operations refuse: what overlaps, what may only be read, what belongs to a closed device.
#include <cstring>
#include <vector>

#include "support/arguments.h"

namespace sinew_test {
namespace {

// Partly overlapping memory, and the same memory where "in place" is not offered.
TEST_F(Arguments, Overlap) {
  Tensor memory{device, SN_F32, {200}};
  Tensor whole, half, shifted, bytes, doubles;
  const int64_t n = 24, shape[] = {4, 6}, five_elements = 5, four = 4;
  ASSERT_EQ(sn_tensor_view(memory, 0, 2, shape, whole.out()), SN_OK);
  ASSERT_EQ(sn_tensor_view(memory, 12, 2, shape, shifted.out()), SN_OK);
  uint8_t* p = memory.data();
  ASSERT_EQ(sn_tensor_wrap(device, p + 40, SN_I8, 1, &n, bytes.out()), SN_OK);
  ASSERT_EQ(sn_tensor_wrap(device, p + 8, SN_F64, 1, &five_elements, doubles.out()), SN_OK);
  refused(sn_prune_threshold(whole, 1, shifted, &number), "overlap");
  refused(sn_prune_smallest(shifted, 1, 0, whole, &number), "overlap");
  refused(sn_prune_nm(whole, 1, 2, shifted, &number), "overlap");
  refused(sn_quantize(whole, scale, nullptr, 0, bytes), "overlap");
  refused(sn_dequantize(bytes, scale, nullptr, 0, whole), "overlap");
  refused(sn_fake_quantize(whole, scale, nullptr, 0, 0, shifted), "overlap");
  refused(sn_convert(whole, shifted), "overlap");
  refused(sn_convert(whole, whole), "overlap");
  refused(sn_compare(whole, x, doubles), "overlap");
  refused(sn_compare(x, whole, doubles), "overlap");
  refused(sn_memory_probe(whole, shifted), "overlap");
  const float weights[] = {1, 1};
  const int64_t streams[] = {1, 2};
  const sn_tensor* second[] = {x, shifted};
  refused(sn_weighted_sum(second, 2, weights, nullptr, whole), "overlap");
  refused(sn_weighted_sum(second, 1, weights, shifted, whole), "overlap");
  refused(sn_difference(x, shifted, whole), "overlap");
  refused(sn_merge_ties(x, second, 2, weights, 1, 1, whole), "overlap");
  refused(sn_merge_ties(shifted, second, 1, weights, 1, 1, whole), "overlap");
  refused(sn_merge_dare(x, second, 2, weights, 1, 0, streams, 0, whole), "overlap");
  Tensor sums;
  const int64_t three_sums = 3;
  ASSERT_EQ(sn_tensor_wrap(device, p + 8, SN_F64, 1, &three_sums, sums.out()), SN_OK);
  refused(sn_block_products(whole, x, sums), "overlap");
  refused(sn_block_products(x, whole, sums), "overlap");
  // Scales inside of outputs.
  Tensor inner;
  ASSERT_EQ(sn_tensor_wrap(device, p + 44, SN_F32, 1, &four, inner.out()), SN_OK);
  refused(sn_fake_quantize(x, inner, nullptr, 0, 0, whole), "overlap");
  refused(sn_dequantize(q8, inner, nullptr, 0, whole), "overlap");
  refused(sn_quantize(x, inner, nullptr, 0, bytes), "overlap");
  refused(sn_range(whole, 0, 0, 0, 0, inner, hi), "overlap");
  refused(sn_range(whole, 0, 0, 0, 0, lo, inner), "overlap");
  Tensor inner_zeros;
  ASSERT_EQ(sn_tensor_wrap(device, inner.data() + 3, SN_I8, 1, &four, inner_zeros.out()), SN_OK);
  refused(sn_scale(lo, inner, SN_INT8_ASYMMETRIC, scale, inner_zeros), "overlap");
  refused(sn_scale(lo, hi, SN_INT8_ASYMMETRIC, inner, inner_zeros), "overlap");
  refused(sn_quantize(x, scale, inner_zeros, 0, bytes), "overlap");
  Tensor book, bytes8, entry_counts;
  const int64_t eight_bytes = 8;
  ASSERT_EQ(sn_tensor_wrap(device, p + 52, SN_U8, 1, &eight_bytes, bytes8.out()), SN_OK);
  ASSERT_EQ(sn_tensor_wrap(device, p + 44, SN_F32, 1, &four, book.out()), SN_OK);
  ASSERT_EQ(sn_tensor_wrap(device, p + 48, SN_I64, 1, &four, entry_counts.out()), SN_OK);
  refused(sn_cluster_assign(whole, codebook, bytes8), "overlap");
  refused(sn_cluster_assign(x, book, bytes8), "overlap");
  refused(sn_cluster_sums(whole, codebook, cluster_sums, entry_counts), "overlap");
  refused(sn_cluster_sums(x, book, cluster_sums, entry_counts), "overlap");
  refused(sn_cluster_decode(bytes8, codebook, whole), "overlap");
  refused(sn_cluster_decode(q2, book, whole), "overlap");
  EXPECT_TRUE(sn_fake_quantize(x, scale, nullptr, 0, 0, x) == SN_OK) << "in place is allowed";
}

TEST_F(Arguments, ReadOnlyOutputs) {
  Tensor f32, i8, i64, f64, view, one{device, SN_F32, {1}};
  map_zeros(SN_F32, 24, &f32);
  map_zeros(SN_I8, 24, &i8);
  map_zeros(SN_I64, 65536, &i64);
  map_zeros(SN_F64, 8, &f64);
  const int64_t four = 4, n = 24;
  ASSERT_EQ(sn_tensor_view(f32, 0, 1, &four, view.out()), SN_OK);
  refused(sn_prune_threshold(x, 1, f32, &number), "out is read-only");
  refused(sn_prune_threshold(f32, 1, f32, &number), "read-only");
  refused(sn_quantize(x, scale, nullptr, 0, i8), "q is read-only");
  refused(sn_dequantize(q8, one, nullptr, 0, f32), "y is read-only");
  refused(sn_fake_quantize(x, scale, nullptr, 0, 0, f32), "y is read-only");
  refused(sn_key_histogram(x, 0, -1, i64), "histogram is read-only");
  refused(sn_value_histogram(x, 0, 1, i64), "counts is read-only");
  refused(sn_statistics(x, f64), "result is read-only");
  refused(sn_convert(x16, f32), "y is read-only");
  refused(sn_memory_probe(x, f32), "y is read-only");
  const sn_tensor* models[] = {x};
  const float weights[] = {1};
  const int64_t streams[] = {1};
  refused(sn_weighted_sum(models, 1, weights, nullptr, f32), "out is read-only");
  refused(sn_difference(x, x, f32), "difference is read-only");
  refused(sn_merge_ties(x, models, 1, weights, 1, 1, f32), "out is read-only");
  refused(sn_merge_dare(x, models, 1, weights, 1, 0, streams, 0, f32), "out is read-only");
  refused(sn_range(x, 0, 0, 0, 0, view, hi), "lo is read-only");
  refused(sn_range(x, 0, 0, 0, 0, lo, view), "hi is read-only");
  refused(sn_scale(lo, hi, 0, view, nullptr), "scale is read-only");
  Tensor i64s, u8;
  map_zeros(SN_I64, 4, &i64s);
  map_zeros(SN_U8, 8, &u8);
  refused(sn_cluster_assign(x, codebook, u8), "q is read-only");
  refused(sn_cluster_sums(x, codebook, cluster_sums, i64s), "counts is read-only");
  Tensor q6{device, SN_U8, {6}};  // f32 is one row
  refused(sn_cluster_decode(q6, codebook, f32), "y is read-only");
  // Reading is fine.
  int64_t zeros = 0;
  Tensor pruned{device, SN_F32, {n}};
  EXPECT_EQ(sn_prune_threshold(f32, 1, pruned, &zeros), SN_OK) << sn_last_error();
  EXPECT_EQ(zeros, n);
}

TEST_F(Arguments, ClosedDevice) {
  sn_device* other = nullptr;
  ASSERT_EQ(sn_cpu_open(2, &other), SN_OK);
  const std::vector<int64_t> shape = {4, 6};
  Tensor gone{other, SN_F32, shape}, gone_out{other, SN_F32, shape}, gone_scale{other, SN_F32, {4}},
      gone_q{other, SN_I8, shape}, gone_zeros{other, SN_I8, {4}};
  std::memset(gone.data(), 7, gone.size());
  sn_device_close(other);
  EXPECT_TRUE(gone.holds_only(7)) << "the memory of tensors stays valid";
  refused(sn_prune_threshold(gone, 1, out, &number), "the device of x is closed");
  refused(sn_prune_threshold(x, 1, gone_out, &number), "the device of out is closed");
  refused(sn_quantize(x, gone_scale, nullptr, 0, q8), "the device of scale is closed");
  refused(sn_quantize(x, scale, gone_zeros, 0, q8), "the device of zero_point is closed");
  refused(sn_dequantize(gone_q, scale, nullptr, 0, y), "the device of q is closed");
  refused(sn_cluster_assign(x, gone_scale, q2), "the device of codebook is closed");
  refused(sn_compare(x, gone, five), "the device of b is closed");
  refused(sn_convert(gone, y), "closed");
  const sn_tensor* models[] = {x, gone};
  const float weights[] = {1, 1};
  refused(sn_weighted_sum(models, 2, weights, nullptr, out), "the device of x is closed");
  refused(sn_weighted_sum(models, 1, weights, gone, out), "the device of base is closed");
  refused(sn_statistics(gone, eight), "closed");
  refused(sn_memory_probe(x, gone_out), "closed");
  sn_tensor* tensor = nullptr;
  refused(sn_tensor_view(gone, 0, 2, shape.data(), &tensor), "the device is closed");
  EXPECT_EQ(tensor, nullptr);
}

}  // namespace
}  // namespace sinew_test
