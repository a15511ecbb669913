// Prints operations per second from registers alone, of the integers that int8 products are made of and of F32, on as
// many threads as its argument says. For benchmarks in other languages.
#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "peak.h"

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 1;
  if (threads < 1 || threads > 4096) {
    std::fprintf(stderr, "usage: sinew_bench_peak THREADS\n");
    return 2;
  }
  // The first time wakes the processor up.
  double integers = 0, floats = 0;
  for (int i = 0; i < 3; ++i) {
    integers = std::max(integers, sinew_bench::peak_rate(threads));
    floats = std::max(floats, sinew_bench::float_peak_rate(threads));
  }
  std::printf("%.6g %.6g\n", integers, floats);
  return 0;
}
