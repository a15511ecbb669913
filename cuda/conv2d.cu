// Convolutions. With float weights each result is one chain of fused multiply-adds over the columns in order, which
// gives the bits of the CPU's vector units, unless cuDNN is faster (conv2d_dnn.cu); other kinds of weights get rows of
// windows, and int8 ones with quantized images are in conv2d_w8a8.cu. See sn_conv2d in sinew.h.
#include "conv2d.h"
#include "float_tile.h"

namespace sn {
namespace cuda {
namespace {

constexpr int64_t kLargestSide = 1 << 30;
// Groups of fewer output channels would leave most of a tile empty.
constexpr int64_t kFewChannels = 8;

struct FillTaps {
  static constexpr bool kFinds = false;
  int64_t kernel_rows, kernel_cols, dilation_rows, dilation_cols, width, plane;
  Tap* taps;

  SN_HD void step(int64_t i, Findings&) const {
    const int64_t channel = i / (kernel_rows * kernel_cols), at = i - channel * (kernel_rows * kernel_cols);
    const int64_t row = at / kernel_cols * dilation_rows, col = at % kernel_cols * dilation_cols;
    taps[i] = {channel * plane + row * width + col, static_cast<int32_t>(row), static_cast<int32_t>(col)};
  }
};

// A convolution with weights of floats in rows.
struct FloatConvolution {
  Convolution c;
  int64_t inner;
  sn_dtype weight_dtype;
  const uint8_t* weights;
  int64_t pitch;  // bytes from row to row
  Results to;

  SN_HD float element(const Windows::Place& place, int64_t group, int64_t k) const {
    const int64_t at = c.windows.element(place, c.windows.taps[k]);
    return at < 0 ? 0.0f
                  : number_at(c.dtype, c.x, at + group * c.in_group * (int64_t{c.windows.height} * c.windows.width));
  }
};

// 64 channels of a group with 64 windows a team.
struct ConvolveTiles {
  static constexpr bool kFinds = false, kOrdered = false;
  static constexpr int kSide = FloatTile::kSide, kDepth = FloatTile::kDepth, kPart = FloatTile::kPart;
  struct State {
    FloatTile::Sums sums;
    Windows::Place place;
  };
  using Shared = FloatTile::Shared;
  struct Fetched {
    float weights[kPart], x[kPart];
  };
  FloatConvolution of;

  SN_HD int64_t channel_tiles() const { return (of.c.out_group + kSide - 1) / kSide; }
  SN_HD int64_t tiles() const { return channel_tiles() * of.c.groups * ((of.c.count() + kSide - 1) / kSide); }
  SN_HD int steps() const { return static_cast<int>((of.inner + kDepth - 1) / kDepth); }
  SN_HD int phases() const { return steps() + 1; }

  SN_HD void phase(int p, int64_t team, int thread, State& state, Shared& shared, Findings&) const {
    const int64_t rest = team / channel_tiles(), first = (team - rest * channel_tiles()) * kSide;
    const int64_t group = rest % of.c.groups, window = rest / of.c.groups * kSide;
    if (p == 0) {
      const int64_t own = window + thread % kSide;
      state.place = own < of.c.count() ? of.c.windows.place(own, 1) : Windows::nowhere();
      FloatTile::clear(&state.sums);
    }
    Fetched next;
    const bool more = p < steps();
    if (more) fetch(p, group, first, thread, state, &next);
    if (p > 0) FloatTile::multiply(thread, shared, (p - 1) % 2, &state.sums);
    if (more) put(thread, next, shared.left[p % 2], shared.right[p % 2]);
    if (p == steps()) finish(group, first + FloatTile::row(thread), window + FloatTile::col(thread), state.sums);
  }

 private:
  // Four columns of one channel, whose rows are padded to that, and four elements of one window.
  SN_HD void fetch(int step, int64_t group, int64_t first, int thread, const State& state, Fetched* next) const {
    const int64_t channel = first + thread / kPart, k = int64_t{step} * kDepth + thread % kPart * kPart;
    const bool there = channel < of.c.out_group && k < of.inner;
    const uint8_t* row = of.weights + (there ? (group * of.c.out_group + channel) * of.pitch : 0);
    load_four(of.weight_dtype, row, there ? k : 0, there ? kPart : 0, next->weights);
    SN_UNROLL
    for (int i = 0; i < kPart; ++i) {
      const int64_t at = int64_t{step} * kDepth + thread / kSide + i * (kTeam / kSide);
      next->x[i] = at < of.inner ? of.element(state.place, group, at) : 0.0f;
    }
  }
  SN_HD static void put(int thread, const Fetched& next, float (*weights)[kSide + 4], float (*x)[kSide + 4]) {
    SN_UNROLL
    for (int i = 0; i < kPart; ++i) {
      weights[thread % kPart * kPart + i][thread / kPart] = next.weights[i];
      x[thread / kSide + i * (kTeam / kSide)][thread % kSide] = next.x[i];
    }
  }
  SN_HD void finish(int64_t group, int64_t channel, int64_t window, const FloatTile::Sums& sums) const {
    const int64_t left = of.c.count() - window;
    if (left <= 0) return;
    SN_UNROLL
    for (int i = 0; i < kPart; ++i) {
      if (channel + i >= of.c.out_group) break;
      const int64_t at = group * of.c.out_group + channel + i;
      float v[kPart];
      SN_UNROLL
      for (int j = 0; j < kPart; ++j) v[j] = of.to.finished(sums.of[i][j], at);
      of.to.put_windows(window, at, left < kPart ? static_cast<int>(left) : kPart, v);
    }
  }
};

// One result a step, for groups of few channels.
struct ConvolvePlanes {
  static constexpr bool kFinds = false;
  FloatConvolution of;

  SN_HD void step(int64_t i, Findings&) const {
    const int64_t positions = of.c.windows.positions(), plane = i / positions, image = plane / of.to.out;
    const int64_t channel = plane - image * of.to.out, group = channel / of.c.out_group;
    const Windows::Place place = of.c.windows.place(image * positions + i - plane * positions, 1);
    const uint8_t* row = of.weights + channel * of.pitch;
    float sum = 0;
    for (int64_t k = 0; k < of.inner; ++k)
      sum = fused(number_at(of.weight_dtype, row, k), of.element(place, group, k), sum);
    of.to.put_at(i, of.to.finished(sum, channel));
  }
};

// The table is made once, when it is needed first.
sn_status convolve(Call& call, FloatConvolution* of) {
  if (of->c.windows.taps == nullptr) of->c.windows.taps = make_taps(call, of->c, of->c.in_group);
  if (call.status() != SN_OK) return call.status();
  if (of->c.out_group < kFewChannels) return run(call, ConvolvePlanes{*of}, of->c.count() * of->to.out, nullptr);
  const ConvolveTiles tiles = {*of};
  return run_teams(call, tiles, tiles.tiles(), nullptr);
}

Convolution convolution_of(const sn_tensor* x, const int64_t* window, int64_t groups, const sn_tensor* y) {
  const auto narrow = [](int64_t n) { return static_cast<int32_t>(n); };
  Convolution c = {x->dtype,  x->data, x->shape[0],          x->shape[1],          window[0], window[1], window[6],
                   window[7], groups,  x->shape[1] / groups, y->shape[1] / groups, {}};
  c.windows.height = narrow(x->shape[2]);
  c.windows.width = narrow(x->shape[3]);
  c.windows.image = x->shape[1] * x->shape[2] * x->shape[3];
  c.windows.rows = y->shape[2];
  c.windows.cols = y->shape[3];
  c.windows.stride_rows = narrow(window[2]);
  c.windows.stride_cols = narrow(window[3]);
  c.windows.padding_rows = narrow(window[4]);
  c.windows.padding_cols = narrow(window[5]);
  return c;
}

}  // namespace

const Tap* make_taps(Call& call, const Convolution& c, int64_t channels) {
  const int64_t count = channels * c.places();
  Tap* taps = call.scratch_of<Tap>(count);
  const FillTaps body = {c.kernel_rows,
                         c.kernel_cols,
                         c.dilation_rows,
                         c.dilation_cols,
                         c.windows.width,
                         int64_t{c.windows.height} * c.windows.width,
                         taps};
  return run(call, body, count, nullptr) == SN_OK ? taps : nullptr;
}

sn_status conv2d(sn_device* device, const sn_tensor* x, const sn_weights* w, const int64_t* window, int64_t groups,
                 const sn_tensor* bias, sn_activation activation, sn_tensor* y) {
  Call call(device);
  if (y->elements == 0) return call.status();
  if (x->shape[2] > kLargestSide || x->shape[3] > kLargestSide) {
    return fail(SN_UNSUPPORTED,
                "images of %lld x %lld are larger than convolutions on a GPU take: use the CPU's device",
                static_cast<long long>(x->shape[2]), static_cast<long long>(x->shape[3]));
  }
  Convolution c = convolution_of(x, window, groups, y);
  const Results to = {bias == nullptr ? nullptr : data_of<float>(bias),
                      activation,
                      y->dtype,
                      y->data,
                      w->rows,
                      0,
                      c.windows.positions()};
  if (w->kind == SN_W8A8 && groups == 1) return conv2d_w8a8(call, c, w, to);
  if (w->kind != SN_FLOAT && groups == 1) {
    c.windows.taps = make_taps(call, c, c.in_group);
    if (call.status() != SN_OK) return call.status();
    Activations rows = {};
    rows.dtype = x->dtype;
    rows.x = x->data;
    rows.rows = c.count();
    rows.windows = c.windows;
    return multiply_rows(call, rows, w, to);
  }
  FloatConvolution body = {c, w->cols, w->dtype, w->part<uint8_t>(kWeightPart), pitch_of(w), to};
  if (w->kind == SN_FLOAT) {
    const OwnConvolution own = {&body,
                                [](Call& its, void* of) { return convolve(its, static_cast<FloatConvolution*>(of)); }};
    bool done = false;
    const sn_status status = convolve_by_cudnn(call, c, w, window, to, own, &done);
    if (status != SN_OK || done) return status;
  } else {
    const int64_t pitch = (w->cols + kStep - 1) / kStep * kStep;
    float* floats = call.scratch_of<float>(w->rows * pitch);
    if (call.status() != SN_OK || unpack(call, w, pitch, floats) != SN_OK) return call.status();
    body.weight_dtype = SN_F32;
    body.weights = reinterpret_cast<const uint8_t*>(floats);
    body.pitch = pitch * int64_t{sizeof(float)};
  }
  return convolve(call, &body);
}

}  // namespace cuda
}  // namespace sn
