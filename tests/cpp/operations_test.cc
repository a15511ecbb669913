// Every operation of core/ops.inc against its oracle: one test for each section of its case.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "support/call.h"
#include "support/check.h"
#include "support/values.h"

namespace sinew_test {
namespace {

const char* const kOperations[] = {
#define SN_OP(name, params) #name,
#include "core/ops.inc"
#undef SN_OP
};

// A forgotten case must fail, so this test does not depend on what has been registered.
TEST(Registry, EveryOperationHasACase) {
  size_t covered = 0;
  for (const char* op : kOperations) {
    const auto of_op = [&](const Case& c) {
      return std::string(c.op) == op || (c.packing != nullptr && std::string(c.packing) == op);
    };
    ASSERT_EQ(std::count_if(all_cases().begin(), all_cases().end(), of_op), 1)
        << "tests/cpp/cases/" << op << ".cc registers no case, or several";
    const Case& found = *std::find_if(all_cases().begin(), all_cases().end(), of_op);
    EXPECT_FALSE(found.sections.empty()) << op << " has no calls";
  }
  for (const Case& c : all_cases()) covered += c.packing == nullptr ? 1 : 2;
  EXPECT_EQ(covered, sizeof kOperations / sizeof kOperations[0]) << "a case names an operation that ops.inc lacks";
}

class SectionTest : public testing::Test {
 public:
  explicit SectionTest(const Section& section) : section_(section) {}

  void TestBody() override {
    restart_seeds();
    int64_t calls = 0;
    int failures = 0;
    section_.calls([&](const Call& call) {
      ++calls;
      if (failures >= 5) return;
      const std::string wrong = check(call);
      if (wrong.empty()) return;
      ++failures;
      ADD_FAILURE() << wrong << "\nrepeat with: SINEW_ISA=" << sn_cpu_isa() << " sinew_tests --gtest_filter="
                    << testing::UnitTest::GetInstance()->current_test_info()->test_suite_name() << "."
                    << testing::UnitTest::GetInstance()->current_test_info()->name();
    });
    EXPECT_GT(calls, 0) << "the section has no calls";
  }

 private:
  Section section_;
};

}  // namespace

void register_sections() {
  for (const Case& c : all_cases()) {
    for (const Section& section : c.sections) {
      testing::RegisterTest(c.op, section.name, nullptr, nullptr, __FILE__, __LINE__,
                            [section]() -> testing::Test* { return new SectionTest(section); });
    }
  }
}

}  // namespace sinew_test
