// What a warp does as one: copies that arrive later, loads of matrices, products on the tensor cores. A thread of the
// GPU holds its own lane's registers; on the CPU, where tests/cpp/cuda/host_warp.cc does what the PTX ISA says of these
// instructions, one call does the work of all lanes and holds all their registers.
#pragma once

#include "team.h"

namespace sn {
namespace cuda {

constexpr int kWarp = 32;
#if defined(SINEW_CUDA)
#define SN_DEVICE __device__
constexpr int kHeld = 1;
#else
#define SN_DEVICE
constexpr int kHeld = kWarp;
#endif

template <class T, int kCount>
struct Registers {
  T of[kHeld][kCount];
};
// The addresses, in shared memory, of the rows of up to four matrices: lane 8 i + j has row j of matrix i.
struct MatrixRows {
  const void* of[kHeld];
};

#if defined(SINEW_CUDA)

// Copies of 16 bytes from the GPU's memory to shared memory, in groups that arrive in order.
struct Copies {
  __device__ void clear() {}
  // Zeros if the bytes are not there; `from` is not looked at then.
  __device__ void begin(void* to, const void* from, bool there) {
    asm volatile(
        "cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(static_cast<uint32_t>(__cvta_generic_to_shared(to))),
        "l"(from), "r"(there ? 16 : 0)
        : "memory");
  }
  __device__ void end_group() { asm volatile("cp.async.commit_group;" ::: "memory"); }
  // Waits until at most so many groups have not arrived. What other threads have copied is there after a barrier.
  template <int kGroups>
  __device__ void wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(kGroups) : "memory");
  }
};

// The number, but what is computed with it is not kept in registers from one call to the next.
static __device__ inline int computed_anew(int number) {
  asm volatile("" : "+r"(number));
  return number;
}

// Four matrices of 8 rows of 16 bytes: lane l gets bytes 4 (l % 4) and on of row l / 4 of each.
static __device__ inline void load_matrices(const MatrixRows& rows, Registers<uint32_t, 4>* to) {
  uint32_t* r = to->of[0];
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(rows.of[0])))
               : "memory");
}

// sum += a b for a [16, 32] and b [32, 8] of int8, b's registers being 2 part and 2 part + 1.
static __device__ inline void multiply_add(const Registers<uint32_t, 4>& a, const Registers<uint32_t, 4>& b, int part,
                                           Registers<int32_t, 4>* sum) {
  int32_t* d = sum->of[0];
  asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
      : "r"(a.of[0][0]), "r"(a.of[0][1]), "r"(a.of[0][2]), "r"(a.of[0][3]), "r"(b.of[0][2 * part]),
        "r"(b.of[0][2 * part + 1]));
}

// sum += a b for a [16, 64] and b [64, 8] of int8, a with two values in each group of four columns, whose places every
// lane has eight of; see two_of_four.h.
static __device__ inline void multiply_add_sparse(const Registers<uint32_t, 4>& a, const Registers<uint32_t, 4>& b,
                                                  const Registers<uint32_t, 1>& places, Registers<int32_t, 4>* sum) {
  int32_t* d = sum->of[0];
  asm("mma.sp::ordered_metadata.sync.aligned.m16n8k64.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9, %10, %11}, {%0, %1, %2, %3}, %12, 0x0;"
      : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
      : "r"(a.of[0][0]), "r"(a.of[0][1]), "r"(a.of[0][2]), "r"(a.of[0][3]), "r"(b.of[0][0]), "r"(b.of[0][1]),
        "r"(b.of[0][2]), "r"(b.of[0][3]), "r"(places.of[0][0]));
}

#else

// Nothing arrives before it is waited for.
struct Copies {
  static constexpr int kMost = 768;
  struct Copy {
    void* to;
    const void* from;
    int64_t group;
  } pending[kMost];
  int count;
  int64_t group;

  void clear() {
    count = 0;
    group = 0;
  }
  void begin(void* to, const void* from, bool there);
  void end_group() { ++group; }
  void arrive(int64_t groups);
  template <int kGroups>
  void wait() {
    arrive(group - kGroups);
  }
};

inline int computed_anew(int number) { return number; }
void load_matrices(const MatrixRows& rows, Registers<uint32_t, 4>* to);
void multiply_add(const Registers<uint32_t, 4>& a, const Registers<uint32_t, 4>& b, int part,
                  Registers<int32_t, 4>* sum);
void multiply_add_sparse(const Registers<uint32_t, 4>& a, const Registers<uint32_t, 4>& b,
                         const Registers<uint32_t, 1>& places, Registers<int32_t, 4>* sum);

#endif

}  // namespace cuda
}  // namespace sn
