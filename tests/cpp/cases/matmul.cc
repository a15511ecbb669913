// Products of matrices, also of many at once.
#include <cmath>
#include <limits>

#include "support/reals.h"

namespace sinew_test {
namespace {

struct Sizes {
  std::vector<int64_t> batch;
  int64_t m, k, n;
  bool shared = false;  // one right-hand side for all
};

std::vector<int64_t> with_matrix(std::vector<int64_t> batch, int64_t rows, int64_t cols) {
  batch.push_back(rows);
  batch.push_back(cols);
  return batch;
}

Call matmul_call(const Sizes& s, bool transposed, sn_dtype a_dtype, sn_dtype b_dtype, sn_dtype y_dtype,
                 double bad = 0) {
  const uint64_t seed = next_seed();
  const std::vector<int64_t> b_batch = s.shared ? std::vector<int64_t>() : s.batch;
  Operand a = random_operand(a_dtype, with_matrix(s.batch, s.m, s.k), 1, seed);
  const Operand b = random_operand(
      b_dtype, transposed ? with_matrix(b_batch, s.n, s.k) : with_matrix(b_batch, s.k, s.n), 1, seed + 1);
  if (bad != 0) put_f32(a_dtype, static_cast<float>(bad), a.bytes.data() + s.k * size_of(a_dtype));
  const std::vector<double> x = doubles_of(a_dtype, a.bytes), w = doubles_of(b_dtype, b.bytes);
  Bounded result;
  for (int64_t i = 0; i < count_of(s.batch); ++i) {
    const double* p = x.data() + i * s.m * s.k;
    const double* q = w.data() + (s.shared ? 0 : i * s.k * s.n);
    for (int64_t m = 0; m < s.m; ++m) {
      for (int64_t n = 0; n < s.n; ++n) {
        double sum = 0, magnitude = 0;
        for (int64_t k = 0; k < s.k; ++k) {
          const double product = p[m * s.k + k] * q[transposed ? n * s.k + k : k * s.n + n];
          sum += product;
          magnitude += std::fabs(product);
        }
        result.value.push_back(sum);
        result.bound.push_back(1.01 * kHalf * static_cast<double>(s.k + 1) * magnitude);
      }
    }
  }
  Call call = close_call(std::string("matmul ") + name_of(a_dtype) + text_of(a.shape) + " " + name_of(b_dtype) +
                             text_of(b.shape) + (transposed ? " transposed" : "") + " to " + name_of(y_dtype) +
                             " seed " + std::to_string(seed),
                         {a, b}, y_dtype, with_matrix(s.batch, s.m, s.n), std::move(result));
  call.run = [transposed](const Tensors& in, const Tensors& out, int64_t*) {
    return sn_matmul(in[0], in[1], transposed, out[0]);
  };
  return call;
}

void shapes(const Emit& emit) {
  const Sizes all[] = {{{}, 1, 1, 1},       {{}, 5, 7, 17},
                       {{}, 6, 256, 16},    {{}, 7, 257, 33},
                       {{}, 97, 300, 271},  {{}, 1, 513, 70},
                       {{}, 4, 64, 15},     {{2}, 3, 5, 7},
                       {{3, 2}, 9, 31, 18}, {{3, 2}, 9, 31, 18, true},
                       {{12}, 16, 64, 16},  {{0}, 3, 4, 5},
                       {{2}, 0, 4, 5},      {{2}, 3, 0, 5},
                       {{2}, 3, 4, 0},      {{2, 5}, 1, 40, 33, true},
                       {{}, 13, 1, 300}};
  for (const Sizes& s : all) {
    for (bool transposed : {false, true}) emit(matmul_call(s, transposed, SN_F32, SN_F32, SN_F32));
  }
}

void types(const Emit& emit) {
  for (int types = 1; types < 8; ++types) {
    const auto type = [&](int bit) { return types >> bit & 1 ? SN_BF16 : SN_F32; };
    for (bool transposed : {false, true}) {
      emit(matmul_call({{2}, 7, 300, 37}, transposed, type(0), type(1), type(2)));
      emit(matmul_call({{2}, 2, 30, 70}, transposed, type(0), type(1), type(2)));
    }
  }
}

void not_finite(const Emit& emit) {
  for (double bad : {std::nan(""), std::numeric_limits<double>::infinity()})
    emit(matmul_call({{}, 9, 40, 33}, false, SN_F32, SN_F32, SN_F32, bad));
}

void large(const Emit& emit) {
  if (quick()) {
    emit(matmul_call({{}, 110, 70, 300}, false, SN_F32, SN_F32, SN_F32));
  } else {
    emit(matmul_call({{}, 130, 2100, 531}, true, SN_F32, SN_F32, SN_F32));
  }
}

const Register registered({"matmul",
                           {{"shapes", shapes}, {"types", types}, {"not_finite", not_finite}, {"large", large}},
                           {}});

}  // namespace
}  // namespace sinew_test
