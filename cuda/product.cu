// Products of matrices of floats: matmul, and linear layers of many rows. Large ones go to cuBLASLt where it is found.
// See sinew.h.
#include "float_tile.h"
#include "linear.h"
#include "lt.h"

namespace sn {
namespace cuda {
namespace {

// Rows of the left, or columns of the right, of a product: along the inner dimension elements are `step` apart, and
// either that or `pitch`, from one to the next, is 1.
struct Side {
  sn_dtype dtype;
  const void* data;
  int64_t count, pitch, step, batch;  // elements from one product to the next
};

struct MultiplyFloats {
  static constexpr bool kFinds = false, kOrdered = false;
  static constexpr int kSide = FloatTile::kSide, kDepth = FloatTile::kDepth, kPart = FloatTile::kPart;
  using State = FloatTile::Sums;
  using Shared = FloatTile::Shared;
  Side left, right;
  int64_t inner, products;
  Results to;

  SN_HD static int64_t tiles_of(const Side& side) { return (side.count + kSide - 1) / kSide; }
  SN_HD int64_t tiles() const { return products * tiles_of(left) * tiles_of(right); }
  SN_HD int steps() const { return static_cast<int>((inner + kDepth - 1) / kDepth); }
  SN_HD int phases() const { return steps() + 1; }

  SN_HD void phase(int p, int64_t team, int thread, State& state, Shared& shared, Findings&) const {
    const int64_t rest = team / tiles_of(left), row = (team - rest * tiles_of(left)) * kSide;
    const int64_t product = rest / tiles_of(right), col = (rest - product * tiles_of(right)) * kSide;
    if (p == 0) FloatTile::clear(&state);
    float a[kPart], b[kPart];
    const bool more = p < steps();
    if (more) {
      fetch(left, product, row, p, thread, a);
      fetch(right, product, col, p, thread, b);
    }
    if (p > 0) FloatTile::multiply(thread, shared, (p - 1) % 2, &state);
    if (more) {
      put(left, thread, a, shared.left[p % 2]);
      put(right, thread, b, shared.right[p % 2]);
    }
    if (p == steps()) finish(product, row + FloatTile::row(thread), col + FloatTile::col(thread), state);
  }

 private:
  // Four elements that lie side by side: of one row along the inner dimension, or of four rows.
  SN_HD void fetch(const Side& side, int64_t product, int64_t first, int step, int thread, float* four) const {
    const bool along = side.step == 1;
    const int64_t i = first + (along ? thread / 4 : thread % 16 * 4);
    const int64_t k = int64_t{step} * kDepth + (along ? thread % 4 * 4 : thread / 16);
    const bool there = i < side.count && k < inner;
    const int64_t left_over = along ? inner - k : side.count - i;
    const int n = !there ? 0 : left_over < kPart ? static_cast<int>(left_over) : kPart;
    load_four(side.dtype, side.data, there ? product * side.batch + i * side.pitch + k * side.step : 0, n, four);
  }
  SN_HD static void put(const Side& side, int thread, const float* four, float (*to)[kSide + 4]) {
    SN_UNROLL
    for (int j = 0; j < kPart; ++j) {
      if (side.step == 1) {
        to[thread % 4 * 4 + j][thread / 4] = four[j];
      } else {
        to[thread / 16][thread % 16 * 4 + j] = four[j];
      }
    }
  }
  SN_HD void finish(int64_t product, int64_t row, int64_t col, const State& state) const {
    const int64_t rest = right.count - col;
    if (rest <= 0) return;
    SN_UNROLL
    for (int i = 0; i < kPart; ++i) {
      if (row + i >= left.count) break;
      float v[kPart];
      SN_UNROLL
      for (int j = 0; j < kPart; ++j) v[j] = j < rest ? to.finished(state.of[i][j], col + j) : 0.0f;
      to.put_four(product * left.count + row + i, col, rest < kPart ? static_cast<int>(rest) : kPart, v);
    }
  }
};

// Bias and activation of sums, up to kStep channels of a row a step.
struct FinishRows {
  static constexpr bool kFinds = false;
  const float* sums;
  Results to;

  SN_HD int64_t parts() const { return (to.out + kStep - 1) / kStep; }
  SN_HD void step(int64_t i, Findings&) const {
    const int64_t row = i / parts(), channel = (i - row * parts()) * kStep, left = to.out - channel;
    const int n = left < kStep ? static_cast<int>(left) : kStep;
    const Elements<float> v = load(sums + row * to.out + channel, n);
    SN_UNROLL
    for (int first = 0; first < kStep; first += 4) {
      if (first >= n) break;
      float four[4];
      SN_UNROLL
      for (int j = 0; j < 4; ++j) four[j] = first + j < n ? to.finished(v.of[first + j], channel + first + j) : 0.0f;
      to.put_four(row, channel + first, n - first < 4 ? n - first : 4, four);
    }
  }
};

}  // namespace

sn_status linear_floats(Call& call, const Activations& x, const sn_weights* w, const Results& to) {
  const int64_t pitch = pitch_of(w) / stored_size(w);
  // F32 layers keep their bits, as on the CPU.
  if (x.dtype == SN_BF16 && w->dtype == SN_BF16 && lt_found()) {
    float* sums = call.scratch_of<float>(x.rows * w->rows);
    const LtProduct product = {SN_BF16, SN_F32, x.rows, w->rows, w->cols, 1, x.x, x.cols, 0, w->part<void>(kWeightPart),
                               pitch,   0,      true,   sums};
    bool done = false;
    sn_status status = lt_multiply(call, product, &done);
    const FinishRows finish = {sums, to};
    if (status == SN_OK && done) status = run(call, finish, x.rows * finish.parts(), nullptr);
    if (status != SN_OK || done) return status;
  }
  const MultiplyFloats body = {{x.dtype, x.x, x.rows, x.cols, 1, 0},
                               {w->dtype, w->part<void>(kWeightPart), w->rows, pitch, 1, 0},
                               w->cols,
                               1,
                               to};
  return run_teams(call, body, body.tiles(), nullptr);
}

sn_status matmul(sn_device* device, const sn_tensor* a, const sn_tensor* b, int32_t transpose_b, sn_tensor* y) {
  Call call(device);
  if (y->elements == 0) return call.status();
  const int64_t rows = y->shape[y->rank - 2], cols = y->shape[y->rank - 1], inner = a->shape[a->rank - 1];
  const bool shared = b->rank == 2;
  const int64_t products = y->elements / (rows * cols);
  if (a->dtype == b->dtype) {
    const LtProduct product = {a->dtype,
                               y->dtype,
                               rows,
                               cols,
                               inner,
                               products,
                               a->data,
                               inner,
                               rows * inner,
                               b->data,
                               transpose_b ? inner : cols,
                               shared ? 0 : cols * inner,
                               transpose_b != 0,
                               y->data};
    bool done = false;
    const sn_status status = lt_multiply(call, product, &done);
    if (status != SN_OK || done) return status;
  }
  const MultiplyFloats body = {
      {a->dtype, a->data, rows, inner, 1, rows * inner},
      {b->dtype, b->data, cols, transpose_b ? inner : 1, transpose_b ? 1 : cols, shared ? 0 : cols * inner},
      inner,
      products,
      {nullptr, SN_NONE, y->dtype, y->data, cols}};
  return run_teams(call, body, body.tiles(), nullptr);
}

}  // namespace cuda
}  // namespace sn
