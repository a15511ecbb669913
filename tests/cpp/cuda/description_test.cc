// What is said of GPUs, on made-up ones.
#include "description.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <string>

namespace sinew_test {
namespace {

std::string code_for(const char* architectures, int major, int minor) {
  char text[80];
  sn::cuda::describe_code(architectures, major, minor, text, sizeof text);
  return text;
}

TEST(Description, MachineCodeIsTheNearestThatTheGpuCanRun) {
  constexpr char kReleases[] = "80-real,86-real,89-real,90a-real,100a-real,120-real,80-virtual,120-virtual";
  EXPECT_EQ(code_for(kReleases, 8, 0), "machine code for 8.0");
  EXPECT_EQ(code_for(kReleases, 8, 7), "machine code for 8.6");
  EXPECT_EQ(code_for(kReleases, 8, 9), "machine code for 8.9");
  EXPECT_EQ(code_for(kReleases, 9, 0), "machine code for 9.0a");
  EXPECT_EQ(code_for(kReleases, 10, 0), "machine code for 10.0a");
  EXPECT_EQ(code_for(kReleases, 10, 3), "PTX of 8.0, which the driver compiles");
  EXPECT_EQ(code_for(kReleases, 12, 1), "machine code for 12.0");
  EXPECT_EQ(code_for(kReleases, 13, 0), "PTX of 12.0, which the driver compiles");
  EXPECT_EQ(code_for(kReleases, 7, 5), "no code for it");
}

TEST(Description, OfOneArchitecture) {
  EXPECT_EQ(code_for("80", 8, 6), "machine code for 8.0");
  EXPECT_EQ(code_for("80", 9, 0), "PTX of 8.0, which the driver compiles");
  EXPECT_EQ(code_for("80-real", 9, 0), "no code for it");
  EXPECT_EQ(code_for("90a-real", 9, 0), "machine code for 9.0a");
  EXPECT_EQ(code_for("90-real,90a-real", 9, 0), "machine code for 9.0a");
  EXPECT_EQ(code_for("90a-real,90-real", 9, 0), "machine code for 9.0a");
  EXPECT_EQ(code_for("90a", 10, 0), "no code for it");
  EXPECT_EQ(code_for("100f-real", 10, 3), "machine code for 10.0f");
  EXPECT_EQ(code_for("100f", 12, 0), "no code for it");
  EXPECT_EQ(code_for("", 8, 0), "no code for it");
  EXPECT_EQ(code_for("native", 8, 0), "no code for it");
}

TEST(Description, HasTheVersionOfTheDriver) {
  const std::string file = testing::TempDir() + "sinew_driver_" + std::to_string(getpid());
  const auto version_in = [&file](const char* text) {
    std::FILE* out = std::fopen(file.c_str(), "w");
    std::fputs(text, out);
    std::fclose(out);
    char version[40];
    sn::cuda::driver_version(file.c_str(), version, sizeof version);
    std::remove(file.c_str());
    return std::string(version);
  };
  EXPECT_EQ(version_in("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024\n"
                       "GCC version:  gcc version 12.2.0 (Debian 12.2.0-14)\n"),
            "535.183.01");
  EXPECT_EQ(version_in("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build\n"),
            "580.65.06");
  EXPECT_EQ(version_in("NVRM version: of another kind\n13.0\n"), "");
  EXPECT_EQ(version_in(""), "");
  char version[40] = "something";
  sn::cuda::driver_version("/nowhere/version", version, sizeof version);
  EXPECT_STREQ(version, "");
}

TEST(Description, OfAGpu) {
  sn::cuda::GpuFacts gpu = {"Some GPU", 9, 0, 132, 139.84, 13000, "/nowhere/version", "80,90a-real"};
  char text[512];
  sn::cuda::describe_gpu(gpu, text, sizeof text);
  EXPECT_STREQ(text,
               "Some GPU, compute capability 9.0, 132 multiprocessors, 139.8 GiB, driver for CUDA 13.0, "
               "machine code for 9.0a");
  const std::string long_name(1000, 'x');
  gpu.name = long_name.c_str();
  sn::cuda::describe_gpu(gpu, text, sizeof text);
  EXPECT_EQ(std::string(text).substr(200, 30), ", compute capability 9.0, 132 ");
}

}  // namespace
}  // namespace sinew_test
