// What moves bytes between ranks that share no memory, in a library of its own: libsinew_mpi.so. It starts, and tells
// when something is done, but never waits, so that deadlines are the caller's.
#pragma once

#include <stdint.h>

#include "sinew.h"

namespace sn {
constexpr uint64_t kMoverLayout = 0x53696e65774d5031;  // changes with sn_mover
}

struct sn_mover_host {
  uint64_t layout;
  sn_status (*fail)(sn_status status, const char* sentence);  // records the sentence for sn_last_error()
};

// Functions give SN_OK, or record a sentence. Of exchange, gather and broadcast one is under way at a time; its memory
// belongs to the mover until it is done.
struct sn_mover {
  uint64_t layout;
  // A group of all processes that were started together.
  sn_status (*open)(int32_t most, void** group, int32_t* rank, int32_t* world_size);
  // With `whole` all ranks close; without it the group has failed, and what is under way is left to its fate.
  void (*close)(void* group, int32_t whole);
  // Sends `own` to each other rank and receives `all` from them, rank q's at q * bytes.
  sn_status (*greet)(void* group, const void* own, void* all, int64_t bytes);
  // Whether rank q has greeted; once for each greeting of each rank.
  sn_status (*heard)(void* group, int32_t q, int32_t* done);
  // Part q of `parts`, each of `bytes`, goes to rank q; received in the order of the ranks.
  sn_status (*exchange)(void* group, const void* parts, void* received, int64_t bytes);
  // `part` of every rank, in the order of the ranks.
  sn_status (*gather)(void* group, const void* part, void* all, int64_t bytes);
  sn_status (*broadcast)(void* group, int32_t root, void* data, int64_t bytes);
  sn_status (*moved)(void* group, int32_t* done);
};

// The only symbol that such a library exports. Null if the layouts differ.
extern "C" const sn_mover* sn_mpi_mover(const sn_mover_host* host);
