// Exact sums and numbers of the elements that belong to each entry of a codebook.
#include "support/clustering.h"
#include "support/pruning.h"
#include "support/quantizing.h"
#include "support/values.h"

namespace sinew_test {
namespace {

Call sums_call(sn_dtype dtype, const std::vector<int64_t>& shape, std::vector<uint8_t> bytes,
               const std::vector<float>& codebook, int bits, const std::string& what) {
  // Both are added to, and digits need not be small before.
  std::vector<int64_t> sums_before(codebook.size() * 32), counts(codebook.size()), sums;
  std::vector<Exact> totals(codebook.size());
  for (size_t k = 0; k < codebook.size(); ++k) {
    counts[k] = static_cast<int64_t>(k % 5);
    for (size_t d = 0; d < 32; ++d) {
      sums_before[k * 32 + d] = k % 3 == 0 ? 0 : static_cast<int64_t>(k * 977 + d) - 1000;
      totals[k].add(sums_before[k * 32 + d], static_cast<int>(8 * d));
    }
  }
  Call call;
  call.outputs = {{SN_I64, {static_cast<int64_t>(codebook.size()), 32}, bytes_of(sums_before), false},
                  {SN_I64, {static_cast<int64_t>(codebook.size())}, bytes_of(counts), false}};
  for (float x : as_f32s(dtype, bytes)) {
    const size_t k = static_cast<size_t>(oracle_nearest(x, codebook));
    ++counts[k];
    if (x - x == 0.0f) totals[k].add(x);
  }
  for (const Exact& total : totals) {
    for (int64_t digit : total.digits()) sums.push_back(digit);
  }
  call.label = describe_clustering("cluster_sums", dtype, shape, bits, what);
  call.inputs = {{dtype, shape, std::move(bytes), true}, codebook_operand(codebook)};
  call.expected = {bytes_of(sums), bytes_of(counts)};
  call.run = [](const Tensors& in, const Tensors& out, int64_t*) {
    return sn_cluster_sums(in[0], in[1], out[0], out[1]);
  };
  return call;
}

Call random_call(sn_dtype dtype, const std::vector<int64_t>& shape, Fill fill, Book book, int bits) {
  const uint64_t seed = next_seed();
  return sums_call(dtype, shape, random_elements(dtype, count_of(shape), fill, seed), make_codebook(book, bits, seed),
                   bits, std::string(name_of(fill)) + " seed " + std::to_string(seed));
}

void tails(const Emit& emit) {
  for (sn_dtype dtype : kFloats) {
    for (int bits : kWidths) {
      for (int64_t n : {0, 1, 15, 16, 17, 63, 65, 997})
        emit(random_call(dtype, {n}, Fill::kWeights, Book::kWeights, bits));
    }
    emit(random_call(dtype, {3, 37}, Fill::kWeights, Book::kWeights, 4));
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

// As many equal elements as fill a slot, all bits of them set, of either sign and in every digit.
void full_slots(const Emit& emit) {
  for (int exponent = 1; exponent < 255; exponent += quick() ? 126 : 36) {
    for (uint32_t sign : {0u, 0x80000000u}) {
      const float x = float_of(static_cast<uint32_t>(exponent) << 23 | 0x7fffffu | sign);
      const std::vector<double> values(70001, static_cast<double>(x));
      emit(sums_call(SN_F32, {70001}, elements(SN_F32, values), make_codebook(Book::kWide, 2, next_seed()), 2,
                     "exponent " + std::to_string(exponent)));
    }
  }
  std::vector<double> values(100003, 0.0);  // pruned
  for (size_t i = 0; i < values.size(); i += 7) values[i] = 0.01 * static_cast<double>(i % 11);
  for (int bits : {2, 8}) {
    emit(sums_call(SN_F32, {100003}, elements(SN_F32, values), make_codebook(Book::kWeights, bits, next_seed()), bits,
                   "zeros"));
  }
}

void not_finite(const Emit& emit) {
  for (int bits : {2, 8}) {
    const auto make = [](sn_dtype dtype, const std::vector<int64_t>& shape, const std::vector<uint8_t>& bytes,
                         int width, bool, const std::string& what) {
      return sums_call(dtype, shape, bytes, make_codebook(Book::kWeights, width, 1), width, what);
    };
    not_finite_calls(emit, make, bits);
  }
}

void large(const Emit& emit) {
  for (sn_dtype dtype : large_dtypes()) {
    for (int bits : {4, 8}) emit(random_call(dtype, {3, 100003}, Fill::kWeights, Book::kWeights, bits));
  }
}

template <sn_dtype kDtype, int kBits>
Call timed() {
  return random_call(kDtype, {1024, 4096}, Fill::kWeights, Book::kWeights, kBits);
}

const Register registered({"cluster_sums",
                           {{"tails", tails},
                            {"special_values", special_values},
                            {"full_slots", full_slots},
                            {"not_finite", not_finite},
                            {"large", large}},
                           {{"f32 2 bits", timed<SN_F32, 2>},
                            {"f32 4 bits", timed<SN_F32, 4>},
                            {"f32 5 bits", timed<SN_F32, 5>},
                            {"f32 8 bits", timed<SN_F32, 8>},
                            {"bf16 4 bits", timed<SN_BF16, 4>}}});

}  // namespace
}  // namespace sinew_test
