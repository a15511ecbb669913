// Windows of pooling, and walking over them.
#pragma once

#include <array>
#include <functional>

#include "support/reals.h"

namespace sinew_test {

struct Pooling {
  std::vector<int64_t> shape;     // of x
  std::array<int64_t, 8> window;  // as sinew.h has it
  bool ceil;

  std::vector<int64_t> output_shape() const;
  std::string text() const;
  // f(values, padded) for every output element in order: the values in its window that are inside, and how many places
  // of the window are inside or in the padding.
  void each(const std::vector<double>& x, const std::function<void(const std::vector<double>&, int64_t)>& f) const;
};

std::vector<Pooling> poolings(bool dilated);

}  // namespace sinew_test
