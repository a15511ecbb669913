// A matrix becomes its values, a bitmap of where they are, and where each row's begin.
#include "support/pruning.h"
#include "support/sparse.h"
#include "support/values.h"

namespace sinew_test {
namespace {

Call encode_call(sn_dtype dtype, const std::vector<int64_t>& shape, double share, int64_t first = 0) {
  const uint64_t seed = next_seed();
  Call call;
  std::vector<uint8_t> bytes = sparse_elements(dtype, count_of(shape), share, seed);
  const Sparse sparse = sparse_oracle(dtype, shape, bytes, first);
  call.label = sparse_label("bitmap_encode", dtype, shape, share, seed) + " first " + std::to_string(first);
  call.inputs = {{dtype, shape, std::move(bytes), true}};
  call.outputs = sparse_operands(dtype, shape, sparse);
  for (Operand& operand : call.outputs) {
    call.expected.push_back(std::move(operand.bytes));
    operand.bytes.clear();
  }
  call.run = [first](const Tensors& in, const Tensors& out, int64_t*) {
    return sn_bitmap_encode(in[0], first, out[0], out[1], out[2]);
  };
  return call;
}

void tails(const Emit& emit) {
  for (sn_dtype dtype : kAllDtypes) {
    for (int64_t n : kSizes) emit(encode_call(dtype, {n}, 0.5));
  }
}

void shapes(const Emit& emit) {
  for (sn_dtype dtype : kSizedDtypes) {
    for (const auto& shape : kShapes) {
      for (double share : kShares) emit(encode_call(dtype, shape, share, 12345678901));
    }
  }
}

void counts(const Emit& emit) {
  // Room for one value more or less than there are, in one part and in several.
  for (sn_dtype dtype : kSizedDtypes) {
    for (const auto& shape : {std::vector<int64_t>{1}, {3, 65}, {40, 8191}}) {
      for (int64_t more : {-1, 1}) {
        Call call = encode_call(dtype, shape, 0.9);
        call.outputs[0].shape[0] += more;
        if (call.outputs[0].shape[0] < 0) continue;
        call.label += " more " + std::to_string(more);
        call.status = SN_INVALID_ARGUMENT;
        emit(call);
      }
    }
  }
}

void large(const Emit& emit) {
  for (sn_dtype dtype : kSizedDtypes) {
    emit(encode_call(dtype, {kManyTasks}, 0.4));
    emit(encode_call(dtype, {29, kManyTasks / 29}, 0.6));
    if (!quick() || dtype == SN_I8) emit(encode_call(dtype, {kManyTasks / 9, 9}, 0.3));
  }
}

template <sn_dtype kDtype, int kPercent>
Call timed() {
  return encode_call(kDtype, {1024, 4096}, kPercent / 100.0);
}

const Register registered({"bitmap_encode",
                           {{"tails", tails}, {"shapes", shapes}, {"counts", counts}, {"large", large}},
                           {{"int8 50%", timed<SN_I8, 50>},
                            {"int8 10%", timed<SN_I8, 10>},
                            {"bf16 50%", timed<SN_BF16, 50>},
                            {"f32 50%", timed<SN_F32, 50>},
                            {"f64 50%", timed<SN_F64, 50>}}});

}  // namespace
}  // namespace sinew_test
