// The command line of sinew_bench_kernels.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace sinew_bench {

struct Options {
  int64_t mib = 1024;  // size of a kernel's largest tensor
  int pairs = 7;       // timings of kernel and probe, taken in turn
  bool json = false;
  std::string filter;             // only kernels whose name contains this
  std::vector<std::string> isas;  // tiers, each in a process of its own
  std::vector<int32_t> threads;   // 0: all processors
  bool child = false;             // this process measures the one tier in SINEW_ISA
};

// Ends the process after --help or a mistake.
Options parse(int argc, char** argv);

}  // namespace sinew_bench
