// Devices: threads, closing, and many callers at once.
#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <thread>
#include <vector>

#include "support/check.h"
#include "support/quantizing.h"
#include "support/tensor.h"
#include "support/values.h"

namespace sinew_test {
namespace {

#if defined(SINEW_TEST_SANITIZED)
constexpr int kRounds = 3;
constexpr int64_t kElements = 300007;
#else
constexpr int kRounds = 20;
constexpr int64_t kElements = 700001;
#endif

TEST(Device, OpensWithAnyNumberOfThreads) {
  for (int32_t threads : {1, 2, 5, 64}) {
    sn_device* device = nullptr;
    ASSERT_EQ(sn_cpu_open(threads, &device), SN_OK) << sn_last_error();
    EXPECT_EQ(sn_device_threads(device), threads);
    sn_device_close(device);
  }
  sn_device* device = nullptr;
  ASSERT_EQ(sn_cpu_open(0, &device), SN_OK);
  EXPECT_EQ(sn_device_threads(device), sn_cpu_available());
  sn_device_close(device);
}

TEST(Device, RefusesBadArguments) {
  sn_device* device = nullptr;
  for (int32_t threads : {-1, 4097, INT32_MIN, INT32_MAX}) {
    EXPECT_EQ(sn_cpu_open(threads, &device), SN_INVALID_ARGUMENT);
    EXPECT_NE(std::string(sn_last_error()).find(std::to_string(threads)), std::string::npos);
    EXPECT_EQ(device, nullptr);
  }
  EXPECT_EQ(sn_cpu_open(1, nullptr), SN_INVALID_ARGUMENT);
}

TEST(Device, RefusesWhatIsNotOpenBlas) {
  const std::pair<const char*, const char*> files[] = {{"/nowhere/libopenblas.so.0", "No such file"},
                                                       {"libc.so.6", "it is not OpenBLAS"}};
  for (const auto& file : files) {
    EXPECT_EQ(sn_blas_open(file.first), SN_UNSUPPORTED);
    const std::string message = sn_last_error();
    EXPECT_NE(message.find(file.first), std::string::npos) << message;
    EXPECT_NE(message.find(file.second), std::string::npos) << message;
  }
  EXPECT_STREQ(sn_blas_configuration(), "");
}

TEST(Device, ClosesBeforeItsTensors) {
  sn_device* device = nullptr;
  ASSERT_EQ(sn_cpu_open(3, &device), SN_OK);
  Tensor small{device, SN_F32, {10}}, large{device, SN_F32, {1 << 21}}, view;
  const int64_t two = 2;
  ASSERT_EQ(sn_tensor_view(large, 5, 1, &two, view.out()), SN_OK);
  sn_device_close(device);
  small.fill(1);
  large.fill(2);
  EXPECT_EQ(view.data()[0], 2);
  small.close();
  large.close();
  view.fill(3);
}

TEST(Device, ClosingTwiceWhileTensorsLiveIsHarmless) {
  sn_device* device = nullptr;
  ASSERT_EQ(sn_cpu_open(2, &device), SN_OK);
  Tensor tensor{device, SN_F32, {10}};  // keeps the object alive
  sn_device_close(device);
  sn_device_close(device);
}

TEST(Device, TensorsOfTwoDevicesWorkTogether) {
  Tensor a{device_with(1), SN_F32, {100}}, b{device_with(3), SN_F32, {100}};
  int64_t zeros = 0;
  EXPECT_EQ(sn_prune_threshold(a, 1, b, &zeros), SN_OK) << sn_last_error();
  EXPECT_EQ(zeros, 100);
}

// Many threads call operations on one device at once, some finding the pool taken; every result must be right.
TEST(Device, ManyCallersAtOnce) {
  sn_device* device = nullptr;
  ASSERT_EQ(sn_cpu_open(4, &device), SN_OK);
  {
    Tensor x{device, SN_F32, {kElements}};
    const auto bytes = random_elements(SN_F32, kElements, Fill::kWeights, 77);
    std::memcpy(x.data(), bytes.data(), bytes.size());
    // What one caller alone gets; operations_test compares that with the oracle.
    const int64_t shape[] = {7, kElements / 7};
    Tensor matrix;
    ASSERT_EQ(sn_tensor_view(x, 0, 2, shape, matrix.out()), SN_OK);
    Tensor lo{device, SN_F32, {7}}, hi{device, SN_F32, {7}}, scale{device, SN_F32, {7}};
    ASSERT_EQ(sn_range(matrix, 0, SN_INT8_SYMMETRIC, SN_RANGE_MINMAX, 0, lo, hi), SN_OK);
    ASSERT_EQ(sn_scale(lo, hi, SN_INT8_SYMMETRIC, scale, nullptr), SN_OK);
    struct Results {
      Tensor q, pruned, y, lo, hi, histogram, statistics;
      int64_t zeros = 0, less = 0, equal = 0;
      Results(sn_device* d, const std::vector<int64_t>& s)
          : q{d, SN_I8, s},
            pruned{d, SN_F32, s},
            y{d, SN_BF16, s},
            lo{d, SN_F32, {7}},
            hi{d, SN_F32, {7}},
            histogram{d, SN_I64, {65536}},
            statistics{d, SN_F64, {8}} {}
    };
    const auto run = [&](Results& r) {
      bool ok = sn_quantize(matrix, scale, nullptr, 0, r.q) == SN_OK;
      ok = ok && sn_dequantize(r.q, scale, nullptr, 0, r.y) == SN_OK;
      ok = ok && sn_prune_smallest(matrix, 0.02f, 10, r.pruned, &r.zeros) == SN_OK;
      ok = ok && sn_range(matrix, 0, SN_INT8_ASYMMETRIC, SN_RANGE_PERCENTILE, 99, r.lo, r.hi) == SN_OK;
      ok = ok && sn_magnitude_count(matrix, 0.05f, &r.less, &r.equal) == SN_OK;
      std::memset(r.histogram.data(), 0, r.histogram.size());
      ok = ok && sn_key_histogram(matrix, SN_ORDER_MAGNITUDE, -1, r.histogram) == SN_OK;
      return ok && sn_statistics(matrix, r.statistics) == SN_OK;
    };
    const std::vector<int64_t> dims = {7, kElements / 7};
    Results alone(device, dims);
    ASSERT_TRUE(run(alone)) << sn_last_error();
    std::atomic<int> wrong{0};
    std::vector<std::thread> callers;
    for (int c = 0; c < 6; ++c) {
      callers.emplace_back([&] {
        Results r(device, dims);
        for (int round = 0; round < kRounds; ++round) {
          bool same = run(r) && r.zeros == alone.zeros && r.less == alone.less && r.equal == alone.equal;
          const Tensor* const pairs[][2] = {{&r.q, &alone.q},
                                            {&r.pruned, &alone.pruned},
                                            {&r.y, &alone.y},
                                            {&r.lo, &alone.lo},
                                            {&r.hi, &alone.hi},
                                            {&r.histogram, &alone.histogram},
                                            {&r.statistics, &alone.statistics}};
          for (const auto& pair : pairs)
            same = same && std::memcmp(pair[0]->data(), pair[1]->data(), pair[0]->size()) == 0;
          wrong += !same;
        }
      });
    }
    for (std::thread& caller : callers) caller.join();
    EXPECT_EQ(wrong, 0);
  }
  sn_device_close(device);
}

// Handles are made and closed by many threads, views outliving parents.
TEST(Device, TensorsAreMadeAndClosedConcurrently) {
  sn_device* device = nullptr;
  ASSERT_EQ(sn_cpu_open(2, &device), SN_OK);
  const int64_t before = sn_live_tensors();
  {
    Tensor parent{device, SN_F32, {1000}};
    std::vector<std::thread> threads;
    std::atomic<int> failures{0};
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        for (int64_t i = 0; i < 200; ++i) {
          Tensor view, own{device, SN_F32, {i + 1}};
          const int64_t ten = 10;
          failures += sn_tensor_view(parent, i % 900 + t, 1, &ten, view.out()) != SN_OK;
          failures += sn_tensor_view(parent, 2000, 1, &ten, nullptr) != SN_INVALID_ARGUMENT;
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(failures, 0);
  }
  EXPECT_EQ(sn_live_tensors(), before);
  sn_device_close(device);
}

TEST(Device, ErrorsBelongToTheirThread) {
  sn_device* device = nullptr;
  EXPECT_EQ(sn_cpu_open(-3, &device), SN_INVALID_ARGUMENT);
  std::string other = "unset";
  std::thread([&] { other = sn_last_error(); }).join();
  EXPECT_EQ(other, "");
  EXPECT_NE(std::string(sn_last_error()), "");
}

}  // namespace
}  // namespace sinew_test
