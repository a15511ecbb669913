// What the kinds of packed weights have in common: scratch and the epilogue.
//
// Each kind has a source file here with two slots, pack_<kind> and linear_<kind>, and a function of these that computes
// rows on the calling thread, for operations that make their rows as they go (convolutions):
//   int64_t <kind>_scratch(const sn_weights&, int64_t rows)   bytes of scratch that it needs
//   void <kind>_rows(const sn_weights&, const float* x, int64_t rows, const Layer<float>&, void* scratch)
// linear_rows (rows.cc) calls that of the weights' kind.
#pragma once

#include "core/weights.h"
#include "cpu/kernels/driver.h"
#include "cpu/kernels/math.h"
#include "cpu/kernels/tokens.h"
#include "cpu/matmul/dot.h"

namespace sn {
namespace SN_ISA_NAME {

// Scratch of the device for one call or one task, given back at its end.
class Scratch {
 public:
  Scratch(sn_device* device, int64_t bytes) : device_(device), data_(take_scratch(device, bytes)) {}
  ~Scratch() { give_scratch(device_, data_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  char* data() const { return static_cast<char*>(data_); }  // null when there was no memory

 private:
  sn_device* device_;
  void* data_;
};
inline sn_status no_scratch(int64_t bytes) {
  return fail(SN_OUT_OF_MEMORY, "no memory for %lld bytes that the operation works with",
              static_cast<long long>(bytes));
}

inline int64_t round_up(int64_t n, int64_t multiple) { return ceil_div(n, multiple) * multiple; }

// F32 or BF16.
template <class F>
void with_activation_type(sn_dtype dtype, F f) {
  dtype == SN_BF16 ? f(static_cast<bf16*>(nullptr)) : f(static_cast<float*>(nullptr));
}

// Where results go, and what is done to them on the way.
template <class T>
struct Layer {
  T* y;
  int64_t stride;     // from one row of y to the next
  int64_t out;        // channels
  const float* bias;  // or null
  sn_activation activation;
  bool bypass = false;  // results may go past the caches, of which rows are whole lines
};

// Compiled once for all kinds of weights, for it is called but once for 16 sums.
inline SN_NOINLINE F activate_panel(F v, sn_activation activation) { return activate(v, activation); }

// Adds the bias to 16 channels of a row from `channel` on, applies the activation and stores those that there are.
template <class T>
SN_INLINE void finish(const Layer<T>& layer, int64_t row, int64_t channel, F v) {
  const int64_t lanes = min_of(kPanel, layer.out - channel);
  T* to = layer.y + row * layer.stride + channel;
  if (layer.bias != nullptr) v = add(v, load_some(layer.bias + channel, lanes));
  if (layer.activation != SN_NONE) v = activate_panel(v, layer.activation);
  if (lanes == kPanel) {
    store(to, v);
  } else {
    store_tail(to, v, lanes);
  }
}

// y's rows from x's on the calling thread; x [rows, weights.cols] without gaps.
int64_t linear_rows_scratch(const sn_weights& weights, int64_t rows);
void linear_rows(const sn_weights& weights, const float* x, int64_t rows, const Layer<float>& layer, void* scratch);

int64_t w8a8_scratch(const sn_weights& weights, int64_t rows);
void w8a8_rows(const sn_weights& weights, const float* x, int64_t rows, const Layer<float>& layer, void* scratch);
int64_t w8_scratch(const sn_weights& weights, int64_t rows);
void w8_rows(const sn_weights& weights, const float* x, int64_t rows, const Layer<float>& layer, void* scratch);
int64_t w4_scratch(const sn_weights& weights, int64_t rows);
void w4_rows(const sn_weights& weights, const float* x, int64_t rows, const Layer<float>& layer, void* scratch);
int64_t sparse_scratch(const sn_weights& weights, int64_t rows);
void sparse_rows(const sn_weights& weights, const float* x, int64_t rows, const Layer<float>& layer, void* scratch);
int64_t clustered_scratch(const sn_weights& weights, int64_t rows);
void clustered_rows(const sn_weights& weights, const float* x, int64_t rows, const Layer<float>& layer, void* scratch);

int64_t float_scratch(const sn_weights& weights, int64_t rows);
void float_rows(const sn_weights& weights, const float* x, int64_t rows, const Layer<float>& layer, void* scratch);
#if defined(SN_TIER_AMX)
// float_rows on the matrix unit, whatever their number up to 96, for BF16 weights and x of BF16 numbers.
void bf16_rows(const sn_weights& weights, const float* x, int64_t rows, const Layer<float>& layer, void* scratch);
#endif

}  // namespace SN_ISA_NAME
}  // namespace sn
