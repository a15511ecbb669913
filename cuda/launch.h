// Runs a kernel's body: body.step(i, findings) for i in [0, steps), each by one thread, in any order. Kernels whose
// threads work together are in team.h.
#pragma once

#include "device.h"
#include "elements.h"

#if !defined(SINEW_CUDA)
#include <functional>
#endif

namespace sn {
namespace cuda {

#if defined(SINEW_CUDA)

// Adds up what all threads have found.
static __device__ inline void report(const Findings& mine, Findings* findings) {
  const uint32_t largest = __reduce_max_sync(0xffffffffu, mine.largest);
  unsigned long long count = mine.count, other = mine.other;
  for (int lanes = 16; lanes > 0; lanes /= 2) {
    count += __shfl_down_sync(0xffffffffu, count, lanes);
    other += __shfl_down_sync(0xffffffffu, other, lanes);
  }
  if (threadIdx.x % 32 != 0) return;
  if (largest != 0) atomicMax(&findings->largest, largest);
  if (count != 0) atomicAdd(&findings->count, count);
  if (other != 0) atomicAdd(&findings->other, other);
}

// How many blocks a multiprocessor is to hold at once: two of bodies that say they need many registers, else three.
template <class Body, class = void>
struct Resident {
  static constexpr int kBlocks = 3;
};
template <class Body>
struct Resident<Body, typename Body::ManyRegisters> {
  static constexpr int kBlocks = 2;
};

template <class Body>
__global__ void __launch_bounds__(256, Resident<Body>::kBlocks)
    run_steps(const __grid_constant__ Body body, int64_t steps, Findings* findings) {
  Findings mine = {0, 0, 0};
  const int64_t stride = static_cast<int64_t>(gridDim.x) * 256;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * 256 + threadIdx.x; i < steps; i += stride) body.step(i, mine);
  if (Body::kFinds) report(mine, findings);
}

template <class Body>
void start_steps(Call& call, const Body& body, int64_t steps, Findings* findings) {
  const int64_t wanted = (steps + 255) / 256;
  const int64_t blocks = wanted < call.blocks() ? wanted : call.blocks();
  run_steps<<<static_cast<unsigned>(blocks), 256, 0, call.stream()>>>(body, steps, findings);
}

#else

// On the CPU: what a kernel is to do, when the stream is waited for, and how long it takes, in steps of threads
// (tests/cpp/cuda/host_cudart.cc).
void launch_on_host(cudaStream_t stream, int64_t steps, std::function<void()> kernel);

template <class Body>
void start_steps(Call& call, const Body& body, int64_t steps, Findings* findings) {
  launch_on_host(call.stream(), steps, [body, steps, findings] {
    Findings mine = {0, 0, 0};
    // Backwards, as the order must not matter.
    for (int64_t i = steps - 1; i >= 0; --i) body.step(i, mine);
    if (Body::kFinds) *findings = mine;
  });
}

#endif

template <class Body>
sn_status run(Call& call, const Body& body, int64_t steps, Findings* found) {
  if (call.status() != SN_OK) return call.status();
  if (found != nullptr) *found = {0, 0, 0};
  if (steps == 0) return SN_OK;
  Findings* findings = Body::kFinds ? call.findings() : nullptr;
  if (Body::kFinds && findings == nullptr) return call.status();
  start_steps(call, body, steps, findings);
  const sn_status status = call.launched();
  return status != SN_OK || !Body::kFinds ? status : call.read(found);
}

SN_LOCAL int64_t steps_of_elements(int64_t elements) { return (elements + kStep - 1) / kStep; }
// Elements of step i among so many.
SN_HD SN_LOCAL int length_of(int64_t step, int64_t elements) {
  const int64_t left = elements - step * kStep;
  return left < kStep ? static_cast<int>(left) : kStep;
}

}  // namespace cuda
}  // namespace sn
