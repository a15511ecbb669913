// Rotary position embedding with both conventions of pairs, exact.
#include <algorithm>
#include <cmath>

#include "support/reals.h"

namespace sinew_test {
namespace {

Call rotary_call(sn_dtype dtype, const std::vector<int64_t>& shape, int64_t half, int64_t position, bool interleaved) {
  const uint64_t seed = next_seed();
  const size_t rank = shape.size();
  const int64_t width = shape[rank - 1], heads = shape[rank - 2], tokens = shape[rank - 3];
  const int64_t positions = position + tokens + 2;
  const Operand x = random_operand(dtype, shape, 3, seed);
  std::vector<double> cosines, sines;
  for (int64_t p = 0; p < positions; ++p) {
    for (int64_t i = 0; i < half; ++i) {
      const double angle =
          static_cast<double>(p) * std::pow(10000.0, -static_cast<double>(i) / static_cast<double>(half));
      cosines.push_back(std::cos(angle));
      sines.push_back(std::sin(angle));
    }
  }
  const Operand cosine = operand_of(SN_F32, {positions, half}, elements(SN_F32, cosines));
  const Operand sine = operand_of(SN_F32, {positions, half}, elements(SN_F32, sines));
  const std::vector<float> in = as_f32s(dtype, x.bytes), c = as_f32s(SN_F32, cosine.bytes),
                           s = as_f32s(SN_F32, sine.bytes);
  std::vector<uint8_t> expected(x.bytes);
  for (int64_t row = 0; row * width < count_of(shape); ++row) {
    const int64_t token = row / heads % tokens;
    for (int64_t i = 0; i < half; ++i) {
      const int64_t first = row * width + (interleaved ? 2 * i : i), second = first + (interleaved ? 1 : half);
      const size_t angle = static_cast<size_t>((position + token) * half + i);
      const float u = in[static_cast<size_t>(first)], v = in[static_cast<size_t>(second)];
      put_f32(dtype, u * c[angle] - v * s[angle], expected.data() + first * size_of(dtype));
      put_f32(dtype, v * c[angle] + u * s[angle], expected.data() + second * size_of(dtype));
    }
  }
  Call call;
  call.label = std::string("rotary_embedding ") + name_of(dtype) + text_of(shape) + " half " + std::to_string(half) +
               " position " + std::to_string(position) + (interleaved ? " interleaved" : "") + " seed " +
               std::to_string(seed);
  call.inputs = {x, cosine, sine};
  call.outputs = {operand_of(dtype, shape, {})};
  call.expected = {std::move(expected)};
  call.in_place = true;
  call.run = [position, interleaved](const Tensors& in_tensors, const Tensors& out, int64_t*) {
    return sn_rotary_embedding(in_tensors[0], in_tensors[1], in_tensors[2], position, interleaved, out[0]);
  };
  return call;
}

void shapes(const Emit& emit) {
  const std::vector<std::vector<int64_t>> all = {{1, 1, 2},    {3, 1, 64}, {2, 5, 3, 32}, {2, 2, 3, 2, 10}, {0, 2, 8},
                                                 {2, 0, 3, 8}, {4, 2, 0},  {1, 4, 2, 7},  {1, 70, 4, 128},  {2, 1, 34}};
  for (sn_dtype dtype : kReals) {
    for (const auto& shape : all) {
      for (int64_t half : {shape.back() / 2, shape.back() / 4, int64_t{0}}) {
        for (bool interleaved : {false, true}) {
          emit(rotary_call(dtype, shape, half, 0, interleaved));
          emit(rotary_call(dtype, shape, half, 1000, interleaved));
        }
      }
    }
  }
}

const Register registered({"rotary_embedding", {{"shapes", shapes}}, {}});

}  // namespace
}  // namespace sinew_test
