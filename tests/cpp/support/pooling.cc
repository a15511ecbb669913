#include "support/pooling.h"

namespace sinew_test {
namespace {

int64_t outputs(int64_t size, int64_t kernel, int64_t stride, int64_t padding, int64_t dilation, bool ceil) {
  const int64_t rest = size + 2 * padding - dilation * (kernel - 1) - 1;
  int64_t count = (rest + (ceil ? stride - 1 : 0)) / stride + 1;
  if (ceil && (count - 1) * stride >= size + padding) --count;
  return count;
}

}  // namespace

std::vector<int64_t> Pooling::output_shape() const {
  const auto& w = window;
  return {shape[0], shape[1], outputs(shape[2], w[0], w[2], w[4], w[6], ceil),
          outputs(shape[3], w[1], w[3], w[5], w[7], ceil)};
}

std::string Pooling::text() const {
  std::string t = text_of(shape) + " window";
  for (int64_t n : window) t += " " + std::to_string(n);
  return t + (ceil ? " ceil" : "");
}

void Pooling::each(const std::vector<double>& x,
                   const std::function<void(const std::vector<double>&, int64_t)>& f) const {
  const std::vector<int64_t> out = output_shape();
  const auto& w = window;
  for (int64_t plane = 0; plane < out[0] * out[1]; ++plane) {
    for (int64_t i = 0; i < out[2]; ++i) {
      for (int64_t j = 0; j < out[3]; ++j) {
        std::vector<double> inside;
        int64_t padded = 0;
        for (int64_t k = 0; k < w[0]; ++k) {
          for (int64_t l = 0; l < w[1]; ++l) {
            const int64_t row = i * w[2] - w[4] + k * w[6], col = j * w[3] - w[5] + l * w[7];
            padded += row < shape[2] + w[4] && col < shape[3] + w[5];
            if (row >= 0 && row < shape[2] && col >= 0 && col < shape[3])
              inside.push_back(x[static_cast<size_t>((plane * shape[2] + row) * shape[3] + col)]);
          }
        }
        f(inside, padded);
      }
    }
  }
}

std::vector<Pooling> poolings(bool dilated) {
  std::vector<Pooling> all;
  for (bool ceil : {false, true}) {
    all.push_back({{1, 1, 1, 1}, {1, 1, 1, 1, 0, 0, 1, 1}, ceil});
    all.push_back({{2, 3, 28, 28}, {2, 2, 2, 2, 0, 0, 1, 1}, ceil});
    all.push_back({{2, 3, 13, 17}, {3, 3, 2, 2, 1, 1, 1, 1}, ceil});
    all.push_back({{1, 2, 7, 50}, {3, 2, 1, 3, 1, 0, 1, 1}, ceil});
    all.push_back({{1, 2, 9, 9}, {9, 9, 1, 1, 0, 0, 1, 1}, ceil});
    all.push_back({{3, 2, 5, 6}, {2, 4, 5, 3, 1, 2, 1, 1}, ceil});
    all.push_back({{1, 1, 3, 2100}, {2, 5, 1, 2, 1, 2, 1, 1}, ceil});
    all.push_back({{1, 1, 2, 2100}, {1, 1100, 1, 97, 0, 550, 1, 1}, ceil});
    all.push_back({{0, 3, 8, 8}, {2, 2, 2, 2, 0, 0, 1, 1}, ceil});
    all.push_back({{4, 40, 33, 31}, {2, 3, 2, 2, 0, 1, 1, 1}, ceil});
    if (!dilated) continue;
    all.push_back({{2, 2, 11, 12}, {3, 3, 1, 2, 1, 1, 2, 3}, ceil});
    all.push_back({{1, 2, 2, 40}, {2, 2, 1, 1, 1, 1, 2, 35}, ceil});
  }
  return all;
}

}  // namespace sinew_test
