// Runs a kernel whose teams wait for each other: all of them at once.
#pragma once

#include "team.h"

#if !defined(SINEW_CUDA)
#include <thread>
#include <vector>
#endif

namespace sn {
namespace cuda {

#if defined(SINEW_CUDA)

template <class Body>
sn_status run_together(Call& call, const Body& body, int64_t teams, Findings* found) {
  if (call.status() != SN_OK) return call.status();
  Findings* findings = call.findings();
  if (findings == nullptr) return call.status();
  unsigned long long* tickets = nullptr;
  void* arguments[] = {const_cast<Body*>(&body), &teams, &findings, &tickets};
  // Refused where the GPU cannot hold all teams.
  cudaLaunchCooperativeKernel(run_phases<Body>, dim3(static_cast<unsigned>(teams)), dim3(kTeam), arguments, 0,
                              call.stream());
  const sn_status status = call.launched();
  return status != SN_OK ? status : call.read(found);
}

#else

// A thread for each team.
template <class Body>
sn_status run_together(Call& call, const Body& body, int64_t teams, Findings* found) {
  if (call.status() != SN_OK) return call.status();
  std::vector<Findings> all(static_cast<size_t>(teams), Findings{0, 0, 0});
  open_memory();
  call.step_aside();
  std::vector<std::thread> threads;
  for (int64_t team = 0; team < teams; ++team) {
    threads.emplace_back([&body, &all, team] {
      typename Body::Shared shared;
      std::vector<typename Body::State> states(kTeam);
      memset(static_cast<void*>(&shared), 0xa5, sizeof shared);
      for (int p = 0; p < phases_of(body, 0); ++p) {
        for (int thread = kTeam - 1; thread >= 0; --thread) {
          body.phase(p, team, thread, states[static_cast<size_t>(thread)], shared, all[static_cast<size_t>(team)]);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  call.step_back();
  close_memory();
  *found = {0, 0, 0};
  for (const Findings& mine : all) found->largest = mine.largest > found->largest ? mine.largest : found->largest;
  return SN_OK;
}

#endif

}  // namespace cuda
}  // namespace sn
