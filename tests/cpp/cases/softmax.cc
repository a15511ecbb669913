// Softmax along the last dimension.
#include <algorithm>
#include <cmath>
#include <limits>

#include "support/reals.h"

namespace sinew_test {
namespace {

// Each e^d has an error of 2 ulp and half an ulp of d, which |d| makes one of |d| / 2 ulp; the division and the
// rounding of the sum add one. The sum has the errors of its terms at most.
Bounded softmax_oracle(const std::vector<double>& x, int64_t n) {
  Bounded close{std::vector<double>(x.size()), std::vector<double>(x.size())};
  for (size_t row = 0; row < x.size(); row += static_cast<size_t>(n)) {
    const double top =
        *std::max_element(x.begin() + static_cast<int64_t>(row), x.begin() + static_cast<int64_t>(row) + n);
    double sum = 0, farthest = 0;
    for (size_t i = row; i < row + static_cast<size_t>(n); ++i) {
      close.value[i] = std::exp(x[i] - top);
      sum += close.value[i];
      // What is farther vanishes.
      if (x[i] - top > -104) farthest = std::max(farthest, top - x[i]);
    }
    for (size_t i = row; i < row + static_cast<size_t>(n); ++i) {
      close.value[i] /= sum;
      close.bound[i] = close.value[i] * kUlp * (5 + farthest);
    }
  }
  return close;
}

Call softmax_call(sn_dtype dtype, const std::vector<int64_t>& shape, std::vector<uint8_t> bytes,
                  const std::string& what) {
  Bounded close = softmax_oracle(doubles_of(dtype, bytes), std::max<int64_t>(shape.back(), 1));
  Call call = close_call("softmax " + std::string(name_of(dtype)) + text_of(shape) + " " + what,
                         {operand_of(dtype, shape, std::move(bytes))}, dtype, shape, std::move(close));
  call.in_place = true;
  call.run = [](const Tensors& in, const Tensors& out, int64_t*) { return sn_softmax(in[0], out[0]); };
  return call;
}

void shapes(const Emit& emit) {
  for (sn_dtype dtype : kReals) {
    for (const auto& shape : kRowShapes) {
      for (double range : {2.0, 60.0}) {
        const uint64_t seed = next_seed();
        emit(softmax_call(dtype, shape, uniform_elements(dtype, count_of(shape), range, seed),
                          "seed " + std::to_string(seed)));
      }
    }
  }
}

// What masks make of rows: some, all but one, or all elements -infinity; and what has no softmax.
void not_finite(const Emit& emit) {
  const double infinity = std::numeric_limits<double>::infinity(), nan = std::nan("");
  const std::vector<double> rows[] = {{-infinity, 1, 2},
                                      {-infinity, -infinity, -3},
                                      {-infinity, -infinity, -infinity},
                                      {infinity, 1, 2},
                                      {infinity, infinity, -infinity},
                                      {nan, 1, 2},
                                      {1, 2, nan},
                                      {nan, nan, nan},
                                      {-1e30, 0, 1e30},
                                      {3e38, 3e38, -3e38}};
  for (sn_dtype dtype : {SN_F32, SN_BF16}) {
    for (std::vector<double> row : rows) {
      for (int repeats : {1, 7, 23}) {
        std::vector<double> values;
        for (int r = 0; r < repeats; ++r) values.insert(values.end(), row.begin(), row.end());
        emit(softmax_call(dtype, {static_cast<int64_t>(values.size())}, elements(dtype, values),
                          std::to_string(row[0]) + " " + std::to_string(row[1]) + " " + std::to_string(row[2])));
      }
    }
  }
}

void same_everywhere(const Emit& emit) {
  Call call = softmax_call(SN_F32, {61, 1013}, uniform_elements(SN_F32, 61 * 1013, 9, 3), "same everywhere");
  call.fingerprint = 0xd83d9bb66ef15cc9;
  emit(call);
}

const Register registered({"softmax",
                           {{"shapes", shapes}, {"not_finite", not_finite}, {"same_everywhere", same_everywhere}},
                           {}});

}  // namespace
}  // namespace sinew_test
