// Ranks that are processes: this test binary, started once for each.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

#include "sinew.h"

namespace sinew_test {

struct RankPlace {
  std::string name;
  int32_t rank, world;
};

// Runs `rank` in a process for each rank, which runs the test that calls this as far as here, and waits for all of
// them. All have to end with success but rank `killed`, which has to be ended by a signal. Meanwhile `meanwhile`, if
// any, runs in the test's own process with the processes' numbers.
void run_processes(int world, const std::function<void(const RankPlace&)>& rank, int killed = -1,
                   const std::function<void(const std::vector<pid_t>&)>& meanwhile = nullptr);
// Likewise with ranks that have joined a group.
void run_group(int world, const std::function<void(sn_communicator*)>& rank, int64_t timeout_ms = 20000,
               int killed = -1, const std::function<void(const std::vector<pid_t>&)>& meanwhile = nullptr);
// A name that no other group of this machine has.
std::string fresh_name();
// How many descriptors this process has open.
int open_descriptors();

}  // namespace sinew_test
