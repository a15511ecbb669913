#include "gpu_cublaslt.h"

#include <cuda_runtime_api.h>
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <limits>

#include "cublaslt_api.h"
#include "measure.h"

#if defined(SINEW_BENCH_HOST)
// Of the stand-in for a GPU: the library has to reach its memory.
void sn_host_reach_memory(bool reach);
#endif

namespace sinew_bench {
namespace {

using namespace sn::cublaslt;

constexpr size_t kWorkspace = size_t{32} << 20;
constexpr int kProposals = 16;

class Library : public CublasLt {
 public:
  explicit Library(void* library) : library_(library) {}
  ~Library() override { cudaFree(workspace_); }

  bool start() {
    return find("cublasLtCreate", &create_) && find("cublasLtMatmulDescCreate", &create_product_) &&
           find("cublasLtMatmulDescSetAttribute", &set_product_) &&
           find("cublasLtMatrixLayoutCreate", &create_layout_) &&
           find("cublasLtMatmulPreferenceCreate", &create_preference_) &&
           find("cublasLtMatmulPreferenceSetAttribute", &set_preference_) &&
           find("cublasLtMatmulAlgoGetHeuristic", &propose_) && find("cublasLtMatmul", &multiply_) &&
           create_(&handle_) == 0 && cudaMalloc(&workspace_, kWorkspace) == cudaSuccess;
  }

  std::function<void()> product(LtKind kind, const LtShape& shape, const void* a, const std::vector<const void*>& b,
                                void* y) override {
    const bool int8 = kind == LtKind::kInt8ToInt32;
    const int element = int8 ? kI8 : kBf16, result = int8 ? kI32 : kF32;
    const uint64_t rows = static_cast<uint64_t>(shape.rows), cols = static_cast<uint64_t>(shape.cols);
    const uint64_t inner = static_cast<uint64_t>(shape.inner);
    const int32_t transpose = 1;
    // Column-major, so y' = b a'. Descriptors are few and stay until the process ends.
    void *product = nullptr, *left = nullptr, *right = nullptr, *out = nullptr, *preference = nullptr;
    if (create_product_(&product, int8 ? kComputeI32 : kComputeF32, int8 ? kI32 : kF32) != 0 ||
        set_product_(product, kTransposeA, &transpose, sizeof transpose) != 0 ||
        create_layout_(&left, element, inner, cols, shape.inner) != 0 ||
        create_layout_(&right, element, inner, rows, shape.inner) != 0 ||
        create_layout_(&out, result, cols, rows, shape.cols) != 0 || create_preference_(&preference) != 0 ||
        set_preference_(preference, kMostWorkspace, &kWorkspace, sizeof kWorkspace) != 0) {
      return {};
    }
    Proposal proposals[kProposals];
    int found = 0;
    if (propose_(handle_, product, left, right, out, out, preference, kProposals, proposals, &found) != 0) return {};
    const auto call_with = [=](const Algorithm& algorithm, const void* weights) {
      const float one = 1, zero = 0;
      const int32_t int_one = 1, int_zero = 0;
      const void* alpha = int8 ? static_cast<const void*>(&int_one) : &one;
      const void* beta = int8 ? static_cast<const void*>(&int_zero) : &zero;
      return multiply_(handle_, product, alpha, weights, left, a, right, beta, y, out, y, out, &algorithm, workspace_,
                       kWorkspace, nullptr);
    };
#if defined(SINEW_BENCH_HOST)
    const auto call = [=](const Algorithm& algorithm, const void* weights) {
      sn_host_reach_memory(true);
      const int status = call_with(algorithm, weights);
      sn_host_reach_memory(false);
      return status;
    };
#else
    const auto call = call_with;
#endif
    double least = std::numeric_limits<double>::infinity();
    Algorithm fastest = {};
    for (int i = 0; i < found; ++i) {
      if (proposals[i].state != 0 || proposals[i].workspace > kWorkspace) continue;
      if (call(proposals[i].algorithm, b[0]) != 0 || cudaDeviceSynchronize() != cudaSuccess) continue;
      const double seconds = seconds_of([&] {
        for (const void* weights : b) call(proposals[i].algorithm, weights);
        cudaDeviceSynchronize();
      });
      if (seconds >= least) continue;
      least = seconds;
      fastest = proposals[i].algorithm;
    }
    if (least == std::numeric_limits<double>::infinity()) return {};
    const auto next = std::make_shared<size_t>(0);
    return [=] {
      if (call(fastest, b[(*next)++ % b.size()]) == 0) return;
      std::fprintf(stderr, "cuBLASLt has failed\n");
      std::exit(1);
    };
  }

 private:
  template <class F>
  bool find(const char* name, F** function) {
    *function = reinterpret_cast<F*>(dlsym(library_, name));
    return *function != nullptr;
  }

  void* library_;  // stays open, as Sinew's does
  void *handle_ = nullptr, *workspace_ = nullptr;
  int (*create_)(void**) = nullptr;
  int (*create_product_)(void**, int, int) = nullptr;
  int (*set_product_)(void*, int, const void*, size_t) = nullptr;
  int (*create_layout_)(void**, int, uint64_t, uint64_t, int64_t) = nullptr;
  int (*create_preference_)(void**) = nullptr;
  int (*set_preference_)(void*, int, const void*, size_t) = nullptr;
  int (*propose_)(void*, void*, void*, void*, void*, void*, void*, int, Proposal*, int*) = nullptr;
  int (*multiply_)(void*, void*, const void*, const void*, void*, const void*, void*, const void*, const void*, void*,
                   void*, void*, const Algorithm*, void*, size_t, void*) = nullptr;
};

}  // namespace

std::unique_ptr<CublasLt> CublasLt::open() {
  // "cuBLASLt 13.1, <file>", or why there is none.
  const std::string found = sn_cuda_cublaslt_description();
  const size_t comma = found.find(", ");
  if (found.compare(0, 9, "cuBLASLt ") != 0 || comma == std::string::npos) return nullptr;
  void* library = dlopen(found.c_str() + comma + 2, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return nullptr;
  auto opened = std::make_unique<Library>(library);
  return opened->start() ? std::move(opened) : nullptr;
}

}  // namespace sinew_bench
