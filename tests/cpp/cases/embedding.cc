// Rows of a table by their numbers, exact.
#include <cstring>
#include <limits>

#include "support/reals.h"

namespace sinew_test {
namespace {

Call embedding_call(sn_dtype dtype, sn_dtype to, bool wide, int64_t rows, int64_t width, std::vector<int64_t> shape,
                    const std::vector<int64_t>& ids) {
  const Operand table = random_operand(dtype, {rows, width}, 3, 31);
  std::vector<uint8_t> bytes(ids.size() * (wide ? 8 : 4)), expected;
  for (size_t i = 0; i < ids.size(); ++i) {
    const int32_t narrow = static_cast<int32_t>(ids[i]);
    std::memcpy(bytes.data() + i * (wide ? 8 : 4), wide ? static_cast<const void*>(&ids[i]) : &narrow, wide ? 8 : 4);
    if (ids[i] < 0 || ids[i] >= rows) continue;
    for (int64_t j = 0; j < width; ++j) {
      uint8_t element[4];
      put_f32(to, as_f32(dtype, table.bytes.data() + (ids[i] * width + j) * size_of(dtype)), element);
      expected.insert(expected.end(), element, element + size_of(to));
    }
  }
  Call call;
  call.label = std::string("embedding ") + name_of(dtype) + text_of(table.shape) + " to " + name_of(to) + " of " +
               (wide ? "I64" : "I32") + text_of(shape);
  call.inputs = {operand_of(wide ? SN_I64 : SN_I32, shape, std::move(bytes)), table};
  shape.push_back(width);
  call.outputs = {operand_of(to, shape, {})};
  call.expected = {std::move(expected)};
  call.run = [](const Tensors& in, const Tensors& out, int64_t*) { return sn_embedding(in[0], in[1], out[0]); };
  return call;
}

void shapes(const Emit& emit) {
  const std::vector<std::vector<int64_t>> all = {{}, {0}, {1}, {5}, {2, 3}, {2, 300}, {1, 0, 4}};
  for (sn_dtype dtype : kReals) {
    for (sn_dtype to : {dtype, sn_dtype{SN_F32}}) {
      for (bool wide : {false, true}) {
        for (int64_t width : {1, 15, 64, 1027}) {
          for (const auto& shape : all) {
            std::vector<int64_t> ids;
            for (int64_t i = 0; i < count_of(shape); ++i) ids.push_back(i * 7 % 11);
            emit(embedding_call(dtype, to, wide, 11, width, shape, ids));
          }
        }
      }
    }
  }
  emit(embedding_call(SN_F32, SN_F32, true, 3, 0, {4}, {0, 1, 2, 0}));
}

// Numbers that are no rows are refused, wherever they stand.
void out_of_range(const Emit& emit) {
  for (bool wide : {false, true}) {
    for (int64_t bad : {int64_t{-1}, int64_t{11}, int64_t{std::numeric_limits<int32_t>::min()},
                        wide ? std::numeric_limits<int64_t>::max() : int64_t{12}}) {
      for (int64_t at : {0, 6, 12}) {
        std::vector<int64_t> ids(13, 4);
        ids[static_cast<size_t>(at)] = bad;
        Call call = embedding_call(SN_F32, SN_F32, wide, 11, 5, {13}, ids);
        call.status = SN_INVALID_ARGUMENT;
        emit(call);
      }
    }
  }
}

const Register registered({"embedding", {{"shapes", shapes}, {"out_of_range", out_of_range}}, {}});

}  // namespace
}  // namespace sinew_test
