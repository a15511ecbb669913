// Collectives between threads: every operation against an oracle, calls in quick succession, disagreements, late ranks.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "support/check.h"
#include "support/processes.h"
#include "support/ranks.h"

namespace sinew_test {
namespace {

TEST(Collective, GivesTheSameBitsToAllRanks) {
  for (int world : {1, 2, 3, 4, 8}) {
    ThreadRanks group(world);
    group.run([&](sn_communicator* c) {
      for (sn_dtype dtype : {SN_F32, SN_F16, SN_BF16, SN_I32, SN_I8}) {
        for (int64_t n : {0, 1, 15, 63, 67, 4099, 20011}) check_operations(c, dtype, n, n % 2);
      }
    });
  }
}

// One group, those that every rank reduces alone, and several slots with a tail.
void check_compressed_sizes(sn_communicator* c) {
  for (int64_t n : {0, 1, 255, 257, 8192, 8193, 20011, 520001}) {
    if (n > 30000 && sn_communicator_world_size(c) != 3) continue;
    check_compressed(c, SN_F32, n, n % 2 == 0 ? SN_SUM : SN_AVERAGE, n % 3 == 0);
    // With small calls of other kinds in between, as the slots are shared by all.
    check_all_reduce(c, SN_I32, n % 100, SN_SUM, false, 0);
    if (n < 30000) check_compressed(c, n % 2 == 0 ? SN_F16 : SN_BF16, n, SN_SUM, false);
  }
}

TEST(Collective, Compressed) {
  for (int world : {1, 2, 3, 8}) {
    ThreadRanks group(world);
    group.run(check_compressed_sizes);
  }
}

TEST(CollectiveProcesses, Compressed) { run_group(3, check_compressed_sizes); }

TEST(Collective, CompressedNaNStaysInItsGroup) {
  ThreadRanks group(2);
  group.run([](sn_communicator* c) {
    Tensor x(device_with(1), SN_F32, {600});
    float* data = reinterpret_cast<float*>(x.data());
    for (int i = 0; i < 600; ++i) data[i] = 1;
    if (sn_communicator_rank(c) == 1) data[300] = -INFINITY;
    ASSERT_EQ(sn_all_reduce_compressed(c, x, SN_SUM, x), SN_OK) << sn_last_error();
    for (int i = 0; i < 600; ++i) EXPECT_EQ(data[i] == 2, i < 256 || i >= 512) << i;
    EXPECT_TRUE(std::isnan(data[256]) && std::isnan(data[511]));
  });
}

// Beyond a slot, in place and not, with starts that are not aligned.
TEST(Collective, LargeTensors) {
  {
    ThreadRanks group(3);
    group.run([&](sn_communicator* c) {
      check_operations(c, SN_F32, 300007, 1);
      check_operations(c, SN_I8, 1200003, 1);
    });
  }
#if !defined(SINEW_TEST_SANITIZED)
  for (int world : {2, 4}) {
    ThreadRanks large(world);
    large.run([&](sn_communicator* c) { check_operations(c, SN_BF16, 1 << 20, 0); });
  }
  ThreadRanks group(2);
  group.run([&](sn_communicator* c) { check_all_reduce(c, SN_F32, 16 << 20, SN_SUM, false, 0); });
#endif
}

TEST(Collective, ThousandsOfCallsOfChangingSizeAndDelay) {
  ThreadRanks group(3);
  group.run([&](sn_communicator* c) { check_many_calls(c, 3000); });
}

TEST(Collective, DisagreementEndsTheCallOnAllRanks) {
  struct Kind {
    const char* difference;
    std::function<sn_status(sn_communicator*, bool other)> call;
  };
  const std::vector<Kind> kinds = {
      {"rank 1 has 1001 elements where rank 0 has 1000, in all-reduce",
       [](sn_communicator* c, bool other) {
         Tensor x(device_with(1), SN_F32, {other ? 1001 : 1000});
         return sn_all_reduce(c, x, SN_SUM, x);
       }},
      {"rank 1 has BF16 where rank 0 has F32, in all-reduce",
       [](sn_communicator* c, bool other) {
         Tensor x(device_with(1), other ? SN_BF16 : SN_F32, {100000});
         return sn_all_reduce(c, x, SN_SUM, x);
       }},
      {"rank 1 asks for the max where rank 0 asks for the sum, in all-reduce",
       [](sn_communicator* c, bool other) {
         Tensor x(device_with(1), SN_F32, {100000});
         return sn_all_reduce(c, x, other ? SN_MAX : SN_SUM, x);
       }},
      {"rank 1 takes rank 2 for the root where rank 0 takes rank 0, in broadcast",
       [](sn_communicator* c, bool other) {
         Tensor x(device_with(1), SN_F32, {10});
         return sn_broadcast(c, other ? 2 : 0, x);
       }},
      {"rank 1 has 7 elements where rank 0 has 8, in reduce-scatter",
       [](sn_communicator* c, bool other) { return sn_agree(c, SN_REDUCE_SCATTER, SN_F32, SN_SUM, 0, other ? 7 : 8); }},
      {"rank 1 agrees on all-reduce where rank 0 calls it",
       [](sn_communicator* c, bool other) {
         Tensor x(device_with(1), SN_F32, {10});
         return other ? sn_agree(c, SN_ALL_REDUCE, SN_F32, SN_SUM, 0, 10) : sn_all_reduce(c, x, SN_SUM, x);
       }},
      {"rank 0 agrees on all-reduce where rank 1 calls it",
       [](sn_communicator* c, bool other) {
         Tensor x(device_with(1), SN_F32, {10});
         return other ? sn_all_reduce(c, x, SN_SUM, x) : sn_agree(c, SN_ALL_REDUCE, SN_F32, SN_SUM, 0, 10);
       }},
      {"rank 1 calls barrier where rank 0 calls broadcast",
       [](sn_communicator* c, bool other) {
         Tensor x(device_with(1), SN_F32, {10});
         return other ? sn_barrier(c) : sn_broadcast(c, 0, x);
       }},
  };
  for (size_t round = 0; round < 20 * kinds.size(); ++round) {
    const Kind& kind = kinds[round % kinds.size()];
    ThreadRanks group(3);
    group.run([&](sn_communicator* c) {
      // A rank that leaves it late finds that the others' next call has failed.
      ASSERT_EQ(sn_barrier(c), SN_OK);
      ASSERT_EQ(sn_agree(c, SN_BROADCAST, SN_I8, SN_SUM, 2, 5), SN_OK);
      EXPECT_EQ(kind.call(c, sn_communicator_rank(c) == 1), SN_RANK_FAILED);
      const std::string message = sn_last_error();
      // Whoever notices first says it from its own side.
      EXPECT_NE(message.find("rank 1 "), std::string::npos) << message;
      const std::string tail = std::string(kind.difference).substr(std::string(kind.difference).rfind(' '));
      if (message.find("rank 1 ") == 0 && message.find("where rank 0") != std::string::npos) {
        EXPECT_EQ(message, kind.difference);
      }
      const int32_t failed = sn_communicator_failed_rank(c);
      EXPECT_TRUE(failed >= 0 && failed < 3) << failed;
      EXPECT_EQ(sn_barrier(c), SN_RANK_FAILED);
      EXPECT_EQ(std::string(sn_last_error()).find("the communicator of rank"), 0u) << sn_last_error();
      EXPECT_NE(std::string(sn_last_error()).find("unusable since a call failed: " + message), std::string::npos)
          << sn_last_error();
    });
  }
}

TEST(Collective, SharedOutputsAreRefused) {
  ThreadRanks group(3);
  Tensor shared(device_with(1), SN_F32, {100000});
  group.run([&](sn_communicator* c) {
    Tensor x(device_with(1), SN_F32, {100000});
    EXPECT_EQ(sn_all_reduce(c, x, SN_SUM, sn_communicator_rank(c) == 0 ? x : shared), SN_RANK_FAILED);
    EXPECT_NE(std::string(sn_last_error()).find("overlaps a tensor of rank"), std::string::npos) << sn_last_error();
  });
  ThreadRanks compressing(3);
  compressing.run([&](sn_communicator* c) {
    Tensor x(device_with(1), SN_F32, {100000});
    EXPECT_EQ(sn_all_reduce_compressed(c, x, SN_SUM, sn_communicator_rank(c) == 0 ? x : shared), SN_RANK_FAILED);
    EXPECT_NE(std::string(sn_last_error()).find("overlaps a tensor of rank"), std::string::npos) << sn_last_error();
  });
}

TEST(Collective, ALateRankEndsTheCallWithinTheDeadline) {
  ThreadRanks group(3, 200);
  group.run([&](sn_communicator* c) {
    const auto start = std::chrono::steady_clock::now();
    if (sn_communicator_rank(c) == 2) std::this_thread::sleep_for(std::chrono::milliseconds(500));
    Tensor x(device_with(1), SN_F32, {100000});
    EXPECT_EQ(sn_communicator_failed_rank(c), -1);
    EXPECT_EQ(sn_all_reduce(c, x, SN_SUM, x), SN_RANK_FAILED);
    EXPECT_EQ(sn_communicator_failed_rank(c), 2);
    const std::string message = sn_last_error();
    EXPECT_NE(message.find(sn_communicator_rank(c) == 2 ? "this rank, 2, is late: rank "
                                                        : "rank 2 has not called all-reduce within 0.2 s"),
              std::string::npos)
        << message;
    const auto waited = std::chrono::steady_clock::now() - start;
    if (sn_communicator_rank(c) != 2) {
      EXPECT_GE(waited, std::chrono::milliseconds(190));
      EXPECT_LT(waited, std::chrono::milliseconds(480));
    }
  });
}

TEST(Collective, ClosingTellsTheOthersAtOnce) {
  ThreadRanks group(3);
  group.run([&](sn_communicator* c) {
    EXPECT_EQ(sn_barrier(c), SN_OK);
    if (sn_communicator_rank(c) == 1) {
      group.close(1);
      return;
    }
    EXPECT_EQ(sn_barrier(c), SN_RANK_FAILED);
    EXPECT_STREQ(sn_last_error(), "rank 1 has closed its communicator, before barrier was complete");
  });
}

// Tensors are freed as soon as a call fails, while late ranks may still be about to read them.
TEST(Collective, TensorsOfAFailedCallMayBeFreed) {
  for (int round = 0; round < 20; ++round) {
    ThreadRanks group(4, 1);
    group.run([&](sn_communicator* c) {
      for (int i = 0; i < 50; ++i) {
        Tensor x(device_with(1), SN_F32, {1 << 20});
        if (i == round && sn_communicator_rank(c) == 1) std::this_thread::sleep_for(std::chrono::milliseconds(2));
        if (sn_all_reduce(c, x, SN_SUM, x) != SN_OK) return;
      }
    });
  }
}

TEST(Collective, OneCallAtATime) {
  ThreadRanks group(2);
  std::atomic<int> busy{0};
  std::thread other;
  group.run([&](sn_communicator* c) {
    if (sn_communicator_rank(c) == 0) {
      std::thread second([&] {
        while (busy == 0) std::this_thread::yield();
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        EXPECT_EQ(sn_barrier(c), SN_INVALID_ARGUMENT);
        EXPECT_NE(std::string(sn_last_error()).find("in use by another call"), std::string::npos);
        busy = 2;
      });
      busy = 1;
      EXPECT_EQ(sn_barrier(c), SN_OK);
      second.join();
    } else {
      while (busy != 2) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      EXPECT_EQ(sn_barrier(c), SN_OK);
    }
  });
}

TEST(Collective, Arguments) {
  sn_communicator* c[3] = {};
  EXPECT_EQ(sn_communicator_threads(0, 1000, c), SN_INVALID_ARGUMENT);
  EXPECT_EQ(sn_communicator_threads(SN_MAX_WORLD_SIZE + 1, 1000, c), SN_INVALID_ARGUMENT);
  EXPECT_EQ(sn_communicator_threads(1, 0, c), SN_INVALID_ARGUMENT);
  EXPECT_EQ(sn_communicator_threads(1, 1000, nullptr), SN_INVALID_ARGUMENT);
  EXPECT_EQ(sn_barrier(nullptr), SN_INVALID_ARGUMENT);
  EXPECT_EQ(sn_agree(nullptr, SN_BARRIER, SN_F32, SN_SUM, 0, 0), SN_INVALID_ARGUMENT);
  EXPECT_EQ(sn_communicator_rank(nullptr), -1);
  EXPECT_EQ(sn_communicator_failed_rank(nullptr), -1);
  sn_communicator_close(nullptr);
  ASSERT_EQ(sn_communicator_threads(3, 1000, c), SN_OK);
  EXPECT_EQ(sn_agree(c[0], SN_BARRIER + 1, SN_F32, SN_SUM, 0, 0), SN_INVALID_ARGUMENT);
  EXPECT_STREQ(sn_last_error(), "7 is not an operation of ranks");
  Tensor x(device_with(1), SN_F32, {6}), y(device_with(1), SN_F32, {2}), doubles(device_with(1), SN_F64, {6});
  EXPECT_EQ(sn_all_reduce(c[0], nullptr, SN_SUM, x), SN_INVALID_ARGUMENT);
  EXPECT_EQ(sn_all_reduce(c[0], doubles, SN_SUM, doubles), SN_INVALID_ARGUMENT);
  EXPECT_STREQ(sn_last_error(), "x is F64, not one of F32, F16, BF16, I32, I8");
  EXPECT_EQ(sn_all_reduce(c[0], x, SN_SUM, y), SN_INVALID_ARGUMENT);
  EXPECT_EQ(sn_all_reduce(c[0], x, 4, x), SN_INVALID_ARGUMENT);
  EXPECT_EQ(sn_reduce_scatter(c[0], y, SN_SUM, y), SN_INVALID_ARGUMENT);
  EXPECT_STREQ(sn_last_error(),
               "x is F32 [2], and out is F32 [2]; it takes 3 times as many elements of the same dtype");
  EXPECT_EQ(sn_all_reduce_compressed(c[0], x, SN_MAX, x), SN_INVALID_ARGUMENT);
  EXPECT_EQ(sn_all_reduce_compressed(c[0], doubles, SN_SUM, doubles), SN_INVALID_ARGUMENT);
  EXPECT_EQ(sn_all_reduce_compressed(c[0], x, SN_SUM, y), SN_INVALID_ARGUMENT);
  EXPECT_EQ(sn_all_gather(c[0], x, y), SN_INVALID_ARGUMENT);
  EXPECT_EQ(sn_broadcast(c[0], 3, x), SN_INVALID_ARGUMENT);
  EXPECT_EQ(sn_broadcast(c[0], -1, x), SN_INVALID_ARGUMENT);
  // Only this rank's own part of the whole is in place.
  int64_t two = 2;
  sn_tensor* part = nullptr;
  ASSERT_EQ(sn_tensor_view(x, 2, 1, &two, &part), SN_OK);
  EXPECT_EQ(sn_reduce_scatter(c[0], x, SN_SUM, part), SN_INVALID_ARGUMENT);
  sn_tensor_close(part);
  for (sn_communicator* one : c) sn_communicator_close(one);
}

}  // namespace
}  // namespace sinew_test
