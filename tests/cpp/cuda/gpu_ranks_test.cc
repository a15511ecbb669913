// All-reduce of ranks that have GPUs, against sn_reduce on the CPU. On one GPU all ranks are in one launch.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/call.h"
#include "support/tensor.h"
#include "support/values.h"

namespace sinew_test {
namespace {

struct Gpus {
  std::vector<sn_device*> all;

  Gpus() {
    int32_t count = 0;
    if (sn_cuda_load(std::getenv("SINEW_CUDA_PLUGIN")) != SN_OK || sn_cuda_count(&count) != SN_OK)
      throw std::runtime_error(sn_last_error());
    all.resize(static_cast<size_t>(count));
    for (int32_t i = 0; i < count; ++i) {
      if (sn_cuda_open(i, &all[static_cast<size_t>(i)]) != SN_OK) throw std::runtime_error(sn_last_error());
    }
  }
  ~Gpus() {
    for (sn_device* device : all) sn_device_close(device);
  }
};

const std::vector<sn_device*>& gpus() {
  static const Gpus open;
  return open.all;
}

sn_device* cpu() {
  static sn_device* const device = [] {
    sn_device* opened = nullptr;
    if (sn_cpu_open(1, &opened) != SN_OK) throw std::runtime_error(sn_last_error());
    return opened;
  }();
  return device;
}

// Rank r has the GPU of index r modulo `used`.
class Group {
 public:
  explicit Group(int world_size, int used = 1, int64_t timeout_ms = 30000) {
    for (int r = 0; r < world_size; ++r) devices.push_back(gpus()[static_cast<size_t>(r % used)]);
    all.resize(devices.size());
    if (sn_communicator_gpus(devices.data(), world_size, timeout_ms, all.data()) != SN_OK)
      throw std::runtime_error(sn_last_error());
  }
  ~Group() {
    for (sn_communicator* c : all) sn_communicator_close(c);
  }
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;

  void run(const std::function<void(size_t)>& rank) {
    std::vector<std::thread> threads;
    for (size_t r = 0; r < all.size(); ++r) threads.emplace_back(rank, r);
    for (std::thread& thread : threads) thread.join();
  }

  std::vector<sn_communicator*> all;
  std::vector<sn_device*> devices;
};

std::vector<uint8_t> bytes_of(sn_dtype dtype, int64_t n, uint64_t seed) {
  if (dtype == SN_I32 || dtype == SN_I8) return random_bytes(n * size_of(dtype), seed);
  return random_elements(dtype, n, Fill::kWeights, seed);
}

void check(Group& group, sn_dtype dtype, int64_t n, sn_reduction reduction, bool in_place, int64_t shift) {
  const std::string what = std::string(name_of(dtype)) + " " + std::to_string(n) + " reduction " +
                           std::to_string(reduction) + " of " + std::to_string(group.all.size()) +
                           (in_place ? " in place" : "") + (shift > 0 ? " misaligned" : "");
  std::vector<std::unique_ptr<Tensor>> inputs;
  std::vector<const sn_tensor*> x;
  for (size_t r = 0; r < group.all.size(); ++r) {
    inputs.push_back(std::make_unique<Tensor>(cpu(), dtype, std::vector<int64_t>{n}));
    const std::vector<uint8_t> bytes = bytes_of(dtype, n, 100 * static_cast<uint64_t>(n) + r);
    if (n > 0) std::memcpy(inputs.back()->data(), bytes.data(), bytes.size());
    x.push_back(*inputs.back());
  }
  Tensor expected(cpu(), dtype, {n});
  sn_tensor* outs[] = {expected};
  ASSERT_EQ(sn_reduce(x.data(), static_cast<int32_t>(x.size()), reduction, outs, 1), SN_OK) << sn_last_error();
  group.run([&](size_t r) {
    Tensor whole(group.devices[r], dtype, {n + shift}), other(group.devices[r], dtype, {n + shift}), in, out;
    ASSERT_EQ(sn_tensor_view(whole, shift, 1, &n, in.out()), SN_OK);
    ASSERT_EQ(sn_tensor_view(other, shift, 1, &n, out.out()), SN_OK);
    const int64_t bytes = n * size_of(dtype);
    ASSERT_EQ(sn_tensor_write(in, 0, inputs[r]->data(), bytes), SN_OK);
    ASSERT_EQ(sn_all_reduce(group.all[r], in, reduction, in_place ? in : out), SN_OK) << sn_last_error();
    std::vector<uint8_t> result(static_cast<size_t>(bytes)), given(static_cast<size_t>(bytes));
    ASSERT_EQ(sn_tensor_read(in_place ? in : out, 0, result.data(), bytes), SN_OK);
    EXPECT_TRUE(n == 0 || std::memcmp(result.data(), expected.data(), result.size()) == 0) << what << " rank " << r;
    ASSERT_EQ(sn_tensor_read(in, 0, given.data(), bytes), SN_OK);
    EXPECT_TRUE(n == 0 || in_place || std::memcmp(given.data(), inputs[r]->data(), given.size()) == 0) << what;
  });
}

// What fits a slot of 256 KiB has one meeting, and the rest two.
TEST(GpuRanks, GetTheSumsOfTheCpu) {
  for (int world : quick() ? std::vector<int>{1, 3} : std::vector<int>{1, 2, 3, 8}) {
    Group group(world);
    for (sn_dtype dtype : {SN_F32, SN_F16, SN_BF16, SN_I32, SN_I8}) {
      for (int64_t n : {0, 1, 15, 17, 4099})
        check(group, dtype, n, static_cast<sn_reduction>(n % 4), n % 3 == 0, n % 2);
    }
    check(group, SN_F32, 65536, SN_SUM, world % 2 == 0, 0);
    check(group, SN_F32, 65537, SN_AVERAGE, world % 2 == 1, 0);
    check(group, SN_BF16, 140003, SN_SUM, false, 1);
    check(group, SN_I8, 300007, SN_MIN, true, 0);
  }
  if (quick()) return;
  Group sixteen(16);
  check(sixteen, SN_F16, 777, SN_SUM, false, 0);
  check(sixteen, SN_F16, 200001, SN_MAX, true, 0);
}

std::vector<uint8_t> read_bytes(sn_tensor* t, int64_t bytes) {
  std::vector<uint8_t> result(static_cast<size_t>(bytes));
  EXPECT_EQ(sn_tensor_read(t, 0, result.data(), bytes), SN_OK) << sn_last_error();
  return result;
}

// Reduce-scatter, all-gather and broadcast of n elements a rank, whose bits are those of the CPU.
void check_parts(Group& group, sn_dtype dtype, int64_t n, sn_reduction reduction, bool in_place, int64_t shift) {
  const int64_t world = static_cast<int64_t>(group.all.size()), part = n * size_of(dtype);
  const std::string what = std::string(name_of(dtype)) + " " + std::to_string(n) + " a rank of " +
                           std::to_string(world) + (in_place ? " in place" : "") + (shift > 0 ? " misaligned" : "");
  std::vector<std::unique_ptr<Tensor>> inputs;
  std::vector<const sn_tensor*> x;
  std::vector<uint8_t> gathered;
  for (int64_t r = 0; r < world; ++r) {
    inputs.push_back(std::make_unique<Tensor>(cpu(), dtype, std::vector<int64_t>{n * world}));
    const std::vector<uint8_t> bytes = bytes_of(dtype, n * world, 1000 * static_cast<uint64_t>(n + r));
    if (n > 0) std::memcpy(inputs.back()->data(), bytes.data(), bytes.size());
    x.push_back(*inputs.back());
    gathered.insert(gathered.end(), bytes.begin() + r * part, bytes.begin() + (r + 1) * part);
  }
  Tensor reduced(cpu(), dtype, {n * world});
  sn_tensor* outs[] = {reduced};
  ASSERT_EQ(sn_reduce(x.data(), static_cast<int32_t>(world), reduction, outs, 1), SN_OK) << sn_last_error();
  const std::vector<uint8_t> sums = read_bytes(reduced, part * world);
  const int64_t root = world / 2, all = n * world;
  group.run([&](size_t rank) {
    const int64_t own = static_cast<int64_t>(rank) * part;
    Tensor memory(group.devices[rank], dtype, {all + shift}), other(group.devices[rank], dtype, {n + shift}), whole,
        apart, inside;
    ASSERT_EQ(sn_tensor_view(memory, shift, 1, &all, whole.out()), SN_OK);
    ASSERT_EQ(sn_tensor_view(other, shift, 1, &n, apart.out()), SN_OK);
    ASSERT_EQ(sn_tensor_view(memory, shift + n * static_cast<int64_t>(rank), 1, &n, inside.out()), SN_OK);
    sn_tensor* some = in_place ? inside : apart;
    ASSERT_EQ(sn_tensor_write(whole, 0, inputs[rank]->data(), part * world), SN_OK);
    ASSERT_EQ(sn_reduce_scatter(group.all[rank], whole, reduction, some), SN_OK) << sn_last_error();
    EXPECT_EQ(read_bytes(some, part), std::vector<uint8_t>(sums.begin() + own, sums.begin() + own + part)) << what;

    ASSERT_EQ(sn_tensor_write(some, 0, inputs[rank]->data() + own, part), SN_OK);
    ASSERT_EQ(sn_all_gather(group.all[rank], some, whole), SN_OK) << sn_last_error();
    EXPECT_EQ(read_bytes(whole, part * world), gathered) << what;

    ASSERT_EQ(sn_tensor_write(whole, 0, inputs[rank]->data(), part * world), SN_OK);
    ASSERT_EQ(sn_broadcast(group.all[rank], static_cast<int32_t>(root), whole), SN_OK) << sn_last_error();
    const uint8_t* sent = inputs[static_cast<size_t>(root)]->data();
    EXPECT_EQ(read_bytes(whole, part * world), std::vector<uint8_t>(sent, sent + part * world)) << what;
  });
}

// Parts that fit a slot, and those that are read where they lie.
TEST(GpuRanks, PartsAndBroadcasts) {
  for (int world : quick() ? std::vector<int>{1, 3} : std::vector<int>{1, 2, 3, 8}) {
    Group group(world);
    for (sn_dtype dtype : {SN_F32, SN_F16, SN_BF16, SN_I32, SN_I8}) {
      for (int64_t n : {0, 1, 17, 4099})
        check_parts(group, dtype, n, static_cast<sn_reduction>((n + world) % 4), n % 3 == 1, n % 2);
    }
    check_parts(group, SN_F32, 65536, SN_SUM, false, 0);
    check_parts(group, SN_F32, 65539, SN_AVERAGE, true, 0);
    check_parts(group, SN_I8, 300007, SN_MAX, false, 1);
  }
}

// Flags and slots are used again and again, for small and large tensors in turn, and ranks come at different times.
TEST(GpuRanks, ManyCalls) {
  Group group(3);
  const int calls = quick() ? 60 : 2000;
  group.run([&](size_t r) {
    for (int i = 0; i < calls; ++i) {
      const int64_t n = i % 7 == 3 ? 70000 + i : (int64_t{i} * 37) % 500;
      if (i % 11 == static_cast<int>(r)) std::this_thread::sleep_for(std::chrono::microseconds(200));
      Tensor x(group.devices[r], SN_I32, {n});
      std::vector<int32_t> values(static_cast<size_t>(n), static_cast<int32_t>(r) * 1000 + i);
      ASSERT_EQ(sn_tensor_write(x, 0, values.data(), n * 4), SN_OK);
      ASSERT_EQ(sn_all_reduce(group.all[r], x, SN_SUM, x), SN_OK) << sn_last_error();
      ASSERT_EQ(sn_tensor_read(x, 0, values.data(), n * 4), SN_OK);
      for (int32_t v : values) ASSERT_EQ(v, 3000 + 3 * i) << "call " << i;
      if (i % 5 == 0) {
        ASSERT_EQ(sn_barrier(group.all[r]), SN_OK);
      }
      if (i % 3 != 0 || n == 0) continue;
      const int32_t root = i % 2, sent = static_cast<int32_t>(r) * 7 + i;
      ASSERT_EQ(sn_tensor_write(x, 0, &sent, 4), SN_OK);
      ASSERT_EQ(sn_broadcast(group.all[r], root, x), SN_OK) << sn_last_error();
      ASSERT_EQ(sn_tensor_read(x, 0, values.data(), n * 4), SN_OK);
      ASSERT_EQ(values[0], root * 7 + i) << "call " << i;
    }
  });
}

// Where there are several GPUs, which the stand-in pretends.
TEST(GpuRanks, OnSeveralGpus) {
  if (gpus().size() < 2) GTEST_SKIP() << "there is one GPU only";
  for (int world : {2, 4}) {
    Group group(world, 2);
    for (int64_t n : {1, 4099, 65536, 131075}) check(group, SN_BF16, n, SN_SUM, n % 2 == 0, 0);
    for (int64_t n : {1, 4099, 80001}) check(group, SN_F32, n, SN_AVERAGE, n % 2 == 1, n % 2);
    for (int64_t n : {17, 140003}) check_parts(group, SN_BF16, n, SN_SUM, n == 17, 0);
  }
}

// The bits of the three operations one after the other, on the CPU.
void check_norm(Group& group, sn_dtype dtype, int64_t rows, int64_t cols, bool weighted, bool in_place) {
  const std::string what = std::string(name_of(dtype)) + " " + std::to_string(rows) + " x " + std::to_string(cols);
  const int64_t n = rows * cols, bytes = n * size_of(dtype);
  const auto filled = [&](uint64_t seed) {
    auto t = std::make_unique<Tensor>(cpu(), dtype, std::vector<int64_t>{rows, cols});
    const std::vector<uint8_t> values = random_elements(dtype, n, Fill::kWeights, seed);
    if (n > 0) std::memcpy(t->data(), values.data(), values.size());
    return t;
  };
  std::vector<std::unique_ptr<Tensor>> inputs;
  std::vector<const sn_tensor*> x;
  for (size_t r = 0; r < group.all.size(); ++r) {
    inputs.push_back(filled(static_cast<uint64_t>(n) + r));
    x.push_back(*inputs.back());
  }
  const auto residual = filled(999);
  Tensor weight(cpu(), SN_F32, {cols}), sum(cpu(), dtype, {rows, cols}), y(cpu(), dtype, {rows, cols});
  const std::vector<uint8_t> weights = random_elements(SN_F32, cols, Fill::kWeights, 5);
  if (cols > 0) std::memcpy(weight.data(), weights.data(), weights.size());
  sn_tensor* outs[] = {sum};
  ASSERT_EQ(sn_reduce(x.data(), static_cast<int32_t>(x.size()), SN_SUM, outs, 1), SN_OK);
  ASSERT_EQ(sn_add(sum, *residual, sum), SN_OK);
  ASSERT_EQ(sn_rms_norm(sum, weighted ? static_cast<sn_tensor*>(weight) : nullptr, 1e-5, y), SN_OK);
  group.run([&](size_t r) {
    sn_device* device = group.devices[r];
    Tensor gx(device, dtype, {rows, cols}), gr(device, dtype, {rows, cols}), gw(device, SN_F32, {cols}),
        gs(device, dtype, {rows, cols}), gy(device, dtype, {rows, cols});
    ASSERT_EQ(sn_tensor_write(gx, 0, inputs[r]->data(), bytes), SN_OK);
    ASSERT_EQ(sn_tensor_write(gr, 0, residual->data(), bytes), SN_OK);
    ASSERT_EQ(sn_tensor_write(gw, 0, weight.data(), cols * 4), SN_OK);
    sn_tensor* to = in_place ? gr : gs;
    sn_tensor* w = weighted ? static_cast<sn_tensor*>(gw) : nullptr;
    ASSERT_EQ(sn_all_reduce_rms_norm(group.all[r], gx, gr, w, 1e-5, to, gy), SN_OK) << sn_last_error();
    std::vector<uint8_t> result(static_cast<size_t>(bytes));
    ASSERT_EQ(sn_tensor_read(to, 0, result.data(), bytes), SN_OK);
    EXPECT_TRUE(n == 0 || std::memcmp(result.data(), sum.data(), result.size()) == 0) << what << ": sum";
    ASSERT_EQ(sn_tensor_read(gy, 0, result.data(), bytes), SN_OK);
    EXPECT_TRUE(n == 0 || std::memcmp(result.data(), y.data(), result.size()) == 0) << what << ": y";
  });
}

TEST(GpuRanks, ResidualAndNorm) {
  for (int world : {1, 2, 4}) {
    Group group(world);
    for (sn_dtype dtype : {SN_F32, SN_F16, SN_BF16}) {
      check_norm(group, dtype, 1, 4096, true, false);
      check_norm(group, dtype, 3, 67, false, true);
    }
    check_norm(group, SN_BF16, 0, 8, true, false);
    check_norm(group, SN_F32, 70, 1100, true, true);  // more rows than fit a slot
  }
  Group one(1);
  Tensor x(gpus()[0], SN_F32, {65537}), other(gpus()[0], SN_F32, {65537}), y(gpus()[0], SN_F32, {65537});
  EXPECT_EQ(sn_all_reduce_rms_norm(one.all[0], x, x, nullptr, 0, other, other), SN_INVALID_ARGUMENT);
  EXPECT_EQ(sn_all_reduce_rms_norm(one.all[0], x, x, nullptr, -1, other, y), SN_INVALID_ARGUMENT);
  EXPECT_EQ(sn_all_reduce_rms_norm(one.all[0], x, x, nullptr, 0, other, y), SN_INVALID_ARGUMENT);
  EXPECT_STREQ(sn_last_error(), "a row of 262148 bytes is longer than the 262144 that GPUs norm together");
}

TEST(GpuRanks, ADisagreementEndsTheCall) {
  Group group(2);
  group.run([&](size_t r) {
    Tensor x(group.devices[r], SN_F32, {r == 0 ? 10 : 11});
    EXPECT_EQ(sn_all_reduce(group.all[r], x, SN_SUM, x), SN_RANK_FAILED);
    const std::string said = sn_last_error();
    EXPECT_NE(said.find("elements where rank"), std::string::npos) << said;
    EXPECT_EQ(sn_barrier(group.all[r]), SN_RANK_FAILED);
  });
}

TEST(GpuRanks, ALateRankEndsTheCall) {
  Group group(2, 1, 100);
  Tensor x(group.devices[0], SN_F32, {10});
  EXPECT_EQ(sn_all_reduce(group.all[0], x, SN_SUM, x), SN_RANK_FAILED);
  EXPECT_STREQ(sn_last_error(), "rank 1 has not called all-reduce within 0.1 s, or hangs in it");
}

TEST(GpuRanks, WhatIsRefused) {
  sn_communicator* c[17];
  std::vector<sn_device*> devices(17, gpus()[0]);
  EXPECT_EQ(sn_communicator_gpus(devices.data(), 17, 1000, c), SN_INVALID_ARGUMENT);
  EXPECT_EQ(sn_communicator_gpus(devices.data(), 0, 1000, c), SN_INVALID_ARGUMENT);
  EXPECT_EQ(sn_communicator_gpus(devices.data(), 2, 0, c), SN_INVALID_ARGUMENT);
  EXPECT_EQ(sn_communicator_gpus(nullptr, 2, 1000, c), SN_INVALID_ARGUMENT);
  EXPECT_EQ(sn_communicator_gpus(devices.data(), 2, 1000, nullptr), SN_INVALID_ARGUMENT);
  devices[1] = cpu();
  EXPECT_EQ(sn_communicator_gpus(devices.data(), 2, 1000, c), SN_UNSUPPORTED);
  EXPECT_STREQ(sn_last_error(), "the device of rank 1 is not a GPU; ranks on the CPU are threads or processes");
  devices[1] = nullptr;
  EXPECT_EQ(sn_communicator_gpus(devices.data(), 2, 1000, c), SN_INVALID_ARGUMENT);

  Group one(1);
  Tensor x(gpus()[0], SN_F32, {4}), host(cpu(), SN_F32, {4}), f64(gpus()[0], SN_F64, {4});
  EXPECT_EQ(sn_all_reduce(one.all[0], host, SN_SUM, host), SN_INVALID_ARGUMENT);
  EXPECT_EQ(sn_all_reduce(one.all[0], x, SN_SUM, host), SN_INVALID_ARGUMENT);
  EXPECT_EQ(sn_all_reduce(one.all[0], f64, SN_SUM, f64), SN_INVALID_ARGUMENT);
  EXPECT_EQ(sn_broadcast(one.all[0], 1, x), SN_INVALID_ARGUMENT);
  EXPECT_EQ(sn_all_gather(one.all[0], x, host), SN_INVALID_ARGUMENT);
  EXPECT_EQ(sn_reduce_scatter(one.all[0], host, SN_SUM, x), SN_INVALID_ARGUMENT);
  EXPECT_EQ(sn_all_reduce_compressed(one.all[0], x, SN_SUM, x), SN_UNSUPPORTED);
  EXPECT_STREQ(sn_last_error(), "ranks that are GPUs do not compress what they reduce; call all-reduce");
  EXPECT_EQ(sn_all_reduce(one.all[0], x, SN_SUM, x), SN_OK) << sn_last_error();
  sn_communicator* threads[1];
  ASSERT_EQ(sn_communicator_threads(1, 1000, threads), SN_OK);
  EXPECT_EQ(sn_all_reduce(threads[0], x, SN_SUM, x), SN_UNSUPPORTED);
  sn_communicator_close(threads[0]);
}

}  // namespace
}  // namespace sinew_test
