// Every argument that the operations of layers refuse: the status, a sentence that names the trouble, and no output
// touched.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>

#include "support/check.h"
#include "support/tensor.h"

namespace sinew_test {
namespace {

constexpr uint8_t kPattern = 0xa5;
constexpr double kInfinity = std::numeric_limits<double>::infinity();
using Window = std::array<int64_t, 8>;

class LayerArguments : public testing::Test {
 protected:
  LayerArguments() {
    for (Tensor* t : outputs) t->fill(kPattern);
  }

  void refused(sn_status status, const std::string& part) {
    EXPECT_EQ(status, SN_INVALID_ARGUMENT) << part;
    const std::string sentence = sn_last_error();
    EXPECT_NE(sentence.find(part), std::string::npos) << "got: " << sentence;
    EXPECT_EQ(sentence.find('\n'), std::string::npos) << sentence;
    for (const Tensor* t : outputs)
      EXPECT_TRUE(t->holds_only(kPattern)) << "an output was touched by a refused call: " << sentence;
  }
  void refused_pack(sn_status status, const sn_weights* weights, const std::string& part) {
    refused(status, part);
    EXPECT_EQ(weights, nullptr);
  }
  // Views of one piece of memory that overlap without being the same.
  void overlap(Tensor* whole, Tensor* first, Tensor* second) {
    const int64_t shape[] = {4, 6};
    ASSERT_EQ(sn_tensor_view(*whole, 0, 2, shape, first->out()), SN_OK);
    ASSERT_EQ(sn_tensor_view(*whole, 3, 2, shape, second->out()), SN_OK);
  }

  sn_device* device = device_with(2);
  Tensor x{device, SN_F32, {4, 6}}, y{device, SN_F32, {4, 6}}, y16{device, SN_BF16, {4, 6}},
      turned{device, SN_F32, {6, 4}};
  Tensor ints{device, SN_I32, {4, 6}}, doubles{device, SN_F64, {4, 6}}, scalar{device, SN_F32, {}};
  Tensor six{device, SN_F32, {6}}, four{device, SN_F32, {4}}, six16{device, SN_BF16, {6}};
  Tensor q{device, SN_I8, {4, 6}}, scale{device, SN_F32, {4}};
  Tensor image{device, SN_F32, {1, 2, 5, 7}}, pooled{device, SN_F32, {1, 2, 3, 5}},
      image16{device, SN_BF16, {1, 2, 5, 7}};
  Tensor* outputs[5] = {&y, &y16, &q, &scale, &pooled};
};

TEST_F(LayerArguments, Activate) {
  refused(sn_activate(nullptr, SN_RELU, y), "x is null");
  refused(sn_activate(x, SN_RELU, nullptr), "y is null");
  refused(sn_activate(ints, SN_RELU, y), "I32");
  refused(sn_activate(doubles, SN_RELU, y), "F64");
  refused(sn_activate(x, SN_RELU, y16), "BF16 [4, 6]");
  refused(sn_activate(x, SN_RELU, turned), "F32 [6, 4]");
  for (sn_activation activation : {-1, SN_TANH + 1})
    refused(sn_activate(x, activation, y), std::to_string(activation) + " is not an activation");
  Tensor whole{device, SN_F32, {5, 6}}, first, second;
  overlap(&whole, &first, &second);
  refused(sn_activate(first, SN_RELU, second), "overlaps");
}

TEST_F(LayerArguments, AddAndMultiply) {
  for (auto* op : {sn_add, sn_multiply}) {
    refused(op(nullptr, x, y), "a is null");
    refused(op(x, nullptr, y), "b is null");
    refused(op(x, x, nullptr), "y is null");
    refused(op(ints, x, y), "a is I32");
    refused(op(x, six16, y), "a is F32 [4, 6] and b is BF16 [6], which do not broadcast to y, F32 [4, 6]");
    refused(op(x, four, y), "b is F32 [4]");
    refused(op(x, six, turned), "F32 [6, 4]");
    refused(op(six, six, y), "do not broadcast");
    Tensor whole{device, SN_F32, {5, 6}}, first, second;
    overlap(&whole, &first, &second);
    refused(op(first, x, second), "overlaps");
    refused(op(x, first, second), "overlaps");
  }
}

TEST_F(LayerArguments, Softmax) {
  refused(sn_softmax(nullptr, y), "x is null");
  refused(sn_softmax(x, nullptr), "y is null");
  refused(sn_softmax(ints, y), "I32");
  refused(sn_softmax(scalar, scalar), "x is a scalar");
  refused(sn_softmax(x, turned), "F32 [6, 4]");
}

TEST_F(LayerArguments, Norms) {
  refused(sn_layer_norm(nullptr, six, six, 0, y), "x is null");
  refused(sn_layer_norm(x, six, six, 0, nullptr), "y is null");
  refused(sn_layer_norm(ints, six, six, 0, y), "I32");
  refused(sn_layer_norm(x, four, six, 0, y), "weight is F32 with 4 elements");
  refused(sn_layer_norm(x, six, four, 0, y), "bias is F32 with 4 elements");
  refused(sn_layer_norm(x, six16, nullptr, 0, y), "weight is BF16");
  refused(sn_layer_norm(scalar, nullptr, nullptr, 0, scalar), "x is a scalar");
  refused(sn_rms_norm(x, four, 0, y), "weight is F32 with 4 elements");
  refused(sn_rms_norm(x, nullptr, 0, turned), "F32 [6, 4]");
  for (double eps : {-1e-9, kInfinity, std::nan("")}) {
    refused(sn_layer_norm(x, six, six, eps, y), "eps is");
    refused(sn_rms_norm(x, six, eps, y), "eps is");
    refused(sn_rms_norm_quantize(x, six, eps, q, scale), "eps is");
    refused(sn_batch_norm(x, six, six, six, six, eps, y), "eps is");
  }
  refused(sn_rms_norm_quantize(nullptr, six, 0, q, scale), "x is null");
  refused(sn_rms_norm_quantize(x, six, 0, nullptr, scale), "q is null");
  refused(sn_rms_norm_quantize(x, six, 0, q, nullptr), "scale is null");
  refused(sn_rms_norm_quantize(x, six, 0, y, scale), "q is F32");
  refused(sn_rms_norm_quantize(x, six, 0, q, y), "scale is F32 with 24 elements");
  refused(sn_batch_norm(six, six, six, six, six, 0, six), "[batch, channels, ...] is needed");
  refused(sn_batch_norm(x, nullptr, six, six, six, 0, y), "mean is null");
  refused(sn_batch_norm(x, six, nullptr, six, six, 0, y), "variance is null");
  refused(sn_batch_norm(x, four, six, six, six, 0, y), "mean is F32 with 4 elements");
  refused(sn_batch_norm(x, six, six, six, six16, 0, y), "bias is BF16");
}

TEST_F(LayerArguments, QuantizePerToken) {
  refused(sn_quantize_per_token(nullptr, q, scale), "x is null");
  refused(sn_quantize_per_token(x, nullptr, scale), "q is null");
  refused(sn_quantize_per_token(x, q, nullptr), "scale is null");
  refused(sn_quantize_per_token(ints, q, scale), "x is I32");
  refused(sn_quantize_per_token(doubles, q, scale), "x is F64");
  refused(sn_quantize_per_token(scalar, q, scale), "x is a scalar");
  refused(sn_quantize_per_token(x, y, scale), "q is F32");
  refused(sn_quantize_per_token(six, q, scale), "q is I8 with 24 elements");
  refused(sn_quantize_per_token(x, q, y), "scale is F32 with 24 elements");
  refused(sn_quantize_per_token(x, q, six16), "scale is BF16");
  // In memory of x, and both in the same.
  const int64_t shape[] = {4, 6}, rows[] = {4};
  Tensor bytes, scales, in_q;
  ASSERT_EQ(sn_tensor_wrap(device, x.data() + 95, SN_I8, 2, shape, bytes.out()), SN_OK);
  ASSERT_EQ(sn_tensor_wrap(device, x.data() + 92, SN_F32, 1, rows, scales.out()), SN_OK);
  ASSERT_EQ(sn_tensor_wrap(device, q.data() + 20, SN_F32, 1, rows, in_q.out()), SN_OK);
  refused(sn_quantize_per_token(x, bytes, scale), "overlaps");
  refused(sn_quantize_per_token(x, q, scales), "overlaps");
  refused(sn_quantize_per_token(x, q, in_q), "overlaps");
}

TEST_F(LayerArguments, Embedding) {
  Tensor ids{device, SN_I64, {4}}, table{device, SN_F32, {9, 6}}, cube{device, SN_F32, {3, 3, 6}};
  refused(sn_embedding(nullptr, table, y), "ids is null");
  refused(sn_embedding(ids, nullptr, y), "table is null");
  refused(sn_embedding(ids, table, nullptr), "y is null");
  refused(sn_embedding(four, table, y), "ids is F32 [4]; I64 or I32 is needed");
  refused(sn_embedding(ids, ints, y), "I32");
  refused(sn_embedding(ids, cube, y), "table is F32 [3, 3, 6]");
  refused(sn_embedding(ids, table, y16), "y is BF16 [4, 6]");
  refused(sn_embedding(ids, table, turned), "y is F32 [6, 4]");
  // Ids beyond the table are noticed while y is written.
  Tensor out{device, SN_F32, {4, 6}};
  for (int64_t id :
       {int64_t{-1}, int64_t{9}, std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max()}) {
    std::memcpy(ids.data() + 16, &id, sizeof id);
    refused(sn_embedding(ids, table, out), std::to_string(id));
  }
}

TEST_F(LayerArguments, RotaryEmbedding) {
  Tensor heads{device, SN_F32, {3, 2, 6}}, cosine{device, SN_F32, {5, 3}}, sine{device, SN_F32, {5, 3}},
      wide{device, SN_F32, {5, 4}}, flat{device, SN_F32, {15}};
  heads.fill(kPattern);
  const auto rotate = [&](const sn_tensor* c, const sn_tensor* s, int64_t position) {
    return sn_rotary_embedding(heads, c, s, position, 0, heads);
  };
  refused(sn_rotary_embedding(nullptr, cosine, sine, 0, 0, heads), "x is null");
  refused(sn_rotary_embedding(heads, cosine, sine, 0, 0, nullptr), "y is null");
  refused(sn_rotary_embedding(x, cosine, sine, 0, 0, y), "[..., tokens, heads, width] is needed");
  refused(rotate(nullptr, sine, 0), "cosine is null");
  refused(rotate(cosine, nullptr, 0), "sine is null");
  refused(rotate(wide, wide, 0), "cosine is F32 [5, 4]");
  refused(rotate(flat, flat, 0), "cosine is F32 [15]");
  refused(rotate(cosine, four, 0), "sine is F32 with 4 elements");
  for (int64_t position : {int64_t{-1}, int64_t{3}, std::numeric_limits<int64_t>::max()})
    refused(rotate(cosine, sine, position), "positions from " + std::to_string(position));
  EXPECT_TRUE(heads.holds_only(kPattern));
}

TEST_F(LayerArguments, TransposeHeads) {
  Tensor heads{device, SN_F32, {2, 3, 4, 5}}, out{device, SN_F32, {2, 4, 3, 5}}, other{device, SN_F32, {2, 4, 3, 6}};
  out.fill(kPattern);
  refused(sn_transpose_heads(nullptr, 0, out), "x is null");
  refused(sn_transpose_heads(heads, 0, nullptr), "y is null");
  refused(sn_transpose_heads(heads, 0, other), "y is F32 [2, 4, 3, 6]");
  refused(sn_transpose_heads(x, 0, out), "x is F32 [4, 6]");
  for (int64_t first : {int64_t{-1}, int64_t{1}, std::numeric_limits<int64_t>::max()})
    refused(sn_transpose_heads(heads, first, out), "rows from " + std::to_string(first) + " on");
  EXPECT_TRUE(out.holds_only(kPattern));
}

TEST_F(LayerArguments, Matmul) {
  Tensor b{device, SN_F32, {6, 3}}, product{device, SN_F32, {4, 3}}, cube{device, SN_F32, {2, 6, 3}};
  product.fill(kPattern);
  refused(sn_matmul(nullptr, b, 0, product), "a is null");
  refused(sn_matmul(x, nullptr, 0, product), "b is null");
  refused(sn_matmul(x, b, 0, nullptr), "y is null");
  refused(sn_matmul(x, b, 1, product), "b is F32 [6, 3], transposed, and y is F32 [4, 3]");
  refused(sn_matmul(ints, b, 0, product), "a is I32 [4, 6]");
  refused(sn_matmul(x, b, 0, y), "y is F32 [4, 6]");
  refused(sn_matmul(x, six, 0, product), "b is F32 [6]");
  refused(sn_matmul(x, cube, 0, product), "b is F32 [2, 6, 3]");
  refused(sn_matmul(six, b, 0, product), "a is F32 [6]");
  Tensor square{device, SN_F32, {4, 4}};
  refused(sn_matmul(square, square, 0, square), "overlaps");
  EXPECT_TRUE(product.holds_only(kPattern));
}

TEST_F(LayerArguments, Attention) {
  Tensor queries{device, SN_F32, {1, 4, 3, 8}}, keys{device, SN_F32, {1, 2, 5, 8}},
      values{device, SN_F32, {1, 2, 5, 6}}, out{device, SN_F32, {1, 4, 3, 6}},
      three_heads{device, SN_F32, {1, 3, 5, 8}}, narrow{device, SN_F32, {1, 2, 5, 7}},
      keys16{device, SN_BF16, {1, 2, 5, 8}};
  out.fill(kPattern);
  const auto attend = [&](const sn_tensor* k, const sn_tensor* v, int64_t length, int32_t causal, double factor) {
    return sn_attention(queries, k, v, length, causal, factor, out);
  };
  refused(sn_attention(nullptr, keys, values, 5, 0, 1, out), "q is null");
  refused(sn_attention(queries, keys, values, 5, 0, 1, nullptr), "y is null");
  refused(sn_attention(queries, keys, values, 5, 0, 1, queries), "y is F32 [1, 4, 3, 8]");
  refused(attend(nullptr, values, 5, 0, 1), "k is null");
  refused(attend(keys, nullptr, 5, 0, 1), "v is null");
  refused(attend(three_heads, values, 5, 0, 1), "k is F32 [1, 3, 5, 8]");
  refused(attend(narrow, values, 5, 0, 1), "k is F32 [1, 2, 5, 7]");
  refused(attend(keys, x, 5, 0, 1), "v is F32 [4, 6]");
  refused(attend(keys16, values, 5, 0, 1), "k is BF16 [1, 2, 5, 8]");
  for (int64_t length : {-1, 6}) refused(attend(keys, values, length, 0, 1), "the length " + std::to_string(length));
  refused(attend(keys, values, 2, 1, 1), "the length 2 is not within 3..5");
  for (double factor : {kInfinity, -kInfinity, std::nan("")}) refused(attend(keys, values, 5, 0, factor), "the scale");
  EXPECT_TRUE(out.holds_only(kPattern));
}

TEST_F(LayerArguments, Pooling) {
  const Window good = {3, 3, 1, 1, 0, 0, 1, 1};
  const auto max_pool = [](const sn_tensor* in, const int64_t* w, sn_tensor* out) { return sn_max_pool2d(in, w, out); };
  const auto avg_pool = [](const sn_tensor* in, const int64_t* w, sn_tensor* out) {
    return sn_avg_pool2d(in, w, 1, out);
  };
  for (auto* pool : {+max_pool, +avg_pool}) {
    refused(pool(nullptr, good.data(), pooled), "x is null");
    refused(pool(image, nullptr, pooled), "the window is null");
    refused(pool(image, good.data(), nullptr), "y is null");
    refused(pool(x, good.data(), pooled), "x is F32 [4, 6]");
    refused(pool(image16, good.data(), pooled), "y is F32");
    refused(pool(image, good.data(), image16), "y is BF16");
    refused(pool(image, Window{2, 3, 1, 1, 0, 0, 1, 1}.data(), pooled), "y is F32 [1, 2, 3, 5]");
    refused(pool(image, Window{9, 3, 1, 1, 0, 0, 1, 1}.data(), pooled), "windows of 9 x 3");
    refused(pool(image, Window{3, 3, 1, 1, 2, 0, 1, 1}.data(), pooled), "a padding of 2 is more than half");
    for (size_t i = 0; i < good.size(); ++i) {
      for (int64_t bad :
           {i == 4 || i == 5 ? int64_t{-1} : int64_t{0}, int64_t{1} << 21, std::numeric_limits<int64_t>::max()}) {
        Window window = good;
        window[i] = bad;
        refused(pool(image, window.data(), pooled), std::to_string(bad) + " at index " + std::to_string(i));
      }
    }
  }
  Tensor small{device, SN_F32, {1, 2, 1, 3}};
  refused(sn_avg_pool2d(image, Window{3, 3, 1, 1, 0, 0, 2, 2}.data(), 1, small), "dilations of a mean");
}

TEST_F(LayerArguments, Convolution) {
  const Window good = {3, 3, 1, 1, 0, 0, 1, 1};
  Tensor kernel{device, SN_F32, {2, 2, 3, 3}}, two{device, SN_F32, {2}}, half{device, SN_F16, {1, 2, 5, 7}};
  sn_weights* packed = nullptr;
  ASSERT_EQ(sn_pack_float(kernel, &packed), SN_OK) << sn_last_error();
  const auto convolve = [&](const sn_tensor* in, const int64_t* w, int64_t groups, sn_tensor* out) {
    return sn_conv2d(in, packed, w, groups, two, SN_NONE, out);
  };
  refused(convolve(nullptr, good.data(), 1, pooled), "x is null");
  refused(sn_conv2d(image, nullptr, good.data(), 1, two, SN_NONE, pooled), "the weights are null");
  refused(convolve(image, nullptr, 1, pooled), "the window is null");
  refused(convolve(image, good.data(), 1, nullptr), "y is null");
  refused(convolve(half, good.data(), 1, pooled), "x is F16 [1, 2, 5, 7]");
  refused(convolve(image, good.data(), 1, half), "y is F16 [1, 2, 5, 7]; F32 or BF16 [1, 2, 3, 5] is needed");
  refused(convolve(x, good.data(), 1, pooled), "x is F32 [4, 6]");
  for (int64_t groups : {int64_t{0}, int64_t{-1}, int64_t{2}, std::numeric_limits<int64_t>::max()})
    refused(convolve(image, good.data(), groups, pooled), "does not fit weights [2, 18]");
  refused(convolve(image, Window{3, 2, 1, 1, 0, 0, 1, 1}.data(), 1, pooled), "3 x 2 windows");
  refused(convolve(image, Window{3, 3, 2, 1, 0, 0, 1, 1}.data(), 1, pooled), "F32 or BF16 [1, 2, 2, 5] is needed");
  for (size_t i = 0; i < good.size(); ++i) {
    Window window = good;
    window[i] = -1;
    refused(convolve(image, window.data(), 1, pooled), "-1 at index " + std::to_string(i));
  }
  refused(sn_conv2d(image, packed, good.data(), 1, six, SN_NONE, pooled), "bias is F32 with 6 elements");
  refused(sn_conv2d(image, packed, good.data(), 1, two, SN_TANH + 1, pooled), "is not an activation");
  sn_weights_close(packed);
  // int8 weights are packed for one kernel.
  Tensor matrix{device, SN_I8, {2, 18}}, flat{device, SN_I8, {2, 2, 1, 9}};
  for (const sn_tensor* weight : {static_cast<const sn_tensor*>(matrix), static_cast<const sn_tensor*>(flat)}) {
    ASSERT_EQ(sn_pack_w8a8(weight, two, nullptr, &packed), SN_OK) << sn_last_error();
    refused(convolve(image, good.data(), 1, pooled),
            "not 3 x 3; pack them from a tensor [out, channels, height, width]");
    sn_weights_close(packed);
  }
  Tensor planes{device, SN_F32, {1, 9, 3, 5}}, square{device, SN_I8, {2, 1, 3, 3}};
  ASSERT_EQ(sn_pack_w8a8(square, two, nullptr, &packed), SN_OK) << sn_last_error();
  refused(convolve(planes, Window{1, 1, 1, 1, 0, 0, 1, 1}.data(), 1, pooled), "kernels of 3 x 3, not 1 x 1");
  sn_weights_close(packed);
}

TEST_F(LayerArguments, Packing) {
  Tensor nibbles{device, SN_U8, {4, 3}}, zeros{device, SN_I8, {4}}, groups{device, SN_F32, {4, 2}},
      f8{device, SN_F8_E4M3, {4, 6}}, bits{device, SN_U8, {4, 1}}, values{device, SN_I8, {0}},
      floats{device, SN_F32, {0}}, offsets{device, SN_I64, {5}}, book{device, SN_F32, {1, 4}},
      indices{device, SN_U8, {4, 2}}, books{device, SN_F32, {5, 4}};
  sn_weights* w = nullptr;
  refused_pack(sn_pack_float(nullptr, &w), w, "weight is null");
  refused_pack(sn_pack_float(ints, &w), w, "I32");
  refused_pack(sn_pack_float(x, nullptr), w, "the result pointer is null");
  refused_pack(sn_pack_w8(nullptr, scale, nullptr, 0, &w), w, "weight is null");
  refused_pack(sn_pack_w8(x, scale, nullptr, 0, &w), w, "weight is F32, not I8 or F8_E4M3");
  refused_pack(sn_pack_w8(f8, scale, zeros, 0, &w), w, "F8_E4M3 weights have no zero points");
  refused_pack(sn_pack_w8(q, nullptr, nullptr, 0, &w), w, "scale is null");
  refused_pack(sn_pack_w8(q, scale, nullptr, -1, &w), w, "group size -1");
  refused_pack(sn_pack_w8(q, scale, nullptr, 3, &w), w, "scale is F32 with 4 elements; F32 with 8 is needed");
  refused_pack(sn_pack_w8(q, groups, zeros, 3, &w), w, "zero_point is I8 with 4");
  refused_pack(sn_pack_w4(nullptr, 6, scale, nullptr, 0, &w), w, "q is null");
  refused_pack(sn_pack_w4(nibbles, 7, scale, nullptr, 0, &w), w, "U8 with rows of 4 is needed for 7 columns");
  refused_pack(sn_pack_w4(nibbles, -1, scale, nullptr, 0, &w), w, "-1 is not a number of columns");
  refused_pack(sn_pack_w4(q, 6, scale, nullptr, 0, &w), w, "q is I8");
  refused_pack(sn_pack_w4(nibbles, 6, groups, nullptr, 3, &w), w, "int4 groups need an even size, not 3");
  refused_pack(sn_pack_sparse(nullptr, bits, offsets, scale, 0, 6, &w), w, "values is null");
  refused_pack(sn_pack_sparse(ints, bits, offsets, scale, 0, 6, &w), w, "values is I32");
  refused_pack(sn_pack_sparse(values, nullptr, offsets, scale, 0, 6, &w), w, "bitmap is null");
  refused_pack(sn_pack_sparse(values, bits, offsets, scale, 0, 9, &w), w, "bitmap is U8 with rows of 1");
  refused_pack(sn_pack_sparse(values, bits, scale, scale, 0, 6, &w), w, "row_offsets is F32");
  refused_pack(sn_pack_sparse(values, bits, offsets, nullptr, 0, 6, &w), w, "scale is null");
  refused_pack(sn_pack_sparse(floats, bits, offsets, scale, 0, 6, &w), w, "F32 values have no scales");
  refused_pack(sn_pack_clustered(nullptr, book, 6, &w), w, "q is null");
  refused_pack(sn_pack_clustered(indices, nullptr, 6, &w), w, "codebook is null");
  refused_pack(sn_pack_clustered(indices, groups, 6, &w), w, "codebook is F32 with rows of 2");
  refused_pack(sn_pack_clustered(indices, book, 9, &w), w, "U8 with rows of 3 is needed for 9 columns");
  refused_pack(sn_pack_clustered(indices, books, 6, &w), w, "5 codebooks do not fit 4 rows");
}

}  // namespace
}  // namespace sinew_test
