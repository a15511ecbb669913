// The table of operations: those that have kernels, and for the others a sentence.
#include "device.h"

namespace sn {
namespace cuda {
namespace {

template <class Slot>
struct Missing;
template <class... Parameters>
struct Missing<sn_status (*)(Parameters...)> {
  template <const char* kName>
  static sn_status slot(Parameters...) {
    return fail(SN_UNSUPPORTED, "%s has no CUDA kernel yet: use the CPU's device", kName);
  }
};

#define SN_OP(name, params) constexpr char kName_##name[] = #name;
#include "core/ops.inc"
#undef SN_OP

sn_ops make_table() {
  sn_ops ops = {
#define SN_OP(name, params) Missing<decltype(sn_ops::name)>::slot<kName_##name>,
#include "core/ops.inc"
#undef SN_OP
  };
  ops.prune_threshold = prune_threshold;
  ops.prune_smallest = prune_smallest;
  ops.prune_nm = prune_nm;
  ops.key_histogram = key_histogram;
  ops.magnitude_count = magnitude_count;
  ops.range = range;
  ops.scale = scale;
  ops.quantize = quantize;
  ops.dequantize = dequantize;
  ops.fake_quantize = fake_quantize;
  ops.quantization_error = quantization_error;
  ops.weighted_sum = weighted_sum;
  ops.difference = difference;
  ops.merge_ties = merge_ties;
  ops.merge_dare = merge_dare;
  ops.block_products = block_products;
  ops.cluster_assign = cluster_assign;
  ops.cluster_sums = cluster_sums;
  ops.cluster_decode = cluster_decode;
  ops.convert = convert;
  ops.count_nonzeros = count_nonzeros;
  ops.bitmap_encode = bitmap_encode;
  ops.bitmap_decode = bitmap_decode;
  ops.reduce = reduce;
  ops.compress = compress;
  ops.reduce_compressed = reduce_compressed;
  ops.expand = expand;
  ops.rms_norm = rms_norm;
  ops.quantize_per_token = quantize_per_token;
  ops.rms_norm_quantize = rms_norm_quantize;
  ops.layer_norm = layer_norm;
  ops.softmax = softmax;
  ops.batch_norm = batch_norm;
  ops.max_pool2d = max_pool2d;
  ops.avg_pool2d = avg_pool2d;
  ops.activate = activate;
  ops.add = add;
  ops.multiply = multiply;
  ops.embedding = embedding;
  ops.rotary_embedding = rotary_embedding;
  ops.transpose_heads = transpose_heads;
  ops.attention = attention;
  ops.pack_w8a8 = pack_w8a8;
  ops.linear_w8a8 = linear_w8a8;
  ops.pack_w8 = pack_w8;
  ops.linear_w8 = linear_w8;
  ops.pack_w4 = pack_w4;
  ops.linear_w4 = linear_w4;
  ops.pack_sparse = pack_sparse;
  ops.linear_sparse = linear_sparse;
  ops.pack_clustered = pack_clustered;
  ops.linear_clustered = linear_clustered;
  ops.pack_float = pack_float;
  ops.linear_float = linear_float;
  ops.conv2d = conv2d;
  ops.matmul = matmul;
  return ops;
}

}  // namespace

const sn_ops* operations() {
  static const sn_ops ops = make_table();
  return &ops;
}

}  // namespace cuda
}  // namespace sn
