// Which instruction set this process computes with.
#pragma once

#include "core/backend.h"

namespace sn {

enum IsaTier { kScalar, kAvx2, kAvx512, kVnni, kAmx };

struct IsaChoice {
  IsaTier tier;       // as reported
  const sn_ops* ops;  // the table that serves it
  const char* name;   // "avx512"
  char reason[256];   // one sentence
};

// Decided at the first call from the processor and SINEW_ISA.
const IsaChoice& isa();

int available_processors();
bool prefers_many_streams();

}  // namespace sn
