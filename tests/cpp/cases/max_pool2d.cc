// Maxima of windows, exact.
#include <algorithm>
#include <cmath>
#include <limits>

#include "support/pooling.h"

namespace sinew_test {
namespace {

Call max_pool_call(const Pooling& pooling, sn_dtype dtype, std::vector<uint8_t> bytes, const std::string& what) {
  Bounded close;
  pooling.each(doubles_of(dtype, bytes), [&](const std::vector<double>& values, int64_t) {
    double largest = -std::numeric_limits<double>::infinity();
    for (double v : values) largest = std::isnan(largest) || v <= largest ? largest : v;
    close.value.push_back(largest);
    close.bound.push_back(0);
  });
  Call call;
  call.label = std::string("max_pool2d ") + name_of(dtype) + " " + pooling.text() + " " + what;
  call.inputs = {operand_of(dtype, pooling.shape, std::move(bytes))};
  call.outputs = {operand_of(dtype, pooling.output_shape(), {})};
  call.bounded = {std::move(close)};
  call.run = [pooling](const Tensors& in, const Tensors& out, int64_t*) {
    return sn_max_pool2d(in[0], pooling.window.data(), out[0]);
  };
  return call;
}

void windows(const Emit& emit) {
  for (const Pooling& pooling : poolings(true)) {
    for (sn_dtype dtype : {SN_F32, SN_F16, SN_BF16}) {
      const uint64_t seed = next_seed();
      emit(max_pool_call(pooling, dtype, uniform_elements(dtype, count_of(pooling.shape), 3, seed),
                         "seed " + std::to_string(seed)));
    }
  }
}

void not_finite(const Emit& emit) {
  const double infinity = std::numeric_limits<double>::infinity();
  for (const Pooling& pooling : poolings(true)) {
    std::vector<double> values;
    for (int64_t i = 0; i < count_of(pooling.shape); ++i)
      values.push_back(i % 11 == 0   ? -infinity
                       : i % 23 == 5 ? infinity
                       : i % 41 == 7 ? std::nan("")
                                     : -2.0 - 0.5 * static_cast<double>(i % 3));
    emit(max_pool_call(pooling, SN_F32, elements(SN_F32, values), "not finite"));
  }
}

const Register registered({"max_pool2d", {{"windows", windows}, {"not_finite", not_finite}}, {}});

}  // namespace
}  // namespace sinew_test
