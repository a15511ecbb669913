// Loads libsinew_cuda.so when a GPU is asked for.
#include "core/plugin.h"

#include <dlfcn.h>
#include <pthread.h>
#include <string.h>

#include "core/library.h"

namespace sn {
namespace {

constexpr char kFile[] = "libsinew_cuda.so";

pthread_mutex_t loading = PTHREAD_MUTEX_INITIALIZER;
const sn_plugin* plugin = nullptr;  // atomic; set once

sn_status fail_with(sn_status status, const char* sentence) { return fail(status, "%s", sentence); }

const sn_host host = {backend_layout(), fail_with};

sn_status load(const char* path) {
  void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* why = dlerror();
    return fail(SN_UNSUPPORTED, "no GPU can be used, as the CUDA plug-in cannot be loaded: %s",
                why == nullptr ? path : why);
  }
  const sn_plugin* (*entry)(const sn_host*) = nullptr;
  void* address = dlsym(library, "sn_cuda_plugin");
  memcpy(&entry, &address, sizeof address);
  const sn_plugin* found = entry == nullptr ? nullptr : entry(&host);
  if (found == nullptr || found->layout != host.layout) {
    dlclose(library);
    return fail(
        SN_UNSUPPORTED, "no GPU can be used, as '%.800s' is %s", path,
        entry == nullptr ? "not Sinew's CUDA plug-in" : "of another build of Sinew; use libraries of one build");
  }
  __atomic_store_n(&plugin, found, __ATOMIC_RELEASE);
  return SN_OK;
}

sn_status loaded(const sn_plugin** found) {
  *found = __atomic_load_n(&plugin, __ATOMIC_ACQUIRE);
  if (*found != nullptr) return SN_OK;
  const sn_status status = sn_cuda_load(nullptr);
  *found = __atomic_load_n(&plugin, __ATOMIC_ACQUIRE);
  return status;
}

// The plug-in, which has a GPU of this index.
sn_status with_device(int32_t index, const sn_plugin** found) {
  const sn_status status = loaded(found);
  if (status != SN_OK) return status;
  int32_t count = 0;
  const sn_status counted = (*found)->count(&count);
  if (counted != SN_OK) return counted;
  if (index >= 0 && index < count) return SN_OK;
  return fail(SN_INVALID_ARGUMENT, "there is no GPU %d: this machine has %d, counted from 0", index, count);
}

}  // namespace
}  // namespace sn

using sn::fail;

sn_status sn_cuda_load(const char* path) {
  pthread_mutex_lock(&sn::loading);
  sn_status status = SN_OK;
  if (sn::plugin == nullptr) {
    char near[4096];
    const bool here = path == nullptr && sn::is_beside(sn::kFile, near, sizeof near);
    status = sn::load(path != nullptr ? path : here ? near : sn::kFile);
  }
  pthread_mutex_unlock(&sn::loading);
  return status;
}

sn_status sn_cuda_count(int32_t* count) {
  if (count == nullptr) return fail(SN_INVALID_ARGUMENT, "the result pointer is null");
  *count = 0;
  const sn_plugin* plugin = nullptr;
  const sn_status status = sn::loaded(&plugin);
  return status != SN_OK ? status : plugin->count(count);
}

const char* sn_cuda_description(int32_t index) {
  static thread_local char text[512];
  text[0] = 0;
  const sn_plugin* plugin = nullptr;
  if (sn::with_device(index, &plugin) != SN_OK || plugin->describe(index, text, sizeof text) != SN_OK) return "";
  return text;
}

sn_status sn_cuda_open(int32_t index, sn_device** device) {
  if (device == nullptr) return fail(SN_INVALID_ARGUMENT, "the result pointer is null");
  const sn_plugin* plugin = nullptr;
  const sn_status status = sn::with_device(index, &plugin);
  return status != SN_OK ? status : plugin->open(index, device);
}

sn_status sn_cuda_cublaslt(const char* path) {
  const sn_plugin* plugin = nullptr;
  const sn_status status = sn::loaded(&plugin);
  return status != SN_OK ? status : plugin->name_cublaslt(path);
}

const char* sn_cuda_cublaslt_description(void) {
  const sn_plugin* plugin = nullptr;
  return sn::loaded(&plugin) != SN_OK ? "" : plugin->describe_cublaslt();
}

sn_status sn_cuda_cudnn(const char* path) {
  const sn_plugin* plugin = nullptr;
  const sn_status status = sn::loaded(&plugin);
  return status != SN_OK ? status : plugin->name_cudnn(path);
}

const char* sn_cuda_cudnn_description(void) {
  const sn_plugin* plugin = nullptr;
  return sn::loaded(&plugin) != SN_OK ? "" : plugin->describe_cudnn();
}
