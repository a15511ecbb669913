// Layers of weights that share values through codebooks.
#include <random>

#include "support/clustering.h"
#include "support/lowbit.h"
#include "support/values.h"

namespace sinew_test {
namespace {

void emit_clustered(const Emit& emit, const LayerData& data, int bits, int64_t codebooks, uint64_t seed) {
  const LayerShape& s = data.shape;
  codebooks = s.out < codebooks ? 1 : codebooks;
  std::mt19937_64 random(seed + 13);
  std::vector<float> entries;
  for (int64_t g = 0; g < codebooks; ++g) {
    const std::vector<float> book = make_codebook(Book::kWeights, bits, seed + static_cast<uint64_t>(g));
    entries.insert(entries.end(), book.begin(), book.end());
  }
  const int64_t size = int64_t{1} << bits, rows_of_each = (s.out + codebooks - 1) / codebooks;
  std::vector<int> indices;
  std::vector<double> weights;
  for (int64_t i = 0; i < s.out * s.in; ++i) {
    indices.push_back(static_cast<int>(random() % static_cast<uint64_t>(size)));
    const int64_t book = i / s.in / rows_of_each;
    weights.push_back(static_cast<double>(entries[static_cast<size_t>(book * size + indices.back())]));
  }
  Call base;
  base.sources = {indices_operand(indices, {s.out, s.in}, bits), {SN_F32, {codebooks, size}, bytes_of(entries)}};
  const int64_t cols = s.in;
  base.pack = [cols](const Tensors& t, sn_weights** packed) { return sn_pack_clustered(t[0], t[1], cols, packed); };
  emit_float_layer(
      emit, "linear_clustered", data, weights, base,
      std::to_string(bits) + " bits, " + std::to_string(codebooks) + " codebooks, seed " + std::to_string(seed));
}

void shapes(const Emit& emit) {
  for (const LayerShape& s : kLayerShapes) {
    for (int bits : kWidths) {
      const uint64_t seed = next_seed();
      emit_clustered(emit, random_layer(s, seed), bits, bits % 3 == 0 ? 3 : 1, seed);
    }
  }
}

void codebooks(const Emit& emit) {
  for (const LayerShape& s : kFewLayerShapes) {
    for (int64_t count : {int64_t{2}, int64_t{5}, s.out}) {
      for (int bits : {2, 4, 7}) {
        const uint64_t seed = next_seed();
        emit_clustered(emit, random_layer(s, seed), bits, count, seed);
      }
    }
  }
}

void types(const Emit& emit) {
  for (sn_dtype x : {SN_F32, SN_BF16}) {
    for (sn_dtype y : {SN_F32, SN_BF16}) {
      for (sn_activation a = SN_NONE; a <= SN_TANH; ++a) {
        const uint64_t seed = next_seed();
        emit_clustered(emit, random_layer({a % 2 == 0 ? 7 : 1, 131, 37, x, y, a % 2 == 0, a}, seed), 4, 2, seed);
      }
    }
  }
}

void empty(const Emit& emit) {
  for (const LayerShape& s : {LayerShape{0, 5, 7}, {3, 5, 0}, {3, 0, 7}, {0, 0, 0}}) {
    emit_clustered(emit, random_layer(s, 1), 3, 1, 1);
    emit_clustered(emit, random_layer(s, 1), 8, 2, 1);
  }
}

void special_values(const Emit& emit) {
  for (int64_t rows : {3, 9}) {
    const uint64_t seed = next_seed();
    emit_clustered(emit, special_layer({rows, 150, 35}, seed), 4, 2, seed);
  }
}

template <int kBits>
Call timed() {
  Call last;
  emit_clustered([&last](const Call& call) { last = call; }, random_layer({1, 4096, 4096}, 1), kBits, 1, 1);
  return last;
}

const Register registered({"linear_clustered",
                           {{"shapes", shapes},
                            {"codebooks", codebooks},
                            {"types", types},
                            {"empty", empty},
                            {"special_values", special_values}},
                           {{"1 x 4096 x 4096, 4 bits", timed<4>}, {"1 x 4096 x 4096, 8 bits", timed<8>}},
                           "pack_clustered"});

}  // namespace
}  // namespace sinew_test
