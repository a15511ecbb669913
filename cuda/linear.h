// What the kernels of linear layers have in common: activations as they multiply them, and what becomes of the sums.
#pragma once

#include "activation.h"
#include "layer.h"

namespace sn {
namespace cuda {

struct Token {
  float scale;  // NaN where there are NaN or infinity, and then all integers are 0
  int32_t sum;  // of the integers
};

// Activations, a row after the other in blocks of kColumns, of which what is missing is 0. One of q, bytes and floats
// is there.
struct Activations {
  sn_dtype dtype;
  const void* x;
  int64_t rows;
  Split split;
  int16_t* q;     // 16-bit fixed point, or int8 for layers that multiply without tensor cores
  int8_t* bytes;  // int8
  float* floats;  // the numbers themselves
  Token* tokens;  // one a block, or of W8A8 one a row

  SN_HD int64_t place(int64_t row, int64_t block) const { return (row * split.count + block) * kColumns; }
  SN_HD float at(int64_t row, int64_t col) const { return number_at(dtype, x, row * split.cols + col); }
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

  // The result for what is before the bias.
  SN_HD float finished(float v, int64_t channel) const {
    if (bias != nullptr) v = v + bias[channel];
    v = activate(v, activation);
    return is_nan(v) ? float_of(0x7fc00000u) : v;
  }
  SN_HD void put(int64_t row, int64_t channel, float v) const {
    v = finished(v, channel);
    const int64_t at = row * out + channel;
    if (dtype == SN_F32) {
      static_cast<float*>(y)[at] = v;
    } else {
      from_float(v, static_cast<bf16*>(y) + at);
    }
  }
  // Finished results of up to four channels that lie beside each other.
  SN_HD void put_four(int64_t row, int64_t channel, int n, const float* v) const {
    const int64_t at = row * out + channel;
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

// What the kernels of activations.cu fill.
sn_status widen(Call& call, const Activations& to);
sn_status quantize_blocks(Call& call, const Activations& to);
sn_status quantize_rows(Call& call, const Activations& to);  // to q or bytes

// linear_w8a8 on the tensor cores, of activations as bytes.
sn_status linear_tiles(Call& call, const Activations& x, const sn_weights* w, const Results& to);

}  // namespace cuda
}  // namespace sn
