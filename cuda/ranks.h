// Collectives of ranks that have each other's memory, on one GPU or on several of a host: what a kernel of one GPU does
// for the ranks that it has. For the GPU and, in tests, the CPU, where a team is a thread.
//
// Every rank has a Flags and slots behind it (`exchange`), which the others write. A rank has as many teams as any
// other, and a team meets those of its own number: it says to each of them which call it has reached, and waits until
// all have said so. Kernels of one rank run one after the other, so that a team that has met the others in call n knows
// that all teams of all ranks have ended call n - 1. So two slots of each rank, in turn, are enough.
#pragma once

#include <sched.h>
#include <time.h>

#include "core/ranks.h"
#include "reduction.h"
#include "team.h"

namespace sn {
namespace cuda {

struct alignas(128) Flags {
  uint64_t arrived[2][kMostRankTeams][kMostGpuRanks];  // the last call of each rank that has come to meeting m
};

// Release and acquire for whoever can see the memory: other GPUs too.
SN_HD inline void say(uint64_t* flag, uint64_t call) {
#if defined(__CUDA_ARCH__)
  asm volatile("st.release.sys.global.u64 [%0], %1;" ::"l"(flag), "l"(call) : "memory");
#else
  __atomic_store_n(flag, call, __ATOMIC_RELEASE);
#endif
}
SN_HD inline uint64_t said(const uint64_t* flag) {
#if defined(__CUDA_ARCH__)
  uint64_t call;
  asm volatile("ld.acquire.sys.global.u64 %0, [%1];" : "=l"(call) : "l"(flag) : "memory");
  return call;
#else
  return __atomic_load_n(flag, __ATOMIC_ACQUIRE);
#endif
}
SN_HD inline int64_t now() {
#if defined(__CUDA_ARCH__)
  int64_t ns;
  asm volatile("mov.u64 %0, %globaltimer;" : "=l"(ns));
  return ns;
#else
  sched_yield();
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * int64_t{1000000000} + t.tv_nsec;
#endif
}

// What all kernels of ranks have in common. found.largest is 1 + a rank that has not come.
struct Ranks {
  static constexpr bool kFinds = true, kOrdered = false;
  struct State {};
  struct Late {
    int any;
  };
  sn_rank_call c;

  SN_HD int rank_of(int64_t team) const { return c.here[team / c.teams]; }
  SN_HD int number_of(int64_t team) const { return static_cast<int>(team % c.teams); }
  SN_HD Flags* flags(int rank) const { return static_cast<Flags*>(c.exchange[rank]); }
  // What rank `from` has written for rank `to`.
  SN_HD char* slot(int to, int from) const {
    const int64_t index = static_cast<int64_t>(c.number & 1) * c.world_size + from;
    return static_cast<char*>(c.exchange[to]) + sizeof(Flags) + index * kRankSlot;
  }

  SN_HD void say_all(int meeting, int64_t team, int thread) const {
    if (thread >= c.world_size) return;
    say(&flags(thread)->arrived[meeting][number_of(team)][rank_of(team)], c.number);
  }
  SN_HD void await(int meeting, int64_t team, int thread, Late& late, Findings& found) const {
    if (thread >= c.world_size) return;
    const uint64_t* flag = &flags(rank_of(team))->arrived[meeting][number_of(team)][thread];
    const int64_t start = now();
    for (uint32_t i = 0; said(flag) < c.number; ++i) {
      if (i % 256 != 255 || now() - start < c.timeout_ns) continue;
      late.any = 1;
      const uint32_t who = static_cast<uint32_t>(thread) + 1;
      found.largest = who > found.largest ? who : found.largest;
      return;
    }
  }

  // A team's part of `whole` elements, steps or rows: the teams of one number read what each other have written, so
  // they have the same part.
  SN_HD int64_t part_begin(int64_t team, int64_t whole) const { return whole * number_of(team) / c.teams; }
  SN_HD int64_t part_end(int64_t team, int64_t whole) const { return whole * (number_of(team) + 1) / c.teams; }

  // Where in the tensor of rank `of` lies what rank `to` needs of it.
  SN_HD const char* part_for(int to, int of) const {
    const int64_t before = c.operation == kRanksReduceParts ? to * c.bytes : 0;
    return static_cast<const char*>(c.x[of]) + before;
  }
  // Writes bytes [begin, end) of what each rank needs of this rank's tensor into its slot.
  SN_HD void push(int64_t team, int thread, int64_t begin, int64_t end) const {
    const int rank = rank_of(team);
    for (int64_t i = begin + int64_t{thread} * kStep; i < end; i += kTeam * kStep) {
      const int n = end - i < kStep ? static_cast<int>(end - i) : kStep;
      Elements<int8_t> some;
      for (int to = 0; to < c.world_size; ++to) {
        if (to == 0 || c.operation == kRanksReduceParts)
          some = load(reinterpret_cast<const int8_t*>(part_for(to, rank)) + i, n);
        store(reinterpret_cast<int8_t*>(slot(to, rank)) + i, some, n);
      }
    }
  }
  SN_HD int64_t steps() const { return (c.elements + kStep - 1) / kStep; }
  // What rank `to` reduces or copies: what others have written for it, or the tensors where they lie.
  struct Sources {
    const Ranks* ranks;
    int to;
    bool slots;
    SN_HD const void* at(int m) const { return slots ? ranks->slot(to, m) : ranks->part_for(to, m); }
  };
};

// In one shot every rank gets all that it needs and reduces or copies it by itself, after one meeting. Otherwise ranks
// read tensors where they lie, between two meetings; of an all-reduce each reduces its share of all tensors and writes
// it to all outputs, so that an element's memory, in place too, is used by one rank only.
struct Collective : Ranks {
  static constexpr int kPhases = 6;
  using Shared = Late;
  bool one_shot;

  // An all-reduce in which each rank does a share for all.
  SN_HD bool shared_out() const { return !one_shot && c.operation == kRanksReduce; }
  SN_HD int64_t begin_of(int64_t team) const {
    return one_shot ? part_begin(team, steps()) : shared_out() ? share_of(rank_of(team)) : 0;
  }
  SN_HD int64_t end_of(int64_t team) const {
    return one_shot ? part_end(team, steps()) : shared_out() ? share_of(rank_of(team) + 1) : steps();
  }
  SN_HD int64_t share_of(int rank) const { return steps() * rank / c.world_size; }

  // Copies step i from the root, or from every rank, beginning with this one so that not all read from one at once.
  SN_HD void copy_step(const Sources& x, int rank, int64_t i, int n) const {
    const bool gathers = c.operation == kRanksGather;
    int m = gathers ? rank : c.root;
    for (int k = 0; k < (gathers ? c.world_size : 1); ++k) {
      const int8_t* from = static_cast<const int8_t*>(x.at(m));
      int8_t* to = static_cast<int8_t*>(c.out[rank]) + (gathers ? m * c.bytes : 0);
      if (from != to) store(to + i, load(from + i, n), n);
      m = m + 1 == c.world_size ? 0 : m + 1;
    }
  }

  SN_HD void phase(int p, int64_t team, int thread, State&, Shared& shared, Findings& found) const {
    const int rank = rank_of(team);
    const bool is_root = c.operation == kRanksBroadcast && rank == c.root;
    if (p == 0) {
      if (thread == 0) shared.any = 0;
      if (!one_shot || (c.operation == kRanksBroadcast && rank != c.root)) return;
      const int64_t size = c.bytes / c.elements, end = end_of(team) * kStep;
      push(team, thread, begin_of(team) * kStep * size, (end < c.elements ? end : c.elements) * size);
    } else if (p == 1) {
      say_all(0, team, thread);
    } else if (p == 2) {
      await(0, team, thread, shared, found);
    } else if (p == 3 && shared.any == 0 && !is_root) {
      const Sources x = {this, rank, one_shot};
      const bool copies = c.operation == kRanksGather || c.operation == kRanksBroadcast;
      // The teams of a rank divide what lies where it lies between them step by step.
      const int64_t first = begin_of(team) + (one_shot ? 0 : number_of(team) * int64_t{kTeam});
      const int64_t stride = one_shot ? kTeam : int64_t{c.teams} * kTeam;
      for (int64_t i = first + thread; i < end_of(team); i += stride) {
        const int n = length_of(i, c.elements);
        if (copies) {
          copy_step(x, rank, i * kStep, n);
        } else {
          reduce_step(x, c.world_size, c.dtype, c.reduction, i * kStep, n, shared_out() ? c.out : c.out + rank,
                      shared_out() ? c.world_size : 1);
        }
      }
    }
    if (one_shot) return;
    if (p == 4) say_all(1, team, thread);
    if (p == 5) await(1, team, thread, shared, found);
  }
};

}  // namespace cuda
}  // namespace sn
