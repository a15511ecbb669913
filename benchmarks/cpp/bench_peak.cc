// Prints what the machine reaches on as many threads as its argument says, for benchmarks in other languages:
// operations per second from registers alone, of the integers that int8 products are made of and of F32, and bytes per
// second read from memory.
#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include "measure.h"
#include "peak.h"

namespace sinew_bench {
namespace {

constexpr size_t kMemory = size_t{512} << 20, kLine = 64;
uint64_t sink;

// Reads so many bytes in `streams` places at once: how many are fastest depends on the processor.
void read_share(const char* p, size_t bytes, size_t streams) {
  const size_t part = bytes / streams / kLine * kLine;
  uint64_t sums[8] = {};
  for (size_t i = 0; i < part; i += kLine) {
    for (size_t s = 0; s < streams; ++s) {
      uint64_t words[8];
      std::memcpy(words, p + s * part + i, kLine);
      for (int j = 0; j < 8; ++j) sums[j] ^= words[j];
    }
  }
  for (uint64_t sum : sums) __atomic_fetch_xor(&sink, sum, __ATOMIC_RELAXED);
}

double read_rate(const char* memory, int threads, size_t streams) {
  const size_t share = kMemory / static_cast<size_t>(threads) / kLine * kLine;
  const double seconds = seconds_of([&] {
    std::vector<std::thread> others;
    for (int t = 1; t < threads; ++t)
      others.emplace_back(read_share, memory + static_cast<size_t>(t) * share, share, streams);
    read_share(memory, share, streams);
    for (std::thread& other : others) other.join();
  });
  return static_cast<double>(share) * threads / seconds;
}

int run(int threads) {
  void* memory = mmap(nullptr, kMemory, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return 1;
  madvise(memory, kMemory, MADV_HUGEPAGE);
  std::memset(memory, 1, kMemory);
  double integers = 0, floats = 0, bytes = 0;
  for (int i = 0; i < 3; ++i) {  // the first time wakes the processor up
    integers = std::max(integers, peak_rate(threads));
    floats = std::max(floats, float_peak_rate(threads));
    for (size_t streams : {1, 2, 4})
      bytes = std::max(bytes, read_rate(static_cast<const char*>(memory), threads, streams));
  }
  munmap(memory, kMemory);
  std::printf("%.6g %.6g %.6g\n", integers, floats, bytes);
  return 0;
}

}  // namespace
}  // namespace sinew_bench

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 1;
  if (threads < 1 || threads > 4096) {
    std::fprintf(stderr, "usage: sinew_bench_peak THREADS\n");
    return 2;
  }
  return sinew_bench::run(threads);
}
