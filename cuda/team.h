// Runs a kernel whose threads work together. A team of 256 threads takes the phases of a body one after the other:
// body.phase(p, team, thread, state, shared, found). What a thread writes to `shared`, or to the GPU's memory, the
// others see in the next phase; `state` is the thread's own and lasts as long as its team. Teams run in any order,
// unless kOrdered says that a team may wait for those of lower numbers.
#pragma once

#include "launch.h"

namespace sn {
namespace cuda {

constexpr int kTeam = 256;  // threads

// How many phases a body has: kPhases, or what it computes from its size.
template <class Body>
SN_HD auto phases_of(const Body& body, int) -> decltype(body.phases()) {
  return body.phases();
}
template <class Body>
SN_HD int phases_of(const Body&, long) {
  return Body::kPhases;
}

// How many threads one call stands for where no GPU runs them: a warp of bodies that say so (warp.h), else one.
template <class Body, class = void>
struct AtOnce {
  static constexpr int kThreads = 1;
};
template <class Body>
struct AtOnce<Body, typename Body::WholeWarps> {
  static constexpr int kThreads = 32;
};

// Adds to a number that other threads add to as well.
SN_HD inline void add_to(uint32_t* sum, uint32_t value) {
#if defined(__CUDA_ARCH__)
  atomicAdd(sum, value);
#else
  *sum += value;
#endif
}
SN_HD inline void add_to(int64_t* sum, int64_t value) {
#if defined(__CUDA_ARCH__)
  atomicAdd(reinterpret_cast<unsigned long long*>(sum), static_cast<unsigned long long>(value));
#else
  *sum += value;
#endif
}

#if defined(SINEW_CUDA)

template <class Body>
__global__ void __launch_bounds__(kTeam, 2)
    run_phases(const __grid_constant__ Body body, int64_t teams, Findings* findings, unsigned long long* tickets) {
  __shared__ typename Body::Shared shared;
  __shared__ int64_t ticket;
  Findings mine = {0, 0, 0};
  int64_t team = blockIdx.x;
  while (true) {
    if (Body::kOrdered) {
      // Numbers are handed out in the order in which blocks begin, so that whom a team waits for has begun.
      if (threadIdx.x == 0) ticket = static_cast<int64_t>(atomicAdd(tickets, 1ull));
      __syncthreads();
      team = ticket;
    }
    if (team >= teams) break;
    typename Body::State state;
    for (int p = 0; p < phases_of(body, 0); ++p) {
      body.phase(p, team, static_cast<int>(threadIdx.x), state, shared, mine);
      __syncthreads();
    }
    team += gridDim.x;
  }
  if (Body::kFinds) report(mine, findings);
}

template <class Body>
void start_teams(Call& call, const Body& body, int64_t teams, Findings* findings, unsigned long long* tickets) {
  const int64_t blocks = teams < call.blocks() ? teams : call.blocks();
  run_phases<<<static_cast<unsigned>(blocks), kTeam, 0, call.stream()>>>(body, teams, findings, tickets);
}

#else

// All phases of a team, whose threads run one after the other: backwards, as the order must not matter.
template <class Body>
void run_team(const Body& body, int64_t team, typename Body::Shared& shared, typename Body::State* states,
              Findings& mine) {
  constexpr int kAtOnce = AtOnce<Body>::kThreads;
  memset(static_cast<void*>(&shared), 0xa5, sizeof shared);
  for (int p = 0; p < phases_of(body, 0); ++p) {
    for (int thread = kTeam - kAtOnce; thread >= 0; thread -= kAtOnce)
      body.phase(p, team, thread, states[thread], shared, mine);
  }
}

template <class Body>
void start_teams(Call& call, const Body& body, int64_t teams, Findings* findings, unsigned long long*) {
  launch_on_host(call.stream(), teams * phases_of(body, 0) * kTeam, [body, teams, findings] {
    Findings mine = {0, 0, 0};
    auto* shared = new typename Body::Shared;
    auto* states = new typename Body::State[kTeam];
    // Teams likewise, unless they wait for others.
    for (int64_t i = 0; i < teams; ++i) run_team(body, Body::kOrdered ? i : teams - 1 - i, *shared, states, mine);
    delete[] states;
    delete shared;
    if (Body::kFinds) *findings = mine;
  });
}

#endif

template <class Body>
sn_status run_teams(Call& call, const Body& body, int64_t teams, Findings* found) {
  if (call.status() != SN_OK) return call.status();
  if (found != nullptr) *found = {0, 0, 0};
  if (teams == 0) return SN_OK;
  Findings* findings = Body::kFinds ? call.findings() : nullptr;
  unsigned long long* tickets = Body::kOrdered ? call.zeroed_scratch_of<unsigned long long>(1) : nullptr;
  if (call.status() != SN_OK) return call.status();
  start_teams(call, body, teams, findings, tickets);
  const sn_status status = call.launched();
  return status != SN_OK || !Body::kFinds ? status : call.read(found);
}

// A sum over a team in two steps: each thread puts its own number, each of the first 16 adds up 16 of them, and the
// numbers before a thread's are then a sum of at most 30.
struct Sums {
  uint32_t own[kTeam], part[16];

  SN_HD void add_part(int thread) {
    if (thread >= 16) return;
    uint32_t sum = 0;
    for (int i = 0; i < 16; ++i) sum += own[16 * thread + i];
    part[thread] = sum;
  }
  SN_HD uint32_t before(int thread) const {
    uint32_t sum = 0;
    for (int i = 0; i < thread / 16; ++i) sum += part[i];
    for (int i = thread / 16 * 16; i < thread; ++i) sum += own[i];
    return sum;
  }
  SN_HD uint32_t all() const {
    uint32_t sum = 0;
    for (int i = 0; i < 16; ++i) sum += part[i];
    return sum;
  }
};

// The largest number of a team, in the same two steps: each thread puts its own, then all see what find_part leaves.
struct Largest {
  uint32_t own[kTeam], part[16];

  SN_HD void find_part(int thread) {
    if (thread >= 16) return;
    uint32_t largest = 0;
    for (int i = 0; i < 16; ++i) largest = own[16 * thread + i] > largest ? own[16 * thread + i] : largest;
    part[thread] = largest;
  }
  SN_HD uint32_t all() const {
    uint32_t largest = 0;
    for (uint32_t number : part) largest = number > largest ? number : largest;
    return largest;
  }
};

}  // namespace cuda
}  // namespace sn
