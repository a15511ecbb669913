#include "optional_library.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device.h"

namespace sn {
namespace cuda {
namespace {

// A library that is named by a path may lie where the system does not look, and its parts with it.
void* open_named(const OptionalLibrary& library, const char* path) {
  const char* slash = strrchr(path, '/');
  const int folder = slash == nullptr ? 0 : static_cast<int>(slash + 1 - path);
  char part[4096];
  for (const char* name = library.parts; folder > 0 && *name != '\0';) {
    const int length = static_cast<int>(strcspn(name, " "));
    // What is missing or does not fit is for the library itself to miss.
    if (static_cast<size_t>(snprintf(part, sizeof part, "%.*s%.*s", folder, path, length, name)) < sizeof part)
      dlopen(part, RTLD_NOW | RTLD_LOCAL);
    name += length;
    name += strspn(name, " ");
  }
  return dlopen(path, RTLD_NOW | RTLD_LOCAL);
}

void* open_found(const OptionalLibrary& library) {
  void* found = dlopen(library.file, RTLD_NOW | RTLD_LOCAL);
  if (found != nullptr) return found;
  char path[256];
  snprintf(path, sizeof path, "%s/%s", library.folder, library.file);
  return open_named(library, path);
}

}  // namespace

sn_status name_library(OptionalLibrary* library, const char* path) {
  if (path != nullptr && strlen(path) >= sizeof library->named) {
    return fail(SN_INVALID_ARGUMENT, "the name of %s's file has more than %zu bytes", library->called,
                sizeof library->named - 1);
  }
  pthread_mutex_lock(&library->naming);
  const bool late = library->looked_for;
  if (!late) strcpy(library->named, path == nullptr ? "" : path);
  pthread_mutex_unlock(&library->naming);
  if (!late) return SN_OK;
  return fail(SN_INVALID_ARGUMENT, "%s was looked for before its file was named", library->called);
}

bool open_library(OptionalLibrary* library, const LibraryFunction* functions, int count) {
  pthread_mutex_lock(&library->naming);
  library->looked_for = true;
  pthread_mutex_unlock(&library->naming);
  char* const description = library->description;
  constexpr size_t kSize = sizeof library->description;
  const char* const variable = getenv(library->variable);
  const char* const asked = *library->named != '\0' ? library->named : variable != nullptr ? variable : "";
  if (strcmp(asked, "none") == 0) {
    snprintf(description, kSize, "Sinew, as no %s was asked for", library->called);
    return false;
  }
  void* opened = *asked != '\0' ? open_named(*library, asked) : open_found(*library);
  if (opened == nullptr && *asked != '\0') {
    const char* why = dlerror();
    snprintf(description, kSize, "Sinew, as %s cannot be opened: %.400s", library->called,
             why == nullptr ? asked : why);
    return false;
  }
  if (opened == nullptr) {
    snprintf(description, kSize, "Sinew, as %s, which is faster, was not found: %s", library->called,
             library->what_to_add);
    return false;
  }
  const char* const file = *asked != '\0' ? asked : library->file;
  for (int i = 0; i < count; ++i) {
    void* address = dlsym(opened, functions[i].name);
    if (address == nullptr) {
      snprintf(description, kSize, "Sinew, as '%.400s' is not %s %zu: it has no %s", file, library->called,
               library->release, functions[i].name);
      dlclose(opened);
      return false;
    }
    memcpy(functions[i].to, &address, sizeof address);
  }
  void* const address = dlsym(opened, library->version_of_it);
  size_t (*version)() = nullptr;
  memcpy(&version, &address, sizeof address);
  const size_t number = version == nullptr ? 0 : version();
  if (number / 10000 != library->release) {
    snprintf(description, kSize, "Sinew, as '%.400s' is not %s %zu: its version is %zu", file, library->called,
             library->release, number);
    dlclose(opened);
    return false;
  }
  Dl_info where;
  snprintf(description, kSize, "%s %zu.%zu, %.400s", library->called, number / 10000, number / 100 % 100,
           dladdr(address, &where) != 0 && where.dli_fname != nullptr ? where.dli_fname : "an unknown place");
  return true;
}

}  // namespace cuda
}  // namespace sn
