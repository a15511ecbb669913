// A library of NVIDIA's that is used where it is found and never needed: opened when something first asks for it, once
// for the process, from a file that was named, or by its name, so that what another part of the process has loaded is
// found as well.
#pragma once

#include <pthread.h>
#include <stddef.h>

#include "core/backend.h"

namespace sn {
namespace cuda {

struct OptionalLibrary {
  const char* called;         // "cuBLASLt"
  size_t release;             // whose interface is declared here
  const char* variable;       // of the environment: a file, or "none"
  const char* file;           // the name that the system knows it by
  const char* folder;         // where else it may be
  const char* parts;          // files beside it that it opens by their names, in that order, with spaces between
  const char* what_to_add;    // if it is missing
  const char* version_of_it;  // a function that gives 10000 times the release and 100 times what follows
  pthread_mutex_t naming = PTHREAD_MUTEX_INITIALIZER;
  char named[4096] = "";  // by name_library; under the lock, as the next
  bool looked_for = false;
  char description[700] = "";
};

// A function of it: `to` is a pointer to a pointer to such a function.
struct LibraryFunction {
  const char* name;
  void* to;
};

// See sn_cuda_cublaslt in sinew.h.
sn_status name_library(OptionalLibrary* library, const char* path);
// Whether it could be opened and has all functions. The description says so, and if not what is used and why.
bool open_library(OptionalLibrary* library, const LibraryFunction* functions, int count);

}  // namespace cuda
}  // namespace sn
