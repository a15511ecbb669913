// What the tests of refused arguments share.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "support/check.h"
#include "support/tensor.h"

namespace sinew_test {

inline constexpr uint8_t kPattern = 0xa5;

// One tensor for each kind of argument, and outputs that hold a pattern.
class Arguments : public testing::Test {
 protected:
  Arguments() {
    for (Tensor* t : {&out, &mask, &q8, &q4, &y, &counts, &lo, &hi, &errors, &eight, &five, &scale, &zero_point, &q2,
                      &cluster_sums})
      t->fill(kPattern);
  }

  // The call must be refused and leave all outputs alone.
  void refused(sn_status status, const std::string& part, sn_status expected = SN_INVALID_ARGUMENT) {
    EXPECT_EQ(status, expected) << part;
    const std::string sentence = sn_last_error();
    EXPECT_NE(sentence.find(part), std::string::npos) << "got: " << sentence;
    EXPECT_EQ(sentence.find('\n'), std::string::npos) << sentence;
    for (const Tensor* t : {&out, &mask, &q8, &q4, &y, &counts, &lo, &hi, &errors, &eight, &five, &scale, &zero_point,
                            &q2, &cluster_sums}) {
      EXPECT_TRUE(t->holds_only(kPattern)) << "an output was touched by a refused call: " << sentence;
    }
    EXPECT_EQ(number, -7) << "a number was set by a refused call: " << sentence;
    number = -7;
  }

  // A read-only tensor of this dtype with as many elements.
  void map_zeros(sn_dtype dtype, int64_t count, Tensor* tensor) {
    char path[] = "/tmp/sinew-arguments-XXXXXX";
    const int file = mkstemp(path);
    ASSERT_GE(file, 0);
    ASSERT_EQ(ftruncate(file, count * size_of(dtype)), 0);
    ::close(file);
    ASSERT_EQ(sn_tensor_map(device, path, 0, dtype, 1, &count, tensor->out()), SN_OK) << sn_last_error();
    unlink(path);
  }

  sn_device* device = device_with(2);
  // x is [4, 6]; everything else fits it.
  Tensor x{device, SN_F32, {4, 6}}, x16{device, SN_F16, {4, 6}}, ints{device, SN_I32, {4, 6}},
      longer{device, SN_F32, {4, 7}};
  Tensor out{device, SN_F32, {4, 6}}, mask{device, SN_BOOL, {4, 6}}, y{device, SN_F32, {4, 6}};
  Tensor q8{device, SN_I8, {4, 6}}, q4{device, SN_U8, {4, 3}}, f8{device, SN_F8_E4M3, {4, 6}};
  Tensor scale{device, SN_F32, {4, 1}}, zero_point{device, SN_I8, {4, 1}}, lo{device, SN_F32, {4}},
      hi{device, SN_F32, {4}};
  Tensor counts{device, SN_I64, {65536}}, errors{device, SN_F64, {4, 4}}, eight{device, SN_F64, {8}},
      five{device, SN_F64, {5}};
  Tensor f64s{device, SN_F64, {4}}, three{device, SN_F32, {3}}, three_zeros{device, SN_I8, {3}},
      shorts{device, SN_I16, {4}};
  // Two bits for each of x's elements.
  Tensor codebook{device, SN_F32, {4}}, q2{device, SN_U8, {4, 2}}, cluster_sums{device, SN_I64, {4, 32}},
      cluster_counts{device, SN_I64, {4}};
  int64_t number = -7;
};

}  // namespace sinew_test
