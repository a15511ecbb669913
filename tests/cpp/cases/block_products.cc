// Squares and products of two models, block by block.
#include <cmath>

#include "support/merging.h"
#include "support/pruning.h"
#include "support/quantizing.h"

namespace sinew_test {
namespace {

Call products_call(sn_dtype dtype, std::vector<std::vector<uint8_t>> inputs, int64_t n, const std::string& what) {
  const std::vector<float> a = as_f32s(dtype, inputs[0]), b = as_f32s(dtype, inputs[1]);
  Call call;
  std::vector<double> sums;
  for (int64_t first = 0; first < n; first += 4096) {
    double lanes[3][16] = {};
    for (int64_t i = first; i < std::min(n, first + 4096); ++i) {
      const double x = static_cast<double>(a[static_cast<size_t>(i)]),
                   y = static_cast<double>(b[static_cast<size_t>(i)]);
      if (!std::isfinite(x) || !std::isfinite(y)) call.status = SN_NOT_FINITE;
      const double terms[] = {x * x, y * y, x * y};
      for (int k = 0; k < 3; ++k) lanes[k][(i - first) % 16] += terms[k];
    }
    for (int k = 0; k < 3; ++k) sums.push_back(fold16(lanes[k]));
  }
  call.label = std::string("block_products ") + name_of(dtype) + " " + std::to_string(n) + " " + what;
  for (std::vector<uint8_t>& bytes : inputs) call.inputs.push_back({dtype, {n}, std::move(bytes), true});
  call.outputs = {{SN_F64, {(n + 4095) / 4096, 3}, {}, true}};
  call.expected = {bytes_of(sums)};
  call.run = [](const Tensors& in, const Tensors& out, int64_t*) { return sn_block_products(in[0], in[1], out[0]); };
  return call;
}

void random_call(const Emit& emit, sn_dtype dtype, int64_t n, Fill fill) {
  const uint64_t seed = next_seed();
  emit(products_call(dtype, random_inputs(dtype, n, 2, fill, seed), n,
                     std::string(name_of(fill)) + " seed " + std::to_string(seed)));
}

void tails(const Emit& emit) {
  for (sn_dtype dtype : kFloats) {
    for (int64_t n : kSizes) random_call(emit, dtype, n, Fill::kWeights);
  }
}

void fills(const Emit& emit) {
  for (sn_dtype dtype : kFloats) {
    for (Fill fill : kFills) random_call(emit, dtype, 8195, fill);
  }
}

void not_finite(const Emit& emit) {
  for (int64_t n : {1, 39, 4099}) {
    for (const Spoiled& spoiled : spoiled_elements(n)) {
      for (size_t place = 0; place < 2; ++place) {
        std::vector<std::vector<uint8_t>> inputs = random_inputs(spoiled.dtype, n, 2, Fill::kWeights, 5);
        inputs[place] = spoiled.bytes;
        emit(products_call(spoiled.dtype, std::move(inputs), n, spoiled.what));
      }
    }
  }
}

void large(const Emit& emit) { random_call(emit, SN_F32, kManyTasks, Fill::kWeights); }

Call timed() {
  const int64_t n = 1024 * 4096;
  return products_call(SN_F32, random_inputs(SN_F32, n, 2, Fill::kWeights, 7), n, "timed");
}

const Register registered({"block_products",
                           {{"tails", tails}, {"fills", fills}, {"not_finite", not_finite}, {"large", large}},
                           {{"f32", timed}}});

}  // namespace
}  // namespace sinew_test
