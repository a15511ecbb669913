// Convolutions of floats by cuDNN: what has to be done before it and afterwards. See dnn.h.
#include "conv2d.h"
#include "dnn.h"
#include "team.h"

namespace sn {
namespace cuda {
namespace {

// Kernels [row, channel, place], of rows that begin `pitch` elements apart, to [row, place, channel], close. One
// element a step.
template <class T>
struct MoveKernels {
  static constexpr bool kFinds = false;
  const T* from;
  int64_t pitch, channels, places;
  T* to;

  SN_HD void step(int64_t i, Findings&) const {
    const int64_t rest = i / channels, channel = i - rest * channels;
    const int64_t row = rest / places, place = rest - row * places;
    to[i] = from[row * pitch + channel * places + place];
  }
};

// Matrices turned, 64 by 64 elements a team: what lies side by side is read so, and written so.
template <class Matrices>
struct Turn {
  static constexpr bool kFinds = false, kOrdered = false;
  static constexpr int kPhases = 2, kSide = 64, kRows = kTeam / kSide;
  struct State {};
  // Rows are an odd number of banks apart.
  struct Shared {
    typename Matrices::Element tile[kSide][kSide + 4 / sizeof(typename Matrices::Element)];
  };
  Matrices of;
  int64_t count, rows, cols;  // of a matrix before it is turned

  SN_HD static int64_t tiles_of(int64_t n) { return (n + kSide - 1) / kSide; }
  SN_HD int64_t tiles() const { return count * tiles_of(rows) * tiles_of(cols); }

  SN_HD void phase(int p, int64_t team, int thread, State&, Shared& shared, Findings&) const {
    const int64_t rest = team / tiles_of(cols), col = (team - rest * tiles_of(cols)) * kSide;
    const int64_t matrix = rest / tiles_of(rows), row = (rest - matrix * tiles_of(rows)) * kSide;
    const int near = thread % kSide;
    for (int far = thread / kSide; far < kSide; far += kRows) {
      if (p == 0 && row + far < rows && col + near < cols)
        shared.tile[far][near] = of.get(matrix, row + far, col + near);
      if (p == 1 && row + near < rows && col + far < cols)
        of.put(matrix, row + near, col + far, shared.tile[near][far]);
    }
  }
};

// Elements of 16 bits [image, channel, position] to [image, position, channel].
struct ChannelsLast {
  using Element = uint16_t;
  const uint16_t* from;
  int64_t channels, positions;
  uint16_t* to;

  SN_HD uint16_t get(int64_t image, int64_t channel, int64_t position) const {
    return from[(image * channels + channel) * positions + position];
  }
  SN_HD void put(int64_t image, int64_t channel, int64_t position, uint16_t element) const {
    to[(image * positions + position) * channels + channel] = element;
  }
};

// Sums [image, position, channel] to results [image, channel, position].
struct FinishedLast {
  using Element = float;
  const float* sums;
  Results to;

  SN_HD float get(int64_t image, int64_t position, int64_t channel) const {
    return sums[(image * to.positions + position) * to.out + channel];
  }
  SN_HD void put(int64_t image, int64_t position, int64_t channel, float sum) const {
    to.put_at((image * to.out + channel) * to.positions + position, to.finished(sum, channel));
  }
};

// Sums that lie as the results do, and may be where those are to be.
struct FinishPlanes {
  static constexpr bool kFinds = false;
  const float* sums;
  Results to;
  int64_t elements;

  SN_HD void step(int64_t i, Findings&) const {
    const int n = length_of(i, elements);
    const int64_t plane = i * kStep / to.positions;
    int64_t channel = plane % to.out, left = (plane + 1) * to.positions - i * kStep;  // of the channel's results
    Elements<float> v = load(sums + i * kStep, n);
    SN_UNROLL
    for (int j = 0; j < kStep; ++j) {
      v.of[j] = to.finished(v.of[j], channel);
      if (--left > 0) continue;
      left = to.positions;
      channel = channel + 1 == to.out ? 0 : channel + 1;
    }
    store_reals(to.dtype, to.y, i * kStep, v, n);
  }
};

template <class Matrices>
sn_status turn(Call& call, const Matrices& of, int64_t count, int64_t rows, int64_t cols) {
  const Turn<Matrices> body = {of, count, rows, cols};
  return run_teams(call, body, body.tiles(), nullptr);
}
template <class T>
sn_status move_kernels(Call& call, const sn_weights* w, int64_t places, void* to) {
  const MoveKernels<T> body = {w->part<T>(kWeightPart), pitch_of(w) / stored_size(w), w->cols / places, places,
                               static_cast<T*>(to)};
  return run(call, body, w->rows * w->cols, nullptr);
}

// A convolution with all that is needed for it, on the GPU.
struct ByCudnn {
  Call& call;
  const Convolution& c;
  const sn_weights* w;
  const Results& to;
  OwnConvolution own;
  void *x_last, *w_close;  // scratch, where it is needed
  float* sums;             // null until there is all scratch
  bool prepared;

  bool channels_last() const { return c.dtype == SN_BF16; }
  // Whether weights do not lie as cuDNN takes them.
  bool moves_kernels() const { return pitch_of(w) != stored_size(w) * w->cols || (channels_last() && c.places() > 1); }
  int64_t elements() const { return c.count() * to.out; }

  // Whether there is memory for it.
  bool prepare() {
    if (prepared) return sums != nullptr;
    prepared = true;
    const int64_t x_bytes = channels_last() ? 2 * c.batch * c.windows.image : 0;
    const int64_t w_bytes = moves_kernels() ? stored_size(w) * w->rows * w->cols : 0;
    const bool in_place = !channels_last() && to.dtype == SN_F32;
    x_last = x_bytes > 0 ? call.spare(x_bytes) : nullptr;
    w_close = w_bytes > 0 ? call.spare(w_bytes) : nullptr;
    sums = static_cast<float*>(in_place ? to.y : call.spare(4 * elements()));
    if ((x_bytes > 0 && x_last == nullptr) || (w_bytes > 0 && w_close == nullptr)) sums = nullptr;
    return sums != nullptr;
  }
  sn_status run_planned(const DnnPlan& plan, void* workspace, bool* done) {
    *done = false;
    if (!prepare()) return call.status();
    const void *x = c.x, *weights = w->part<void>(kWeightPart);
    if (channels_last()) {
      const int64_t plane = int64_t{c.windows.height} * c.windows.width;
      const ChannelsLast images = {static_cast<const uint16_t*>(x), c.channels, plane, static_cast<uint16_t*>(x_last)};
      if (turn(call, images, c.batch, c.channels, plane) != SN_OK) return call.status();
      x = x_last;
    }
    if (moves_kernels()) {
      const sn_status moved = channels_last() ? move_kernels<uint16_t>(call, w, c.places(), w_close)
                                              : move_kernels<float>(call, w, 1, w_close);
      if (moved != SN_OK) return moved;
      weights = w_close;
    }
    const sn_status status = dnn_convolve(call, plan, x, weights, sums, workspace, done);
    if (status != SN_OK || !*done) return status;
    if (!channels_last()) {
      const int64_t steps = steps_of_elements(elements());
      return run(call, FinishPlanes{sums, to, elements()}, steps, nullptr);
    }
    return turn(call, FinishedLast{sums, to}, c.batch, to.positions, to.out);
  }
};

bool is_aligned(const void* data) { return (reinterpret_cast<uintptr_t>(data) & 15) == 0; }

}  // namespace

sn_status convolve_by_cudnn(Call& call, const Convolution& c, const sn_weights* w, const int64_t* window,
                            const Results& to, const OwnConvolution& own, bool* done) {
  *done = false;
  const DnnConvolution shape = {c.dtype, c.batch,  c.channels, c.windows.height, c.windows.width,
                                w->rows, c.groups, window,     c.windows.rows,   c.windows.cols};
  if (w->dtype != c.dtype || !is_aligned(c.x) || !is_aligned(to.y) || !dnn_wants(shape)) return call.status();
  ByCudnn both = {call, c, w, to, own, nullptr, nullptr, nullptr, false};
  const DnnTrial trial = {&both,
                          [](void* of) {
                            const ByCudnn* b = static_cast<const ByCudnn*>(of);
                            return b->own.run(b->call, b->own.of);
                          },
                          [](void* of, const DnnPlan& plan, void* workspace, bool* was_done) {
                            return static_cast<ByCudnn*>(of)->run_planned(plan, workspace, was_done);
                          }};
  const DnnPlan* plan = nullptr;
  if (dnn_choose(call, shape, trial, &plan) != SN_OK || plan == nullptr) return call.status();
  void* const workspace = plan->workspace > 0 ? call.spare(plan->workspace) : nullptr;
  if (plan->workspace > 0 && workspace == nullptr) return call.status();
  return both.run_planned(*plan, workspace, done);
}

}  // namespace cuda
}  // namespace sn
