// What tests of GPUs beside the CPU have in common.
#pragma once

#include <dlfcn.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <stdexcept>

#include "support/tensor.h"

namespace sinew_test {

inline sn_device* opened(bool on_gpu, int32_t index = 0) {
  sn_device* device = nullptr;
  const sn_status status = on_gpu && sn_cuda_load(std::getenv("SINEW_CUDA_PLUGIN")) != SN_OK ? SN_UNSUPPORTED
                           : on_gpu ? sn_cuda_open(index, &device)
                                    : sn_cpu_open(1, &device);
  if (status != SN_OK) throw std::runtime_error(sn_last_error());
  return device;
}

inline void write(sn_tensor* tensor, const void* data, size_t bytes) {
  ASSERT_EQ(sn_tensor_write(tensor, 0, data, static_cast<int64_t>(bytes)), SN_OK) << sn_last_error();
}

// A variable of the library that an environment variable names, which tests on the CPU put in the place of NVIDIA's;
// null if it is another.
template <class T>
T* of_stub(const char* variable, const char* name) {
  const char* path = std::getenv(variable);
  void* library = path == nullptr ? nullptr : dlopen(path, RTLD_NOW | RTLD_NOLOAD);
  return library == nullptr ? nullptr : static_cast<T*>(dlsym(library, name));
}

}  // namespace sinew_test
