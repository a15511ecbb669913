#include "peak.h"

#include <cstring>
#include <thread>
#include <vector>

#include "measure.h"
#include "sinew.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace sinew_bench {
namespace {

constexpr int kRounds = 200000;

// Each does kRounds rounds and gives the operations that they are. The empty assembler statements keep the compiler
// from computing the same product once for all.
#if defined(__x86_64__)
// Twelve sums hide the latency of an instruction; they are variables of their own, for arrays may be kept in memory.
#define SN_TWELVE(M) M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7) M(8) M(9) M(10) M(11)

__attribute__((target("avx2"))) double avx2_rounds() {
  __m256i x = _mm256_set1_epi16(3), w = _mm256_set1_epi16(5);
#define SN_DEFINE(i) __m256i sum##i = _mm256_setzero_si256();
#define SN_STEP(i)                                            \
  sum##i = _mm256_add_epi32(sum##i, _mm256_madd_epi16(x, w)); \
  __asm__ volatile("" : "+x"(sum##i), "+x"(x));
  SN_TWELVE(SN_DEFINE)
  for (int r = 0; r < kRounds; ++r) {
    SN_TWELVE(SN_STEP)
  }
#undef SN_DEFINE
#undef SN_STEP
  return 12.0 * 16 * 2 * kRounds;
}

__attribute__((target("avx512f,avx512bw"))) double avx512_rounds() {
  __m512i x = _mm512_set1_epi16(3), w = _mm512_set1_epi16(5);
#define SN_DEFINE(i) __m512i sum##i = _mm512_setzero_si512();
#define SN_STEP(i)                                            \
  sum##i = _mm512_add_epi32(sum##i, _mm512_madd_epi16(x, w)); \
  __asm__ volatile("" : "+v"(sum##i), "+v"(x));
  SN_TWELVE(SN_DEFINE)
  for (int r = 0; r < kRounds; ++r) {
    SN_TWELVE(SN_STEP)
  }
#undef SN_DEFINE
#undef SN_STEP
  return 12.0 * 32 * 2 * kRounds;
}

__attribute__((target("avx512f,avx512vnni"))) double vnni_rounds() {
  __m512i x = _mm512_set1_epi8(3), w = _mm512_set1_epi8(5);
#define SN_DEFINE(i) __m512i sum##i = _mm512_setzero_si512();
#define SN_STEP(i)                            \
  sum##i = _mm512_dpbusd_epi32(sum##i, w, x); \
  __asm__ volatile("" : "+v"(sum##i), "+v"(x));
  SN_TWELVE(SN_DEFINE)
  for (int r = 0; r < kRounds; ++r) {
    SN_TWELVE(SN_STEP)
  }
#undef SN_DEFINE
#undef SN_STEP
  return 12.0 * 64 * 2 * kRounds;
}

__attribute__((target("avx2,fma"))) double avx2_float_rounds() {
  __m256 x = _mm256_set1_ps(3), w = _mm256_set1_ps(5);
#define SN_DEFINE(i) __m256 sum##i = _mm256_setzero_ps();
#define SN_STEP(i)                        \
  sum##i = _mm256_fmadd_ps(x, w, sum##i); \
  __asm__ volatile("" : "+x"(sum##i), "+x"(x));
  SN_TWELVE(SN_DEFINE)
  for (int r = 0; r < kRounds; ++r) {
    SN_TWELVE(SN_STEP)
  }
#undef SN_DEFINE
#undef SN_STEP
  return 12.0 * 8 * 2 * kRounds;
}

__attribute__((target("avx512f"))) double avx512_float_rounds() {
  __m512 x = _mm512_set1_ps(3), w = _mm512_set1_ps(5);
#define SN_DEFINE(i) __m512 sum##i = _mm512_setzero_ps();
#define SN_STEP(i)                        \
  sum##i = _mm512_fmadd_ps(x, w, sum##i); \
  __asm__ volatile("" : "+v"(sum##i), "+v"(x));
  SN_TWELVE(SN_DEFINE)
  for (int r = 0; r < kRounds; ++r) {
    SN_TWELVE(SN_STEP)
  }
#undef SN_DEFINE
#undef SN_STEP
  return 12.0 * 16 * 2 * kRounds;
}

struct TileShapes {
  uint8_t palette, start_row, reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
};
alignas(64) const TileShapes kTileShapes = {
    1, 0, {0}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};

__attribute__((target("amx-tile,amx-int8"))) double amx_rounds() {
  _tile_loadconfig(&kTileShapes);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_zero(4);
  _tile_zero(5);
  _tile_zero(6);
  _tile_zero(7);
  constexpr int kTileRounds = kRounds / 16;
  for (int r = 0; r < kTileRounds; ++r) {
    _tile_dpbsud(0, 4, 6);
    _tile_dpbsud(1, 4, 7);
    _tile_dpbsud(2, 5, 6);
    _tile_dpbsud(3, 5, 7);
  }
  _tile_release();
  return 4.0 * 16 * 16 * 64 * 2 * kTileRounds;
}
#endif

// Plain C++: whatever the compiler makes of it.
double scalar_rounds() {
  int32_t sums[8] = {};
  int16_t x[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  for (int r = 0; r < kRounds; ++r) {
    for (int i = 0; i < 8; ++i) sums[i] += x[i] * x[7 - i];
    __asm__ volatile("" : : "r"(x), "r"(sums) : "memory");
  }
  return 8.0 * 2 * kRounds;
}

double rounds() {
#if defined(__x86_64__)
  const char* isa = sn_cpu_isa();
  if (std::strcmp(isa, "avx2") == 0) return avx2_rounds();
  if (std::strcmp(isa, "avx512") == 0) return avx512_rounds();
  if (std::strcmp(isa, "vnni") == 0) return vnni_rounds();
  if (std::strcmp(isa, "amx") == 0) return amx_rounds();
#endif
  return scalar_rounds();
}

double float_rounds() {
#if defined(__x86_64__)
  const char* isa = sn_cpu_isa();
  if (std::strcmp(isa, "avx2") == 0) return avx2_float_rounds();
  if (std::strcmp(isa, "scalar") != 0) return avx512_float_rounds();
#endif
  return scalar_rounds();
}

double rate_of(double (*some_rounds)(), int32_t threads) {
  constexpr int kTimes = 10;  // long enough for starting threads not to count
  double operations = 0;
  const auto work = [some_rounds](double* sum) {
    for (int i = 0; i < kTimes; ++i) *sum += some_rounds();
  };
  const double seconds = seconds_of([&] {
    std::vector<std::thread> others;
    std::vector<double> sums(static_cast<size_t>(threads), 0.0);
    for (int32_t t = 1; t < threads; ++t) others.emplace_back(work, &sums[static_cast<size_t>(t)]);
    work(&sums[0]);
    for (std::thread& other : others) other.join();
    for (double sum : sums) operations += sum;
  });
  return operations / seconds;
}

}  // namespace

double peak_rate(int32_t threads) { return rate_of(rounds, threads); }
double float_peak_rate(int32_t threads) { return rate_of(float_rounds, threads); }

}  // namespace sinew_bench
