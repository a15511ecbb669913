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

// The bytes of both sides, from which a section makes special ones.
struct Sides {
  Operand a, b;
};

Sides random_sides(const Sizes& s, bool transposed, sn_dtype a_dtype, sn_dtype b_dtype, uint64_t seed) {
  const std::vector<int64_t> batch = s.shared ? std::vector<int64_t>() : s.batch;
  return {
      random_operand(a_dtype, with_matrix(s.batch, s.m, s.k), 1, seed),
      random_operand(b_dtype, transposed ? with_matrix(batch, s.n, s.k) : with_matrix(batch, s.k, s.n), 1, seed + 1)};
}

Call matmul_call(const Sizes& s, bool transposed, const Sides& sides, sn_dtype y_dtype, const std::string& what) {
  const Operand &a = sides.a, &b = sides.b;
  const std::vector<double> x = doubles_of(a.dtype, a.bytes), w = doubles_of(b.dtype, b.bytes);
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
        result.bound.push_back(product_error(s.k, magnitude, a.dtype == SN_BF16 && b.dtype == SN_BF16));
      }
    }
  }
  Call call =
      close_call(std::string("matmul ") + name_of(a.dtype) + text_of(a.shape) + " " + name_of(b.dtype) +
                     text_of(b.shape) + (transposed ? " transposed" : "") + " to " + name_of(y_dtype) + " " + what,
                 {a, b}, y_dtype, with_matrix(s.batch, s.m, s.n), std::move(result));
  call.run = [transposed](const Tensors& in, const Tensors& out, int64_t*) {
    return sn_matmul(in[0], in[1], transposed, out[0]);
  };
  return call;
}

Call matmul_call(const Sizes& s, bool transposed, sn_dtype a_dtype, sn_dtype b_dtype, sn_dtype y_dtype,
                 double bad = 0) {
  const uint64_t seed = next_seed();
  Sides sides = random_sides(s, transposed, a_dtype, b_dtype, seed);
  if (bad != 0) put_f32(a_dtype, static_cast<float>(bad), sides.a.bytes.data() + s.k * size_of(a_dtype));
  return matmul_call(s, transposed, sides, y_dtype, "seed " + std::to_string(seed));
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
    for (bool transposed : {false, true}) {
      for (sn_dtype dtype : {SN_F32, SN_BF16}) emit(matmul_call(s, transposed, dtype, dtype, SN_F32));
    }
  }
}

// Both sides of where tiles, their pairs of columns, chunks of those, blocks of rows and tasks end.
void bf16(const Emit& emit) {
  const Sizes all[] = {{{}, 5, 1, 1},     {{}, 5, 2, 33},    {{}, 15, 3, 16},   {{}, 16, 31, 17}, {{}, 17, 32, 31},
                       {{}, 31, 33, 32},  {{}, 33, 63, 15},  {{}, 32, 64, 48},  {{}, 64, 65, 40}, {{}, 127, 34, 5},
                       {{}, 129, 70, 21}, {{}, 37, 416, 18}, {{}, 37, 417, 49}, {{}, 6, 833, 50}, {{2}, 41, 40, 270}};
  for (const Sizes& s : all) {
    for (bool transposed : {false, true})
      emit(matmul_call(s, transposed, SN_BF16, SN_BF16, transposed ? SN_BF16 : SN_F32));
  }
  emit(matmul_call({{}, 131, 16384, 3}, true, SN_BF16, SN_BF16, SN_F32));  // more rows than are packed at once
  for (double bad : {std::nan(""), std::numeric_limits<double>::infinity()})
    emit(matmul_call({{}, 9, 40, 33}, true, SN_BF16, SN_BF16, SN_F32, bad));
}

// Operands below 2^-126 count, whatever they are multiplied with.
void subnormal(const Emit& emit) {
  constexpr double kLeast = 0x1p-133, kMost = 0x1p-126 - kLeast, kInfinity = std::numeric_limits<double>::infinity();
  struct Pair {
    int64_t row, k, column;
    double a, b;
  };
  const Pair pairs[] = {{1, 0, 0, kMost, 0x1p127},     {3, 6, 20, -0x1p126, 0x1p-127}, {4, 33, 7, -kLeast, kInfinity},
                        {6, 69, 16, kInfinity, kMost}, {8, 40, 3, kMost, 0x1p-126},    {2, 41, 32, kLeast, kMost}};
  for (int64_t rows : {2, 9, 40}) {
    const Sizes s = {{}, rows, 70, 33};
    for (const Pair& pair : pairs) {
      for (bool transposed : {false, true}) {
        const uint64_t seed = next_seed();
        Sides sides = random_sides(s, transposed, SN_BF16, SN_BF16, seed);
        const int64_t row = pair.row % rows;
        put(SN_BF16, pair.a, sides.a.bytes.data() + 2 * (row * s.k + pair.k));
        put(SN_BF16, pair.b,
            sides.b.bytes.data() + 2 * (transposed ? pair.column * s.k + pair.k : pair.k * s.n + pair.column));
        emit(matmul_call(s, transposed, sides, SN_F32, "with small numbers, seed " + std::to_string(seed)));
      }
    }
  }
}

// Products and sums below 2^-126.
void vanishing(const Emit& emit) {
  for (int64_t rows : {3, 18}) {
    for (double range : {0x1p-60, 0x1p-63, 0x1p-70, 0x1p-128}) {
      const uint64_t seed = next_seed();
      const Sizes s = {{}, rows, 67, 20};
      const Sides sides = {random_operand(SN_BF16, {s.m, s.k}, range, seed),
                           random_operand(SN_BF16, {s.k, s.n}, 0x1p-63, seed + 1)};
      emit(matmul_call(s, false, sides, SN_F32, "of small numbers, seed " + std::to_string(seed)));
    }
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
                           {{"shapes", shapes},
                            {"types", types},
                            {"bf16", bf16},
                            {"subnormal", subnormal},
                            {"vanishing", vanishing},
                            {"not_finite", not_finite},
                            {"large", large}},
                           {}});

}  // namespace
}  // namespace sinew_test
