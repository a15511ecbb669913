// Maxima and means of windows. See sinew.h.
#include "launch.h"

namespace sn {
namespace cuda {
namespace {

// Windows of one dimension.
struct PoolWindow {
  int64_t size, kernel, stride, padding, dilation;

  SN_HD int64_t start(int64_t out) const { return out * stride - padding; }
  // The first and one past the last element of the kernel that lie inside of [0, size), for the window at `out`.
  SN_HD int64_t first(int64_t out) const {
    const int64_t begin = start(out);
    return begin >= 0 ? 0 : (dilation - 1 - begin) / dilation;
  }
  SN_HD int64_t last(int64_t out) const {
    const int64_t begin = start(out);
    const int64_t fit = begin >= size ? 0 : (size - begin + dilation - 1) / dilation;
    return fit < kernel ? fit : kernel;
  }
  // How many elements a mean divides by, of the whole padding or of what is inside.
  SN_HD int64_t length(int64_t out, bool padded) const {
    if (!padded) return last(out) - first(out);
    const int64_t left = size + padding - start(out);
    return left < kernel ? left : kernel;
  }
};

// One result a step; columns of a window are joined first, as on the CPU.
template <bool kMean>
struct Pool {
  static constexpr bool kFinds = false;
  sn_dtype dtype;
  const void* x;
  PoolWindow vertical, horizontal;
  int64_t rows, cols;  // of y
  bool include_padding;
  void* y;

  SN_HD static float join(float a, float b) {
    if (kMean) return a + b;
    return a > b || is_nan(a) ? a : b;
  }

  SN_HD void step(int64_t i, Findings&) const {
    const int64_t plane = i / (rows * cols), at = i - plane * (rows * cols), row = at / cols, col = at - row * cols;
    const int64_t top = vertical.first(row), bottom = vertical.last(row);
    const int64_t left = horizontal.first(col), right = horizontal.last(col);
    const float none = kMean ? 0.0f : -__builtin_inff();
    const int64_t corner = (plane * vertical.size + vertical.start(row)) * horizontal.size + horizontal.start(col);
    float v = none;
    for (int64_t c = left; c < right; ++c) {
      float column = none;
      for (int64_t r = top; r < bottom; ++r) {
        column = join(column,
                      number_at(dtype, x, corner + r * vertical.dilation * horizontal.size + c * horizontal.dilation));
      }
      v = join(v, column);
    }
    if (kMean) {
      const int64_t count = vertical.length(row, include_padding) * horizontal.length(col, include_padding);
      v = v / static_cast<float>(count);
    }
    put_number(dtype, y, i, v);
  }
};

template <bool kMean>
sn_status pool(sn_device* device, const sn_tensor* x, const int64_t* window, bool include_padding, sn_tensor* y) {
  Call call(device);
  const auto of = [&](int i) -> PoolWindow {
    return {x->shape[2 + i], window[i], window[2 + i], window[4 + i], window[6 + i]};
  };
  const Pool<kMean> body = {x->dtype, x->data, of(0), of(1), y->shape[2], y->shape[3], include_padding, y->data};
  return run(call, body, y->elements, nullptr);
}

}  // namespace

sn_status max_pool2d(sn_device* device, const sn_tensor* x, const int64_t* window, sn_tensor* y) {
  return pool<false>(device, x, window, false, y);
}
sn_status avg_pool2d(sn_device* device, const sn_tensor* x, const int64_t* window, int32_t include_padding,
                     sn_tensor* y) {
  return pool<true>(device, x, window, include_padding != 0, y);
}

}  // namespace cuda
}  // namespace sn
