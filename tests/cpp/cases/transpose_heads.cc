// The middle dimensions swapped, also into rows of a longer output.
#include <algorithm>

#include "support/reals.h"

namespace sinew_test {
namespace {

Call transpose_call(sn_dtype dtype, const std::vector<int64_t>& shape, int64_t first, int64_t after) {
  const int64_t capacity = first + shape[1] + after, size = size_of(dtype);
  const uint64_t seed = next_seed();
  Operand x = operand_of(dtype, shape, random_bytes(count_of(shape) * size, seed));
  const std::vector<int64_t> out = {shape[0], shape[2], capacity, shape[3]};
  // What is there before stays where nothing is written.
  std::vector<uint8_t> before = random_bytes(count_of(out) * size, seed + 1000), expected = before;
  for (int64_t i = 0; i < shape[0]; ++i) {
    for (int64_t j = 0; j < shape[1]; ++j) {
      for (int64_t k = 0; k < shape[2]; ++k) {
        const int64_t from = ((i * shape[1] + j) * shape[2] + k) * shape[3] * size;
        const int64_t to = ((i * shape[2] + k) * capacity + first + j) * shape[3] * size;
        std::copy_n(x.bytes.begin() + from, shape[3] * size, expected.begin() + to);
      }
    }
  }
  Call call;
  call.label = std::string("transpose_heads ") + name_of(dtype) + text_of(shape) + " to " + text_of(out) + " from " +
               std::to_string(first) + " seed " + std::to_string(seed);
  call.inputs = {std::move(x)};
  call.outputs = {operand_of(dtype, out, std::move(before))};
  call.expected = {std::move(expected)};
  call.run = [first](const Tensors& in, const Tensors& result, int64_t*) {
    return sn_transpose_heads(in[0], first, result[0]);
  };
  return call;
}

void shapes(const Emit& emit) {
  const std::vector<std::vector<int64_t>> all = {{1, 1, 1, 1},     {2, 3, 4, 5},    {1, 17, 33, 1}, {3, 40, 21, 1},
                                                 {2, 128, 12, 64}, {0, 2, 3, 4},    {2, 0, 3, 4},   {2, 3, 0, 4},
                                                 {2, 3, 4, 0},     {1, 1, 32, 128}, {2, 16, 16, 1}, {1, 300, 7, 3}};
  for (sn_dtype dtype : {SN_F32, SN_BF16, SN_I8, SN_I64}) {
    for (const auto& shape : all) {
      emit(transpose_call(dtype, shape, 0, 0));
      emit(transpose_call(dtype, shape, 3, 2));
    }
  }
}

const Register registered({"transpose_heads", {{"shapes", shapes}}, {}});

}  // namespace
}  // namespace sinew_test
