// Maxima and means of windows. See sinew.h.
#include "cpu/kernels/math.h"
#include "cpu/kernels/rows.h"

namespace sn {
namespace SN_ISA_NAME {
namespace {

struct Window {
  int64_t kernel, stride, padding, dilation;  // of one dimension

  Window(const int64_t* w, int i) : kernel(w[i]), stride(w[2 + i]), padding(w[4 + i]), dilation(w[6 + i]) {}
  int64_t start(int64_t out) const { return out * stride - padding; }
  // The first and one past the last element of the kernel that lie inside of [0, size), for the window at `out`.
  int64_t first(int64_t out) const { return start(out) >= 0 ? 0 : ceil_div(-start(out), dilation); }
  int64_t last(int64_t out, int64_t size) const {
    return start(out) >= size ? 0 : min_of(kernel, ceil_div(size - start(out), dilation));
  }
};

SN_INLINE F largest_of(F a, F b) { return select(gt(key(a), splat_int(kInfinityKey)), a, max(a, b)); }

// How elements become one: maxima.
struct Largest {
  static constexpr float kNone = -__builtin_inff();
  SN_INLINE F join(F a, F b) const { return largest_of(a, b); }
  float join(float a, float b) const { return a > b || a != a ? a : b; }
  float finish(float v, int64_t, int64_t, const Window&, const Window&, int64_t, int64_t) const { return v; }
};

// Means: sums that are divided by the number of elements.
struct Mean {
  bool include_padding;
  static constexpr float kNone = 0;
  SN_INLINE F join(F a, F b) const { return add(a, b); }
  float join(float a, float b) const { return a + b; }

  static int64_t length(const Window& w, int64_t out, int64_t size, bool padded) {
    return padded ? min_of(w.kernel, size + w.padding - w.start(out)) : w.last(out, size) - w.first(out);
  }
  float finish(float v, int64_t row, int64_t col, const Window& vertical, const Window& horizontal, int64_t height,
               int64_t width) const {
    const int64_t count =
        length(vertical, row, height, include_padding) * length(horizontal, col, width, include_padding);
    return v / static_cast<float>(count);
  }
};

// Rows of a plane are joined first, whole vectors at a time, for as many columns as fit here.
constexpr int64_t kColumns = 1024;

// Output row `row` of one plane.
template <class Join, class T>
void pool_row(const Join& join, const T* x, int64_t height, int64_t width, const Window& vertical,
              const Window& horizontal, int64_t row, T* y, int64_t outputs) {
  const int64_t first = vertical.first(row), last = vertical.last(row, height);
  const auto source = [&](int64_t k) { return x + (vertical.start(row) + k * vertical.dilation) * width; };
  const int64_t span = horizontal.dilation * (horizontal.kernel - 1) + 1;
  const int64_t at_once = span > kColumns ? 0 : (kColumns - span) / horizontal.stride + 1;
  float joined[kColumns];
  for (int64_t begin = 0; begin < outputs;) {
    const int64_t count = min_of(outputs - begin, max_of(at_once, 1));
    const int64_t from = max_of(horizontal.start(begin), 0);
    const int64_t to = min_of(horizontal.start(begin + count - 1) + span, width);
    if (at_once > 0) {
      for_vectors(max_of(to - from, 0), [&](int64_t i, int64_t lanes) {
        F v = splat(Join::kNone);
        for (int64_t k = first; k < last; ++k) v = join.join(v, load_some(source(k) + from + i, lanes));
        store_some(joined + i, v, lanes);
      });
    }
    for (int64_t out = begin; out < begin + count; ++out) {
      float v = Join::kNone;
      const int64_t start = horizontal.start(out), end = horizontal.last(out, width);
      for (int64_t k = horizontal.first(out); k < end; ++k) {
        const int64_t col = start + k * horizontal.dilation;
        if (at_once > 0) {
          v = join.join(v, joined[col - from]);
        } else {
          float column = Join::kNone;
          for (int64_t j = first; j < last; ++j) column = join.join(column, to_float(source(j)[col]));
          v = join.join(v, column);
        }
      }
      from_float(join.finish(v, row, out, vertical, horizontal, height, width), &y[out]);
    }
    begin += count;
  }
}

template <class Join>
void pool(sn_device* device, const sn_tensor* x, const int64_t* window, const Join& join, sn_tensor* y) {
  if (y->elements == 0) return;
  const Window vertical(window, 0), horizontal(window, 1);
  const int64_t height = x->shape[2], width = x->shape[3], rows = y->shape[2], cols = y->shape[3];
  with_real(x->dtype, [&](auto* type) {
    using T = typename Pointee<decltype(type)>::type;
    for_rows(device, y->shape[0] * y->shape[1] * rows, cols * vertical.kernel * horizontal.kernel, [&](int64_t i) {
      pool_row(join, data_of<T>(x) + i / rows * height * width, height, width, vertical, horizontal, i % rows,
               data_of<T>(y) + i * cols, cols);
    });
  });
}

}  // namespace

sn_status max_pool2d(sn_device* device, const sn_tensor* x, const int64_t* window, sn_tensor* y) {
  pool(device, x, window, Largest(), y);
  return SN_OK;
}

sn_status avg_pool2d(sn_device* device, const sn_tensor* x, const int64_t* window, int32_t include_padding,
                     sn_tensor* y) {
  pool(device, x, window, Mean{include_padding != 0}, y);
  return SN_OK;
}

}  // namespace SN_ISA_NAME
}  // namespace sn
