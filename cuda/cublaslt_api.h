// What we use of cuBLASLt 13's C interface, whose headers few machines have: numbers and structures. Functions are
// looked up in the library by their names. See NVIDIA's reference, "cuBLASLt Datatypes Reference"; numbers were
// compared with those of JavaCPP's preset of CUDA 13.3. The stand-in of the tests has its own, so that a wrong one here
// is noticed.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace sn {
namespace cublaslt {

constexpr int kF32 = 0, kI8 = 3, kI32 = 10, kBf16 = 14;  // cudaDataType
constexpr int kComputeF32 = 68, kComputeI32 = 72;        // cublasComputeType_t: F32, not TF32
constexpr int kTransposeA = 3;                           // cublasLtMatmulDescAttributes_t
constexpr int kBatchCount = 5, kBatchStride = 6;         // cublasLtMatrixLayoutAttribute_t
constexpr int kMostWorkspace = 1;                        // cublasLtMatmulPreferenceAttributes_t

// cublasLtMatmulAlgo_t and cublasLtMatmulHeuristicResult_t.
struct Algorithm {
  uint64_t data[8];
};
struct Proposal {
  Algorithm algorithm;
  size_t workspace;
  int state;
  float waves;
  int reserved[4];
};

}  // namespace cublaslt
}  // namespace sn
