// What sequence models need besides layers: embeddings, rotary position embeddings, and the order of attention heads.
// See sinew.h.
#include "launch.h"

namespace sn {
namespace cuda {
namespace {

SN_HD SN_LOCAL int64_t id_at(bool wide, const void* ids, int64_t i) {
  return wide ? static_cast<const int64_t*>(ids)[i] : static_cast<const int32_t*>(ids)[i];
}

// Counts the ids that are not rows of the table.
struct CheckIds {
  static constexpr bool kFinds = true;
  bool wide;
  const void* ids;
  int64_t rows;

  SN_HD void step(int64_t i, Findings& found) const {
    const int64_t id = id_at(wide, ids, i);
    if (id < 0 || id >= rows) ++found.count;
  }
};

// A step is kStep elements of a row.
struct LookUp {
  static constexpr bool kFinds = false;
  bool wide;
  const void* ids;
  sn_dtype from_dtype;
  const void* table;
  int64_t width;
  sn_dtype dtype;
  void* y;

  SN_HD void step(int64_t i, Findings&) const {
    const int64_t parts = steps_of(width), row = i / parts, col = (i - row * parts) * kStep;
    const int n = width - col < kStep ? static_cast<int>(width - col) : kStep;
    const int64_t from = id_at(wide, ids, row) * width + col, to = row * width + col;
    if (dtype != from_dtype) {
      store(static_cast<float*>(y) + to, load_reals(from_dtype, table, from, n), n);
    } else if (dtype == SN_F32) {  // NaN stays as it is
      store(static_cast<uint32_t*>(y) + to, load(static_cast<const uint32_t*>(table) + from, n), n);
    } else {
      store(static_cast<uint16_t*>(y) + to, load(static_cast<const uint16_t*>(table) + from, n), n);
    }
  }
  SN_HD static int64_t steps_of(int64_t width) { return (width + kStep - 1) / kStep; }
};

// A step is kStep pairs of a row, or kStep of the elements behind the pairs.
struct Rotate {
  static constexpr bool kFinds = false;
  using ManyRegisters = void;
  sn_dtype dtype;
  const void* x;
  const float *cosine, *sine;
  void* y;
  int64_t width, heads, tokens, half, position;
  bool interleaved;

  SN_HD int64_t pair_steps() const { return (half + kStep - 1) / kStep; }
  SN_HD int64_t steps() const { return pair_steps() + (width - 2 * half + kStep - 1) / kStep; }

  SN_HD void step(int64_t i, Findings&) const {
    const int64_t row = i / steps(), part = i - row * steps(), begin = row * width;
    if (part >= pair_steps()) {
      copy(begin + 2 * half + (part - pair_steps()) * kStep, begin + width);
      return;
    }
    const int64_t pair = part * kStep, angles = (position + row / heads % tokens) * half + pair;
    const int n = half - pair < kStep ? static_cast<int>(half - pair) : kStep;
    const Elements<float> c = load(cosine + angles, n), s = load(sine + angles, n);
    // Halves apart, or the even and the odd elements of twice as many.
    const int64_t first = begin + (interleaved ? 2 * pair : pair), second = interleaved ? first + kStep : first + half;
    const int n1 = interleaved ? (2 * n < kStep ? 2 * n : kStep) : n, n2 = interleaved ? 2 * n - n1 : n;
    Elements<float> u = load_reals(dtype, x, first, n1);
    Elements<float> v = load_reals(dtype, x, n2 > 0 ? second : first, n2);
    if (interleaved) pairs_to_halves(&u, &v);
    Elements<float> a, b;
    SN_UNROLL
    for (int j = 0; j < kStep; ++j) {
      a.of[j] = u.of[j] * c.of[j] - v.of[j] * s.of[j];
      b.of[j] = v.of[j] * c.of[j] + u.of[j] * s.of[j];
    }
    if (interleaved) halves_to_pairs(&a, &b);
    store_reals(dtype, y, first, a, n1);
    if (n2 > 0) store_reals(dtype, y, second, b, n2);
  }

 private:
  SN_HD static void pairs_to_halves(Elements<float>* a, Elements<float>* b) {
    Elements<float> even, odd;
    SN_UNROLL
    for (int j = 0; j < kStep / 2; ++j) {
      even.of[j] = a->of[2 * j];
      odd.of[j] = a->of[2 * j + 1];
      even.of[kStep / 2 + j] = b->of[2 * j];
      odd.of[kStep / 2 + j] = b->of[2 * j + 1];
    }
    *a = even;
    *b = odd;
  }
  SN_HD static void halves_to_pairs(Elements<float>* a, Elements<float>* b) {
    Elements<float> first, second;
    SN_UNROLL
    for (int j = 0; j < kStep / 2; ++j) {
      first.of[2 * j] = a->of[j];
      first.of[2 * j + 1] = b->of[j];
      second.of[2 * j] = a->of[kStep / 2 + j];
      second.of[2 * j + 1] = b->of[kStep / 2 + j];
    }
    *a = first;
    *b = second;
  }
  SN_HD void copy(int64_t at, int64_t end) const {
    const int n = end - at < kStep ? static_cast<int>(end - at) : kStep;
    if (dtype == SN_F32) {
      store(static_cast<uint32_t*>(y) + at, load(static_cast<const uint32_t*>(x) + at, n), n);
    } else {
      store(static_cast<uint16_t*>(y) + at, load(static_cast<const uint16_t*>(x) + at, n), n);
    }
  }
};

// A step is kStep bytes of a row of the last dimension.
struct TransposeHeads {
  static constexpr bool kFinds = false;
  const uint8_t* x;
  uint8_t* y;
  int64_t rows, heads, capacity, first, bytes;

  SN_HD void step(int64_t i, Findings&) const {
    const int64_t parts = (bytes + kStep - 1) / kStep, row = i / parts, at = (i - row * parts) * kStep;
    const int n = bytes - at < kStep ? static_cast<int>(bytes - at) : kStep;
    // Rows in the order of x: [batch, row, head].
    const int64_t head = row % heads, of_batch = row / heads, batch = of_batch / rows;
    const int64_t to = (batch * heads + head) * capacity + first + of_batch - batch * rows;
    store(y + to * bytes + at, load(x + row * bytes + at, n), n);
  }
};

}  // namespace

sn_status embedding(sn_device* device, const sn_tensor* ids, const sn_tensor* table, sn_tensor* y) {
  Call call(device);
  const bool wide = ids->dtype == SN_I64;
  const int64_t rows = table->shape[0], width = table->shape[1];
  Findings found = {0, 0, 0};
  const sn_status status = run(call, CheckIds{wide, ids->data, rows}, ids->elements, &found);
  if (status != SN_OK) return status;
  if (found.count != 0) {
    return fail(SN_INVALID_ARGUMENT, "%llu of the %lld ids are not within the %lld rows of the table", found.count,
                static_cast<long long>(ids->elements), static_cast<long long>(rows));
  }
  const LookUp body = {wide, ids->data, table->dtype, table->data, width, y->dtype, y->data};
  return run(call, body, ids->elements * LookUp::steps_of(width), nullptr);
}

sn_status rotary_embedding(sn_device* device, const sn_tensor* x, const sn_tensor* cosine, const sn_tensor* sine,
                           int64_t position, int32_t interleaved, sn_tensor* y) {
  Call call(device);
  if (x->elements == 0) return call.status();
  const Rotate body = {x->dtype,
                       x->data,
                       data_of<float>(cosine),
                       data_of<float>(sine),
                       y->data,
                       x->shape[x->rank - 1],
                       x->shape[x->rank - 2],
                       x->shape[x->rank - 3],
                       cosine->shape[1],
                       position,
                       interleaved != 0};
  return run(call, body, x->elements / body.width * body.steps(), nullptr);
}

sn_status transpose_heads(sn_device* device, const sn_tensor* x, int64_t first, sn_tensor* y) {
  Call call(device);
  if (x->elements == 0) return call.status();
  const int64_t bytes = x->shape[3] * dtype_size(x->dtype);
  const TransposeHeads body = {
      data_of<uint8_t>(x), data_of<uint8_t>(y), x->shape[1], x->shape[2], y->shape[2], first, bytes};
  return run(call, body, x->elements / x->shape[3] * ((bytes + kStep - 1) / kStep), nullptr);
}

}  // namespace cuda
}  // namespace sn
