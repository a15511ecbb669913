// Convolutions of int8 weights with images that are quantized as a whole. Channels become the innermost dimension, so
// that a row of a kernel is one run of bytes where it lies (see w8a8.h) and neighbouring windows are rows of a product
// that overlap: nothing is gathered, except windows that reach beyond the image or are dilated. See sn_conv2d.
#include "cpu/matmul/conv2d.h"
#include "cpu/matmul/w8a8.h"

namespace sn {
namespace SN_ISA_NAME {
namespace {

// Images that are quantized at a time, in bytes: a part of the third-level cache.
constexpr int64_t kSlab = 4 << 20;
// Elements that one task quantizes, and windows that share a panel's weights while those are in the first-level cache.
constexpr int64_t kTaskElements = 1 << 15, kTaskWindows = 64;
// Products read a few elements beyond a run, and multiply them by 0.
constexpr int64_t kSlack = 64;

// Quantized images: rows of `width` pixels, `margin` of them zeros on either side.
struct Images {
  const Convolution& c;
  int64_t margin, width, parts;
  bool summed;     // whether sums over channels are needed
  int64_t pixels;  // bytes of an image
  int64_t size;    // bytes of an image with everything that belongs to it
  char* data;

  Images(const Convolution& convolution, bool needs_sums) : c(convolution), summed(needs_sums), data(nullptr) {
    margin = c.padding_cols < c.kernel_cols ? c.padding_cols : 0;
    width = c.width + 2 * margin;
    parts = ceil_div(c.channels * c.plane(), kTaskElements);
    pixels = round_up((c.height * width * c.channels + kSlack) * int64_t{sizeof(Quantized)}, 64);
    const int64_t sums = summed ? round_up((c.height * width + kLanes) * int64_t{sizeof(int32_t)}, 64) : 0;
    size = pixels + sums + round_up(parts * int64_t{sizeof(int32_t)}, 64);
  }
  Quantized* row(int64_t image, int64_t row) const {
    return reinterpret_cast<Quantized*>(data + image * size) + row * width * c.channels;
  }
  int32_t* sums(int64_t image, int64_t row) const {
    return reinterpret_cast<int32_t*>(data + image * size + pixels) + row * width;
  }
  // The key of the largest magnitude of each part.
  int32_t* largest(int64_t image) const {
    return reinterpret_cast<int32_t*>(data + (image + 1) * size - round_up(parts * int64_t{sizeof(int32_t)}, 64));
  }
  float scale(int64_t image) const {
    int32_t absmax = 0;
    for (int64_t part = 0; part < parts; ++part) {
      if (largest(image)[part] > absmax) absmax = largest(image)[part];
    }
    return absmax >= kInfinityKey ? float_of(0x7fc00000) : symmetric_scale(absmax);
  }
};

template <class X>
int32_t largest_key(const X* x, int64_t n) {
  I largest = splat_int(0);
  for_vectors(n, [&](int64_t i, int64_t lanes) { largest = max(largest, key(load_some(x + i, lanes))); });
  return reduce_max(largest);
}

SN_INLINE void put_pixels(const int32_t* q, int64_t lanes, int64_t channels, Quantized* to) {
  for (int64_t i = 0; i < lanes; ++i) to[i * channels] = static_cast<Quantized>(q[i]);
}

// One row of an image from its planes.
template <class X>
void quantize_row(const Images& images, const X* x, int64_t image, int64_t row, float scale) {
  const Convolution& c = images.c;
  Quantized* pixels = images.row(image, row);
  memset(pixels, 0, static_cast<size_t>(images.width * c.channels) * sizeof(Quantized));
  int32_t* sums = images.summed ? images.sums(image, row) : nullptr;
  if (sums != nullptr) memset(sums, 0, static_cast<size_t>(images.width) * sizeof(int32_t));
  if (scale != scale) return;
  pixels += images.margin * c.channels;
  const F step = splat(scale), low = splat(-127.0f), high = splat(127.0f);
  const auto quantized = [&](int64_t channel, int64_t i, int64_t lanes) {
    const F v = load_some(x + (channel * c.height + row) * c.width + i, lanes);
    return to_int(min(max(div(v, step), low), high));
  };
  for_vectors(c.width, [&](int64_t i, int64_t lanes) {
    I sum = splat_int(0);
    int32_t q[kLanes];
    Quantized* to = pixels + i * c.channels;
    int64_t channel = 0;
    if constexpr (sizeof(Quantized) == 1) {
      // Four channels at a time are words.
      const I byte = splat_int(255);
      for (; channel + 4 <= c.channels; channel += 4) {
        I word = splat_int(0);
        for (int j = 0; j < 4; ++j) {
          const I v = quantized(channel + j, i, lanes);
          sum = add(sum, v);
          word = bit_or(word, shift_left(bit_and(v, byte), splat_int(8 * j)));
        }
        store_int(q, word);
        for (int64_t k = 0; k < lanes; ++k) memcpy(to + k * c.channels + channel, &q[k], sizeof q[k]);
      }
    }
    for (; channel < c.channels; ++channel) {
      const I v = quantized(channel, i, lanes);
      sum = add(sum, v);
      store_int(q, v);
      put_pixels(q, lanes, c.channels, to + channel);
    }
    if (sums == nullptr) return;
    store_int(q, sum);
    memcpy(sums + images.margin + i, q, static_cast<size_t>(lanes) * sizeof q[0]);
  });
}

// Columns [0, rows) of a matrix of 16 columns, int32, as rows: to[c][row].
void turn(const int32_t* from, int64_t rows, int32_t* to, int64_t to_step) {
  int64_t row = 0;
#if defined(SN_TIER_AVX512) || defined(SN_TIER_AVX2)
  for (; row + 8 <= rows; row += 8) {
    for (int64_t c = 0; c < kPanel; c += 8) {
      __m256i a[8], b[8];
      for (int i = 0; i < 8; ++i)
        a[i] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + (row + i) * kPanel + c));
      for (int i = 0; i < 8; i += 2) {
        b[i] = _mm256_unpacklo_epi32(a[i], a[i + 1]);
        b[i + 1] = _mm256_unpackhi_epi32(a[i], a[i + 1]);
      }
      for (int i = 0; i < 8; i += 4) {
        a[i] = _mm256_unpacklo_epi64(b[i], b[i + 2]);
        a[i + 1] = _mm256_unpackhi_epi64(b[i], b[i + 2]);
        a[i + 2] = _mm256_unpacklo_epi64(b[i + 1], b[i + 3]);
        a[i + 3] = _mm256_unpackhi_epi64(b[i + 1], b[i + 3]);
      }
      for (int i = 0; i < 4; ++i) {
        int32_t* first = to + (c + i) * to_step + row;
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(first), _mm256_permute2x128_si256(a[i], a[i + 4], 0x20));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(first + 4 * to_step),
                            _mm256_permute2x128_si256(a[i], a[i + 4], 0x31));
      }
    }
  }
#endif
  for (; row < rows; ++row) {
    for (int64_t c = 0; c < kPanel; ++c) to[c * to_step + row] = from[row * kPanel + c];
  }
}

// Windows of rows [first, last) of the output of one image.
struct Block {
  int64_t image, first, last;

  int64_t windows(const Convolution& c) const { return (last - first) * c.cols; }
};

// Windows [begin, end) of a row lie within the image and its margins, without gaps between their columns.
struct Span {
  int64_t begin, end;

  Span(const Images& images) {
    const Convolution& c = images.c;
    const int64_t before = images.margin - c.padding_cols;  // at most 0
    const int64_t most = images.width - c.kernel_cols - before;
    begin = min_of(ceil_div(-before, c.stride_cols), c.cols);
    end = most < 0 ? 0 : min_of(most / c.stride_cols + 1, c.cols);
    if (c.dilation_cols != 1 && c.kernel_cols != 1) end = begin;
    if (end < begin) begin = end = 0;
  }
  int64_t others(const Convolution& c) const { return c.cols - (end - begin); }
  // The i-th of the others.
  int64_t other(int64_t i) const { return i < begin ? i : i - begin + end; }
};

struct Work {
  int32_t *sums, *turned, *window_sums;
  Quantized* gathered;
  int64_t turned_step;

  static int64_t part(int64_t n, size_t size) { return round_up(n * static_cast<int64_t>(size), 64); }
  static int64_t step_of(int64_t windows) { return round_up(windows, kLanes) + kLanes; }
  static int64_t bytes(int64_t windows, int64_t others, const Runs& runs) {
    return part(windows * kPanel, 4) + part((kPanel + 1) * step_of(windows), 4) +
           part(others * runs.count * runs.padded() + kSlack, sizeof(Quantized));
  }
  Work(char* scratch, int64_t windows) {
    sums = reinterpret_cast<int32_t*>(scratch);
    turned = reinterpret_cast<int32_t*>(scratch + part(windows * kPanel, 4));
    turned_step = step_of(windows);
    window_sums = turned + kPanel * turned_step;
    gathered = reinterpret_cast<Quantized*>(scratch + part(windows * kPanel, 4) + part((kPanel + 1) * turned_step, 4));
  }
};

// The windows that are not in the span, as runs; others of a row together.
void gather_others(const Images& images, const Runs& runs, const Span& span, const Block& block, const Work& work) {
  const Convolution& c = images.c;
  const int64_t others = span.others(c), length = runs.count * runs.padded();
  if (others == 0) return;
  memset(static_cast<void*>(work.gathered), 0,
         static_cast<size_t>((block.last - block.first) * others * length) * sizeof(Quantized));
  for (int64_t row = block.first; row < block.last; ++row) {
    for (int64_t i = 0; i < others; ++i) {
      Quantized* to = work.gathered + ((row - block.first) * others + i) * length;
      for (int64_t r = 0; r < c.kernel_rows; ++r) {
        const int64_t y = row * c.stride_rows - c.padding_rows + r * c.dilation_rows;
        if (y < 0 || y >= c.height) continue;
        for (int64_t t = 0; t < c.kernel_cols; ++t) {
          const int64_t x = span.other(i) * c.stride_cols - c.padding_cols + t * c.dilation_cols;
          if (x < 0 || x >= c.width) continue;
          memcpy(to + r * runs.padded() + t * c.channels, images.row(block.image, y) + (x + images.margin) * c.channels,
                 static_cast<size_t>(c.channels) * sizeof(Quantized));
        }
      }
    }
  }
}

// The sum of each window's elements.
void sum_windows(const Images& images, const Runs& runs, const Span& span, const Block& block, const Work& work) {
  const Convolution& c = images.c;
  const int64_t others = span.others(c), length = runs.count * runs.padded();
  for (int64_t row = block.first; row < block.last; ++row) {
    int32_t* sums = work.window_sums + (row - block.first) * c.cols;
    for (int64_t i = span.begin; i < span.end; ++i) sums[i] = 0;
    for (int64_t r = 0; r < c.kernel_rows; ++r) {
      const int64_t y = row * c.stride_rows - c.padding_rows + r * c.dilation_rows;
      if (y < 0 || y >= c.height) continue;
      const int32_t* pixels = images.sums(block.image, y) + images.margin - c.padding_cols;
      for (int64_t t = 0; t < c.kernel_cols; ++t) {
        for (int64_t i = span.begin; i < span.end; ++i) sums[i] += pixels[i * c.stride_cols + t];
      }
    }
    for (int64_t i = 0; i < others; ++i) {
      const Quantized* q = work.gathered + ((row - block.first) * others + i) * length;
      int32_t sum = 0;
      for (int64_t k = 0; k < length; ++k) sum += q[k];
      sums[span.other(i)] = sum;
    }
  }
}

void multiply_windows(int64_t windows, const Quantized* x, int64_t stride, const uint8_t* weights, int64_t steps,
                      int32_t* sums) {
  for (int64_t i = 0; i < windows; i += kMostRows)
    multiply_rows(min_of(kMostRows, windows - i), x + i * stride, stride, weights, steps, sums + i * kPanel);
}

// The sums of all windows of a block with a panel.
void multiply_block(const Images& images, const Runs& runs, const Span& span, const Block& block, const Work& work,
                    const uint8_t* panel) {
  const Convolution& c = images.c;
  const int64_t others = span.others(c), length = runs.count * runs.padded();
  memset(work.sums, 0, static_cast<size_t>(block.windows(c) * kPanel) * sizeof(int32_t));
  for (int64_t r = 0; r < c.kernel_rows; ++r) {
    const uint8_t* weights = panel + r * runs.steps * kStepBytes;
    for (int64_t row = block.first; row < block.last; ++row) {
      int32_t* sums = work.sums + (row - block.first) * c.cols * kPanel;
      const int64_t y = row * c.stride_rows - c.padding_rows + r * c.dilation_rows;
      if (y < 0 || y >= c.height) continue;
      const int64_t x = images.margin - c.padding_cols + span.begin * c.stride_cols;
      multiply_windows(span.end - span.begin, images.row(block.image, y) + x * c.channels, c.stride_cols * c.channels,
                       weights, runs.steps, sums + span.begin * kPanel);
      const Quantized* gathered = work.gathered + (row - block.first) * others * length + r * runs.padded();
      multiply_windows(span.begin, gathered, length, weights, runs.steps, sums);
      multiply_windows(c.cols - span.end, gathered + span.begin * length, length, weights, runs.steps,
                       sums + span.end * kPanel);
    }
  }
}

// What the sums with a panel stand for, by the rules of sn_linear.
template <class Y>
void finish_panel(const sn_weights& w, const Images& images, const Block& block, float scale, int64_t panel,
                  const Work& work, const float* bias, sn_activation activation, Y* y) {
  const Convolution& c = images.c;
  const int64_t windows = block.windows(c);
  turn(work.sums, windows, work.turned, work.turned_step);
  for (int64_t i = 0; i < min_of(kPanel, c.out - panel * kPanel); ++i) {
    const int64_t channel = panel * kPanel + i;
    const F channel_scale = splat(w.part<float>(kInt8Scales)[channel]), image_scale = splat(scale);
    const int32_t zero_point = images.summed ? w.part<int32_t>(kInt8ZeroPoints)[channel] : 0;
    Y* to = y + channel * c.positions() + block.first * c.cols;
    for_vectors(windows, [&](int64_t k, int64_t lanes) {
      I sum = load_int(work.turned + i * work.turned_step + k);
      if (zero_point != 0) sum = sub(sum, multiply_low(load_int(work.window_sums + k), zero_point));
      F v = mul(mul(from_int(sum), channel_scale), image_scale);
      if (bias != nullptr) v = add(v, splat(bias[channel]));
      v = activate(v, activation);
      lanes == kLanes ? store(to + k, v) : store_tail(to + k, v, lanes);
    });
  }
}

template <class X, class Y>
sn_status convolve(sn_device* device, const Convolution& c, const X* x, const sn_weights& w, const float* bias,
                   sn_activation activation, Y* y) {
  const Runs runs(w);
  Images images(c, w.parts[kInt8ZeroPoints] != nullptr);
  const Span span(images);
  const int64_t slab = max_of(1, min_of(c.batch, kSlab / images.size)), image_elements = c.channels * c.plane();
  const Scratch image_scratch(device, slab * images.size);
  if (image_scratch.data() == nullptr) return no_scratch(slab * images.size);
  images.data = image_scratch.data();
  const int64_t rows_a_block = max_of(1, min_of(kTaskWindows / c.cols, c.rows)),
                blocks = ceil_div(c.rows, rows_a_block);
  const int64_t row_elements = max_of(1, c.channels * c.width), lines = max_of(1, kTaskElements / row_elements);
  const int64_t panels = int8_panels(w), panel_bytes = runs.all_steps() * kStepBytes;
  const int64_t bytes = Work::bytes(rows_a_block * c.cols, rows_a_block * span.others(c), runs);
  int32_t starved = 0;
  for (int64_t first = 0; first < c.batch; first += slab) {
    const int64_t count = min_of(slab, c.batch - first);
    const X* from = x + first * image_elements;
    auto look = [&](int64_t index) {
      const int64_t image = index / images.parts, part = index % images.parts, begin = part * kTaskElements;
      images.largest(image)[part] =
          largest_key(from + image * image_elements + begin, min_of(kTaskElements, image_elements - begin));
    };
    for_tasks(device, count * images.parts, look);
    const int64_t bands = ceil_div(c.height, lines);
    auto quantize = [&](int64_t index) {
      const int64_t image = index / bands, row = index % bands * lines;
      const float scale = images.scale(image);
      for (int64_t i = row; i < min_of(row + lines, c.height); ++i)
        quantize_row(images, from + image * image_elements, image, i, scale);
    };
    for_tasks(device, count * bands, quantize);
    // Few windows, as in the last layers of a network: tasks share the panels as well.
    const int64_t wanted = device->threads == 1 ? 1 : ceil_div(int64_t{4} * device->threads, count * blocks);
    const int64_t panels_a_task = ceil_div(panels, min_of(wanted, panels)), parts = ceil_div(panels, panels_a_task);
    auto multiply = [&](int64_t index) {
      const int64_t part = index % parts, image = index / parts / blocks;
      const int64_t row = index / parts % blocks * rows_a_block;
      const Block block = {image, row, min_of(row + rows_a_block, c.rows)};
      const Scratch scratch(device, bytes);
      if (scratch.data() == nullptr) return atomic_or(&starved);
      const Work work(scratch.data(), block.windows(c));
      gather_others(images, runs, span, block, work);
      if (images.summed) sum_windows(images, runs, span, block, work);
      const float scale = images.scale(image);
      for (int64_t panel = part * panels_a_task; panel < min_of((part + 1) * panels_a_task, panels); ++panel) {
        multiply_block(images, runs, span, block, work, w.part<uint8_t>(kInt8Weights) + panel * panel_bytes);
        finish_panel(w, images, block, scale, panel, work, bias, activation,
                     y + (first + image) * c.out * c.positions());
      }
    };
    for_tasks(device, count * blocks * parts, multiply);
  }
  return starved ? no_scratch(bytes) : SN_OK;
}

}  // namespace

sn_status conv2d_w8a8(sn_device* device, const Convolution& c, const sn_tensor* x, const sn_weights& w,
                      const float* bias, sn_activation activation, sn_tensor* y) {
  sn_status status = SN_OK;
  with_activation_type(y->dtype, [&](auto* y_type) {
    using Y = typename Pointee<decltype(y_type)>::type;
    with_activation_type(x->dtype, [&](auto* x_type) {
      using X = typename Pointee<decltype(x_type)>::type;
      status = convolve(device, c, data_of<X>(x), w, bias, activation, data_of<Y>(y));
    });
  });
  return status;
}

}  // namespace SN_ISA_NAME
}  // namespace sn
