// libsinew_mpi.so: moves bytes with MPI. Built where mpi.h is found, loaded when Communicator.mpi() is called.
#include "collective/mover.h"

#include <mpi.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

namespace {

const sn_mover_host* host = nullptr;
pthread_mutex_t starting = PTHREAD_MUTEX_INITIALIZER;

struct Group {
  MPI_Comm ranks;
  int rank, size;
  MPI_Request* sent;      // greetings
  MPI_Request* received;  // likewise
  MPI_Request moving;
};

sn_status checked(int code, const char* call) {
  if (code == MPI_SUCCESS) return SN_OK;
  char why[MPI_MAX_ERROR_STRING] = "", text[MPI_MAX_ERROR_STRING + 64];
  int length = 0;
  MPI_Error_string(code, why, &length);
  snprintf(text, sizeof text, "%s failed: %s", call, why);
  return host->fail(SN_IO_ERROR, text);
}

#define MPI_TRY(call, name)                            \
  do {                                                 \
    const sn_status status_ = checked((call), (name)); \
    if (status_ != SN_OK) return status_;              \
  } while (0)

// Ends MPI with the process, unless a group has failed: then it could wait forever.
bool started_here = false, all_whole = true;
void finish() {
  int finalized = 1;
  if (started_here && all_whole && MPI_Finalized(&finalized) == MPI_SUCCESS && !finalized) MPI_Finalize();
}

sn_status start() {
  int running = 0, ended = 0, level = 0;
  MPI_TRY(MPI_Initialized(&running), "MPI_Initialized");
  MPI_TRY(MPI_Finalized(&ended), "MPI_Finalized");
  if (ended) return host->fail(SN_UNSUPPORTED, "MPI has been finalized in this process and cannot start again");
  if (!running) {
    // A JVM handles signals itself, also those of memory that it reads on purpose.
    setenv("OMPI_MCA_opal_signal", "", 0);
    setenv("UCX_ERROR_SIGNALS", "", 0);
    MPI_TRY(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &level), "MPI_Init_thread");
    started_here = true;
    atexit(finish);
  }
  MPI_TRY(MPI_Query_thread(&level), "MPI_Query_thread");
  if (level == MPI_THREAD_MULTIPLE) return SN_OK;
  return host->fail(SN_UNSUPPORTED, "this MPI cannot be called from several threads, as a JVM does");
}

void destroy(Group* g) {
  free(g->sent);
  free(g->received);
  free(g);
}

sn_status make_group(int32_t most, Group* g) {
  MPI_TRY(MPI_Comm_dup(MPI_COMM_WORLD, &g->ranks), "MPI_Comm_dup");
  // Errors are to come back, not to end the process.
  MPI_TRY(MPI_Comm_set_errhandler(g->ranks, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  MPI_TRY(MPI_Comm_rank(g->ranks, &g->rank), "MPI_Comm_rank");
  MPI_TRY(MPI_Comm_size(g->ranks, &g->size), "MPI_Comm_size");
  if (g->size > most) {
    char text[128];
    snprintf(text, sizeof text, "MPI started %d processes, and a group has at most %d ranks", g->size, most);
    return host->fail(SN_INVALID_ARGUMENT, text);
  }
  const size_t count = static_cast<size_t>(g->size);
  g->sent = static_cast<MPI_Request*>(malloc(count * sizeof *g->sent));
  g->received = static_cast<MPI_Request*>(malloc(count * sizeof *g->received));
  if (g->sent == nullptr || g->received == nullptr) return host->fail(SN_OUT_OF_MEMORY, "no memory for a group of MPI");
  for (size_t q = 0; q < count; ++q) g->sent[q] = g->received[q] = MPI_REQUEST_NULL;
  return SN_OK;
}

sn_status open(int32_t most, void** group, int32_t* rank, int32_t* world_size) {
  pthread_mutex_lock(&starting);
  sn_status status = start();
  Group* g = status == SN_OK ? static_cast<Group*>(calloc(1, sizeof *g)) : nullptr;
  if (status == SN_OK && g == nullptr) status = host->fail(SN_OUT_OF_MEMORY, "no memory for a group of MPI");
  if (status == SN_OK) {
    g->moving = MPI_REQUEST_NULL;
    status = make_group(most, g);
    if (status != SN_OK) destroy(g);
  }
  pthread_mutex_unlock(&starting);
  if (status != SN_OK) return status;
  *group = g;
  *rank = g->rank;
  *world_size = g->size;
  return SN_OK;
}

void close(void* group, int32_t whole) {
  Group* g = static_cast<Group*>(group);
  if (!whole) {
    // MPI may still use what it was given.
    all_whole = false;
    return;
  }
  MPI_Comm_free(&g->ranks);
  destroy(g);
}

sn_status greet(void* group, const void* own, void* all, int64_t bytes) {
  Group* g = static_cast<Group*>(group);
  const int count = static_cast<int>(bytes);
  for (int q = 0; q < g->size; ++q) {
    if (q == g->rank) continue;
    MPI_TRY(MPI_Irecv(static_cast<char*>(all) + q * bytes, count, MPI_BYTE, q, 0, g->ranks, &g->received[q]),
            "MPI_Irecv");
  }
  for (int q = 0; q < g->size; ++q) {
    if (q == g->rank) continue;
    MPI_TRY(MPI_Isend(own, count, MPI_BYTE, q, 0, g->ranks, &g->sent[q]), "MPI_Isend");
  }
  return SN_OK;
}

sn_status heard(void* group, int32_t q, int32_t* done) {
  Group* g = static_cast<Group*>(group);
  int sent = 0, received = 0;
  MPI_TRY(MPI_Test(&g->sent[q], &sent, MPI_STATUS_IGNORE), "MPI_Isend");
  MPI_TRY(MPI_Test(&g->received[q], &received, MPI_STATUS_IGNORE), "MPI_Irecv");
  *done = sent && received;
  return SN_OK;
}

sn_status exchange(void* group, const void* parts, void* received, int64_t bytes) {
  Group* g = static_cast<Group*>(group);
  const int count = static_cast<int>(bytes);
  return checked(MPI_Ialltoall(parts, count, MPI_BYTE, received, count, MPI_BYTE, g->ranks, &g->moving),
                 "MPI_Ialltoall");
}

sn_status gather(void* group, const void* part, void* all, int64_t bytes) {
  Group* g = static_cast<Group*>(group);
  const int count = static_cast<int>(bytes);
  return checked(MPI_Iallgather(part, count, MPI_BYTE, all, count, MPI_BYTE, g->ranks, &g->moving), "MPI_Iallgather");
}

sn_status broadcast(void* group, int32_t root, void* data, int64_t bytes) {
  Group* g = static_cast<Group*>(group);
  return checked(MPI_Ibcast(data, static_cast<int>(bytes), MPI_BYTE, root, g->ranks, &g->moving), "MPI_Ibcast");
}

sn_status moved(void* group, int32_t* done) {
  int flag = 0;
  MPI_TRY(MPI_Test(&static_cast<Group*>(group)->moving, &flag, MPI_STATUS_IGNORE), "MPI_Test");
  *done = flag;
  return SN_OK;
}

const sn_mover mover = {sn::kMoverLayout, open, close, greet, heard, exchange, gather, broadcast, moved};

}  // namespace

extern "C" SN_EXPORT const sn_mover* sn_mpi_mover(const sn_mover_host* given) {
  if (given->layout != sn::kMoverLayout) return nullptr;
  host = given;
  return &mover;
}
