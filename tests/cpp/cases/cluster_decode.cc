// y = codebook[q].
#include <limits>

#include "support/clustering.h"
#include "support/pruning.h"
#include "support/values.h"

namespace sinew_test {
namespace {

Call decode_call(sn_dtype dtype, const std::vector<int64_t>& shape, const std::vector<float>& codebook, int bits,
                 const std::string& what) {
  const uint64_t seed = next_seed();
  const int64_t n = count_of(shape), size = size_of(dtype);
  std::vector<int> indices;
  for (uint8_t b : random_bytes(n, seed)) indices.push_back(b % (1 << bits));
  std::vector<uint8_t> expected(static_cast<size_t>(n * size));
  for (int64_t i = 0; i < n; ++i)
    put_f32(dtype, codebook[static_cast<size_t>(indices[static_cast<size_t>(i)])], expected.data() + i * size);
  Call call;
  call.label = describe_clustering("cluster_decode", dtype, shape, bits, what + " seed " + std::to_string(seed));
  call.inputs = {indices_operand(indices, shape, bits), codebook_operand(codebook)};
  // The bits beside the last index of a row mean nothing.
  if (cols_of(shape) * bits % 8 != 0 && n > 0) call.inputs[0].bytes.back() ^= 0x80;
  call.outputs = {{dtype, shape, {}, true}};
  call.expected = {std::move(expected)};
  call.any_nan = true;
  call.run = [](const Tensors& in, const Tensors& out, int64_t*) { return sn_cluster_decode(in[0], in[1], out[0]); };
  return call;
}

Call random_call(sn_dtype dtype, const std::vector<int64_t>& shape, int bits) {
  return decode_call(dtype, shape, make_codebook(Book::kWeights, bits, next_seed()), bits, "");
}

void tails(const Emit& emit) {
  for (sn_dtype dtype : kFloats) {
    for (int bits : kWidths) {
      for (int64_t n : kSizes) emit(random_call(dtype, {n}, bits));
    }
  }
}

void shapes(const Emit& emit) {
  for (sn_dtype dtype : kFloats) {
    for (int bits : kWidths) {
      for (const auto& shape : dtype == SN_F32 ? kShapes : kFewShapes) emit(random_call(dtype, shape, bits));
    }
  }
}

// Entries in no order, of every size, and what only a foreign file has: they are data.
void entries(const Emit& emit) {
  for (sn_dtype dtype : kFloats) {
    for (int bits : kWidths) {
      std::vector<float> codebook = make_codebook(Book::kWide, bits, next_seed());
      codebook[0] = std::numeric_limits<float>::infinity();
      codebook[1] = -0.0f;
      codebook[2] = 1e-41f;
      codebook[3] = -65520.0f;
      emit(decode_call(dtype, {3, 301}, codebook, bits, "odd"));
      codebook[1] = std::numeric_limits<float>::quiet_NaN();
      codebook[2] = -std::numeric_limits<float>::infinity();
      emit(decode_call(dtype, {3, 301}, codebook, bits, "NaN"));
    }
  }
}

void large(const Emit& emit) {
  for (sn_dtype dtype : large_dtypes()) {
    const int64_t n = large_count(dtype);
    for (int bits : {4, 5, 8}) emit(random_call(dtype, {n}, bits));
    emit(random_call(dtype, {29, n / 29 + 1}, 3));
  }
}

template <sn_dtype kDtype, int kBits>
Call timed() {
  return random_call(kDtype, {1024, 4096}, kBits);
}

const Register registered({"cluster_decode",
                           {{"tails", tails}, {"shapes", shapes}, {"entries", entries}, {"large", large}},
                           {{"2 bits f32", timed<SN_F32, 2>},
                            {"4 bits f32", timed<SN_F32, 4>},
                            {"5 bits f32", timed<SN_F32, 5>},
                            {"8 bits f32", timed<SN_F32, 8>},
                            {"4 bits bf16", timed<SN_BF16, 4>},
                            {"8 bits bf16", timed<SN_BF16, 8>}}});

}  // namespace
}  // namespace sinew_test
