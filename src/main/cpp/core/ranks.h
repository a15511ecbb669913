// What core asks of a GPU in a collective.
#pragma once

#include <stdint.h>

#include "sinew.h"

namespace sn {
constexpr int32_t kMostGpuRanks = 16, kMostRankTeams = 32;
constexpr int64_t kRankSlot = 256 << 10;  // bytes of a tensor that goes through memory which others write

enum RankOperation : int32_t { kRanksReduce, kRanksReduceParts, kRanksGather, kRanksBroadcast };
}  // namespace sn

// A collective of ranks whose tensors lie in the memory of GPUs, of which `here` are those of one device, which
// computes for them. What is copied and not reduced is I8. See cuda/ranks.h.
struct sn_rank_call {
  sn::RankOperation operation;
  int32_t root;                           // of a broadcast
  int32_t world_size, here_count, teams;  // teams of a rank: as many for every rank
  int32_t here[sn::kMostGpuRanks];
  const void* x[sn::kMostGpuRanks];
  void* out[sn::kMostGpuRanks];
  void* exchange[sn::kMostGpuRanks];  // memory of each rank that all devices can use, zeroed in the beginning
  uint64_t number;                    // of the call, from 1 on
  int64_t timeout_ns;
  int64_t elements, bytes;  // of out; of a gather, of x
  sn_dtype dtype;
  sn_reduction reduction;
};

// What follows an all-reduce to sums: every rank adds its residual, into `out`, and norms its rows. Elements are whole
// rows of at most kRankSlot bytes.
struct sn_rank_norm {
  const void* residual[sn::kMostGpuRanks];
  const float* weight[sn::kMostGpuRanks];  // or null
  void* y[sn::kMostGpuRanks];
  double eps[sn::kMostGpuRanks];
  int64_t cols;
};
