// Packing the weights of layers: copies in the order that layer.h says. See sinew.h.
#include "team.h"
#include "two_of_four.h"

namespace sn {
namespace cuda {
namespace {

sn_status allocate(sn_weights* w, int part, int64_t bytes) {
  const int64_t size = bytes > 0 ? bytes : 1;
  void* data = w->device->backend->allocate(w->device, size);
  if (data == nullptr) {
    return fail(SN_OUT_OF_MEMORY, "no memory on the GPU for %lld bytes of packed weights",
                static_cast<long long>(size));
  }
  w->parts[part] = data;
  w->part_bytes[part] = size;
  w->bytes += size;
  return SN_OK;
}

int64_t scale_count(const sn_weights* w) { return w->rows * (w->group == 0 ? 1 : (w->cols + w->group - 1) / w->group); }

template <class T>
T* part_of(sn_weights* w, int part) {
  return static_cast<T*>(w->parts[part]);
}

// Rows of bytes to a wider pitch, which is a whole number of steps.
struct PackRows {
  static constexpr bool kFinds = false;
  const uint8_t* from;
  int64_t row_bytes, pitch;
  uint8_t* to;

  SN_HD void step(int64_t i, Findings&) const {
    const int64_t row = i * kStep / pitch, col = i * kStep - row * pitch, left = row_bytes - col;
    const int n = left < kStep ? (left > 0 ? static_cast<int>(left) : 0) : kStep;
    store(to + i * kStep, load(from + (n > 0 ? row * row_bytes + col : 0), n), kStep);
  }
};

// The same with columns in the order of convolutions.
struct PackKernels {
  static constexpr bool kFinds = false;
  const int8_t* from;
  int64_t cols, pitch;
  Order order;
  int8_t* to;

  SN_HD void step(int64_t i, Findings&) const {
    const int64_t row = i * kStep / pitch, first = i * kStep - row * pitch;
    Elements<int8_t> v;
    SN_UNROLL
    for (int j = 0; j < kStep; ++j) {
      const int64_t col = order.column(first + j);
      v.of[j] = col < 0 ? int8_t{0} : from[row * cols + col];
    }
    store(to + i * kStep, v, kStep);
  }
};

// int8 weights as they come, by the columns that they are stored in.
struct StoredColumns {
  const int8_t* from;
  int64_t cols;
  Order order;

  SN_HD Elements<int8_t> load(int64_t row, int64_t first) const {
    if (order.taps == 1) {
      const int64_t left = cols - first;
      const int n = left < kStep ? (left > 0 ? static_cast<int>(left) : 0) : kStep;
      return cuda::load(from + (n > 0 ? row * cols + first : 0), n);
    }
    Elements<int8_t> v;
    SN_UNROLL
    for (int j = 0; j < kStep; ++j) {
      const int64_t col = order.column(first + j);
      v.of[j] = col < 0 ? int8_t{0} : from[row * cols + col];
    }
    return v;
  }
};

// Finds 1 where more than two of four columns that lie beside each other are not 0; kStep columns a step.
struct FindDenseGroups {
  static constexpr bool kFinds = true;
  StoredColumns from;
  int64_t padded;

  SN_HD void step(int64_t i, Findings& found) const {
    const int64_t row = i * kStep / padded;
    const Elements<int8_t> v = from.load(row, i * kStep - row * padded);
    SN_UNROLL
    for (int j = 0; j < kStep; j += 4) {
      if (!is_two_of_four(v.of + j)) found.largest = 1;
    }
  }
};

// The places of 32 columns a step, and of rows that there are their values.
struct PackTwoOfFour {
  static constexpr bool kFinds = false;
  StoredColumns from;
  TwoOfFour to;
  int8_t* values;
  uint32_t* places;

  SN_HD int64_t steps() const { return to.blocks() * TwoOfFour::kRows * (to.cols / 32); }
  SN_HD void step(int64_t i, Findings&) const {
    const int64_t row = i / (to.cols / 32), col = (i - row * (to.cols / 32)) * 32;
    const bool there = row < to.rows;
    Elements<int8_t> v;
    uint32_t all = 0;
    for (int half = 0; half < 2; ++half) {
      Elements<int8_t> columns = {};
      if (there) columns = from.load(row, col + half * kStep);
      SN_UNROLL
      for (int group = 0; group < kStep / 4; ++group) {
        const Pair pair = compressed(columns.of + 4 * group);
        v.of[half * kStep / 2 + 2 * group] = pair.value[0];
        v.of[half * kStep / 2 + 2 * group + 1] = pair.value[1];
        all |= pair.places << (half * kStep + 4 * group);
      }
    }
    places[to.word(row, col)] = all;
    if (there) store(values + row * to.pitch() + col / 2, v, kStep);
  }
};

// One scale and zero point for each slice, from as many or one.
struct PackScales {
  static constexpr bool kFinds = false;
  const float* scale;
  const int8_t* zero_point;
  bool one;
  float* scales;
  int8_t* zero_points;

  SN_HD void step(int64_t i, Findings&) const {
    scales[i] = scale[one ? 0 : i];
    if (zero_point != nullptr) zero_points[i] = zero_point[one ? 0 : i];
  }
};

sn_status pack_scales(Call& call, const sn_tensor* scale, const sn_tensor* zero_point, sn_weights* w) {
  const PackScales scales = {data_of<float>(scale), zero_point == nullptr ? nullptr : data_of<int8_t>(zero_point),
                             scale->elements == 1, part_of<float>(w, kScalePart), part_of<int8_t>(w, kZeroPointPart)};
  return run(call, scales, scale_count(w), nullptr);
}

sn_status pack_dense(sn_device* device, const sn_tensor* from, int64_t row_bytes, const sn_tensor* scale,
                     const sn_tensor* zero_point, sn_weights* w) {
  const int64_t pitch = pitch_of(w);
  sn_status status = allocate(w, kWeightPart, w->rows * pitch);
  if (status == SN_OK && scale != nullptr) status = allocate(w, kScalePart, scale_count(w) * 4);
  if (status == SN_OK && zero_point != nullptr) status = allocate(w, kZeroPointPart, scale_count(w));
  if (status != SN_OK) return status;
  Call call(device);
  if (order_of(w).taps > 1) {
    const PackKernels kernels = {data_of<int8_t>(from), w->cols, pitch, order_of(w), part_of<int8_t>(w, kWeightPart)};
    status = run(call, kernels, w->rows * pitch / kStep, nullptr);
  } else {
    const PackRows rows = {data_of<uint8_t>(from), row_bytes, pitch, part_of<uint8_t>(w, kWeightPart)};
    status = run(call, rows, w->rows * pitch / kStep, nullptr);
  }
  return status != SN_OK || scale == nullptr ? status : pack_scales(call, scale, zero_point, w);
}

// Whether int8 weights are 2:4 and take less memory so.
sn_status find_two_of_four(sn_device* device, const sn_tensor* weight, const sn_weights* w, bool* found) {
  const TwoOfFour form = {nullptr, nullptr, w->rows, padded_cols(w)};
  *found = form.bytes() < w->rows * pitch_of(w);
  if (!*found) return SN_OK;
  Call call(device);
  Findings findings;
  const FindDenseGroups body = {{data_of<int8_t>(weight), w->cols, order_of(w)}, form.cols};
  const sn_status status = run(call, body, w->rows * form.cols / kStep, &findings);
  *found = findings.largest == 0;
  return status;
}

sn_status pack_two_of_four(sn_device* device, const sn_tensor* weight, const sn_tensor* scale,
                           const sn_tensor* zero_point, sn_weights* w) {
  const TwoOfFour form = {nullptr, nullptr, w->rows, padded_cols(w)};
  sn_status status = allocate(w, kWeightPart, form.value_bytes());
  if (status == SN_OK) status = allocate(w, kPlacesPart, form.place_bytes());
  if (status == SN_OK) status = allocate(w, kScalePart, scale_count(w) * 4);
  if (status == SN_OK && zero_point != nullptr) status = allocate(w, kZeroPointPart, scale_count(w));
  if (status != SN_OK) return status;
  Call call(device);
  const PackTwoOfFour body = {{data_of<int8_t>(weight), w->cols, order_of(w)},
                              form,
                              part_of<int8_t>(w, kWeightPart),
                              part_of<uint32_t>(w, kPlacesPart)};
  status = run(call, body, body.steps(), nullptr);
  return status != SN_OK ? status : pack_scales(call, scale, zero_point, w);
}

// Rows of a bitmap to words, with the values before each; one row a step.
struct PackMasks {
  static constexpr bool kFinds = true;
  const uint8_t* bitmap;
  const int64_t* offsets;
  int64_t cols, words;
  uint64_t* masks;
  uint32_t* before;
  int64_t* counts;

  SN_HD void step(int64_t row, Findings& found) const {
    const int64_t row_bytes = (cols + 7) / 8;
    const uint8_t* from = bitmap + row * row_bytes;
    uint32_t total = 0;
    for (int64_t i = 0; i < words; ++i) {
      uint64_t word = 0;
      for (int64_t b = 8 * i; b < 8 * i + 8 && b < row_bytes; ++b)
        word |= static_cast<uint64_t>(from[b]) << (b % 8 * 8);
      const int64_t left = cols - 64 * i;
      if (left < 64 && word >> left != 0) found.largest = kPadded;
      masks[row * words + i] = word;
      before[row * words + i] = total;
#if defined(__CUDA_ARCH__)
      total += static_cast<uint32_t>(__popcll(word));
#else
      total += static_cast<uint32_t>(__builtin_popcountll(word));
#endif
    }
    counts[row] = total;
    // Unsigned, because hostile offsets may overflow.
    const uint64_t length = static_cast<uint64_t>(offsets[row + 1]) - static_cast<uint64_t>(offsets[row]);
    if (length != total && found.largest < kMisplaced) found.largest = kMisplaced;
    found.count += total;
  }
};

// Where the values of each row begin, from how many each has. By one thread, as packing is rare.
struct AddRows {
  static constexpr bool kFinds = false;
  int64_t* begin;
  int64_t rows;

  SN_HD void step(int64_t, Findings&) const {
    int64_t total = 0;
    for (int64_t row = 0; row < rows; ++row) {
      const int64_t here = begin[row];
      begin[row] = total;
      total += here;
    }
  }
};

struct Narrowed {
  static constexpr bool kFinds = false;
  const double* from;
  float* to;

  SN_HD void step(int64_t i, Findings&) const { to[i] = number_of(from[i]); }
};

}  // namespace

sn_status pack_w8(sn_device* device, const sn_tensor* weight, const sn_tensor* scale, const sn_tensor* zero_point,
                  sn_weights* w) {
  return pack_dense(device, weight, weight->cols, scale, zero_point, w);
}
sn_status pack_w8a8(sn_device* device, const sn_tensor* weight, const sn_tensor* scale, const sn_tensor* zero_point,
                    sn_weights* w) {
  bool is_two_of_four = false;
  const sn_status status = find_two_of_four(device, weight, w, &is_two_of_four);
  if (status != SN_OK) return status;
  return is_two_of_four ? pack_two_of_four(device, weight, scale, zero_point, w)
                        : pack_dense(device, weight, weight->cols, scale, zero_point, w);
}
sn_status pack_w4(sn_device* device, const sn_tensor* q, const sn_tensor* scale, const sn_tensor* zero_point,
                  sn_weights* w) {
  return pack_dense(device, q, (w->cols + 1) / 2, scale, zero_point, w);
}
sn_status pack_float(sn_device* device, const sn_tensor* weight, sn_weights* w) {
  return pack_dense(device, weight, weight->cols * dtype_size(weight->dtype), nullptr, nullptr, w);
}
sn_status pack_clustered(sn_device* device, const sn_tensor* q, const sn_tensor* codebook, sn_weights* w) {
  const sn_status status = allocate(w, kScalePart, codebook->bytes());
  if (status != SN_OK) return status;
  {
    Call call(device);
    if (call.copy(w->parts[kScalePart], codebook->data, codebook->bytes()) != SN_OK) return call.status();
  }
  return pack_dense(device, q, (w->cols * w->bits + 7) / 8, nullptr, nullptr, w);
}

sn_status pack_sparse(sn_device* device, const sn_tensor* values, const sn_tensor* bitmap, const sn_tensor* row_offsets,
                      const sn_tensor* scale, sn_weights* w) {
  const int64_t words = words_of_row(w->cols), size = stored_size(w), slices = scale_count(w);
  // Kernels load bytes in whole words.
  sn_status status = allocate(w, kWeightPart, (values->elements * size + 3) / 4 * 4);
  if (status == SN_OK && scale != nullptr) status = allocate(w, kScalePart, slices * 4);
  if (status == SN_OK) status = allocate(w, kMaskPart, w->rows * words * 8);
  if (status == SN_OK) status = allocate(w, kBeforePart, w->rows * words * 4);
  if (status == SN_OK) status = allocate(w, kBeginPart, w->rows * 8);
  if (status != SN_OK) return status;
  Call call(device);
  Findings found = {0, 0, 0};
  const PackMasks masks = {data_of<uint8_t>(bitmap),
                           data_of<int64_t>(row_offsets),
                           w->cols,
                           words,
                           part_of<uint64_t>(w, kMaskPart),
                           part_of<uint32_t>(w, kBeforePart),
                           part_of<int64_t>(w, kBeginPart)};
  status = run(call, masks, w->rows, &found);
  if (status == SN_OK) status = bitmap_status(found, values);
  if (status != SN_OK) return status;
  status = run(call, AddRows{part_of<int64_t>(w, kBeginPart), w->rows}, 1, nullptr);
  if (status == SN_OK && w->dtype == SN_F64) {
    const Narrowed narrowed = {data_of<double>(values), part_of<float>(w, kWeightPart)};
    status = run(call, narrowed, values->elements, nullptr);
  } else if (status == SN_OK) {
    status = call.copy(w->parts[kWeightPart], values->data, values->bytes());
  }
  if (status != SN_OK || scale == nullptr) return status;
  const PackScales scales = {data_of<float>(scale), nullptr, scale->elements == 1, part_of<float>(w, kScalePart),
                             nullptr};
  return run(call, scales, slices, nullptr);
}

}  // namespace cuda
}  // namespace sn
