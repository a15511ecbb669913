// q = the index of the nearest entry of a codebook.
#include "support/clustering.h"
#include "support/pruning.h"
#include "support/values.h"

namespace sinew_test {
namespace {

Call assign_call(sn_dtype dtype, const std::vector<int64_t>& shape, std::vector<uint8_t> bytes,
                 const std::vector<float>& codebook, int bits, const std::string& what) {
  std::vector<int> indices;
  for (float x : as_f32s(dtype, bytes)) indices.push_back(oracle_nearest(x, codebook));
  Call call;
  call.label = describe_clustering("cluster_assign", dtype, shape, bits, what);
  call.inputs = {{dtype, shape, std::move(bytes), true}, codebook_operand(codebook)};
  Operand q = indices_operand(indices, shape, bits);
  call.expected = {std::move(q.bytes)};
  q.bytes.clear();
  call.outputs = {q};
  call.run = [](const Tensors& in, const Tensors& out, int64_t*) { return sn_cluster_assign(in[0], in[1], out[0]); };
  return call;
}

Call random_call(sn_dtype dtype, const std::vector<int64_t>& shape, Fill fill, Book book, int bits) {
  const uint64_t seed = next_seed();
  return assign_call(dtype, shape, random_elements(dtype, count_of(shape), fill, seed), make_codebook(book, bits, seed),
                     bits, std::string(name_of(fill)) + " seed " + std::to_string(seed));
}

void tails(const Emit& emit) {
  for (sn_dtype dtype : kFloats) {
    for (int bits : kWidths) {
      for (int64_t n : kSizes) emit(random_call(dtype, {n}, Fill::kWeights, Book::kWeights, bits));
    }
  }
}

void shapes(const Emit& emit) {
  for (sn_dtype dtype : kFloats) {
    for (int bits : kWidths) {
      for (const auto& shape : dtype == SN_F32 ? kShapes : kFewShapes)
        emit(random_call(dtype, shape, Fill::kWeights, Book::kWeights, bits));
    }
  }
}

void special_values(const Emit& emit) {
  for (sn_dtype dtype : kFloats) {
    for (Fill fill : kFills) {
      for (Book book : kBooks) {
        for (int bits : kWidths) {
          if (quick() && bits != 3 && bits != 8) continue;
          emit(random_call(dtype, {3, 157}, fill, book, bits));
        }
      }
    }
  }
}

// The middles between neighbours and the numbers around them, where one wrong rounding shows.
void borders(const Emit& emit) {
  for (Book book : kBooks) {
    for (int bits : kWidths) {
      const std::vector<float> codebook = make_codebook(book, bits, next_seed());
      std::vector<double> values;
      for (size_t i = 0; i + 1 < codebook.size(); ++i) {
        const float middle =
            static_cast<float>((static_cast<double>(codebook[i]) + static_cast<double>(codebook[i + 1])) / 2);
        const uint32_t b = bits_of(middle);
        for (float v : {codebook[i], middle, float_of(b + 1), float_of(b - 1), float_of(b ^ 0x80000000u)}) {
          if (v - v == 0.0f) values.push_back(static_cast<double>(v));
        }
      }
      const int64_t n = static_cast<int64_t>(values.size());
      emit(assign_call(SN_F32, {n}, elements(SN_F32, values), codebook, bits, "borders"));
    }
  }
  // A middle that float64 cannot hold either: 1 + 2^-24 is above the half of 1 + (1 + 2^-23), 2^-149 less decides.
  for (float least : {-0x1p-149f, 0x1p-149f, 0x1p-80f}) {
    const std::vector<float> codebook = {-1.0f, least, 1.0f, 2.0f};
    const std::vector<double> values = {0.5, -0.5, 0.5 + 0x1p-24, -0.5 - 0x1p-24, 0.5 - 0x1p-25, 1.5, 0.0};
    emit(assign_call(SN_F32, {static_cast<int64_t>(values.size())}, elements(SN_F32, values), codebook, 2, "far ends"));
  }
}

void not_finite(const Emit& emit) {
  for (int bits : {2, 8}) {
    const auto make = [](sn_dtype dtype, const std::vector<int64_t>& shape, const std::vector<uint8_t>& bytes,
                         int width, bool, const std::string& what) {
      return assign_call(dtype, shape, bytes, make_codebook(Book::kWeights, width, 1), width, what);
    };
    not_finite_calls(emit, make, bits);
  }
}

void large(const Emit& emit) {
  for (sn_dtype dtype : large_dtypes()) {
    emit(random_call(dtype, {3, kManyTasks / 3}, Fill::kWeights, Book::kWeights, 4));
    emit(random_call(dtype, {29, 4099}, Fill::kWeights, Book::kWeights, 7));
  }
}

template <sn_dtype kDtype, int kBits>
Call timed() {
  return random_call(kDtype, {1024, 4096}, Fill::kWeights, Book::kWeights, kBits);
}

const Register registered({"cluster_assign",
                           {{"tails", tails},
                            {"shapes", shapes},
                            {"special_values", special_values},
                            {"borders", borders},
                            {"not_finite", not_finite},
                            {"large", large}},
                           {{"f32 2 bits", timed<SN_F32, 2>},
                            {"f32 4 bits", timed<SN_F32, 4>},
                            {"f32 5 bits", timed<SN_F32, 5>},
                            {"f32 8 bits", timed<SN_F32, 8>},
                            {"bf16 4 bits", timed<SN_BF16, 4>},
                            {"bf16 8 bits", timed<SN_BF16, 8>}}});

}  // namespace
}  // namespace sinew_test
