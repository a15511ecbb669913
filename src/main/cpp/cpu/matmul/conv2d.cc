// Convolutions. With F32 weights, output channels are the rows of a product whose panels are 16 neighbouring windows;
// y is written in its own order. With stride 1 and rows that fit, those are read where they lie (sheets.h), else
// gathered a block of channels at a time. A depthwise convolution multiplies whole rows of its plane by one weight at a
// time. Other kinds of weights get rows of windows. See sinew.h.
#include "cpu/matmul/conv2d.h"
#include "cpu/kernels/rows.h"
#include "cpu/matmul/sheets.h"

namespace sn {
namespace SN_ISA_NAME {
namespace {

#if defined(SN_TIER_AVX512)
constexpr int kChannels = 8, kWindowPanels = 2;
#elif defined(SN_TIER_AVX2)
constexpr int kChannels = 6, kWindowPanels = 1;
#else
constexpr int kChannels = 4, kWindowPanels = 1;
#endif
// Floats of windows that a task reads at a time: a part of the second-level cache.
constexpr int64_t kGathered = 1 << 16;
// Windows of a task that are not gathered, about, and floats that those read at most: with more channels gathering
// pays, as what is gathered lies together and is used by more of them.
constexpr int64_t kSheetWindows = 384, kSheetFloats = 1 << 14;

// Weight (row, k) is at(row)[k * step], and so are those of the rows after it up to the end of a panel.
struct Weights {
  const float* data;
  int64_t inner, step;

  static Weights panels(const float* data, int64_t inner) { return {data, inner, kPanel}; }
  // The transpose [inner][rows].
  static Weights transposed(const float* data, int64_t inner, int64_t rows) { return {data, inner, rows}; }
  const float* at(int64_t row) const {
    return step == kPanel ? data + row / kPanel * kPanel * inner + row % kPanel : data + row;
  }
};

// What a convolution does with the sums of a channel of one image.
struct Output {
  float* y;  // of the image
  int64_t positions;
  const float* bias;
  sn_activation activation;

  SN_INLINE F finished(F v, int64_t channel) const {
    if (bias != nullptr) v = add(v, splat(bias[channel]));
    return activate(v, activation);
  }
};

// kRows channels of kPanels x 16 windows from `first` on, over `steps` of the inner dimension. Sums begin and end in y
// where the steps are not the first and the last ones.
template <int kRows, int kPanels>
void multiply_windows(const float* weights, int64_t step, const float* panels, int64_t panel_floats, int64_t steps,
                      int64_t channel, int64_t first, bool begins, bool ends, const Output& output) {
  alignas(64) float buffer[kRows][kPanels * kPanel];
  const int64_t count = min_of(kPanels * kPanel, output.positions - first);
  const size_t bytes = static_cast<size_t>(count) * sizeof(float);
  float* y = output.y + channel * output.positions + first;
  F sum[kRows][kPanels];
  clear(sum);
  if (!begins) {
    for (int64_t r = 0; r < kRows; ++r) memcpy(buffer[r], y + r * output.positions, bytes);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
      for (int p = 0; p < kPanels; ++p) sum[r][p] = load(&buffer[r][p * kPanel]);
    }
  }
  multiply_panels<kRows, kPanels, true>(weights, step, panels, panel_floats, kPanel, steps, sum);
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int p = 0; p < kPanels; ++p) store(&buffer[r][p * kPanel], sum[r][p]);
  }
  for (int64_t r = 0; r < kRows; ++r) {
    for (int64_t i = 0; ends && i < count; i += kPanel)
      store(&buffer[r][i], output.finished(load(&buffer[r][i]), channel + r));
    memcpy(y + r * output.positions, buffer[r], bytes);
  }
}

template <int kCount>
struct Count {
  static constexpr int value = kCount;
};

// Calls f with the Count of so many channels, up to kChannels.
template <class F_>
SN_INLINE void with_channels(int64_t channels, F_ f) {
  switch (channels) {
    case 1:
      return f(Count<1>());
    case 2:
      return f(Count<2>());
    case 3:
      return f(Count<3>());
    case 4:
      return f(Count<4>());
#if defined(SN_TIER_AVX512) || defined(SN_TIER_AVX2)
    case 5:
      return f(Count<5>());
    case 6:
      return f(Count<6>());
#endif
#if defined(SN_TIER_AVX512)
    case 7:
      return f(Count<7>());
    case 8:
      return f(Count<8>());
#endif
    default:
      return;
  }
}

// Calls f(channel, channels) for parts of [begin, end), each within a panel of weights and of one size as far as
// possible: few sums at once would wait for each other.
template <class F_>
SN_INLINE void for_channels(int64_t begin, int64_t end, F_ f) {
  for (int64_t channel = begin; channel < end;) {
    const int64_t left = min_of(end - channel, kPanel - channel % kPanel);
    const int64_t channels = ceil_div(left, ceil_div(left, kChannels));
    f(channel, channels);
    channel += channels;
  }
}

// Windows [first, last) of one image and group, output channels [begin, end).
void convolve_windows(const Convolution& c, const float* x, const Weights& weights, int64_t begin, int64_t end,
                      int64_t first, int64_t last, int64_t at_once, float* gathered, const Output& output) {
  const int64_t panel_floats = at_once * c.taps() * kPanel, panels = ceil_div(last - first, kPanel);
  for (int64_t from = 0; from == 0 || from < c.in_group; from += at_once) {
    const int64_t to = min_of(from + at_once, c.in_group), steps = (to - from) * c.taps();
    for (int64_t p = 0; p < panels; ++p) gather_panel(c, x, from, to, first + p * kPanel, gathered + p * panel_floats);
    for_channels(begin, end, [&](int64_t channel, int64_t channels) {
      const float* w = weights.at(channel) + from * c.taps() * weights.step;
      const auto multiply = [&](int64_t p, auto many) {
        with_channels(channels, [&](auto rows) {
          multiply_windows<rows.value, many.value>(w, weights.step, gathered + p * panel_floats, panel_floats, steps,
                                                   channel, first + p * kPanel, from == 0, to == c.in_group, output);
        });
      };
      int64_t p = 0;
      for (; p + kWindowPanels <= panels; p += kWindowPanels) multiply(p, Count<kWindowPanels>());
      for (; p < panels; ++p) multiply(p, Count<1>());
    });
  }
}

Output output_of(const Convolution& c, float* y, int64_t image, const float* bias, sn_activation activation) {
  return {y + image * c.out * c.positions(), c.positions(), bias, activation};
}

// How many tasks share the channels of a group, where there are so many tasks: with few windows, as in the last layers
// of a network, more than one.
int64_t channel_parts(sn_device* device, const Convolution& c, int64_t tasks) {
  const int64_t wanted = device->threads == 1 ? 1 : ceil_div(int64_t{4} * device->threads, tasks);
  const int64_t channels = round_up(ceil_div(c.out_group, min_of(wanted, ceil_div(c.out_group, 32))), kPanel);
  return ceil_div(c.out_group, channels);
}

// Rows of windows of one image from `first_row` on, and what they read.
struct SheetBlock {
  Sheet sheet;
  const float* data;
  const int32_t* offsets;
  int64_t inner, first_row, cols;
};

// kRows channels of kPanels x 16 windows from `window` on. Where whole vectors fit they are stored, and what is too
// much is overwritten by the windows that follow: those have to come in order.
template <int kRows, int kPanels>
void multiply_sheet(const float* weights, int64_t step, const SheetBlock& block, int64_t window, int64_t channel,
                    const Output& output) {
  F sum[kRows][kPanels];
  clear(sum);
  const float* from = block.data + window;
  for (int64_t k = 0; k < block.inner; ++k, weights += step) {
    const float* at = from + block.offsets[k];
    F v[kPanels];
#pragma GCC unroll 16
    for (int p = 0; p < kPanels; ++p) v[p] = load(at + p * kPanel);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const F w = splat(weights[r]);
#pragma GCC unroll 16
      for (int p = 0; p < kPanels; ++p) sum[r][p] = multiply_add(w, v[p], sum[r][p]);
    }
  }
  alignas(64) float buffer[kRows][2 * kPanel];
  const int64_t pitch = block.sheet.pitch, positions = block.sheet.rows * block.cols;
  float* y = output.y + channel * output.positions + block.first_row * block.cols;
#pragma GCC unroll 16
  for (int p = 0; p < kPanels; ++p) {
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      store(buffer[r], output.finished(sum[r][p], channel + r));
      store(buffer[r] + kPanel, splat(0));
    }
    int64_t row = (window + p * kPanel) / pitch, col = (window + p * kPanel) % pitch;
    for (int64_t i = 0; i < kPanel && row < block.sheet.rows; i += pitch - col, col = 0, ++row) {
      if (col >= block.cols) continue;
      const int64_t at = row * block.cols + col;
      for (int64_t r = 0; r < kRows; ++r)
        store_some(y + r * output.positions + at, load(buffer[r] + i), min_of(kPanel, positions - at));
    }
  }
}

// The rows of windows of a task if the convolution is computed by sheets, else 0.
int64_t sheet_rows(const Convolution& c) {
  if (c.stride_rows != 1 || c.stride_cols != 1) return 0;
  const int64_t most = max_of(1, kSheetWindows / Sheet(c, 1).pitch);
  const int64_t rows = ceil_div(c.rows, ceil_div(c.rows, most));
  if (Sheet(c, rows).floats() > kSheetFloats) return 0;
  // Windows behind the rows' ends must not cost more than gathering.
  const int64_t panels = ceil_div(Sheet(c, rows).windows(c), kPanel), least = ceil_div(rows * c.cols, kPanel);
  return 4 * panels <= 5 * least ? rows : 0;
}

sn_status convolve_sheets(sn_device* device, const Convolution& c, int64_t rows, const float* x, const Weights& weights,
                          const float* bias, sn_activation activation, float* y) {
  const int64_t blocks = ceil_div(c.rows, rows), tasks = c.batch * c.groups * blocks;
  const int64_t parts = channel_parts(device, c, tasks), channels = round_up(ceil_div(c.out_group, parts), kPanel);
  const int64_t sheet_bytes = round_up(Sheet(c, rows).floats() * static_cast<int64_t>(sizeof(float)), 64);
  const int64_t bytes = sheet_bytes + c.inner() * static_cast<int64_t>(sizeof(int32_t));
  int32_t starved = 0;
  auto task = [&](int64_t index) {
    const int64_t part = index % parts, first = index / parts % blocks * rows,
                  group = index / parts / blocks % c.groups;
    const int64_t image = index / parts / blocks / c.groups, begin = group * c.out_group + part * channels;
    const Scratch scratch(device, bytes);
    if (scratch.data() == nullptr) return atomic_or(&starved);
    auto* data = reinterpret_cast<float*>(scratch.data());
    auto* offsets = reinterpret_cast<int32_t*>(scratch.data() + sheet_bytes);
    const SheetBlock block = {Sheet(c, min_of(rows, c.rows - first)), data, offsets, c.inner(), first, c.cols};
    fill_sheet(c, x + (image * c.channels + group * c.in_group) * c.plane(), first, block.sheet, data);
    sheet_offsets(c, block.sheet, offsets);
    const Output output = output_of(c, y, image, bias, activation);
    const int64_t panels = ceil_div(block.sheet.windows(c), kPanel);
    for_channels(begin, min_of(begin + channels, (group + 1) * c.out_group), [&](int64_t channel, int64_t count) {
      const auto multiply = [&](int64_t p, auto many) {
        with_channels(count, [&](auto kernels) {
          multiply_sheet<kernels.value, many.value>(weights.at(channel), weights.step, block, p * kPanel, channel,
                                                    output);
        });
      };
      int64_t p = 0;
      for (; p + kWindowPanels <= panels; p += kWindowPanels) multiply(p, Count<kWindowPanels>());
      for (; p < panels; ++p) multiply(p, Count<1>());
    });
  };
  for_tasks(device, tasks * parts, task);
  return starved ? no_scratch(bytes) : SN_OK;
}

sn_status convolve(sn_device* device, const Convolution& c, const float* x, const Weights& weights, const float* bias,
                   sn_activation activation, float* y) {
  const int64_t at_once = max_of(1, min_of(c.in_group, kInner / c.taps()));
  const int64_t panel_floats = at_once * c.taps() * kPanel;
  const int64_t a_block = max_of(1, min_of(16, kGathered / max_of(panel_floats, 1))) * kPanel;
  const int64_t blocks = ceil_div(c.positions(), a_block), tasks = c.batch * c.groups * blocks;
  const int64_t parts = channel_parts(device, c, tasks), channels = round_up(ceil_div(c.out_group, parts), kPanel);
  const int64_t bytes = a_block * at_once * c.taps() * static_cast<int64_t>(sizeof(float));
  int32_t starved = 0;
  auto task = [&](int64_t index) {
    const int64_t part = index % parts, block = index / parts % blocks, group = index / parts / blocks % c.groups;
    const int64_t image = index / parts / blocks / c.groups, begin = group * c.out_group + part * channels;
    const Scratch scratch(device, bytes);
    if (scratch.data() == nullptr) return atomic_or(&starved);
    convolve_windows(c, x + (image * c.channels + group * c.in_group) * c.plane(), weights, begin,
                     min_of(begin + channels, (group + 1) * c.out_group), block * a_block,
                     min_of((block + 1) * a_block, c.positions()), at_once, reinterpret_cast<float*>(scratch.data()),
                     output_of(c, y, image, bias, activation));
  };
  for_tasks(device, tasks * parts, task);
  return starved ? no_scratch(bytes) : SN_OK;
}

// A plane for depthwise convolution: rows with padding, the columns sorted by their place within a stride, so that what
// neighbouring windows multiply by the same weight lies side by side.
struct Band {
  int64_t first_row, rows, phase;  // of x with padding; floats of a phase of a row

  static int64_t phase_of(const Convolution& c) {
    return ceil_div(c.width + 2 * c.padding_cols, c.stride_cols) + c.dilation_cols * c.kernel_cols / c.stride_cols +
           5 * kPanel;
  }
};

void fill_band(const Convolution& c, const float* plane, const Band& band, float* to) {
  const int64_t row_floats = band.phase * c.stride_cols;
  for (int64_t r = 0; r < band.rows; ++r) {
    float* row = to + r * row_floats;
    memset(row, 0, static_cast<size_t>(row_floats) * sizeof(float));
    const int64_t from = band.first_row + r - c.padding_rows;
    if (from < 0 || from >= c.height) continue;
    const float* x = plane + from * c.width;
    if (c.stride_cols == 1) {
      memcpy(row + c.padding_cols, x, static_cast<size_t>(c.width) * sizeof(float));
      continue;
    }
    for (int64_t i = 0; i < c.width; ++i) {
      const int64_t at = i + c.padding_cols;
      row[at % c.stride_cols * band.phase + at / c.stride_cols] = x[i];
    }
  }
}

// kPanels x 16 windows of one row from column `col` on.
template <int kPanels>
void depthwise_windows(const Convolution& c, const float* band, int64_t phase, int64_t band_row, const float* w,
                       int64_t step, int64_t col, int64_t channel, const Output& output, float* y) {
  F sum[1][kPanels];
  clear(sum);
  for (int64_t i = 0; i < c.kernel_rows; ++i) {
    const float* row = band + (band_row + i * c.dilation_rows) * phase * c.stride_cols + col;
    for (int64_t j = 0; j < c.kernel_cols; ++j) {
      const int64_t at = j * c.dilation_cols;
      const float* from = row + at % c.stride_cols * phase + at / c.stride_cols;
      const F weight = splat(w[(i * c.kernel_cols + j) * step]);
#pragma GCC unroll 16
      for (int p = 0; p < kPanels; ++p) sum[0][p] = multiply_add(weight, load(from + p * kPanel), sum[0][p]);
    }
  }
  for (int p = 0; p < kPanels && col + p * kPanel < c.cols; ++p)
    store_some(y + col + p * kPanel, output.finished(sum[0][p], channel), min_of(kPanel, c.cols - col - p * kPanel));
}

sn_status convolve_depthwise(sn_device* device, const Convolution& c, const float* x, const Weights& weights,
                             const float* bias, sn_activation activation, float* y) {
  const int64_t span = (c.kernel_rows - 1) * c.dilation_rows + 1, phase = Band::phase_of(c);
  const int64_t row_floats = phase * c.stride_cols;
  // Output rows whose input fits in a part of the second-level cache.
  const int64_t fit = (kGathered / 2 / row_floats - span) / c.stride_rows + 1;
  const int64_t rows = max_of(1, min_of(fit, c.rows)), bands = ceil_div(c.rows, rows);
  const int64_t bytes = ((rows - 1) * c.stride_rows + span) * row_floats * static_cast<int64_t>(sizeof(float));
  int32_t starved = 0;
  auto task = [&](int64_t index) {
    const int64_t first = index % bands * rows, last = min_of(first + rows, c.rows), plane = index / bands;
    const int64_t image = plane / c.channels, group = plane % c.channels;
    const Scratch scratch(device, bytes);
    if (scratch.data() == nullptr) return atomic_or(&starved);
    float* filled = reinterpret_cast<float*>(scratch.data());
    const Band band = {first * c.stride_rows, (last - first - 1) * c.stride_rows + span, phase};
    fill_band(c, x + plane * c.plane(), band, filled);
    const Output output = output_of(c, y, image, bias, activation);
    for (int64_t channel = group * c.out_group; channel < (group + 1) * c.out_group; ++channel) {
      const float* w = weights.at(channel);
      for (int64_t row = first; row < last; ++row) {
        float* to = output.y + channel * c.positions() + row * c.cols;
        const int64_t at = (row - first) * c.stride_rows;
        int64_t col = 0;
        for (; c.cols - col > 2 * kPanel; col += 4 * kPanel)
          depthwise_windows<4>(c, filled, phase, at, w, weights.step, col, channel, output, to);
        for (; col < c.cols; col += kPanel)
          depthwise_windows<1>(c, filled, phase, at, w, weights.step, col, channel, output, to);
      }
    }
  };
  for_tasks(device, c.batch * c.channels * bands, task);
  return starved ? no_scratch(bytes) : SN_OK;
}

// Rows of windows through the weights' own kernel, linear_rows or the like; results come by windows and are turned to
// channels.
sn_status convolve_rows(sn_device* device, const Convolution& c, const float* x, const sn_weights& weights,
                        decltype(linear_rows)* kernel, const float* bias, sn_activation activation, float* y) {
  const int64_t inner = c.inner();
  const int64_t a_block = min_of(max_of(16, kGathered / max_of(inner, 1) / 16 * 16), kTaskRows);
  const int64_t blocks = ceil_div(c.positions(), a_block);
  const int64_t row_bytes = round_up(a_block * inner * static_cast<int64_t>(sizeof(float)), 64);
  const int64_t sum_bytes = round_up(a_block * c.out * static_cast<int64_t>(sizeof(float)), 64);
  const int64_t run_bytes = round_up(a_block * static_cast<int64_t>(sizeof(Run)), 64);
  const int64_t bytes = row_bytes + sum_bytes + run_bytes + linear_rows_scratch(weights, a_block);
  int32_t starved = 0;
  auto task = [&](int64_t index) {
    const int64_t image = index / blocks, first = index % blocks * a_block;
    const int64_t count = min_of(a_block, c.positions() - first);
    const Scratch scratch(device, bytes);
    if (scratch.data() == nullptr) return atomic_or(&starved);
    char* data = scratch.data();
    float *rows = reinterpret_cast<float*>(data), *sums = reinterpret_cast<float*>(data + row_bytes);
    Run* runs = reinterpret_cast<Run*>(data + row_bytes + sum_bytes);
    gather_rows(c, x + image * c.channels * c.plane(), first, count, runs, rows);
    const Layer<float> layer = {sums, c.out, c.out, bias, activation};
    kernel(weights, rows, count, layer, data + row_bytes + sum_bytes + run_bytes);
    float* to = y + image * c.out * c.positions() + first;
    constexpr int64_t kSquare = 16;
    for (int64_t channel = 0; channel < c.out; channel += kSquare) {
      const int64_t end = min_of(channel + kSquare, c.out);
      for (int64_t i = 0; i < count; i += kSquare) {
        const int64_t stop = min_of(i + kSquare, count);
        for (int64_t o = channel; o < end; ++o) {
          for (int64_t j = i; j < stop; ++j) to[o * c.positions() + j] = sums[j * c.out + o];
        }
      }
    }
  };
  for_tasks(device, c.batch * blocks, task);
  return starved ? no_scratch(bytes) : SN_OK;
}

// The weights as F32, transposed [inner][out], by multiplying them with the rows of the identity.
void dequantize_weights(const sn_weights& weights, int64_t rows_at_once, float* identity, void* scratch, float* to) {
  const int64_t inner = weights.cols;
  for (int64_t first = 0; first < inner; first += rows_at_once) {
    const int64_t rows = min_of(rows_at_once, inner - first);
    memset(identity, 0, static_cast<size_t>(rows * inner) * sizeof(float));
    for (int64_t r = 0; r < rows; ++r) identity[r * inner + first + r] = 1;
    const Layer<float> layer = {to + first * weights.rows, weights.rows, weights.rows, nullptr, SN_NONE};
    linear_rows(weights, identity, rows, layer, scratch);
  }
}

// Floats of BF16 images that are convolved at a time.
constexpr int64_t kSlabFloats = 1 << 22;

// Elements from one type to the other, in tasks.
template <class From, class To>
void convert_in_tasks(sn_device* device, const From* from, int64_t n, To* to) {
  constexpr int64_t kTask = 1 << 15;
  auto convert = [&](int64_t task) {
    const int64_t begin = task * kTask;
    for_vectors(min_of(kTask, n - begin), [&](int64_t i, int64_t lanes) {
      const F v = load_some(from + begin + i, lanes);
      lanes == kLanes ? store(to + begin + i, v) : store_tail(to + begin + i, v, lanes);
    });
  };
  for_tasks(device, ceil_div(n, kTask), convert);
}

// Calls run(convolution, x, y) with F32 images: all of them, or so many at a time as are converted from and to BF16.
template <class Run_>
sn_status with_floats(sn_device* device, const Convolution& c, const sn_tensor* x, sn_tensor* y, Run_ run) {
  const bool narrow_x = x->dtype == SN_BF16, narrow_y = y->dtype == SN_BF16;
  if (!narrow_x && !narrow_y) return run(c, data_of<float>(x), data_of<float>(y));
  const int64_t x_image = c.channels * c.plane(), y_image = c.out * c.positions();
  const int64_t slab = max_of(1, min_of(c.batch, kSlabFloats / max_of(x_image + y_image, 1)));
  const int64_t x_bytes = narrow_x ? round_up(slab * x_image * int64_t{sizeof(float)}, 64) : 0;
  const int64_t bytes = x_bytes + (narrow_y ? slab * y_image * int64_t{sizeof(float)} : 0);
  const Scratch scratch(device, bytes);
  if (scratch.data() == nullptr) return no_scratch(bytes);
  for (int64_t first = 0; first < c.batch; first += slab) {
    Convolution part = c;
    part.batch = min_of(slab, c.batch - first);
    auto* from = reinterpret_cast<float*>(scratch.data());
    auto* to = reinterpret_cast<float*>(scratch.data() + x_bytes);
    if (narrow_x) convert_in_tasks(device, data_of<bf16>(x) + first * x_image, part.batch * x_image, from);
    const sn_status status = run(part, narrow_x ? from : data_of<float>(x) + first * x_image,
                                 narrow_y ? to : data_of<float>(y) + first * y_image);
    if (status != SN_OK) return status;
    if (narrow_y) convert_in_tasks(device, to, part.batch * y_image, data_of<bf16>(y) + first * y_image);
  }
  return SN_OK;
}

}  // namespace

sn_status conv2d(sn_device* device, const sn_tensor* x, const sn_weights* w, const int64_t* window, int64_t groups,
                 const sn_tensor* bias, sn_activation activation, sn_tensor* y) {
  if (y->elements == 0) return SN_OK;
  const Convolution all = convolution_of(x, window, groups, y);
  const float* biases = bias == nullptr ? nullptr : data_of<float>(bias);
  if (w->kind == SN_W8A8 && groups == 1) return conv2d_w8a8(device, all, x, *w, biases, activation, y);
  const auto run = [&](const Weights& weights) {
    return with_floats(device, all, x, y, [&](const Convolution& c, const float* from, float* to) {
      // Several channels that are made of one share what is read of it.
      const int64_t rows = c.in_group == 1 && c.out_group < 4 ? 0 : sheet_rows(c);
      if (rows > 0) return convolve_sheets(device, c, rows, from, weights, biases, activation, to);
      return c.in_group == 1 ? convolve_depthwise(device, c, from, weights, biases, activation, to)
                             : convolve(device, c, from, weights, biases, activation, to);
    });
  };
  if (w->kind == SN_FLOAT && w->dtype != SN_BF16) return run(Weights::panels(w->part<float>(0), w->cols));
  auto* kernel = linear_rows;
#if defined(SN_TIER_AMX)
  if (w->kind == SN_FLOAT && x->dtype == SN_BF16) kernel = bf16_rows;
#endif
  if (groups == 1) {
    return with_floats(device, all, x, y, [&](const Convolution& c, const float* from, float* to) {
      return convolve_rows(device, c, from, *w, kernel, biases, activation, to);
    });
  }
  const int64_t at_once = min_of(64, w->cols), size = static_cast<int64_t>(sizeof(float));
  const int64_t identity_bytes = round_up(at_once * w->cols * size, 64),
                weight_bytes = round_up(w->cols * w->rows * size, 64);
  const int64_t bytes = identity_bytes + weight_bytes + linear_rows_scratch(*w, at_once);
  const Scratch scratch(device, bytes);
  if (scratch.data() == nullptr) return no_scratch(bytes);
  char* data = scratch.data();
  float* transposed = reinterpret_cast<float*>(data + identity_bytes);
  dequantize_weights(*w, at_once, reinterpret_cast<float*>(data), data + identity_bytes + weight_bytes, transposed);
  return run(Weights::transposed(transposed, w->cols, w->rows));
}

}  // namespace SN_ISA_NAME
}  // namespace sn
