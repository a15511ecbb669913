// Which tier is chosen, and what is said about it.
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "sinew.h"

namespace {

TEST(Isa, TheReasonFitsTheChoice) {
  const char* wanted = std::getenv("SINEW_ISA");
  const std::string name = sn_cpu_isa(), reason = sn_cpu_isa_reason();
  EXPECT_TRUE(name == "scalar" || name == "avx2" || name == "avx512" || name == "vnni" || name == "amx") << name;
  EXPECT_NE(reason, "");
  EXPECT_EQ(reason.find('\n'), std::string::npos);
  if (wanted == nullptr || *wanted == 0) {
    EXPECT_EQ(reason, name + " is the best tier this processor has");
  } else if (std::string(wanted) == "neon") {
    EXPECT_NE(reason.find("SINEW_ISA=neon is not one of"), std::string::npos) << reason;
  } else if (wanted != name) {
    EXPECT_NE(reason.find("asks for more than the processor has"), std::string::npos) << reason;
  } else {
    EXPECT_NE(reason.find(name), std::string::npos) << reason;
  }
}

TEST(Isa, ProcessorsAreCounted) {
  EXPECT_GE(sn_cpu_available(), 1);
  EXPECT_EQ(sn_api_version(), SN_API_VERSION);
}

}  // namespace
