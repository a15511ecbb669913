// Copies within a GPU's memory, and between it and the host's, by the CUDA run-time library alone.
#pragma once

#include <cstdint>

#include "sinew.h"

namespace sinew_bench {

// An error ends the process with its sentence.
void require_cuda(int error);

// The least of `mib` and a quarter of the GPU's free memory, in MiB.
int64_t fitting_mib(int64_t mib);

// A copy of so many bytes in all: it reads half of them and writes as many.
class DeviceCopy {
 public:
  DeviceCopy(sn_device* device, double bytes, int calls);
  ~DeviceCopy();
  DeviceCopy(const DeviceCopy&) = delete;
  DeviceCopy& operator=(const DeviceCopy&) = delete;

  double bytes_a_second();

 private:
  int64_t half_;
  int calls_;
  sn_tensor *from_ = nullptr, *to_ = nullptr;
};

}  // namespace sinew_bench
