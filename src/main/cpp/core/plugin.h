// How libsinew.so and a back end in a library of its own, such as libsinew_cuda.so, meet.
#pragma once

#include <stdint.h>

#include "core/backend.h"
#include "core/ranks.h"
#include "core/tensor.h"
#include "core/weights.h"

// What libsinew.so gives to a plug-in.
struct sn_host {
  uint64_t layout;
  sn_status (*fail)(sn_status status, const char* sentence);  // records the sentence for sn_last_error()
};

// What a plug-in gives back. Its functions record a sentence when they fail.
struct sn_plugin {
  uint64_t layout;
  sn_status (*count)(int32_t* devices);
  sn_status (*describe)(int32_t index, char* text, int64_t capacity);
  sn_status (*open)(int32_t index, sn_device** device);
  // sn_cuda_cublaslt, and the words of sn_cuda_cublaslt_description; the same of cuDNN.
  sn_status (*name_cublaslt)(const char* path);
  const char* (*describe_cublaslt)();
  sn_status (*name_cudnn)(const char* path);
  const char* (*describe_cudnn)();
};

namespace sn {

// A number that changes with anything both sides have to agree on: the slots and their parameters, and the objects.
// Nobody has to remember to count a version up.
constexpr uint64_t backend_layout() {
  constexpr const char* slots =
#define SN_OP(name, params) #name #params ";"
#include "core/ops.inc"
#undef SN_OP
      "";
  uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  for (const char* c = slots; *c != 0; ++c) hash = (hash ^ static_cast<uint8_t>(*c)) * 0x100000001b3;
  const uint64_t sizes[] = {SN_API_VERSION,     sizeof(sn_host),      sizeof(sn_plugin),    sizeof(sn_ops),
                            sizeof(sn_backend), sizeof(sn_rank_call), sizeof(sn_rank_norm), sizeof(sn_device),
                            sizeof(sn_tensor),  sizeof(sn_weights)};
  for (uint64_t size : sizes) hash = (hash ^ size) * 0x100000001b3;
  return hash;
}

}  // namespace sn

// The only symbol that a plug-in exports. Null if the layouts differ.
extern "C" const sn_plugin* sn_cuda_plugin(const sn_host* host);
