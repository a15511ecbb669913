// Runs the tests on the tier that SINEW_ISA names and, after each test, counts the tensors that are still open.
#include <gtest/gtest.h>
#include <malloc.h>

#include <cstdlib>
#include <cstring>
#include <iostream>

#include "sinew.h"
#include "support/check.h"

namespace sinew_test {

void register_sections();

namespace {

// What CTest takes for "not run" (SKIP_RETURN_CODE).
constexpr int kNotRun = 77;

class LeakListener : public testing::EmptyTestEventListener {
  void OnTestStart(const testing::TestInfo&) override { before_ = sn_live_tensors(); }
  void OnTestEnd(const testing::TestInfo&) override {
    EXPECT_EQ(sn_live_tensors(), before_) << "the test left tensors open";
  }

  int64_t before_ = 0;
};

}  // namespace
}  // namespace sinew_test

int main(int argc, char** argv) {
  // Large vectors come and go: their pages need not each time.
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  testing::InitGoogleTest(&argc, argv);
  const char* wanted = std::getenv("SINEW_ISA");
  std::cout << "instruction set: " << sn_cpu_isa() << "; " << sn_cpu_isa_reason() << std::endl;
  // The tests of the choice itself ask for tiers that the processor may lack.
  bool is_tier = false;
  for (const char* tier : {"scalar", "avx2", "avx512", "vnni", "amx"}) {
    is_tier = is_tier || (wanted != nullptr && std::strcmp(wanted, tier) == 0);
  }
  if (is_tier && std::getenv("SINEW_TEST_ANY_TIER") == nullptr && std::strcmp(wanted, sn_cpu_isa()) != 0) {
    std::cout << "NOT RUN: this processor lacks " << wanted << std::endl;
    return sinew_test::kNotRun;
  }
  sinew_test::register_sections();
  testing::UnitTest::GetInstance()->listeners().Append(new sinew_test::LeakListener);
  const int result = RUN_ALL_TESTS();
  sinew_test::close_devices();
  if (sn_live_tensors() != 0) {
    std::cout << "FAILED: " << sn_live_tensors() << " tensors are still open" << std::endl;
    return 1;
  }
  return result;
}
