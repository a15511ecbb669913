// Layer norm, batch norm, RMS norm, and rows quantized to bytes, as they are or normed. See sinew.h.
#include "rms_norm.h"

namespace sn {
namespace cuda {
namespace {

struct LayerNorm {
  static constexpr bool kFinds = false, kOrdered = false;
  struct State {};
  struct Shared {
    RowLanes row;
    float mean, factor;
  };
  sn_dtype dtype;
  const void* x;
  const float *weight, *bias;  // or null
  double eps;
  int64_t cols;
  void* y;

  // Two sums, each of which one thread ends.
  SN_HD int sum_phases() const { return 2 * RowLanes::chunks(cols) + 1; }
  SN_HD int phases() const { return 2 * sum_phases() + 1; }

  SN_HD void phase(int p, int64_t row, int thread, State&, Shared& shared, Findings&) const {
    const double count = static_cast<double>(cols);
    if (p == 2 * sum_phases()) {
      for (int64_t col = int64_t{thread} * kStep; col < cols; col += RowLanes::kChunk) normalize(row, col, shared);
      return;
    }
    const bool squares = p >= sum_phases();
    const int step = squares ? p - sum_phases() : p;
    if (step == sum_phases() - 1) {
      if (thread != 0) return;
      const double mean = fold(shared.row.sums) / count;
      if (squares) {
        shared.factor = static_cast<float>(1 / root(mean + eps));
      } else {
        shared.mean = static_cast<float>(mean);
      }
    } else if (step % 2 == 0) {
      // The squares find a row of one chunk where the first sum has left it.
      if (!squares || cols > RowLanes::kChunk) shared.row.stage(step / 2, dtype, x, row * cols, cols, thread);
    } else {
      const float mean = shared.mean;
      shared.row.add(step / 2, cols, thread, [squares, mean](float v) {
        const double d = static_cast<double>(squares ? v - mean : v);
        return squares ? d * d : d;
      });
    }
  }
  SN_HD void normalize(int64_t row, int64_t col, const Shared& shared) const {
    const int n = RowLanes::length(cols, col);
    Elements<float> v = shared.row.numbers(dtype, x, row * cols, cols, col);
    SN_UNROLL
    for (int j = 0; j < kStep; ++j) v.of[j] = (v.of[j] - shared.mean) * shared.factor;
    if (weight != nullptr) {
      const Elements<float> w = load(weight + col, n);
      SN_UNROLL
      for (int j = 0; j < kStep; ++j) v.of[j] = v.of[j] * w.of[j];
    }
    if (bias != nullptr) {
      const Elements<float> b = load(bias + col, n);
      SN_UNROLL
      for (int j = 0; j < kStep; ++j) v.of[j] = v.of[j] + b.of[j];
    }
    store_reals(dtype, y, row * cols + col, v, n);
  }
};

// What a channel is multiplied with and what is added to it.
struct ChannelTerms {
  static constexpr bool kFinds = false;
  const float *mean, *variance, *weight, *bias;  // the last two may be null
  double eps;
  float *factor, *term;

  SN_HD void step(int64_t c, Findings&) const {
    const double w = weight == nullptr ? 1 : static_cast<double>(weight[c]);
    const double b = bias == nullptr ? 0 : static_cast<double>(bias[c]);
    const double exact = w / root(static_cast<double>(variance[c]) + eps);
    factor[c] = static_cast<float>(exact);
    term[c] = static_cast<float>(b - static_cast<double>(mean[c]) * exact);
  }
};

// kStep elements of [batch, channels, cols] a step, wherever rows end.
struct BatchNorm {
  static constexpr bool kFinds = false;
  using ManyRegisters = void;
  sn_dtype dtype;
  const void* x;
  int64_t elements, channels, cols;
  const float *factor, *term;
  void* y;

  SN_HD void step(int64_t i, Findings&) const {
    const int n = length_of(i, elements);
    Elements<float> v = load_reals(dtype, x, i * kStep, n);
    const int64_t row = i * kStep / cols;
    int64_t left = (row + 1) * cols - i * kStep, channel = row % channels;
    float a = factor[channel], b = term[channel];
    SN_UNROLL
    for (int j = 0; j < kStep; ++j) {
      if (left == 0) {
        left = cols;
        channel = channel + 1 < channels ? channel + 1 : 0;
        a = factor[channel];
        b = term[channel];
      }
      v.of[j] = v.of[j] * a + b;
      --left;
    }
    store_reals(dtype, y, i * kStep, v, n);
  }
};

// A row a team, whose first 4096 columns stay in registers.
struct QuantizeTokens {
  static constexpr bool kFinds = false, kOrdered = false;
  static constexpr int kPhases = 3;
  static constexpr int64_t kChunk = int64_t{kTeam} * kStep;
  struct State {
    Elements<float> first;
  };
  using Shared = Largest;
  sn_dtype dtype;
  const void* x;
  int64_t cols;
  int8_t* q;
  float* scale;

  SN_HD int length(int64_t col) const { return RowLanes::length(cols, col); }
  SN_HD Elements<float> at(int64_t row, int64_t col) const {
    return load_reals(dtype, x, row * cols + col, length(col));
  }

  SN_HD void phase(int p, int64_t row, int thread, State& state, Shared& shared, Findings&) const {
    const int64_t own = int64_t{thread} * kStep;
    if (p == 0) {
      state.first = at(row, own);
      uint32_t largest = largest_key(state.first, 0);
      for (int64_t col = own + kChunk; col < cols; col += kChunk) largest = largest_key(at(row, col), largest);
      shared.own[thread] = largest;
      return;
    }
    if (p == 1) return shared.find_part(thread);
    const SymmetricBytes bytes(shared.all());
    if (thread == 0) scale[row] = bytes.scale();
    for (int64_t col = own; col < cols; col += kChunk)
      store(q + row * cols + col, bytes(col == own ? state.first : at(row, col)), length(col));
  }
};

struct Ones {
  static constexpr bool kFinds = false;
  float* scale;

  SN_HD void step(int64_t i, Findings&) const { scale[i] = 1.0f; }
};

// Rows of no elements are all zero.
sn_status scales_of_nothing(Call& call, sn_tensor* scale) {
  return run(call, Ones{data_of<float>(scale)}, scale->elements, nullptr);
}

const float* floats_or_null(const sn_tensor* t) { return t == nullptr ? nullptr : data_of<float>(t); }

}  // namespace

sn_status layer_norm(sn_device* device, const sn_tensor* x, const sn_tensor* weight, const sn_tensor* bias, double eps,
                     sn_tensor* y) {
  Call call(device);
  const int64_t cols = x->shape[x->rank - 1];
  if (x->elements == 0) return call.status();
  const LayerNorm body = {x->dtype, x->data, floats_or_null(weight), floats_or_null(bias), eps, cols, y->data};
  return run_teams(call, body, x->elements / cols, nullptr);
}

sn_status batch_norm(sn_device* device, const sn_tensor* x, const sn_tensor* mean, const sn_tensor* variance,
                     const sn_tensor* weight, const sn_tensor* bias, double eps, sn_tensor* y) {
  Call call(device);
  if (x->elements == 0) return call.status();
  const int64_t channels = x->shape[1];
  float* factor = call.scratch_of<float>(channels);
  float* term = call.scratch_of<float>(channels);
  const ChannelTerms terms = {
      data_of<float>(mean), data_of<float>(variance), floats_or_null(weight), floats_or_null(bias), eps, factor, term};
  const sn_status status = run(call, terms, channels, nullptr);
  if (status != SN_OK) return status;
  const BatchNorm body = {x->dtype, x->data, x->elements, channels, x->elements / (x->shape[0] * channels),
                          factor,   term,    y->data};
  return run(call, body, steps_of_elements(x->elements), nullptr);
}

sn_status rms_norm(sn_device* device, const sn_tensor* x, const sn_tensor* weight, double eps, sn_tensor* y) {
  Call call(device);
  const int64_t cols = x->shape[x->rank - 1];
  if (x->elements == 0) return call.status();
  const RmsNorm<false> body = {x->dtype, x->data, floats_or_null(weight), eps, cols, y->data, nullptr};
  return run_teams(call, body, x->elements / cols, nullptr);
}

sn_status quantize_per_token(sn_device* device, const sn_tensor* x, sn_tensor* q, sn_tensor* scale) {
  Call call(device);
  if (x->elements == 0) return scales_of_nothing(call, scale);
  const int64_t cols = x->shape[x->rank - 1];
  const QuantizeTokens body = {x->dtype, x->data, cols, data_of<int8_t>(q), data_of<float>(scale)};
  return run_teams(call, body, x->elements / cols, nullptr);
}

sn_status rms_norm_quantize(sn_device* device, const sn_tensor* x, const sn_tensor* weight, double eps, sn_tensor* q,
                            sn_tensor* scale) {
  Call call(device);
  if (x->elements == 0) return scales_of_nothing(call, scale);
  const int64_t cols = x->shape[x->rank - 1];
  const RmsNorm<true> body = {x->dtype, x->data, floats_or_null(weight), eps, cols, q->data, data_of<float>(scale)};
  return run_teams(call, body, x->elements / cols, nullptr);
}

}  // namespace cuda
}  // namespace sn
