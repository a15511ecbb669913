// What the kernels of linear layers have in common: activations as they multiply them, and what becomes of the sums.
#pragma once

#include "activation.h"
#include "layer.h"
#include "windows.h"

namespace sn {
namespace cuda {

struct Token {
  float scale;  // NaN where there are NaN or infinity, and then all integers are 0
  int32_t sum;  // of the integers
};

// Activations, a row after the other in blocks of kColumns, of which what is missing is 0. One of q, bytes and floats
// is there. Rows are those of x, or its windows from `first` on.
struct Activations {
  sn_dtype dtype;
  const void* x;
  int64_t rows, cols;
  Split split;
  Order order;
  Windows windows;
  int64_t first;
  int16_t* q;     // 16-bit fixed point, or int8 for layers that multiply without tensor cores
  int8_t* bytes;  // int8
  float* floats;  // the numbers themselves
  Token* tokens;  // one a block, or of W8A8 one a row

  SN_HD int64_t place(int64_t row, int64_t block) const { return (row * split.count + block) * kColumns; }
  SN_HD Windows::Place row(int64_t row) const {
    return windows.taps == nullptr ? Windows::Place{row * cols, 0, 0} : windows.place(first + row, 1);
  }
  SN_HD float at(const Windows::Place& row, int64_t col) const {
    if (windows.taps == nullptr) return number_at(dtype, x, row.from + col);
    const int64_t element = windows.element(row, windows.taps[col]);
    return element < 0 ? 0.0f : number_at(dtype, x, element);
  }
  // kStep columns of a row, of which `left` are there and the others become 0.
  SN_HD Elements<float> columns(int64_t row_number, int64_t col, int64_t left) const {
    const Windows::Place from = row(row_number);
    const int n = left >= kStep ? kStep : left > 0 ? static_cast<int>(left) : 0;
    if (windows.taps == nullptr) return load_reals(dtype, x, n > 0 ? from.from + col : 0, n);
    Elements<float> v;
    SN_UNROLL
    for (int j = 0; j < kStep; ++j) v.of[j] = j < n ? at(from, col + j) : 0.0f;
    return v;
  }
};

#if defined(__CUDA_ARCH__)
// Words that hold four elements of a size.
template <int kSize>
struct FourOf {
  using type = uint4;
};
template <>
struct FourOf<2> {
  using type = uint2;
};
#endif

// What becomes of the sums.
struct Results {
  const float* bias;  // or null
  sn_activation activation;
  sn_dtype dtype;
  void* y;
  int64_t out;
  int64_t first = 0;      // row, where rows are a part of all
  int64_t positions = 0;  // of windows in an image, whose results are [image, channel, position]; 0: [row, channel]

  SN_HD int64_t place(int64_t row, int64_t channel) const {
    if (positions == 0) return row * out + channel;
    const int64_t image = (first + row) / positions;
    return (image * out + channel) * positions + (first + row - image * positions);
  }
  // The result for what is before the bias.
  SN_HD float finished(float v, int64_t channel) const {
    if (bias != nullptr) v = v + bias[channel];
    v = activate(v, activation);
    return is_nan(v) ? float_of(0x7fc00000u) : v;
  }
  SN_HD void put(int64_t row, int64_t channel, float v) const { put_at(place(row, channel), finished(v, channel)); }
  SN_HD void put_at(int64_t at, float v) const {
    if (dtype == SN_F32) {
      static_cast<float*>(y)[at] = v;
    } else {
      from_float(v, static_cast<bf16*>(y) + at);
    }
  }
  // Finished results of up to four channels that lie beside each other.
  SN_HD void put_four(int64_t row, int64_t channel, int n, const float* v) const {
    put_side_by_side(row * out + channel, n, v);
  }
  // Those of a channel and up to four windows that follow each other.
  SN_HD void put_windows(int64_t window, int64_t channel, int n, const float* v) const {
    const int64_t at = place(window, channel), left = positions - (first + window) % positions;
    if (n <= left) {
      put_side_by_side(at, n, v);
      return;
    }
    SN_UNROLL
    for (int j = 0; j < 4; ++j) {
      if (j < n) put_at(place(window + j, channel), v[j]);
    }
  }
  SN_HD void put_side_by_side(int64_t at, int n, const float* v) const {
    if (dtype == SN_F32) {
      store_four(v, n, static_cast<float*>(y) + at);
    } else {
      bf16 narrow[4];
      SN_UNROLL
      for (int j = 0; j < 4; ++j) from_float(j < n ? v[j] : 0.0f, narrow + j);
      store_four(narrow, n, static_cast<bf16*>(y) + at);
    }
  }
  template <class T>
  SN_HD static void store_four(const T* v, int n, T* to) {
#if defined(__CUDA_ARCH__)
    using Four = typename FourOf<sizeof(T)>::type;
    if (n == 4 && (reinterpret_cast<uintptr_t>(to) & (sizeof(Four) - 1)) == 0) {
      Four four;
      memcpy(&four, v, sizeof four);
      __stwb(reinterpret_cast<Four*>(to), four);
      return;
    }
#endif
    SN_UNROLL
    for (int j = 0; j < 4; ++j) {
      if (j < n) to[j] = v[j];
    }
  }
};

// The columns of packed weights as F32, in the order that they had before packing, `pitch` floats from row to row.
sn_status unpack(Call& call, const sn_weights* w, int64_t pitch, float* to);
// A layer of the rows of activations, of which dtype to order, windows and first say where they are.
sn_status multiply_rows(Call& call, const Activations& x, const sn_weights* w, const Results& to);

// What the kernels of activations.cu fill.
sn_status widen(Call& call, const Activations& to);
sn_status quantize_blocks(Call& call, const Activations& to);
sn_status quantize_rows(Call& call, const Activations& to);  // to q or bytes

// linear_float of many rows, of x as it is.
sn_status linear_floats(Call& call, const Activations& x, const sn_weights* w, const Results& to);

// linear_w8a8 on the tensor cores, of activations as bytes.
sn_status linear_tiles(Call& call, const Activations& x, const sn_weights* w, const Results& to);

}  // namespace cuda
}  // namespace sn
