// What sequence models need besides layers: embeddings, rotary position embeddings, and the order of attention heads.
// See sinew.h.
#include "cpu/kernels/rows.h"

namespace sn {
namespace SN_ISA_NAME {
namespace {

template <class Id>
sn_status valid_ids(const sn_tensor* ids, int64_t rows) {
  const Id* id = data_of<Id>(ids);
  for (int64_t i = 0; i < ids->elements; ++i) {
    if (id[i] < 0 || id[i] >= rows) {
      return fail(SN_INVALID_ARGUMENT, "the id %lld at index %lld is not within the %lld rows of the table",
                  static_cast<long long>(id[i]), static_cast<long long>(i), static_cast<long long>(rows));
    }
  }
  return SN_OK;
}

template <class T>
void rotate_halves(const T* x, const float* cosine, const float* sine, int64_t half, T* y) {
  for_vectors(half, [&](int64_t i, int64_t lanes) {
    const F u = load_some(x + i, lanes), v = load_some(x + half + i, lanes);
    const F c = load_some(cosine + i, lanes), s = load_some(sine + i, lanes);
    store_some(y + i, sub(mul(u, c), mul(v, s)), lanes);
    store_some(y + half + i, add(mul(v, c), mul(u, s)), lanes);
  });
}

template <class T>
void rotate_pairs(const T* x, const float* cosine, const float* sine, int64_t half, T* y) {
  for (int64_t i = 0; i < half; ++i) {
    const float u = to_float(x[2 * i]), v = to_float(x[2 * i + 1]);
    from_float(u * cosine[i] - v * sine[i], y + 2 * i);
    from_float(v * cosine[i] + u * sine[i], y + 2 * i + 1);
  }
}

// y [rows, cols] = the transpose of x [cols, rows], x's rows a distance apart. In small squares, so that both sides use
// whole cache lines.
template <class U>
void transpose_elements(const U* x, int64_t x_step, U* y, int64_t y_step, int64_t rows, int64_t cols) {
  constexpr int64_t kSquare = 16;
  for (int64_t row = 0; row < rows; row += kSquare) {
    for (int64_t col = 0; col < cols; col += kSquare) {
      for (int64_t i = row; i < min_of(row + kSquare, rows); ++i) {
        for (int64_t j = col; j < min_of(col + kSquare, cols); ++j) y[i * y_step + j] = x[j * x_step + i];
      }
    }
  }
}

}  // namespace

sn_status embedding(sn_device* device, const sn_tensor* ids, const sn_tensor* table, sn_tensor* y) {
  const bool wide = ids->dtype == SN_I64;
  const sn_status status = wide ? valid_ids<int64_t>(ids, table->shape[0]) : valid_ids<int32_t>(ids, table->shape[0]);
  if (status != SN_OK) return status;
  const int64_t width = table->shape[1];
  with_real(table->dtype, [&](auto* type) {
    using T = typename Pointee<decltype(type)>::type;
    for_rows(device, ids->elements, width, [&](int64_t i) {
      const int64_t id = wide ? data_of<int64_t>(ids)[i] : data_of<int32_t>(ids)[i];
      const T* from = data_of<T>(table) + id * width;
      if (y->dtype == table->dtype) {
        if (width > 0)
          memcpy(static_cast<void*>(data_of<T>(y) + i * width), from, static_cast<size_t>(width) * sizeof(T));
        return;
      }
      float* to = data_of<float>(y) + i * width;
      for_vectors(width, [&](int64_t j, int64_t lanes) { store_some(to + j, load_some(from + j, lanes), lanes); });
    });
  });
  return SN_OK;
}

sn_status rotary_embedding(sn_device* device, const sn_tensor* x, const sn_tensor* cosine, const sn_tensor* sine,
                           int64_t position, int32_t interleaved, sn_tensor* y) {
  const int64_t width = last_size(x), heads = x->shape[x->rank - 2], tokens = x->shape[x->rank - 3];
  const int64_t half = cosine->shape[1];
  if (x->elements == 0) return SN_OK;
  with_real(x->dtype, [&](auto* type) {
    using T = typename Pointee<decltype(type)>::type;
    for_rows(device, x->elements / width, width, [&](int64_t row) {
      const int64_t angles = (position + row / heads % tokens) * half;
      const float *c = data_of<float>(cosine) + angles, *s = data_of<float>(sine) + angles;
      const T* from = data_of<T>(x) + row * width;
      T* to = data_of<T>(y) + row * width;
      interleaved ? rotate_pairs(from, c, s, half, to) : rotate_halves(from, c, s, half, to);
      if (from != to && width > 2 * half) {
        memcpy(static_cast<void*>(to + 2 * half), from + 2 * half, static_cast<size_t>(width - 2 * half) * sizeof(T));
      }
    });
  });
  return SN_OK;
}

sn_status transpose_heads(sn_device* device, const sn_tensor* x, int64_t first, sn_tensor* y) {
  const int64_t rows = x->shape[1], heads = x->shape[2], capacity = y->shape[2];
  const int64_t size = dtype_size(x->dtype), bytes = x->shape[3] * size;
  if (x->elements == 0) return SN_OK;
  if (x->shape[3] == 1 && size == 4) {
    for_rows(device, x->shape[0], heads * rows, [&](int64_t i) {
      transpose_elements(data_of<uint32_t>(x) + i * rows * heads, heads,
                         data_of<uint32_t>(y) + i * heads * capacity + first, capacity, heads, rows);
    });
    return SN_OK;
  }
  const char* from = data_of<char>(x);
  char* to = data_of<char>(y);
  for_rows(device, x->shape[0] * heads, rows * x->shape[3], [&](int64_t i) {
    const int64_t batch = i / heads, head = i % heads;
    for (int64_t row = 0; row < rows; ++row) {
      memcpy(to + (i * capacity + first + row) * bytes, from + ((batch * rows + row) * heads + head) * bytes,
             static_cast<size_t>(bytes));
    }
  });
  return SN_OK;
}

}  // namespace SN_ISA_NAME
}  // namespace sn
