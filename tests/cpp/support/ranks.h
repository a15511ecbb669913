// Ranks for the tests of collectives, and what all transports have to compute.
#pragma once

#include <functional>
#include <vector>

#include "sinew.h"
#include "support/tensor.h"

namespace sinew_test {

// Ranks that are threads of this process.
class ThreadRanks {
 public:
  explicit ThreadRanks(int world_size, int64_t timeout_ms = 30000);
  ~ThreadRanks();
  ThreadRanks(const ThreadRanks&) = delete;
  ThreadRanks& operator=(const ThreadRanks&) = delete;

  // Runs `rank` on a thread for each rank, and waits for all.
  void run(const std::function<void(sn_communicator*)>& rank);
  void close(size_t rank);

 private:
  std::vector<sn_communicator*> communicators_;
};

// Each is called by every rank with the same arguments. Inputs are integers of few bits, different for each rank, so
// that sums are exact in float64 and in every dtype; tensors begin `shift` elements after a cache line. Failures are
// those of GoogleTest.
void check_all_reduce(sn_communicator* c, sn_dtype dtype, int64_t n, sn_reduction reduction, bool in_place,
                      int64_t shift);
// Random inputs, against what sn_compress, sn_reduce_compressed and sn_expand give on this rank alone.
void check_compressed(sn_communicator* c, sn_dtype dtype, int64_t n, sn_reduction reduction, bool in_place);
// Every operation and reduction, in place and not.
void check_operations(sn_communicator* c, sn_dtype dtype, int64_t n, int64_t shift);
// Small and large all-reduces, gathers and broadcasts in turn, with delays that differ from rank to rank.
void check_many_calls(sn_communicator* c, int calls);

}  // namespace sinew_test
