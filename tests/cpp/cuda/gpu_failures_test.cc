// What becomes of a device when its GPU fails, on the stand-in of host_cudart.cc, which fails when it is told to.
#include <gtest/gtest.h>

#include <dlfcn.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/tensor.h"

namespace sinew_test {
namespace {

constexpr int kInvalidValue = 1, kOutOfMemory = 2, kIllegalAddress = 700;  // of cudaError_t
constexpr int32_t kGpu = 1;                                                // no other test keeps a device of it open
constexpr int64_t kMany = 3000017, kBytes = kMany * 4;

class GpuFailures : public testing::Test {
 protected:
  void SetUp() override {
    const char* plugin = std::getenv("SINEW_CUDA_PLUGIN");
    ASSERT_EQ(sn_cuda_load(plugin), SN_OK) << sn_last_error();
    void* const found = dlsym(dlopen(plugin, RTLD_NOW | RTLD_NOLOAD), "sn_host_fail");
    if (found == nullptr) GTEST_SKIP() << "a GPU does not fail when it is told to";
    std::memcpy(&fail_, &found, sizeof found);
    open();
  }
  void TearDown() override {
    if (fail_ != nullptr) mend();
  }

  // The next call of a function of the run-time library fails so, or the next "kernel".
  void fail(const char* function, int error) { fail_(function, error); }
  // As if nothing had failed; devices have to be opened anew.
  void mend() {
    close();
    fail_(nullptr, 0);
  }
  void open() { ASSERT_EQ(sn_cuda_open(kGpu, &device_), SN_OK) << sn_last_error(); }
  sn_device* device() { return device_; }
  void close() {
    if (device_ != nullptr) sn_device_close(device_);
    device_ = nullptr;
  }

  // A tensor of kMany elements with these bytes, and closes it.
  sn_status create_from(const std::vector<char>& bytes) {
    Tensor made;
    return sn_tensor_create_from(device_, SN_F32, 1, &kMany, bytes.data(), made.out());
  }

  // Whether the device, or a new one, computes what it should.
  static bool works(sn_device* device) {
    Tensor x(device, SN_F32, {5}), y(device, SN_F32, {5});
    const float values[] = {1, 2, 3, 4, 5};
    float sums[5] = {};
    return sn_tensor_write(x, 0, values, sizeof values) == SN_OK && sn_add(x, x, y) == SN_OK &&
           sn_tensor_read(y, 0, sums, sizeof sums) == SN_OK && sums[0] == 2 && sums[4] == 10;
  }

 private:
  void (*fail_)(const char* function, int error) = nullptr;
  sn_device* device_ = nullptr;
};

void expect_lost(sn_status status, const char* what) {
  EXPECT_EQ(status, SN_DEVICE_LOST) << what;
  EXPECT_STREQ(sn_last_error(),
               "GPU 1 has failed (an illegal memory access was encountered) and cannot be used any more in this "
               "process: restart it")
      << what;
}

// All kinds of calls.
void expect_all_lost(sn_device* device, sn_tensor* x, sn_tensor* y) {
  std::vector<char> bytes(static_cast<size_t>(kBytes));
  sn_tensor* made = nullptr;
  int64_t zeros = 0;
  const int64_t shape[] = {10};
  expect_lost(sn_device_synchronize(device), "synchronize");
  expect_lost(sn_add(x, x, y), "add");
  expect_lost(sn_prune_threshold(x, 1, y, &zeros), "prune_threshold");
  expect_lost(sn_tensor_write(x, 0, bytes.data(), 100), "write");
  expect_lost(sn_tensor_read(x, 0, bytes.data(), 100), "read");
  expect_lost(sn_tensor_write(x, 0, bytes.data(), kBytes), "write a large tensor");
  expect_lost(sn_tensor_read(x, 0, bytes.data(), kBytes), "read a large tensor");
  expect_lost(sn_tensor_create(device, SN_F32, 1, shape, &made), "create");
  expect_lost(sn_tensor_create_from(device, SN_F32, 1, shape, bytes.data(), &made), "create from the host's");
  expect_lost(sn_tensor_create_from(device, SN_F32, 1, &kMany, bytes.data(), &made), "create a large tensor");
  EXPECT_EQ(made, nullptr);
}

TEST_F(GpuFailures, ThatPassLeaveTheDeviceAsItWas) {
  Tensor x(device(), SN_F32, {kMany}), y(device(), SN_F32, {kMany});
  std::vector<char> bytes(static_cast<size_t>(kBytes));
  const auto fails = [&](const char* function, sn_status status, const char* sentence) {
    EXPECT_EQ(status, SN_INTERNAL) << function;
    EXPECT_STREQ(sn_last_error(), sentence);
    EXPECT_TRUE(works(device())) << function << ": " << sn_last_error();
  };
  fail("kernel", kInvalidValue);
  fails("kernel", sn_add(x, x, y), "starting a kernel failed on GPU 1: invalid argument");
  fail("cudaMemcpyAsync", kInvalidValue);
  fails("cudaMemcpyAsync", sn_tensor_read(x, 0, bytes.data(), 100), "copying failed on GPU 1: invalid argument");
  for (const char* function : {"cudaMemcpyAsync", "cudaEventRecord", "cudaEventSynchronize", "cudaStreamWaitEvent"}) {
    fail(function, kInvalidValue);
    fails(function, sn_tensor_write(x, 0, bytes.data(), kBytes), "copying failed on GPU 1: invalid argument");
    fail(function, kInvalidValue);
    fails(function, sn_tensor_read(x, 0, bytes.data(), kBytes), "copying failed on GPU 1: invalid argument");
  }
  for (const char* function :
       {"cudaMallocFromPoolAsync", "cudaMemcpyAsync", "cudaEventRecord", "cudaEventSynchronize"}) {
    fail(function, kInvalidValue);
    fails(function, create_from(bytes), "copying failed on GPU 1: invalid argument");
  }
  // The memory that was taken for them is free again: so many would not fit.
  for (int round = 0; round < 30; ++round) {
    fail("cudaMemcpyAsync", kInvalidValue);
    EXPECT_EQ(create_from(bytes), SN_INTERNAL);
  }
  EXPECT_EQ(create_from(bytes), SN_OK) << sn_last_error();
  fail("cudaStreamSynchronize", kInvalidValue);
  fails("cudaStreamSynchronize", sn_device_synchronize(device()), "an operation failed on GPU 1: invalid argument");
}

// While one kernel runs, another cannot be started: that the stream is busy is not taken for an error of the next.
TEST_F(GpuFailures, OfALaunchBesideAKernel) {
  Tensor x(device(), SN_F32, {kMany}), y(device(), SN_F32, {kMany}), z(device(), SN_F32, {3});
  for (int round = 0; round < 3; ++round) {
    ASSERT_EQ(sn_activate(x, SN_GELU, y), SN_OK);
    fail("kernel", kInvalidValue);
    EXPECT_EQ(sn_add(z, z, z), SN_INTERNAL);
    EXPECT_EQ(sn_add(z, z, z), SN_OK) << sn_last_error();
    EXPECT_EQ(sn_device_synchronize(device()), SN_OK) << sn_last_error();
  }
}

// What is free may lie in pieces, which giving all of it back mends: for tensors and for what an operation needs.
TEST_F(GpuFailures, OfMemoryAreTriedAgain) {
  fail("cudaMallocFromPoolAsync", kOutOfMemory);
  Tensor x(device(), SN_F32, {2, 3, 5}), statistics(device(), SN_F32, {3}), y(device(), SN_F32, {2, 3, 5});
  fail("cudaMallocFromPoolAsync", kOutOfMemory);
  EXPECT_EQ(sn_batch_norm(x, statistics, statistics, nullptr, nullptr, 1e-5, y), SN_OK) << sn_last_error();
  fail("cudaMallocFromPoolAsync", kOutOfMemory);
  EXPECT_EQ(create_from(std::vector<char>(static_cast<size_t>(kBytes))), SN_OK) << sn_last_error();
}

// Copies go by way of the stream of kernels then.
TEST_F(GpuFailures, OfPageLockedMemoryAreMadeUpFor) {
  fail("cudaMallocHost", kOutOfMemory);
  const std::vector<char> bytes(static_cast<size_t>(kBytes), 5);
  for (int round = 0; round < 2; ++round) {
    Tensor x, y(device(), SN_F32, {kMany});
    ASSERT_EQ(sn_tensor_create_from(device(), SN_F32, 1, &kMany, bytes.data(), x.out()), SN_OK) << sn_last_error();
    ASSERT_EQ(sn_tensor_write(y, 0, bytes.data(), kBytes), SN_OK) << sn_last_error();
    for (sn_tensor* tensor : {static_cast<sn_tensor*>(x), static_cast<sn_tensor*>(y)}) {
      std::vector<char> back(bytes.size());
      ASSERT_EQ(sn_tensor_read(tensor, 0, back.data(), kBytes), SN_OK) << sn_last_error();
      EXPECT_EQ(back, bytes);
    }
  }
}

TEST_F(GpuFailures, ThatEndTheContextAreSaidByEveryCall) {
  Tensor x(device(), SN_F32, {kMany}), y(device(), SN_F32, {kMany});
  EXPECT_TRUE(works(device()));
  fail("kernel", kIllegalAddress);
  EXPECT_EQ(sn_add(x, x, y), SN_OK);  // it is under way
  expect_lost(sn_device_synchronize(device()), "what was under way");
  for (int round = 0; round < 2; ++round) expect_all_lost(device(), x, y);

  sn_device* again = nullptr;
  EXPECT_EQ(sn_cuda_open(kGpu, &again), SN_UNSUPPORTED);
  EXPECT_STREQ(sn_last_error(), "GPU 1 cannot be used: an illegal memory access was encountered");
  EXPECT_EQ(again, nullptr);
  sn_device* others[2] = {};
  ASSERT_EQ(sn_cpu_open(1, &others[0]), SN_OK);
  ASSERT_EQ(sn_cuda_open(0, &others[1]), SN_OK) << sn_last_error();
  for (sn_device* other : others) {
    EXPECT_TRUE(works(other)) << sn_last_error();
    sn_device_close(other);
  }
  close();
  float value;
  EXPECT_EQ(sn_tensor_read(x, 0, &value, 4), SN_INVALID_ARGUMENT) << "the device is closed";
}

// Wherever the failure shows first: where a kernel is waited for, in a copy, and while memory is asked for.
TEST_F(GpuFailures, ThatEndTheContextShowAnywhere) {
  std::vector<char> bytes(static_cast<size_t>(kBytes));
  int64_t zeros = 0;
  const std::function<sn_status(sn_tensor*)> calls[] = {
      [&](sn_tensor* x) { return sn_prune_threshold(x, 1, x, &zeros); },
      [&](sn_tensor* x) { return sn_tensor_read(x, 0, bytes.data(), 100); },
      [&](sn_tensor* x) { return sn_tensor_read(x, 0, bytes.data(), kBytes); },
      [&](sn_tensor* x) { return sn_tensor_write(x, 0, bytes.data(), kBytes); },
      [&](sn_tensor*) { return create_from(bytes); },
      [&](sn_tensor*) {
        sn_tensor* made = nullptr;
        const int64_t shape[] = {kMany};
        const sn_status status = sn_tensor_create(device(), SN_F32, 1, shape, &made);
        EXPECT_EQ(made, nullptr);
        return status;
      }};
  for (size_t i = 0; i < std::size(calls); ++i) {
    {
      Tensor x(device(), SN_F32, {kMany});
      ASSERT_EQ(sn_device_synchronize(device()), SN_OK) << sn_last_error();
      fail(i == 5 ? "cudaMallocFromPoolAsync" : i == 0 ? "kernel" : "cudaMemcpyAsync", kIllegalAddress);
      expect_lost(calls[i](x), std::to_string(i).c_str());
      expect_lost(sn_device_synchronize(device()), std::to_string(i).c_str());
    }
    mend();
    open();
  }
}

// Threads that are in the middle of something get an answer, and nothing hangs when the device is closed.
TEST_F(GpuFailures, BetweenThreadsThatAreBusy) {
  std::atomic<int> others{0}, lost{0}, failed{0};
  {
    std::vector<std::unique_ptr<Tensor>> tensors;
    for (int i = 0; i < 3; ++i)
      tensors.push_back(std::make_unique<Tensor>(device(), SN_F32, std::vector<int64_t>{kMany}));
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i) {
      threads.emplace_back([&, i] {
        std::vector<char> bytes(static_cast<size_t>(kBytes));
        sn_tensor* x = *tensors[static_cast<size_t>(i)];
        for (int round = 0; round < 200 && lost < 3; ++round) {
          if (i == 0 && round == 3) {
            fail("kernel", kIllegalAddress);
            failed = 1;
          }
          const sn_status status = (round + i) % 6 == 0   ? sn_tensor_write(x, 0, bytes.data(), kBytes)
                                   : (round + i) % 6 == 3 ? create_from(bytes)
                                   : (round + i) % 3 == 1 ? sn_add(x, x, x)
                                                          : sn_tensor_read(x, 0, bytes.data(), kBytes);
          if (status == SN_DEVICE_LOST) {
            ++lost;
            break;
          }
          others += status != SN_OK;
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  EXPECT_EQ(failed, 1);
  EXPECT_EQ(lost, 3);
  EXPECT_EQ(others, 0);
  close();
}

TEST_F(GpuFailures, AreNotNeededToCloseWhatIsBusy) {
  Tensor x(device(), SN_F32, {kMany}), y(device(), SN_F32, {kMany});
  ASSERT_EQ(sn_activate(x, SN_GELU, y), SN_OK);
  close();
}

}  // namespace
}  // namespace sinew_test
