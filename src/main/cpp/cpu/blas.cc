#include "cpu/blas.h"

#include <dlfcn.h>
#include <pthread.h>
#include <string.h>

#include "core/tensor.h"
#include "sinew.h"

namespace sn {
namespace {

// The parts of cblas.h in use, with 32-bit integers.
constexpr int kRowMajor = 101, kNoTranspose = 111, kTranspose = 112;
using Sgemm = void (*)(int order, int transpose_a, int transpose_b, int m, int n, int k, float alpha, const float* a,
                       int lda, const float* b, int ldb, float beta, float* c, int ldc);
using Sgemv = void (*)(int order, int transpose_a, int m, int n, float alpha, const float* a, int lda, const float* x,
                       int incx, float beta, float* y, int incy);

// sgemm reorders b first, which takes longer than multiplying by it when there are only so many rows.
constexpr int64_t kFewRows = 4;

// Each call that runs takes one of OpenBLAS's buffers, and when there is none left it ends the process. There are at
// least 50 whatever it was built for.
constexpr int kMostCalls = 32;

constexpr char kSystemLibrary[] = "libopenblas.so.0";

pthread_mutex_t opening = PTHREAD_MUTEX_INITIALIZER;
Sgemm sgemm = nullptr;  // atomic; set once, after those below
Sgemv sgemv = nullptr;
const char* configuration = "";

pthread_mutex_t calls = PTHREAD_MUTEX_INITIALIZER;
pthread_cond_t call_ended = PTHREAD_COND_INITIALIZER;
int running = 0;

Sgemm loaded() { return __atomic_load_n(&sgemm, __ATOMIC_ACQUIRE); }

template <class F>
bool find(void* library, const char* name, F* function) {
  void* address = dlsym(library, name);
  memcpy(function, &address, sizeof address);
  return address != nullptr;
}

sn_status refuse(const char* path, const char* why) {
  return fail(SN_UNSUPPORTED, "'%s' cannot be used for products of matrices: %s", path, why);
}

sn_status open(const char* path) {
  void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* why = dlerror();
    return refuse(path, why == nullptr ? "it cannot be loaded" : why);
  }
  Sgemm found = nullptr;
  Sgemv found_vector = nullptr;
  char* (*get_configuration)() = nullptr;
  int (*parallel)() = nullptr;
  void (*set_threads)(int) = nullptr;
  if (!find(library, "cblas_sgemm", &found) || !find(library, "cblas_sgemv", &found_vector) ||
      !find(library, "openblas_get_config", &get_configuration) || !find(library, "openblas_get_parallel", &parallel) ||
      !find(library, "openblas_set_num_threads", &set_threads)) {
    dlclose(library);
    return refuse(path, "it is not OpenBLAS");
  }
  constexpr int kOpenMp = 2;
  const bool wide = strstr(get_configuration(), "USE64BITINT") != nullptr;
  if (wide || parallel() == kOpenMp) {
    dlclose(library);
    return refuse(path, wide ? "it was built for 64-bit integers"
                             : "it was built for OpenMP, whose threads would add to the device's");
  }
  set_threads(1);
  sgemv = found_vector;
  configuration = get_configuration();
  __atomic_store_n(&sgemm, found, __ATOMIC_RELEASE);
  return SN_OK;
}

}  // namespace

bool blas_takes(int64_t rows, int64_t columns, int64_t inner) {
  return loaded() != nullptr && inner > 0 && rows <= INT32_MAX && columns <= INT32_MAX && inner <= INT32_MAX;
}

void blas_multiply(const float* a, int64_t step_a, const float* b, int64_t step_b, bool transpose_b, float* y,
                   int64_t step_y, int64_t rows, int64_t columns, int64_t inner) {
  pthread_mutex_lock(&calls);
  while (running == kMostCalls) pthread_cond_wait(&call_ended, &calls);
  ++running;
  pthread_mutex_unlock(&calls);
  const auto number = [](int64_t n) { return static_cast<int>(n); };
  const int m = number(rows), n = number(columns), k = number(inner);
  if (rows > kFewRows) {
    loaded()(kRowMajor, kNoTranspose, transpose_b ? kTranspose : kNoTranspose, m, n, k, 1.0f, a, number(step_a), b,
             number(step_b), 0.0f, y, number(step_y));
  } else {
    for (int64_t r = 0; r < rows; ++r) {
      sgemv(kRowMajor, transpose_b ? kNoTranspose : kTranspose, transpose_b ? n : k, transpose_b ? k : n, 1.0f, b,
            number(step_b), a + r * step_a, 1, 0.0f, y + r * step_y, 1);
    }
  }
  pthread_mutex_lock(&calls);
  --running;
  pthread_cond_signal(&call_ended);
  pthread_mutex_unlock(&calls);
}

}  // namespace sn

sn_status sn_blas_open(const char* path) {
  pthread_mutex_lock(&sn::opening);
  const sn_status status = sn::loaded() != nullptr ? SN_OK : sn::open(path == nullptr ? sn::kSystemLibrary : path);
  pthread_mutex_unlock(&sn::opening);
  return status;
}

const char* sn_blas_configuration(void) { return sn::loaded() == nullptr ? "" : sn::configuration; }
