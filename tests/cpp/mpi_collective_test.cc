// Collectives over MPI. A program of its own, which mpirun starts once for each rank: every rank runs every test.
#include <gtest/gtest.h>

#include <chrono>
#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "support/check.h"
#include "support/ranks.h"

namespace sinew_test {
namespace {

struct MpiGroup {
  explicit MpiGroup(int64_t timeout_ms = 30000) {
    if (sn_communicator_mpi(nullptr, timeout_ms, &c) != SN_OK) throw std::runtime_error(sn_last_error());
  }
  ~MpiGroup() { sn_communicator_close(c); }
  MpiGroup(const MpiGroup&) = delete;
  MpiGroup& operator=(const MpiGroup&) = delete;
  operator sn_communicator*() { return c; }

  sn_communicator* c = nullptr;
};

TEST(CollectiveMpi, EveryOperation) {
  MpiGroup group;
  ASSERT_EQ(sn_communicator_world_size(group), 4);
  for (sn_dtype dtype : {SN_F32, SN_F16, SN_BF16, SN_I32, SN_I8}) {
    for (int64_t n : {0, 1, 67, 4099, 20011}) check_operations(group, dtype, n, n % 2);
  }
  // Several pieces with a tail.
  check_operations(group, SN_F32, 2200003, 1);
  check_all_reduce(group, SN_BF16, 32 << 20, SN_SUM, true, 0);
  check_many_calls(group, 300);
}

TEST(CollectiveMpi, Compressed) {
  MpiGroup group;
  for (int64_t n : {0, 1, 255, 257, 1025, 20011, 2200003}) {
    check_compressed(group, SN_F32, n, n % 2 == 0 ? SN_SUM : SN_AVERAGE, n % 3 == 0);
  }
  check_compressed(group, SN_BF16, 5000, SN_SUM, false);
}

// Sums that depend on the order are those of the other transports.
TEST(CollectiveMpi, SumsAreThoseOfThreads) {
  MpiGroup group;
  constexpr int64_t kElements = 10007;
  std::vector<const sn_tensor*> x;
  Tensor a(device_with(1), SN_F32, {kElements}), b(device_with(1), SN_F32, {kElements}),
      c(device_with(1), SN_F32, {kElements}), d(device_with(1), SN_F32, {kElements});
  std::mt19937 random(1);
  for (Tensor* t : {&a, &b, &c, &d}) {
    float* data = reinterpret_cast<float*>(t->data());
    for (int64_t i = 0; i < kElements; ++i)
      data[i] = static_cast<float>(random()) * (random() % 2 == 0 ? 1.0f : -1e-4f);
    x.push_back(*t);
  }
  Tensor wanted(device_with(1), SN_F32, {kElements}), out(device_with(1), SN_F32, {kElements});
  sn_tensor* outs[] = {wanted};
  ASSERT_EQ(sn_reduce(x.data(), 4, SN_SUM, outs, 1), SN_OK);
  ASSERT_EQ(sn_all_reduce(group, x[static_cast<size_t>(sn_communicator_rank(group))], SN_SUM, out), SN_OK);
  EXPECT_EQ(std::memcmp(out.data(), wanted.data(), kElements * sizeof(float)), 0);
}

TEST(CollectiveMpi, DisagreementEndsTheCallOnAllRanks) {
  MpiGroup group;
  const int32_t rank = sn_communicator_rank(group);
  Tensor x(device_with(1), SN_F32, {rank == 1 ? 1001 : 1000});
  EXPECT_EQ(sn_all_reduce(group, x, SN_SUM, x), SN_RANK_FAILED);
  EXPECT_EQ(std::string(sn_last_error()),
            rank == 1 ? "rank 0 has 1000 elements where rank 1 has 1001, in all-reduce"
                      : "rank 1 has 1001 elements where rank " + std::to_string(rank) + " has 1000, in all-reduce");
  EXPECT_EQ(sn_communicator_failed_rank(group), rank == 1 ? 0 : 1);
  EXPECT_EQ(sn_barrier(group), SN_RANK_FAILED);
}

// Last, since MPI is not ended after it.
TEST(CollectiveMpi, Late) {
  MpiGroup group(1000);
  const auto start = std::chrono::steady_clock::now();
  if (sn_communicator_rank(group) == 2) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2500));
    return;
  }
  Tensor x(device_with(1), SN_F32, {1000});
  EXPECT_EQ(sn_all_reduce(group, x, SN_SUM, x), SN_RANK_FAILED);
  EXPECT_STREQ(sn_last_error(), "rank 2 has not called all-reduce within 1 s, or hangs in it");
  EXPECT_EQ(sn_communicator_failed_rank(group), 2);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
}

}  // namespace
}  // namespace sinew_test

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  const int status = RUN_ALL_TESTS();
  sinew_test::close_devices();
  return status;
}
