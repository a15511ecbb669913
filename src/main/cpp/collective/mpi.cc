// Loads libsinew_mpi.so when MPI is asked for.
#include <dlfcn.h>
#include <pthread.h>
#include <string.h>

#include "collective/moved.h"
#include "core/checks.h"
#include "core/library.h"

namespace sn {
namespace {

constexpr char kFile[] = "libsinew_mpi.so";

pthread_mutex_t loading = PTHREAD_MUTEX_INITIALIZER;
const sn_mover* mover = nullptr;

sn_status fail_with(sn_status status, const char* sentence) { return fail(status, "%s", sentence); }
const sn_mover_host host = {kMoverLayout, fail_with};

sn_status load(const char* path) {
  // Global, as Open MPI opens parts of itself that look for its symbols.
  void* library = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
  if (library == nullptr) {
    const char* why = dlerror();
    return fail(SN_UNSUPPORTED, "MPI cannot be used, as its library cannot be loaded: %s", why == nullptr ? path : why);
  }
  const sn_mover* (*entry)(const sn_mover_host*) = nullptr;
  void* address = dlsym(library, "sn_mpi_mover");
  memcpy(&entry, &address, sizeof address);
  const sn_mover* found = entry == nullptr ? nullptr : entry(&host);
  if (found == nullptr) {
    dlclose(library);
    return fail(SN_UNSUPPORTED, "MPI cannot be used, as '%.800s' is not of this build of Sinew", path);
  }
  mover = found;
  return SN_OK;
}

sn_status loaded(const char* path) {
  pthread_mutex_lock(&loading);
  sn_status status = SN_OK;
  if (mover == nullptr) {
    char near[4096];
    const bool here = path == nullptr && is_beside(kFile, near, sizeof near);
    status = load(path != nullptr ? path : here ? near : kFile);
  }
  pthread_mutex_unlock(&loading);
  return status;
}

}  // namespace
}  // namespace sn

sn_status sn_communicator_mpi(const char* library, int64_t timeout_ms, sn_communicator** communicator) {
  using namespace sn;
  if (communicator == nullptr) return fail(SN_INVALID_ARGUMENT, "the result pointer is null");
  *communicator = nullptr;
  SN_TRY(checks::group(0, 1, timeout_ms));
  SN_TRY(loaded(library));
  return open_moved(mover, timeout_ms, communicator);
}
