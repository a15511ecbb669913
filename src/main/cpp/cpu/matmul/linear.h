// What the kinds of packed weights have in common: scratch, the quantization of activations, and the epilogue.
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

// The rows of activations [..., in]: the product of the dimensions before the last.
inline int64_t leading_rows(const sn_tensor* x) {
  int64_t rows = 1;
  for (int32_t i = 0; i + 1 < x->rank; ++i) rows *= x->shape[i];
  return rows;
}

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

// One row of activations as integers: x = q scale.
struct Token {
  float scale;  // NaN when the row holds NaN or infinity, and then all q are 0
  int32_t sum;  // of q
};

// 64 integers.
SN_INLINE void store_quantized(int8_t* p, I a, I b, I c, I d) { store_bytes(p, pack(a, b, c, d)); }
SN_INLINE void store_quantized(int16_t* p, I a, I b, I c, I d) {
#if defined(SN_TIER_AVX512)
  const __m512i order = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
  _mm512_storeu_si512(p, _mm512_permutexvar_epi64(order, _mm512_packs_epi32(a.v, b.v)));
  _mm512_storeu_si512(p + 32, _mm512_permutexvar_epi64(order, _mm512_packs_epi32(c.v, d.v)));
#elif defined(SN_TIER_AVX2)
  const auto words = [](I x) { return _mm256_permute4x64_epi64(_mm256_packs_epi32(x.a, x.b), 0xd8); };
  store256(p, words(a));
  store256(p + 16, words(b));
  store256(p + 32, words(c));
  store256(p + 48, words(d));
#else
  for (int i = 0; i < 16; ++i) {
    p[i] = static_cast<int16_t>(a.v[i]);
    p[16 + i] = static_cast<int16_t>(b.v[i]);
    p[32 + i] = static_cast<int16_t>(c.v[i]);
    p[48 + i] = static_cast<int16_t>(d.v[i]);
  }
#endif
}

inline int32_t reduce_sum(I x) {
  int32_t lanes[kLanes];
  store_int(lanes, x);
  int32_t sum = 0;
  for (int32_t v : lanes) sum += v;
  return sum;
}

// Calls f(quotient), where quotient(x) is x / divisor as IEEE 754 rounds it, or, if that is less than 1/4, may be
// another number less than 1/4. The reciprocal is improved twice by fused multiply-adds, which take a third of the time
// of a division (docs/numerics.md).
template <class F_>
void with_quotients(float divisor, F_ f) {
  const F by = splat(divisor);
#if defined(SN_TIER_AVX512) || defined(SN_TIER_AVX2)
  if (divisor > 0x1p-80f && divisor < 0x1p80f) {
    const F reciprocal = splat(1 / divisor), minus = sub(splat(0), by);
    return f([=](F x) {
      const F first = mul(x, reciprocal);
      const F second = multiply_add(multiply_add(first, minus, x), reciprocal, first);
      return multiply_add(multiply_add(second, minus, x), reciprocal, second);
    });
  }
#endif
  f([=](F x) { return div(x, by); });
}

// Quantizes n activations by the rules of symmetric int8 (see sn_linear), and fills q with zeros up to `padded`, less
// than 64 more. Each 64 of them begin `pitch` after the last.
template <class T, class Q>
inline Token quantize_token(const T* x, int64_t n, Q* q, int64_t padded, int64_t pitch = 64) {
  I largest = splat_int(0);
  for_vectors(n, [&](int64_t i, int64_t lanes) { largest = max(largest, key(load_some(x + i, lanes))); });
  const int32_t absmax = reduce_max(largest);
  if (absmax >= kInfinityKey) {
    for (int64_t i = 0; i < padded; i += 64)
      memset(static_cast<void*>(q + i / 64 * pitch), 0, static_cast<size_t>(min_of(64, padded - i)) * sizeof(Q));
    return {float_of(0x7fc00000), 0};
  }
  const float scale = symmetric_scale(absmax);
  I sum = splat_int(0);
  with_quotients(scale, [&](auto quotient) {
    const F low = splat(-127.0f), high = splat(127.0f);
    const auto quantized = [&](F v) { return to_int(min(max(quotient(v), low), high)); };
    int64_t i = 0;
    for (; i + 64 <= n; i += 64) {
      const I a = quantized(load(x + i)), b = quantized(load(x + i + 16));
      const I c = quantized(load(x + i + 32)), d = quantized(load(x + i + 48));
      sum = add(sum, add(add(a, b), add(c, d)));
      store_quantized(q + i / 64 * pitch, a, b, c, d);
    }
    if (i >= padded) return;
    Q rest[64] = {};
    for_vectors(n - i, [&](int64_t j, int64_t lanes) {
      const I a = quantized(load_some(x + i + j, lanes));
      sum = add(sum, a);
      Q words[64];
      store_quantized(words, a, a, a, a);
      memcpy(rest + j, words, kLanes * sizeof(Q));
    });
    memcpy(q + i / 64 * pitch, rest, static_cast<size_t>(padded - i) * sizeof(Q));
  });
  return {scale, reduce_sum(sum)};
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
