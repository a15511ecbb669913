// The oracle's own conversions, against values worked out by hand.
#include "support/number.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

namespace sinew_test {
namespace {

uint16_t encoded(sn_dtype dtype, float x) {
  uint16_t bits = 0;
  put_f32(dtype, x, &bits);
  return bits;
}

TEST(Number, F16ByHand) {
  EXPECT_EQ(encoded(SN_F16, 0.0f), 0x0000);
  EXPECT_EQ(encoded(SN_F16, -0.0f), 0x8000);
  EXPECT_EQ(encoded(SN_F16, 1.0f), 0x3c00);
  EXPECT_EQ(encoded(SN_F16, -2.0f), 0xc000);
  EXPECT_EQ(encoded(SN_F16, 65504.0f), 0x7bff);
  EXPECT_EQ(encoded(SN_F16, 65519.0f), 0x7bff);
  EXPECT_EQ(encoded(SN_F16, 65520.0f), 0x7c00);
  EXPECT_EQ(encoded(SN_F16, 1.0f + 0x1p-11f), 0x3c00);  // tie to even, down
  EXPECT_EQ(encoded(SN_F16, 1.0f + 0x3p-11f), 0x3c02);  // tie to even, up
  EXPECT_EQ(encoded(SN_F16, 0x1p-24f), 0x0001);
  EXPECT_EQ(encoded(SN_F16, 0x1p-25f), 0x0000);
  EXPECT_EQ(encoded(SN_F16, 0x1.8p-24f), 0x0002);
  EXPECT_EQ(encoded(SN_F16, 0x1p-14f), 0x0400);
  EXPECT_EQ(encoded(SN_F16, 0x1.ff8p-15f), 0x03ff);
  EXPECT_EQ(encoded(SN_F16, 0x1.ffcp-15f), 0x0400);  // rounds up into the normal numbers
}

TEST(Number, Bf16ByHand) {
  EXPECT_EQ(encoded(SN_BF16, 1.0f), 0x3f80);
  EXPECT_EQ(encoded(SN_BF16, -1.0f), 0xbf80);
  EXPECT_EQ(encoded(SN_BF16, 1.0f + 0x1p-8f), 0x3f80);
  EXPECT_EQ(encoded(SN_BF16, 1.0f + 0x3p-8f), 0x3f82);
  EXPECT_EQ(encoded(SN_BF16, 0x1p-133f), 0x0001);
  EXPECT_EQ(encoded(SN_BF16, 0x1p-134f), 0x0000);
  EXPECT_EQ(encoded(SN_BF16, 0x1p-126f), 0x0080);
  EXPECT_EQ(encoded(SN_BF16, std::numeric_limits<float>::max()), 0x7f80);
  EXPECT_EQ(encoded(SN_BF16, 0x1.fep127f), 0x7f7f);
}

TEST(Number, NarrowFormatsSurviveTheRoundTrip) {
  for (sn_dtype dtype : {SN_F16, SN_BF16}) {
    const uint32_t quiet = dtype == SN_F16 ? 0x200 : 0x40, infinity = dtype == SN_F16 ? 0x7c00 : 0x7f80;
    for (uint32_t i = 0; i < 65536; ++i) {
      const uint16_t bits = static_cast<uint16_t>(i);
      const bool nan = (i & 0x7fff) > infinity;
      EXPECT_EQ(encoded(dtype, as_f32(dtype, &bits)), nan ? i | quiet : i);
    }
  }
}

TEST(Number, E4m3ByHand) {
  const auto code = [](float x) {
    uint8_t bits = 0;
    put_f32(SN_F8_E4M3, x, &bits);
    return static_cast<int>(bits);
  };
  EXPECT_EQ(code(0.0f), 0x00);
  EXPECT_EQ(code(-0.0f), 0x80);
  EXPECT_EQ(code(1.0f), 0x38);
  EXPECT_EQ(code(-1.125f), 0xb9);
  EXPECT_EQ(code(1.0625f), 0x38);  // tie to even, down
  EXPECT_EQ(code(1.1875f), 0x3a);  // tie to even, up
  EXPECT_EQ(code(448.0f), 0x7e);
  EXPECT_EQ(code(1e9f), 0x7e);
  EXPECT_EQ(code(-std::numeric_limits<float>::infinity()), 0xfe);
  EXPECT_EQ(code(0x1p-9f), 0x01);
  EXPECT_EQ(code(0x1p-10f), 0x00);
  EXPECT_EQ(code(0x1.8p-9f), 0x02);
  EXPECT_EQ(code(0x1p-6f), 0x08);
  EXPECT_EQ(code(0x1.ep-7f), 0x08);  // rounds up into the normal numbers
  for (int i = 0; i < 256; ++i) {
    const uint8_t bits = static_cast<uint8_t>(i);
    const float value = as_f32(SN_F8_E4M3, &bits);
    EXPECT_EQ(std::isnan(value), i % 128 == 127);
    if (!std::isnan(value)) {
      EXPECT_EQ(code(value), i);
    }
  }
}

TEST(Number, F64RoundsOnce) {
  const double halfway = 1.0 + 0x1p-24;
  EXPECT_EQ(as_f32(SN_F64, &halfway), 1.0f);
  const double above = halfway + 0x1p-50;
  EXPECT_EQ(as_f32(SN_F64, &above), 1.0f + 0x1p-23f);
}

}  // namespace
}  // namespace sinew_test
