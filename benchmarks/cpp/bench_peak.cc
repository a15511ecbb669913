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

// Reads so many bytes in several places of a block at once; how many are fastest depends on the processor. Prefetching
// gains nothing.
#if defined(__x86_64__)
#define SN_WIDE __attribute__((target("avx2")))
#else
#define SN_WIDE
#endif
typedef uint64_t Wide __attribute__((vector_size(32), may_alias));
template <int kStreams>
SN_WIDE void read_share(const char* p, size_t bytes) {
  constexpr size_t kPart = 256 << 10;
  Wide sums[kStreams] = {};
  for (size_t block = 0; block + kStreams * kPart <= bytes; block += kStreams * kPart) {
    for (size_t i = 0; i < kPart; i += kLine) {
#pragma GCC unroll 8
      for (int s = 0; s < kStreams; ++s) {
        const Wide* line = reinterpret_cast<const Wide*>(p + block + static_cast<size_t>(s) * kPart + i);
        sums[s] ^= line[0] ^ line[1];
      }
    }
  }
  for (const Wide& sum : sums) __atomic_fetch_xor(&sink, sum[0] ^ sum[1] ^ sum[2] ^ sum[3], __ATOMIC_RELAXED);
}

using Read = void (*)(const char* p, size_t bytes);
double read_rate(const char* memory, int threads, Read read) {
  const size_t share = kMemory / static_cast<size_t>(threads) / kLine * kLine;
  const double seconds = seconds_of([&] {
    std::vector<std::thread> others;
    for (int t = 1; t < threads; ++t) others.emplace_back(read, memory + static_cast<size_t>(t) * share, share);
    read(memory, share);
    for (std::thread& other : others) other.join();
  });
  return static_cast<double>(share) * threads / seconds;
}

int run(int threads) {
#if defined(__x86_64__)
  if (!__builtin_cpu_supports("avx2")) {
    std::fprintf(stderr, "sinew_bench_peak needs AVX2\n");
    return 1;
  }
#endif
  void* memory = mmap(nullptr, kMemory, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return 1;
  madvise(memory, kMemory, MADV_HUGEPAGE);
  std::memset(memory, 1, kMemory);
  double integers = 0, floats = 0, bytes = 0;
  for (int i = 0; i < 3; ++i) {  // the first time wakes the processor up
    integers = std::max(integers, peak_rate(threads));
    floats = std::max(floats, float_peak_rate(threads));
    for (Read read : {read_share<1>, read_share<2>, read_share<4>, read_share<8>})
      bytes = std::max(bytes, read_rate(static_cast<const char*>(memory), threads, read));
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
