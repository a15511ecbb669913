// Means of windows.
#include <cmath>

#include "support/pooling.h"

namespace sinew_test {
namespace {

// A sum of n terms in any order, and a division.
Call avg_pool_call(const Pooling& pooling, std::vector<uint8_t> bytes, bool include_padding, const std::string& what,
                   sn_dtype dtype = SN_F32) {
  Bounded close;
  pooling.each(doubles_of(dtype, bytes), [&](const std::vector<double>& values, int64_t padded) {
    double sum = 0, magnitude = 0;
    for (double v : values) {
      sum += v;
      magnitude += std::abs(v);
    }
    const double n = static_cast<double>(include_padding ? padded : static_cast<int64_t>(values.size()));
    close.value.push_back(sum / n);
    close.bound.push_back(1.1 * kHalf * (static_cast<double>(values.size()) * magnitude / n + std::abs(sum / n)));
  });
  Call call =
      close_call("avg_pool2d " + pooling.text() + (include_padding ? " padding " : " ") + what,
                 {operand_of(dtype, pooling.shape, std::move(bytes))}, dtype, pooling.output_shape(), std::move(close));
  call.run = [pooling, include_padding](const Tensors& in, const Tensors& out, int64_t*) {
    return sn_avg_pool2d(in[0], pooling.window.data(), include_padding, out[0]);
  };
  return call;
}

void windows(const Emit& emit) {
  for (const Pooling& pooling : poolings(false)) {
    for (bool include_padding : {false, true}) {
      for (sn_dtype dtype : {SN_F32, SN_F16, SN_BF16}) {
        const uint64_t seed = next_seed();
        emit(avg_pool_call(pooling, uniform_elements(dtype, count_of(pooling.shape), 3, seed), include_padding,
                           std::string(name_of(dtype)) + " seed " + std::to_string(seed), dtype));
      }
    }
  }
}

void not_finite(const Emit& emit) {
  const Pooling pooling = {{1, 2, 7, 50}, {3, 2, 1, 3, 1, 0, 1, 1}, false};
  std::vector<double> values(700, 0.5);
  values[77] = std::nan("");
  values[500] = HUGE_VAL;
  emit(avg_pool_call(pooling, elements(SN_F32, values), true, "not finite"));
}

void same_everywhere(const Emit& emit) {
  const Pooling pooling = {{2, 3, 40, 50}, {3, 5, 2, 1, 1, 2, 1, 1}, true};
  Call call = avg_pool_call(pooling, uniform_elements(SN_F32, 12000, 3, 1), true, "everywhere");
  call.fingerprint = 0x5fcdbd499b3c2a32;
  emit(call);
}

const Register registered({"avg_pool2d",
                           {{"windows", windows}, {"not_finite", not_finite}, {"same_everywhere", same_everywhere}},
                           {}});

}  // namespace
}  // namespace sinew_test
