// Of each shape the first product tries what the library proposes and keeps the fastest. Declarations follow the
// documented C interface of cuBLASLt 13.
#include "lt.h"

#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "cublaslt_api.h"
#include "optional_library.h"

namespace sn {
namespace cuda {
namespace {

using namespace cublaslt;

constexpr int kProposals = 8;
constexpr size_t kWorkspace = size_t{32} << 20;
constexpr int64_t kLeastProducts = SN_CUBLASLT_LEAST;  // smaller ones are over before a choice pays

OptionalLibrary cublaslt_library = {
    "cuBLASLt",
    13,
    "SINEW_CUBLASLT",
    "libcublasLt.so.13",
    "/usr/local/cuda/lib64",
    "",
    "add org.bytedeco:cuda-redist-cublas of CUDA 13, classifier linux-x86_64, to the class "
    "path, or install CUDA 13's cuBLAS",
    "cublasLtGetVersion"};

struct Library {
  int (*create)(void** handle);
  int (*create_product)(void** product, int compute, int scale);
  int (*destroy_product)(void* product);
  int (*set_product)(void* product, int attribute, const void* value, size_t bytes);
  int (*create_layout)(void** layout, int type, uint64_t rows, uint64_t cols, int64_t pitch);
  int (*destroy_layout)(void* layout);
  int (*set_layout)(void* layout, int attribute, const void* value, size_t bytes);
  int (*create_preference)(void** preference);
  int (*destroy_preference)(void* preference);
  int (*set_preference)(void* preference, int attribute, const void* value, size_t bytes);
  int (*propose)(void* handle, void* product, void* a, void* b, void* c, void* d, void* preference, int wanted,
                 Proposal* proposals, int* found);
  int (*multiply)(void* handle, void* product, const void* alpha, const void* a, void* a_layout, const void* b,
                  void* b_layout, const void* beta, const void* c, void* c_layout, void* d, void* d_layout,
                  const Algorithm* algorithm, void* workspace, size_t workspace_bytes, void* stream);
  bool found;

  Library() {
    const LibraryFunction functions[] = {{"cublasLtCreate", &create},
                                         {"cublasLtMatmulDescCreate", &create_product},
                                         {"cublasLtMatmulDescDestroy", &destroy_product},
                                         {"cublasLtMatmulDescSetAttribute", &set_product},
                                         {"cublasLtMatrixLayoutCreate", &create_layout},
                                         {"cublasLtMatrixLayoutDestroy", &destroy_layout},
                                         {"cublasLtMatrixLayoutSetAttribute", &set_layout},
                                         {"cublasLtMatmulPreferenceCreate", &create_preference},
                                         {"cublasLtMatmulPreferenceDestroy", &destroy_preference},
                                         {"cublasLtMatmulPreferenceSetAttribute", &set_preference},
                                         {"cublasLtMatmulAlgoGetHeuristic", &propose},
                                         {"cublasLtMatmul", &multiply}};
    found = open_library(&cublaslt_library, functions, sizeof functions / sizeof *functions);
  }
};

const Library& library() {
  static const Library opened;
  return opened;
}

// Of a GPU and everything that a choice may depend on.
struct Key {
  int64_t parts[11];
};
struct Chosen {
  bool any;
  Algorithm algorithm;
  size_t workspace;
};
// Kept until the process ends. A list, since networks have few shapes, and the templates of containers would be
// exported.
struct Choice {
  Key key;
  Chosen chosen;
  Choice* next;
};
constexpr int kMostGpus = 64;
pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
void* handles[kMostGpus];
Choice* choices = nullptr;

// What the library wants to know of a product. Its matrices are column-major, so that it gets the transposes: y' = b'
// a'.
class Described {
 public:
  explicit Described(const LtProduct& p) : lt_(library()), p_(p) {
    const int type = p.dtype == SN_F32 ? kF32 : kBf16, y_type = p.y_dtype == SN_F32 ? kF32 : kBf16;
    const uint64_t rows = static_cast<uint64_t>(p.rows), cols = static_cast<uint64_t>(p.cols);
    const uint64_t inner = static_cast<uint64_t>(p.inner);
    const int32_t transpose = p.transposed ? 1 : 0;
    made_ = lt_.create_product(&product_, kComputeF32, kF32) == 0 &&
            lt_.set_product(product_, kTransposeA, &transpose, sizeof transpose) == 0 &&
            layout(&left_, type, p.transposed ? inner : cols, p.transposed ? cols : inner, p.b_pitch, p.b_batch) &&
            layout(&right_, type, inner, rows, p.a_pitch, p.a_batch) &&
            layout(&result_, y_type, cols, rows, p.cols, p.rows * p.cols);
  }
  ~Described() {
    if (product_ != nullptr) lt_.destroy_product(product_);
    void* const layouts[] = {left_, right_, result_};
    for (void* made : layouts) {
      if (made != nullptr) lt_.destroy_layout(made);
    }
  }
  Described(const Described&) = delete;
  Described& operator=(const Described&) = delete;

  bool made() const { return made_; }
  int propose(void* handle, Proposal* proposals) const {
    void* preference = nullptr;
    int found = 0;
    if (lt_.create_preference(&preference) != 0) return 0;
    if (lt_.set_preference(preference, kMostWorkspace, &kWorkspace, sizeof kWorkspace) != 0 ||
        lt_.propose(handle, product_, left_, right_, result_, result_, preference, kProposals, proposals, &found) != 0)
      found = 0;
    lt_.destroy_preference(preference);
    return found;
  }
  bool multiply(void* handle, const Algorithm& algorithm, void* workspace, size_t bytes, void* stream) const {
    const float one = 1, zero = 0;
#if !defined(SINEW_CUDA)
    open_memory();
#endif
    const int status = lt_.multiply(handle, product_, &one, p_.b, left_, p_.a, right_, &zero, p_.y, result_, p_.y,
                                    result_, &algorithm, workspace, bytes, stream);
#if !defined(SINEW_CUDA)
    close_memory();
#endif
    return status == 0;
  }

 private:
  bool layout(void** made, int type, uint64_t rows, uint64_t cols, int64_t pitch, int64_t batch) const {
    if (lt_.create_layout(made, type, rows, cols, pitch) != 0) return false;
    const int32_t count = static_cast<int32_t>(p_.products);
    return count == 1 || (lt_.set_layout(*made, kBatchCount, &count, sizeof count) == 0 &&
                          lt_.set_layout(*made, kBatchStride, &batch, sizeof batch) == 0);
  }

  const Library& lt_;
  const LtProduct& p_;
  void *product_ = nullptr, *left_ = nullptr, *right_ = nullptr, *result_ = nullptr;
  bool made_;
};

// The fastest of what the library proposes, by the best of three products.
Chosen choose(Call& call, void* handle, const Described& described) {
  Proposal proposals[kProposals];
  Chosen best = {false, {}, 0};
  const int found = described.propose(handle, proposals);
  if (found == 0) return best;
  void* workspace = call.scratch(static_cast<int64_t>(kWorkspace));
  Stopwatch stopwatch(call);
  float least = 0;
  for (int i = 0; i < found && workspace != nullptr; ++i) {
    const Proposal& p = proposals[i];
    if (p.state != 0 || p.workspace > kWorkspace) continue;
    const float took = stopwatch.best_of_three(
        [&] { return described.multiply(handle, p.algorithm, workspace, kWorkspace, call.raw_stream()); });
    if (took < 0 || (best.any && took >= least)) continue;
    best = {true, p.algorithm, p.workspace};
    least = took;
  }
  return best;
}

// What was chosen for such a product before, or is now. Under the lock.
Chosen choice_for(Call& call, int gpu, void* handle, const LtProduct& p, const Described& described) {
  const Key key = {
      {gpu, p.dtype, p.y_dtype, p.rows, p.cols, p.inner, p.products, p.a_pitch, p.b_pitch, p.b_batch, p.transposed}};
  for (const Choice* known = choices; known != nullptr; known = known->next) {
    if (memcmp(&known->key, &key, sizeof key) == 0) return known->chosen;
  }
  const Chosen chosen = choose(call, handle, described);
  Choice* kept = call.status() == SN_OK ? static_cast<Choice*>(malloc(sizeof(Choice))) : nullptr;
  if (kept != nullptr) {
    *kept = {key, chosen, choices};
    choices = kept;
  }
  return chosen;
}

bool is_taken(const LtProduct& p) {
  const int64_t size = p.dtype == SN_F32 ? 4 : 2, y_size = p.y_dtype == SN_F32 ? 4 : 2;
  const auto odd = [](const void* data) { return (reinterpret_cast<uintptr_t>(data) & 15) != 0; };
  if (odd(p.a) || odd(p.b) || odd(p.y) || p.a_pitch * size % 16 != 0 || p.b_pitch * size % 16 != 0) return false;
  if (p.cols * y_size % 16 != 0 || p.a_batch * size % 16 != 0 || p.b_batch * size % 16 != 0) return false;
  if (p.rows > INT_MAX || p.cols > INT_MAX || p.inner > INT_MAX || p.products > INT_MAX) return false;
  return p.rows >= 16 && p.inner > 0 && p.rows * p.cols >= kLeastProducts / p.inner &&
         (p.dtype == SN_BF16 || p.y_dtype == SN_F32);
}

}  // namespace

bool lt_found() { return library().found; }
const char* lt_description() {
  lt_found();
  return cublaslt_library.description;
}
sn_status lt_name(const char* path) { return name_library(&cublaslt_library, path); }

sn_status lt_multiply(Call& call, const LtProduct& product, bool* done) {
  *done = false;
  if (call.status() != SN_OK || !is_taken(product) || !lt_found()) return call.status();
  const Described described(product);
  if (!described.made()) return SN_OK;
  const int gpu = call.gpu();
  if (gpu < 0 || gpu >= kMostGpus) return SN_OK;
  Chosen chosen = {false, {}, 0};
  pthread_mutex_lock(&mutex);
  if (handles[gpu] == nullptr && library().create(&handles[gpu]) != 0) handles[gpu] = nullptr;
  void* handle = handles[gpu];
  if (handle != nullptr) chosen = choice_for(call, gpu, handle, product, described);
  pthread_mutex_unlock(&mutex);
  if (call.status() != SN_OK || !chosen.any) return call.status();
  void* workspace = chosen.workspace > 0 ? call.scratch(static_cast<int64_t>(chosen.workspace)) : nullptr;
  if (call.status() != SN_OK) return call.status();
  *done = described.multiply(handle, chosen.algorithm, workspace, chosen.workspace, call.raw_stream());
  return SN_OK;
}

}  // namespace cuda
}  // namespace sn
