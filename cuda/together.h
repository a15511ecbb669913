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
void start_together(Call& call, const Body& body, int64_t teams, Findings* findings) {
  unsigned long long* tickets = nullptr;
  void* arguments[] = {const_cast<Body*>(&body), &teams, &findings, &tickets};
  // Refused where the GPU cannot hold all teams.
  cudaLaunchCooperativeKernel(run_phases<Body>, dim3(static_cast<unsigned>(teams)), dim3(kTeam), arguments, 0,
                              call.stream());
}

#else

// A thread for each team.
template <class Body>
void start_together(Call& call, const Body& body, int64_t teams, Findings* findings) {
  launch_on_host(call.stream(), teams * phases_of(body, 0) * kTeam, [body, teams, findings] {
    std::vector<Findings> all(static_cast<size_t>(teams), Findings{0, 0, 0});
    std::vector<std::thread> threads;
    for (int64_t team = 0; team < teams; ++team) {
      threads.emplace_back([&body, &all, team] {
        typename Body::Shared shared;
        std::vector<typename Body::State> states(kTeam);
        run_team(body, team, shared, states.data(), all[static_cast<size_t>(team)]);
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (const Findings& mine : all) {
      findings->largest = mine.largest > findings->largest ? mine.largest : findings->largest;
    }
  });
}

#endif

template <class Body>
sn_status run_together(Call& call, const Body& body, int64_t teams, Findings* found) {
  if (call.status() != SN_OK) return call.status();
  Findings* findings = call.findings();
  if (findings == nullptr) return call.status();
  start_together(call, body, teams, findings);
  const sn_status status = call.launched();
  return status != SN_OK ? status : call.read(found);
}

}  // namespace cuda
}  // namespace sn
