// Convolutions of int8 weights with images that are quantized as a whole, on the tensor cores. Channels become the
// innermost dimension, so that 16 of them at a place of the kernel are one copy to shared memory and nothing is
// gathered before. See sn_conv2d in sinew.h.
#include "conv2d.h"
#include "sparse_tiles.h"

namespace sn {
namespace cuda {
namespace {

// What quantized images take in memory at a time.
constexpr int64_t kImageBytes = int64_t{256} << 20;

// Images as they come, and quantized: [image, pixel, channel].
struct Images {
  sn_dtype dtype;
  const void* x;
  int64_t count, channels, plane;
  int64_t pitch, parts;  // bytes of a pixel; parts of an image whose largest magnitude is found at a time
  uint32_t* largest;     // of each part, as keys
  float* scale;          // of each image
  int8_t* q;

  SN_HD int64_t elements() const { return channels * plane; }
};

// A part of an image a team.
struct LargestOfParts {
  static constexpr bool kFinds = false, kOrdered = false;
  static constexpr int kPhases = 3;
  static constexpr int64_t kPart = 16 * kTeam * kStep;
  struct State {};
  using Shared = Largest;
  Images images;

  SN_HD void phase(int p, int64_t team, int thread, State&, Shared& shared, Findings&) const {
    const int64_t image = team / images.parts, part = team - image * images.parts;
    if (p == 0) {
      const int64_t end = images.elements() < (part + 1) * kPart ? images.elements() : (part + 1) * kPart;
      uint32_t largest = 0;
      for (int64_t i = part * kPart + int64_t{thread} * kStep; i < end; i += kTeam * kStep) {
        const int n = end - i < kStep ? static_cast<int>(end - i) : kStep;
        largest = largest_key(load_reals(images.dtype, images.x, image * images.elements() + i, n), largest);
      }
      shared.own[thread] = largest;
    } else if (p == 1) {
      shared.find_part(thread);
    } else if (thread == 0) {
      images.largest[team] = shared.all();
    }
  }
};

// The scale of an image a step, NaN where there is NaN or infinity.
struct ScaleImages {
  static constexpr bool kFinds = false;
  Images images;

  SN_HD void step(int64_t image, Findings&) const {
    const uint32_t* parts = images.largest + image * images.parts;
    uint32_t largest = 0;
    for (int64_t i = 0; i < images.parts; ++i) largest = parts[i] > largest ? parts[i] : largest;
    images.scale[image] = SymmetricBytes(largest).scale();
  }
};

// 16 channels of a pixel a step, neighbouring pixels by neighbouring threads.
struct QuantizeImages {
  static constexpr bool kFinds = false;
  Images images;

  SN_HD void step(int64_t i, Findings&) const {
    const int64_t all = i / images.plane, pixel = i - all * images.plane, parts = images.pitch / kStep;
    const int64_t image = all / parts, place = (all - image * parts) * kStep;
    const float scale = images.scale[image];
    const Quantizer z = quantizer(scale, 0, SN_INT8_SYMMETRIC);
    Elements<int8_t> q;
    SN_UNROLL
    for (int j = 0; j < kStep; ++j) {
      const int64_t channel = place + j;
      const bool there = channel < images.channels && !is_nan(scale);
      const int64_t from = (image * images.channels + (there ? channel : 0)) * images.plane + pixel;
      q.of[j] = there ? static_cast<int8_t>(quantized<false>(z, number_at(images.dtype, images.x, from))) : int8_t{0};
    }
    store(images.q + (image * images.plane + pixel) * images.pitch + place, q, kStep);
  }
};

// The first element of a window in quantized images, and the scale of its image. Where elements lie is counted in 16
// bytes, so that 32 bits are enough.
struct alignas(16) PixelWindow {
  int32_t from, row, col;
  float scale;
};

// The windows of quantized images as rows of a product. They are in a table, since registers are full of sums. `sums`,
// of the integers of each window, is null where all zero points are 0.
struct PixelWindows {
  static constexpr bool kWindows = true;
  const int8_t* data;
  int64_t count;
  int32_t pixel, parts;  // 16 bytes of a pixel, of a window
  int32_t height, width;
  const Tap* taps;
  PixelWindow* table;
  int32_t* sums;

  struct Column {
    int32_t offset, row, col;
  };
  SN_HD Column column(int64_t col) const {
    const uint32_t part = static_cast<uint32_t>(col / 16), size = static_cast<uint32_t>(pixel);
    if (part >= static_cast<uint32_t>(parts)) return {0, INT_MIN / 2, 0};
    const uint32_t tap = part / size;
    const Tap at = taps[tap];
    return {static_cast<int32_t>(at.offset) * pixel + static_cast<int32_t>(part - tap * size), at.row, at.col};
  }
  // Null in the padding.
  SN_HD const int8_t* at(int64_t window, const Column& column) const {
    if (window >= count) return nullptr;
    const PixelWindow first = table[window];
    const uint32_t row = static_cast<uint32_t>(first.row + column.row);
    const uint32_t col = static_cast<uint32_t>(first.col + column.col);
    if (row >= static_cast<uint32_t>(height) || col >= static_cast<uint32_t>(width)) return nullptr;
    return data + int64_t{first.from + column.offset} * 16;
  }
  SN_HD Token token(int64_t window) const { return {table[window].scale, sums == nullptr ? 0 : sums[window]}; }
};

// A window a step.
struct FillWindows {
  static constexpr bool kFinds = false;
  PixelWindows of;
  Windows windows;
  const float* scale;

  SN_HD void step(int64_t window, Findings&) const {
    const Windows::Place place = windows.place(window, of.pixel);
    of.table[window] = {static_cast<int32_t>(place.from), place.row, place.col, scale[window / windows.positions()]};
  }
};

// Adds up the integers of a window a step.
struct SumWindows {
  static constexpr bool kFinds = false;
  PixelWindows of;

  SN_HD void step(int64_t window, Findings&) const {
    int32_t sum = 0;
    for (int64_t part = 0; part < of.parts; ++part) {
      const int8_t* from = of.at(window, of.column(part * 16));
      if (from == nullptr) continue;
      const Elements<int8_t> q = load(from, kStep);
      SN_UNROLL
      for (int j = 0; j < kStep; ++j) sum += q.of[j];
    }
    of.sums[window] = sum;
  }
};

}  // namespace

sn_status conv2d_w8a8(Call& call, const Convolution& c, const sn_weights* w, const Results& to) {
  Images images = {};
  images.dtype = c.dtype;
  images.channels = c.channels;
  images.plane = int64_t{c.windows.height} * c.windows.width;
  images.pitch = pitch_of(w) / c.places();
  images.parts = (images.elements() + LargestOfParts::kPart - 1) / LargestOfParts::kPart;
  const int64_t image_bytes = images.plane * images.pitch, fit = kImageBytes / (image_bytes + 1);
  if (image_bytes / 16 > INT_MAX / 2) {
    return fail(SN_UNSUPPORTED,
                "an image of %lld bytes is larger than int8 convolutions on a GPU take: use the CPU's "
                "device",
                static_cast<long long>(image_bytes));
  }
  const int64_t at_once = c.batch <= fit ? c.batch : fit > 0 ? fit : 1;
  images.largest = call.scratch_of<uint32_t>(at_once * images.parts);
  images.scale = call.scratch_of<float>(at_once);
  images.q = call.scratch_of<int8_t>(at_once * image_bytes);
  PixelWindows windows = {};
  windows.data = images.q;
  windows.pixel = static_cast<int32_t>(images.pitch / 16);
  windows.parts = static_cast<int32_t>(pitch_of(w) / 16);
  windows.height = c.windows.height;
  windows.width = c.windows.width;
  windows.taps = make_taps(call, c, 1);
  windows.table = call.scratch_of<PixelWindow>(at_once * c.windows.positions());
  Windows places = c.windows;
  places.image = images.plane * windows.pixel;
  const int8_t* zero_point = w->part<int8_t>(kZeroPointPart);
  if (zero_point != nullptr) windows.sums = call.scratch_of<int32_t>(at_once * c.windows.positions());
  for (int64_t first = 0; first < c.batch; first += at_once) {
    images.x = static_cast<const char*>(c.x) + first * images.elements() * dtype_size(c.dtype);
    images.count = c.batch - first < at_once ? c.batch - first : at_once;
    windows.count = images.count * c.windows.positions();
    Results some = to;
    some.first = first * c.windows.positions();
    sn_status status = run_teams(call, LargestOfParts{images}, images.count * images.parts, nullptr);
    if (status == SN_OK) status = run(call, ScaleImages{images}, images.count, nullptr);
    if (status == SN_OK) {
      status = run(call, QuantizeImages{images}, images.count * images.plane * (images.pitch / kStep), nullptr);
    }
    if (status == SN_OK) status = run(call, FillWindows{windows, places, images.scale}, windows.count, nullptr);
    if (status == SN_OK && zero_point != nullptr) status = run(call, SumWindows{windows}, windows.count, nullptr);
    if (status != SN_OK) return status;
    status = run_tiles(call, tile_results(windows, w, some), w, pitch_of(w));
    if (status != SN_OK) return status;
  }
  return call.status();
}

}  // namespace cuda
}  // namespace sn
