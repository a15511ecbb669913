// What four warps do as one on Hopper (PTX ISA, wgmma): products of matrices that lie in shared memory, which go on
// beside everything else until they are waited for. As in warp.h, on the CPU one call does the work of a warp's lanes.
#pragma once

#include "warp.h"

namespace sn {
namespace cuda {

constexpr int kWarpgroup = 4 * kWarp;
// Rows, channels and columns of a product.
constexpr int kGroupRows = 64, kGroupChannels = 256, kGroupDepth = 32;
// Of a thread; see GroupSums.
constexpr int kGroupSums = kGroupRows * kGroupChannels / kWarpgroup;

// Where 16 bytes of a row of 128 bytes lie, as the 128-byte swizzle has it: of eight rows, which begin at a multiple of
// 1024 bytes, all places of one column are in different banks.
struct RowsOf128 {
  static constexpr int kParts = 8;
  SN_HD static int place(int row, int part) { return row * 128 + (part ^ (row & 7)) * 16; }
};

// The descriptor of a matrix of such rows, of which a product takes 32 columns: the address of the first in shared
// memory, were it not swizzled, and how far it is to the next eight rows, both in units of 16 bytes. How far it is
// between columns matters only where a product takes more of them than a row has; it is 1 by convention.
SN_HD SN_LOCAL uint64_t matrix_descriptor(uint32_t address) {
  constexpr uint64_t kNextRows = 1024 >> 4, kSwizzle128 = 1;
  return (address & 0x3ffffu) >> 4 | uint64_t{1} << 16 | kNextRows << 32 | kSwizzle128 << 62;
}

// The sums of a warp, which has 16 rows of the 64: register i of a lane is that of a row and channel.
struct GroupSums {
  Registers<int32_t, kGroupSums> all;

  SN_HD static int row(int lane, int i) { return lane / 4 + i / 2 % 2 * 8; }
  SN_HD static int channel(int lane, int i) { return i / 4 * 8 + lane % 4 * 2 + i % 2; }
};

#if defined(SINEW_CUDA)

// An address in shared memory, which begins at `window`.
static __device__ inline uint32_t shared_address(const void* place, const void*) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(place));
}

// Lets products read what this thread has copied, once the threads have met.
static __device__ inline void publish_copies() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// Products in groups that are done in order.
struct Products {
  __device__ void clear() {}
  // Before the first product of a group.
  __device__ void begin_group() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
  // sums += a b for a [64, 32], rows of activations, and b [32, 256], whose columns are rows of weights.
  __device__ void multiply_add(uint64_t a, uint64_t b, const void*, int, GroupSums* sums) {
    int32_t* d = sums->all.of[0];
#define SN_EIGHT(i)                                                                                           \
  "+r"(d[i]), "+r"(d[i + 1]), "+r"(d[i + 2]), "+r"(d[i + 3]), "+r"(d[i + 4]), "+r"(d[i + 5]), "+r"(d[i + 6]), \
      "+r"(d[i + 7])
    asm volatile(
        "{.reg .pred add; setp.eq.b32 add, 0, 0; wgmma.mma_async.sync.aligned.m64n256k32.s32.s8.s8 {"
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
        "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
        "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "
        "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "
        "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "
        "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, "
        "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127}, "
        "%128, %129, add;}"
        : SN_EIGHT(0), SN_EIGHT(8), SN_EIGHT(16), SN_EIGHT(24), SN_EIGHT(32), SN_EIGHT(40), SN_EIGHT(48), SN_EIGHT(56),
          SN_EIGHT(64), SN_EIGHT(72), SN_EIGHT(80), SN_EIGHT(88), SN_EIGHT(96), SN_EIGHT(104), SN_EIGHT(112),
          SN_EIGHT(120)
        : "l"(a), "l"(b));
#undef SN_EIGHT
  }
  __device__ void end_group() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
  // Waits until at most so many groups are not done, after which what they have read can be overwritten.
  template <int kGroups>
  __device__ void wait(GroupSums* sums) {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kGroups) : "memory");
    // No sum is looked at before that.
    SN_UNROLL
    for (int i = 0; i < kGroupSums; ++i) asm volatile("" : "+r"(sums->all.of[0][i])::"memory");
  }
};

#else

inline uint32_t shared_address(const void* place, const void* window) {
  return static_cast<uint32_t>(static_cast<const char*>(place) - static_cast<const char*>(window));
}

void publish_copies();

// Products are done when they are waited for, with what lies there then, which has to be what lay there before.
struct Products {
  static constexpr int kMost = 16;
  struct Product {
    uint64_t a, b;
    const void* window;
    int warp;
    int64_t group;
    uint64_t before;  // a digest of what they read
  } pending[kMost];
  int count;
  int64_t group;

  void clear();
  void begin_group() {}
  void multiply_add(uint64_t a, uint64_t b, const void* window, int warp, GroupSums* sums);
  void end_group() { ++group; }
  void finish(int64_t groups, GroupSums* sums);
  template <int kGroups>
  void wait(GroupSums* sums) {
    finish(group - kGroups, sums);
  }
};

#endif

}  // namespace cuda
}  // namespace sn
