#include "core/library.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

namespace sn {
namespace {

const char here = 0;

bool exists(const char* path) {
  FILE* file = fopen(path, "rbe");
  if (file != nullptr) fclose(file);
  return file != nullptr;
}

}  // namespace

bool is_beside(const char* file, char* path, size_t capacity) {
  Dl_info info;
  if (dladdr(&here, &info) == 0 || info.dli_fname == nullptr) return false;
  const char* slash = strrchr(info.dli_fname, '/');
  if (slash == nullptr) return false;
  const int folder = static_cast<int>(slash - info.dli_fname);
  const int length = snprintf(path, capacity, "%.*s/%s", folder, info.dli_fname, file);
  return length > 0 && static_cast<size_t>(length) < capacity && exists(path);
}

}  // namespace sn
