// What is said of a GPU: the driver it has, and which of the plug-in's code it runs. Without anything of CUDA, so that
// it can be tested where there is no GPU.
#pragma once

#include <stdint.h>

namespace sn {
namespace cuda {

struct GpuFacts {
  const char* name;
  int major, minor;  // the compute capability
  int multiprocessors;
  double gib;
  int driver_cuda;            // as cudaDriverGetVersion has it: 1000 x major + 10 x minor
  const char* driver_file;    // what Linux tells of the driver, "/proc/driver/nvidia/version"
  const char* architectures;  // what the plug-in was compiled for, as CMAKE_CUDA_ARCHITECTURES, with commas
};

// "<name>, compute capability 9.0, 132 multiprocessors, 139.8 GiB, driver 580.65.06 for CUDA 13.0, machine code
// for 9.0a", cut at `capacity` bytes with the final 0. The driver's own version is left out where the file does not
// tell it.
void describe_gpu(const GpuFacts& gpu, char* text, int64_t capacity);

// Which of the code a GPU of this compute capability runs: "machine code for 8.6", the nearest that it can run; else
// "PTX of 8.0, which the driver compiles"; else "no code for it". Machine code runs on its own major version, from its
// own minor version on, and PTX on everything later; of an architecture such as 90a nothing runs but on 9.0.
void describe_code(const char* architectures, int major, int minor, char* text, int64_t capacity);

// The version of the driver, as "580.65.06"; "" if the file is not there or has none.
void driver_version(const char* file, char* version, int64_t capacity);

}  // namespace cuda
}  // namespace sn
