#include "support/broadcasting.h"

#include <algorithm>

#include "support/number.h"

namespace sinew_test {
namespace {

int64_t size_at(const std::vector<int64_t>& shape, size_t rank, size_t i) {
  return i + shape.size() < rank ? 1 : shape[i + shape.size() - rank];
}

}  // namespace

const std::vector<Shapes> kBroadcasts = {{{}, {}},
                                         {{}, {5}},
                                         {{0}, {1}},
                                         {{3, 0, 2}, {3, 1, 2}},
                                         {{4, 7}, {7}},
                                         {{7}, {4, 7}},
                                         {{4, 7}, {4, 1}},
                                         {{4, 1}, {1, 7}},
                                         {{2, 3, 4, 5}, {3, 1, 1}},
                                         {{2, 3, 4, 5}, {2, 1, 4, 1}},
                                         {{2, 1, 4, 1}, {3, 1, 17}},
                                         {{1, 1, 1}, {2, 33, 65}},
                                         {{2, 3, 5}, {1}},
                                         {{5, 1, 3, 1, 2}, {1, 4, 1, 6, 1}},
                                         {{64, 2}, {64, 1}},
                                         {{129, 64}, {1, 64}},
                                         {{2, 2, 130}, {2, 2, 130}}};

Call broadcast_call(const std::string& op, sn_dtype dtype, const Shapes& shapes, float (*function)(float, float),
                    Binary run) {
  const size_t rank = std::max(shapes.a.size(), shapes.b.size());
  std::vector<int64_t> shape;
  for (size_t i = 0; i < rank; ++i) {
    const int64_t p = size_at(shapes.a, rank, i), q = size_at(shapes.b, rank, i);
    shape.push_back(p == 1 ? q : p);
  }
  const uint64_t seed = next_seed();
  const Operand a = random_operand(dtype, shapes.a, 4, seed), b = random_operand(dtype, shapes.b, 4, seed + 1000);
  const std::vector<float> x = as_f32s(dtype, a.bytes), y = as_f32s(dtype, b.bytes);
  std::vector<uint8_t> expected(static_cast<size_t>(count_of(shape) * size_of(dtype)));
  for (int64_t e = 0; e < count_of(shape); ++e) {
    // The element's index in each dimension, from the last to the first.
    int64_t rest = e, at_a = 0, at_b = 0, step_a = 1, step_b = 1;
    for (size_t i = rank; i-- > 0;) {
      const int64_t index = rest % shape[i], p = size_at(shapes.a, rank, i), q = size_at(shapes.b, rank, i);
      rest /= shape[i];
      at_a += p == 1 ? 0 : index * step_a;
      at_b += q == 1 ? 0 : index * step_b;
      step_a *= p;
      step_b *= q;
    }
    put_f32(dtype, function(x[static_cast<size_t>(at_a)], y[static_cast<size_t>(at_b)]),
            expected.data() + e * size_of(dtype));
  }
  Call call;
  call.label =
      op + " " + name_of(dtype) + text_of(shapes.a) + " and " + text_of(shapes.b) + " seed " + std::to_string(seed);
  call.inputs = {a, b};
  call.outputs = {operand_of(dtype, shape, {})};
  call.expected = {std::move(expected)};
  call.in_place = shapes.a == shape;
  call.run = [run](const Tensors& in, const Tensors& out, int64_t*) { return run(in[0], in[1], out[0]); };
  return call;
}

}  // namespace sinew_test
