#include "cpu/isa.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#define SN_OP(name, params) sn_status name params;
namespace sn {
namespace scalar {
#include "core/ops.inc"
}
#if defined(SN_HAVE_AVX2)
namespace avx2 {
#include "core/ops.inc"
}
#endif
#if defined(SN_HAVE_AVX512)
namespace avx512 {
#include "core/ops.inc"
}
#endif
}  // namespace sn
#undef SN_OP
// The tiers that add matrix instructions to AVX-512 have only the operations that gain from them.
#define SN_OP(name, params)
namespace sn {
#if defined(SN_HAVE_VNNI)
#define SN_MATRIX_OP(name, params) sn_status name params;
namespace vnni {
#include "core/ops.inc"
}
#endif
#if defined(SN_HAVE_AMX)
#define SN_MATRIX_OP(name, params) sn_status name params;
namespace amx {
#include "core/ops.inc"
}
#endif
}  // namespace sn
#undef SN_OP

namespace sn {
namespace {

#define SN_OP(name, params) scalar::name,
const sn_ops kScalarOps = {
#include "core/ops.inc"
};
#undef SN_OP
#if defined(SN_HAVE_AVX2)
#define SN_OP(name, params) avx2::name,
const sn_ops kAvx2Ops = {
#include "core/ops.inc"
};
#undef SN_OP
#endif
#if defined(SN_HAVE_AVX512)
#define SN_OP(name, params) avx512::name,
const sn_ops kAvx512Ops = {
#include "core/ops.inc"
};
#if defined(SN_HAVE_VNNI)
#define SN_MATRIX_OP(name, params) vnni::name,
const sn_ops kVnniOps = {
#include "core/ops.inc"
};
#endif
#if defined(SN_HAVE_AMX)
#define SN_MATRIX_OP(name, params) amx::name,
const sn_ops kAmxOps = {
#include "core/ops.inc"
};
#endif
#undef SN_OP
#endif

const char* const kNames[] = {"scalar", "avx2", "avx512", "vnni", "amx"};

#if defined(__x86_64__)
// Tile registers need the kernel's permission, once a process.
bool amx_permitted() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

IsaTier best_tier() {
  __builtin_cpu_init();
  // Everything that the row of the tier in cmake/Isa.cmake lets the compiler use.
  if (!(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
        __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt"))) {
    return kScalar;
  }
  unsigned a, b, c, d;
  bool f16c = __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
  if (!f16c) return kScalar;
  if (!(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq"))) {
    return kAvx2;
  }
  if (!__builtin_cpu_supports("avx512vnni")) return kAvx512;
  // All processors with AMX have VBMI2, which the kernels of that tier use as well.
  constexpr unsigned kTiles = 1u << 24 | 1u << 25 | 1u << 22;  // AMX-TILE, AMX-INT8, AMX-BF16
  bool amx = __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & kTiles) == kTiles && (c & (1u << 6));
  return amx && amx_permitted() ? kAmx : kVnni;
}
#else
IsaTier best_tier() { return kScalar; }
#endif

const sn_ops* ops_of(IsaTier tier) {
#if defined(SN_HAVE_AMX)
  if (tier == kAmx) return &kAmxOps;
#endif
#if defined(SN_HAVE_VNNI)
  if (tier == kVnni) return &kVnniOps;
#endif
#if defined(SN_HAVE_AVX512)
  if (tier == kAvx512) return &kAvx512Ops;
#endif
#if defined(SN_HAVE_AVX2)
  if (tier == kAvx2) return &kAvx2Ops;
#endif
  return tier == kScalar ? &kScalarOps : nullptr;
}

// The best tier of the processor that this library was compiled for.
IsaTier best_compiled_tier() {
  int tier = best_tier();
  while (ops_of(static_cast<IsaTier>(tier)) == nullptr) --tier;
  return static_cast<IsaTier>(tier);
}

IsaChoice choice;
pthread_once_t choice_once = PTHREAD_ONCE_INIT;

void choose() {
  IsaTier best = best_compiled_tier();
  choice.tier = best;
  const char* wanted = getenv("SINEW_ISA");
  snprintf(choice.reason, sizeof choice.reason, "%s is the best tier this processor has", kNames[best]);
  if (wanted != nullptr && *wanted != 0) {
    int cap = -1;
    for (int i = kScalar; i <= kAmx; ++i) {
      if (strcmp(wanted, kNames[i]) == 0) cap = i;
    }
    if (cap < 0) {
      snprintf(choice.reason, sizeof choice.reason,
               "SINEW_ISA=%.32s is not one of scalar, avx2, avx512, vnni, amx and was ignored; %s is the best tier "
               "this processor has",
               wanted, kNames[best]);
    } else if (cap < best) {
      choice.tier = static_cast<IsaTier>(cap);
      snprintf(choice.reason, sizeof choice.reason, "SINEW_ISA=%s caps the tier; the processor has %s", wanted,
               kNames[best]);
    } else if (cap > best) {
      snprintf(choice.reason, sizeof choice.reason,
               "SINEW_ISA=%s asks for more than the processor has; %s is its best tier", wanted, kNames[best]);
    }
  }
  while (ops_of(choice.tier) == nullptr) choice.tier = static_cast<IsaTier>(choice.tier - 1);
  choice.name = kNames[choice.tier];
  choice.ops = ops_of(choice.tier);
}

// Processors that a cgroup's quota amounts to, rounded up, or 0 when there is no quota.
int read_quota(const char* file, const char* period_file) {
  long long quota = -1, period = -1;
  FILE* f = fopen(file, "re");
  if (f == nullptr) return 0;
  int found = period_file == nullptr ? fscanf(f, "%lld %lld", &quota, &period) : fscanf(f, "%lld", &quota);
  fclose(f);
  if (period_file != nullptr && found == 1) {
    f = fopen(period_file, "re");
    if (f == nullptr) return 0;
    found += fscanf(f, "%lld", &period);
    fclose(f);
  }
  if (found != 2 || quota <= 0 || period <= 0) return 0;
  return static_cast<int>(std::min<long long>((quota + period - 1) / period, 1 << 20));
}

int cgroup_limit() {
  // Inside a container its own group is mounted at the root; else the path in /proc/self/cgroup leads to it.
  int limit = 0;
  auto apply = [&](int found) {
    if (found > 0) limit = limit == 0 ? found : std::min(limit, found);
  };
  apply(read_quota("/sys/fs/cgroup/cpu.max", nullptr));
  apply(read_quota("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu/cpu.cfs_period_us"));
  FILE* f = fopen("/proc/self/cgroup", "re");
  if (f == nullptr) return limit;
  char line[1024];
  while (fgets(line, sizeof line, f) != nullptr) {
    if (strncmp(line, "0::/", 4) != 0) continue;
    char* path = line + 3;
    path[strcspn(path, "\n")] = 0;
    // A limit on any ancestor holds too.
    for (char* end = path + strlen(path); end > path; end = strrchr(path, '/')) {
      *end = 0;
      char file[1200];
      snprintf(file, sizeof file, "/sys/fs/cgroup%s/cpu.max", path);
      apply(read_quota(file, nullptr));
      if (strrchr(path, '/') == nullptr) break;
    }
  }
  fclose(f);
  return limit;
}

}  // namespace

const IsaChoice& isa() {
  pthread_once(&choice_once, choose);
  return choice;
}

int available_processors() {
  // The mask may be larger than cpu_set_t on machines with more than 1024 processors.
  int count = 0;
  for (int size = 1024; size <= 1 << 16 && count == 0; size *= 4) {
    cpu_set_t* set = CPU_ALLOC(size);
    if (set == nullptr) break;
    if (sched_getaffinity(0, CPU_ALLOC_SIZE(size), set) == 0) count = CPU_COUNT_S(CPU_ALLOC_SIZE(size), set);
    CPU_FREE(set);
  }
  if (count < 1) count = 1;
  int limit = cgroup_limit();
  return limit > 0 ? std::min(count, limit) : count;
}

bool prefers_many_streams() {
#if defined(__x86_64__)
  unsigned highest, b, c, d;
  if (!__get_cpuid(0, &highest, &b, &c, &d)) return false;
  return b == signature_INTEL_ebx && c == signature_INTEL_ecx && d == signature_INTEL_edx;
#else
  return false;
#endif
}

}  // namespace sn

const char* sn_cpu_isa(void) { return sn::isa().name; }
const char* sn_cpu_isa_reason(void) { return sn::isa().reason; }
int32_t sn_cpu_available(void) { return sn::available_processors(); }
