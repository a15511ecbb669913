// Handles of packed weights and the arguments of linear layers.
#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "support/check.h"
#include "support/layer.h"
#include "support/tensor.h"
#include "support/values.h"

namespace sinew_test {
namespace {

class Linear : public testing::Test {
 protected:
  static constexpr int64_t kOut = 37, kIn = 53;

  Linear() {
    const auto bytes = random_bytes(kOut * kIn, 3);
    std::memcpy(weight.data(), bytes.data(), bytes.size());
    const auto numbers = random_elements(SN_F32, kOut, Fill::kFew, 4);
    std::memcpy(scale.data(), numbers.data(), numbers.size());
  }
  ~Linear() override { sn_weights_close(packed); }

  void refused(sn_status status, const std::string& part) {
    EXPECT_EQ(status, SN_INVALID_ARGUMENT) << part;
    EXPECT_NE(std::string(sn_last_error()).find(part), std::string::npos) << "got: " << sn_last_error();
    EXPECT_TRUE(y.holds_only(0xa5)) << "an output was touched by a refused call: " << sn_last_error();
  }
  void refused_pack(const sn_tensor* w, const sn_tensor* s, const sn_tensor* z, const std::string& part) {
    sn_weights* none = nullptr;
    EXPECT_EQ(sn_pack_w8a8(w, s, z, &none), SN_INVALID_ARGUMENT) << part;
    EXPECT_NE(std::string(sn_last_error()).find(part), std::string::npos) << "got: " << sn_last_error();
    EXPECT_EQ(none, nullptr);
  }
  void pack() { ASSERT_EQ(sn_pack_w8a8(weight, scale, nullptr, &packed), SN_OK) << sn_last_error(); }

  sn_device* device = device_with(2);
  Tensor weight{device, SN_I8, {kOut, kIn}}, scale{device, SN_F32, {kOut}}, x{device, SN_F32, {5, kIn}},
      y{device, SN_F32, {5, kOut}}, bias{device, SN_F32, {kOut}};
  sn_weights* packed = nullptr;
};

TEST_F(Linear, HandlesSayWhatTheyHold) {
  pack();
  EXPECT_EQ(sn_weights_kind(packed), SN_W8A8);
  EXPECT_EQ(sn_weights_rows(packed), kOut);
  EXPECT_EQ(sn_weights_cols(packed), kIn);
  EXPECT_GE(sn_weights_bytes(packed), kOut * kIn);
  EXPECT_EQ(sn_weights_rows(nullptr), 0);
  EXPECT_EQ(sn_weights_bytes(nullptr), 0);
  EXPECT_EQ(sn_weights_kind(nullptr), -1);
  sn_weights_close(nullptr);
}

TEST_F(Linear, PackingRefusesBadArguments) {
  Tensor three{device, SN_F32, {3}}, bytes{device, SN_I8, {kOut}}, few{device, SN_I8, {3}},
      wide{device, SN_I8, {1, 65537}}, one{device, SN_F32, {1}};
  refused_pack(nullptr, scale, nullptr, "weight is null");
  refused_pack(weight, nullptr, nullptr, "scale is null");
  refused_pack(x, scale, nullptr, "weight is F32");
  refused_pack(weight, three, nullptr, "scale is F32 with 3 elements; F32 with 1 or 37 is needed for I8 [37, 53]");
  refused_pack(weight, bytes, nullptr, "scale is I8");
  refused_pack(weight, scale, few, "zero_point is I8 with 3");
  refused_pack(weight, scale, bias, "zero_point is F32");
  refused_pack(wide, one, nullptr, "I8 [1, 65537] with 65537 columns; int32 sums of int8 products take at most 65536");
  EXPECT_EQ(sn_pack_w8a8(weight, scale, nullptr, nullptr), SN_INVALID_ARGUMENT);
}

TEST_F(Linear, LayersRefuseBadArguments) {
  pack();
  y.fill(0xa5);
  Tensor narrow{device, SN_F32, {5, kIn - 1}}, ints{device, SN_I32, {5, kIn}}, scalar{device, SN_F32, {}},
      few{device, SN_F32, {4, kOut}}, turned{device, SN_F32, {kOut, 5}}, doubles{device, SN_F64, {5, kOut}};
  refused(sn_linear(nullptr, packed, bias, 0, y), "x is null");
  refused(sn_linear(x, nullptr, bias, 0, y), "the weights are null");
  refused(sn_linear(x, packed, bias, 0, nullptr), "y is null");
  refused(sn_linear(narrow, packed, bias, 0, y),
          "x is F32 [5, 52]; F32 or BF16 [..., 53] is needed for weights [37, 53]");
  refused(sn_linear(ints, packed, bias, 0, y), "x is I32 [5, 53]");
  refused(sn_linear(scalar, packed, bias, 0, y), "x is F32 []");
  refused(sn_linear(x, packed, bias, 0, few),
          "y is F32 [4, 37]; F32 or BF16 with 5 rows of 37 is needed for x F32 [5, 53]");
  refused(sn_linear(x, packed, bias, 0, turned), "y is F32 [37, 5]");
  refused(sn_linear(x, packed, bias, 0, doubles), "y is F64 [5, 37]");
  refused(sn_linear(x, packed, few, 0, y), "bias is F32 with 148 elements; F32 with 37");
  refused(sn_linear(x, packed, weight, 0, y), "bias is I8");
  refused(sn_linear(x, packed, bias, -1, y), "-1 is not an activation");
  refused(sn_linear(x, packed, bias, SN_TANH + 1, y), "7 is not an activation");
  Tensor shared{device, SN_F32, {5, kIn + kOut}}, part, overlapping;
  const int64_t x_shape[] = {5, kIn}, y_shape[] = {5, kOut};
  ASSERT_EQ(sn_tensor_view(shared, 0, 2, x_shape, part.out()), SN_OK);
  ASSERT_EQ(sn_tensor_view(shared, 5 * kIn - 1, 2, y_shape, overlapping.out()), SN_OK);
  refused(sn_linear(part, packed, bias, 0, overlapping), "overlaps");
}

// The handle keeps its memory when its device closes, and another device of the same kind computes with it.
TEST_F(Linear, WeightsOutliveTheirDevice) {
  sn_device* other = nullptr;
  ASSERT_EQ(sn_cpu_open(3, &other), SN_OK);
  sn_weights* weights = nullptr;
  {
    Tensor w{other, SN_I8, {kOut, kIn}}, s{other, SN_F32, {kOut}};
    std::memcpy(w.data(), weight.data(), weight.size());
    std::memcpy(s.data(), scale.data(), scale.size());
    ASSERT_EQ(sn_pack_w8a8(w, s, nullptr, &weights), SN_OK) << sn_last_error();
    sn_device_close(other);
    sn_weights* none = nullptr;
    EXPECT_EQ(sn_pack_w8a8(w, s, nullptr, &none), SN_INVALID_ARGUMENT);
    EXPECT_NE(std::string(sn_last_error()).find("closed"), std::string::npos);
  }
  x.fill(0x3f);
  EXPECT_EQ(sn_linear(x, weights, bias, SN_RELU, y), SN_OK) << sn_last_error();
  Tensor again{device, SN_F32, {5, kOut}};
  pack();
  EXPECT_EQ(sn_linear(x, packed, bias, SN_RELU, again), SN_OK) << sn_last_error();
  EXPECT_EQ(std::memcmp(y.data(), again.data(), y.size()), 0);
  sn_weights_close(weights);
}

// Many threads share one handle and one device, with different numbers of rows, while others pack and close.
TEST_F(Linear, ManyCallersAtOnce) {
  sn_device* shared = nullptr;
  ASSERT_EQ(sn_cpu_open(3, &shared), SN_OK);
  {
    const int64_t rows[] = {1, 3, 70, 200};
    const LayerShape s = {200, 131, 200};
    Tensor w{shared, SN_I8, {s.out, s.in}}, one{shared, SN_F32, {1}}, all{shared, SN_F32, {s.rows, s.in}},
        alone{shared, SN_F32, {s.rows, s.out}};
    const auto bytes = random_bytes(s.out * s.in, 5);
    std::memcpy(w.data(), bytes.data(), bytes.size());
    const float step = 0.01f;
    std::memcpy(one.data(), &step, sizeof step);
    const auto activations = random_activations(s, 6);
    std::memcpy(all.data(), activations.data(), activations.size());
    sn_weights* weights = nullptr;
    ASSERT_EQ(sn_pack_w8a8(w, one, nullptr, &weights), SN_OK) << sn_last_error();
    ASSERT_EQ(sn_linear(all, weights, nullptr, SN_NONE, alone), SN_OK) << sn_last_error();
    std::atomic<int> wrong{0};
    std::vector<std::thread> callers;
    for (size_t c = 0; c < 6; ++c) {
      callers.emplace_back([&, c] {
        for (size_t round = 0; round < 20; ++round) {
          const int64_t count = rows[(c + round) % 4];
          const int64_t shape[] = {count, s.in};
          Tensor some, result{shared, SN_F32, {count, s.out}};
          sn_weights* own = nullptr;
          bool ok = sn_tensor_view(all, 0, 2, shape, some.out()) == SN_OK;
          ok = ok && sn_pack_w8a8(w, one, nullptr, &own) == SN_OK;
          ok = ok && sn_linear(some, c % 2 == 0 ? weights : own, nullptr, SN_NONE, result) == SN_OK;
          wrong += !ok || std::memcmp(result.data(), alone.data(), result.size()) != 0;
          sn_weights_close(own);
        }
      });
    }
    for (std::thread& caller : callers) caller.join();
    EXPECT_EQ(wrong, 0);
    sn_weights_close(weights);
  }
  sn_device_close(shared);
}

// Rows of dense layers have the same bits alone and among others; where BF16 meets BF16 on the matrix unit, among up to
// four rows and among more.
TEST(Rows, OfDenseLayersDoNotDependOnOthers) {
  sn_device* device = device_with(3);
  const std::string tier = sn_cpu_isa();
  const LayerShape s = {140, 131, 70};
  for (sn_dtype x_dtype : {SN_F32, SN_BF16}) {
    for (sn_dtype w_dtype : {SN_F32, SN_BF16}) {
      Tensor w{device, w_dtype, {s.out, s.in}}, x{device, x_dtype, {s.rows, s.in}},
          all{device, SN_F32, {s.rows, s.out}}, alone{device, SN_F32, {1, s.out}};
      const auto weights = random_elements(w_dtype, s.out * s.in, Fill::kWeights, 3);
      const auto activations = random_elements(x_dtype, s.rows * s.in, Fill::kWeights, 4);
      std::memcpy(w.data(), weights.data(), weights.size());
      std::memcpy(x.data(), activations.data(), activations.size());
      put(x_dtype, 0x1p-130, x.data() + size_of(x_dtype) * (30 * s.in + 7));  // a row that tiles do not serve
      sn_weights* packed = nullptr;
      ASSERT_EQ(sn_pack_float(w, &packed), SN_OK) << sn_last_error();
      ASSERT_EQ(sn_linear(x, packed, nullptr, SN_NONE, all), SN_OK) << sn_last_error();
      const bool tiles = tier == "amx" && x_dtype == SN_BF16 && w_dtype == SN_BF16;
      for (int64_t rows : {1, 2, 3, 4, 5, 16, 17, 32, 33, 100, 129}) {
        const int64_t first = s.rows - rows, shape[] = {rows, s.in};
        Tensor some, result{device, SN_F32, {rows, s.out}};
        ASSERT_EQ(sn_tensor_view(x, first * s.in, 2, shape, some.out()), SN_OK) << sn_last_error();
        ASSERT_EQ(sn_linear(some, packed, nullptr, SN_NONE, result), SN_OK) << sn_last_error();
        const std::string what =
            std::to_string(rows) + " rows, x " + name_of(x_dtype) + ", weights " + name_of(w_dtype);
        const size_t row_bytes = alone.size();
        const uint8_t* last = result.data() + result.size() - row_bytes;
        if (rows == 1) std::memcpy(alone.data(), last, row_bytes);
        if (rows <= 4 || !tiles) {
          EXPECT_EQ(std::memcmp(last, alone.data(), row_bytes), 0) << what;
        }
        if (rows > 4 || !tiles) {
          const uint8_t* same = all.data() + all.size() - result.size();
          EXPECT_EQ(std::memcmp(result.data(), same, result.size()), 0) << what;
        }
      }
      sn_weights_close(packed);
    }
  }
}

// A rank of 1, and more than 2 dimensions.
TEST_F(Linear, LeadingDimensionsAreRows) {
  pack();
  x.fill(0x3e);
  ASSERT_EQ(sn_linear(x, packed, bias, SN_NONE, y), SN_OK);
  Tensor row, cube, out{device, SN_F32, {1, 5, 1, kOut}}, first{device, SN_F32, {kOut}};
  const int64_t in = kIn, dims[] = {5, 1, 1, kIn};
  ASSERT_EQ(sn_tensor_view(x, 0, 1, &in, row.out()), SN_OK);
  ASSERT_EQ(sn_tensor_view(x, 0, 4, dims, cube.out()), SN_OK);
  ASSERT_EQ(sn_linear(row, packed, bias, SN_NONE, first), SN_OK) << sn_last_error();
  ASSERT_EQ(sn_linear(cube, packed, bias, SN_NONE, out), SN_OK) << sn_last_error();
  EXPECT_EQ(std::memcmp(first.data(), y.data(), first.size()), 0);
  EXPECT_EQ(std::memcmp(out.data(), y.data(), y.size()), 0);
}

}  // namespace
}  // namespace sinew_test
