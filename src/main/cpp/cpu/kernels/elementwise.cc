// Activations, additions and multiplications. See sinew.h.
#include "cpu/kernels/floats.h"
#include "cpu/kernels/math.h"
#include "cpu/kernels/rows.h"

namespace sn {
namespace SN_ISA_NAME {
namespace {

typedef void Activate(const float* x, float* y, int64_t n);
template <sn_activation kActivation>
void activate_run(const float* x, float* y, int64_t n) {
  for_vectors(
      n, [&](int64_t i, int64_t lanes) { store_some(y + i, activate(load_some(x + i, lanes), kActivation), lanes); });
}

Activate* activation_of(sn_activation activation) {
  switch (activation) {
    case SN_RELU:
      return activate_run<SN_RELU>;
    case SN_GELU:
      return activate_run<SN_GELU>;
    case SN_SILU:
      return activate_run<SN_SILU>;
    case SN_GELU_TANH:
      return activate_run<SN_GELU_TANH>;
    case SN_SIGMOID:
      return activate_run<SN_SIGMOID>;
    case SN_TANH:
      return activate_run<SN_TANH>;
    default:
      return activate_run<SN_NONE>;
  }
}

inline void activate_piece(Activate* run, const float* x, float* y, int64_t n) { run(x, y, n); }
template <class T>
inline void activate_piece(Activate* run, const T* x, T* y, int64_t n) {
  float buffer[kBlock];
  run(floats_of(x, n, buffer), buffer, n);
  store_as<false>(buffer, y, n);
}

// y's dimensions, of which neighbours that are repeated in the same operands have become one.
struct Broadcast {
  struct Dimension {
    int64_t size, a, b;  // a step moves so far in the operands: 0 where they are repeated
  };
  Dimension dimensions[SN_MAX_RANK + 1];
  int count = 0;

  Broadcast(const sn_tensor* a, const sn_tensor* b, const sn_tensor* y) {
    int64_t a_step = 1, b_step = 1;
    bool a_full = true, b_full = true;
    dimensions[count++] = {1, 1, 1};
    // From the last dimension to the first.
    for (int32_t i = 1; i <= y->rank; ++i) {
      const int64_t size = y->shape[y->rank - i];
      if (size == 1) continue;
      const bool a_has = i <= a->rank && a->shape[a->rank - i] != 1;
      const bool b_has = i <= b->rank && b->shape[b->rank - i] != 1;
      Dimension& last = dimensions[count - 1];
      if (last.size == 1 || (a_has == a_full && b_has == b_full)) {
        last = {last.size * size, a_has ? last.size == 1 ? a_step : last.a : 0,
                b_has ? last.size == 1 ? b_step : last.b : 0};
      } else {
        dimensions[count++] = {size, a_has ? a_step : 0, b_has ? b_step : 0};
      }
      a_full = a_has;
      b_full = b_has;
      if (a_has) a_step *= size;
      if (b_has) b_step *= size;
    }
  }
};

template <class T, class Function>
void broadcast_all(sn_device* device, const sn_tensor* a, const sn_tensor* b, sn_tensor* y, Function function) {
  const Broadcast shape(a, b, y);
  const Broadcast::Dimension inner = shape.dimensions[0];
  const T *p = data_of<T>(a), *q = data_of<T>(b);
  T* out = data_of<T>(y);
  const int64_t rows = inner.size == 0 ? 0 : y->elements / inner.size;
  for_pieces(
      device, rows, inner.size, 64, 0,
      [&](int, int64_t row, int64_t col, int64_t n) {
        int64_t a_at = col * inner.a, b_at = col * inner.b;
        for (int64_t d = 1, rest = row; d < shape.count; ++d) {
          const auto& dimension = shape.dimensions[d];
          a_at += rest % dimension.size * dimension.a;
          b_at += rest % dimension.size * dimension.b;
          rest /= dimension.size;
        }
        const T *from_a = p + a_at, *from_b = q + b_at;
        T* to = out + row * inner.size + col;
        const F a_all = splat(to_float(*from_a)), b_all = splat(to_float(*from_b));
        for_vectors(n, [&](int64_t i, int64_t lanes) {
          const F u = inner.a == 0 ? a_all : load_some(from_a + i, lanes);
          const F v = inner.b == 0 ? b_all : load_some(from_b + i, lanes);
          store_some(to + i, function(u, v), lanes);
        });
      },
      [](int) {});
}

}  // namespace

sn_status activate(sn_device* device, const sn_tensor* x, sn_activation activation, sn_tensor* y) {
  Activate* const run = activation_of(activation);
  with_real(x->dtype, [&](auto* type) {
    using T = typename Pointee<decltype(type)>::type;
    for_elements(
        device, x->elements, 0,
        [&](int, int64_t i, int64_t n) { activate_piece(run, data_of<T>(x) + i, data_of<T>(y) + i, n); }, [](int) {});
  });
  return SN_OK;
}

sn_status add(sn_device* device, const sn_tensor* a, const sn_tensor* b, sn_tensor* y) {
  with_real(a->dtype, [&](auto* type) {
    broadcast_all<typename Pointee<decltype(type)>::type>(device, a, b, y, [](F u, F v) { return add(u, v); });
  });
  return SN_OK;
}

sn_status multiply(sn_device* device, const sn_tensor* a, const sn_tensor* b, sn_tensor* y) {
  with_real(a->dtype, [&](auto* type) {
    broadcast_all<typename Pointee<decltype(type)>::type>(device, a, b, y, [](F u, F v) { return mul(u, v); });
  });
  return SN_OK;
}

}  // namespace SN_ISA_NAME
}  // namespace sn
