// What the ranks of a group share: who has arrived where, what each asks for, and the first failure. It lies in memory
// that all of them see: of the process for threads, a memfd for processes. Ranks that are processes do not trust what
// they read in it: nothing of it becomes a size, an index or a pointer before it is checked.
//
// Ranks meet in phases. Every call has at least one, whose arrival comes with the request, so that no rank computes
// before it has compared what all of them ask for. A rank cannot be more than one phase ahead of another, which is why
// two requests a rank are enough: when one is written again, everybody has passed a phase since reading it.
#pragma once

#include <stdint.h>

#include "core/tensor.h"
#include "sinew.h"

namespace sn {

enum Operation : int32_t {
  kAllReduce = SN_ALL_REDUCE,
  kCompressedAllReduce = SN_ALL_REDUCE_COMPRESSED,
  kAllReduceNorm = SN_ALL_REDUCE_RMS_NORM,
  kReduceScatter = SN_REDUCE_SCATTER,
  kAllGather = SN_ALL_GATHER,
  kBroadcast = SN_BROADCAST,
  kBarrier = SN_BARRIER,
  kStart
};

struct Request {
  Operation operation;
  sn_dtype dtype;
  sn_reduction reduction;
  int32_t root;           // of a norm: the length of a row
  int64_t elements;       // of x
  int32_t elsewhere = 0;  // 1: only agreed on here, and done by other means
};

// What follows an all-reduce: a residual, an RMS norm and where they go.
struct NormTensors {
  const sn_tensor* residual;
  const sn_tensor* weight;  // or null
  double eps;
  sn_tensor* y;
};

// Why a group has failed.
enum Reason : int32_t { kNone, kLate, kClosed, kDisagrees, kOverlaps, kEnded, kStuck, kUnable };

// What a rank calls with, and how far it has come. They share a cache line, so that whoever sees a rank arrive has its
// request as well. The pointers are null where ranks cannot use each other's tensors.
struct alignas(64) Posted {
  uint64_t arrived;  // atomic: the last phase of this call that it has reached
  Request request;
  const void* x;
  void* out;
  const NormTensors* norm;
};

static_assert(sizeof(Posted) == 64, "a request is one cache line to fetch");

// Of one rank, written by it alone.
struct alignas(64) RankState {
  Posted posted[2];
  int32_t closed;  // atomic
  int32_t busy;    // atomic: it is using the memory of others
};

struct Control {
  alignas(64) uint64_t failure;  // atomic: 0, or what `Failure` packs
  alignas(64) RankState ranks[1];
};

}  // namespace sn

struct sn_communicator;

namespace sn {

// Where the ranks of a group live, and what follows from it. The operations run once a call has begun; `device` has the
// kernels.
struct Transport {
  bool shares_tensors;  // ranks use each other's tensors, those that are posted
  sn_status (*all_reduce)(sn_communicator* c, sn_device* device, const sn_tensor* x, sn_reduction reduction,
                          sn_tensor* out);
  // Null where there is none, as all_reduce_norm.
  sn_status (*all_reduce_compressed)(sn_communicator* c, sn_device* device, const sn_tensor* x, sn_reduction reduction,
                                     sn_tensor* out);
  sn_status (*all_reduce_norm)(sn_communicator* c, const sn_tensor* x, sn_tensor* out);
  sn_status (*reduce_scatter)(sn_communicator* c, sn_device* device, const sn_tensor* x, sn_reduction reduction,
                              sn_tensor* out);
  sn_status (*all_gather)(sn_communicator* c, const sn_tensor* x, sn_tensor* out);
  sn_status (*broadcast)(sn_communicator* c, int32_t root, sn_tensor* x);
  sn_status (*barrier)(sn_communicator* c);
  void (*look_for_ended)(sn_communicator* c);  // sets `ended` of ranks whose process has ended
  void (*release)(sn_communicator* c);         // gives back the control block and what else the transport holds
};

// Bytes of the control block of a group: whole pages.
int64_t control_bytes(int32_t world_size);

// A communicator over such memory, zeroed; null when there is no memory for the object.
sn_communicator* create_communicator(const Transport* transport, Control* control, int32_t rank, int32_t world_size,
                                     int64_t timeout_ms);

// The communicators of ranks that are threads of this process, with so many bytes of slots, and their end.
sn_status open_threads(const Transport* transport, int32_t world_size, int64_t slots, int64_t timeout_ms,
                       sn_communicator** communicators);
void release_threads(sn_communicator* c);

// How long to spin, then yield, then sleep, until a deadline.
class Patience {
 public:
  Patience(int32_t spins, int64_t timeout_ns) : spins_(spins), timeout_(timeout_ns) {}
  // Waits a moment. True when so much time has passed that it is worth looking at more than the awaited number.
  bool pause();
  bool is_over() const { return waited_ >= timeout_; }

 private:
  int32_t spins_;
  int64_t timeout_;
  int64_t start_ = 0;  // of the yields
  int64_t waited_ = 0;
  int32_t yields_ = 0;
};
int64_t now_ns();

}  // namespace sn

struct sn_communicator {
  const sn::Transport* transport;
  sn::Control* control;
  int32_t rank, world_size;
  int64_t timeout_ns;
  int32_t spins;   // before a waiting thread gives its processor away
  int32_t in_use;  // atomic
  uint64_t phase;  // this rank's arrivals
  uint64_t calls;
  char broken[512];  // why it is unusable, once it is
  int32_t failed_rank;
  bool ended[SN_MAX_WORLD_SIZE];
  sn_device* device;  // the GPU of this rank; null where tensors are in the CPU's memory
  char* slots;
  uint64_t steps;  // uses of slots
  void* own;       // what else the transport holds

  sn::RankState* states() { return control->ranks; }
  // What a rank has posted for this call.
  const sn::Posted& posted(int32_t of) { return states()[of].posted[calls & 1]; }
};

namespace sn {

// Begins a call: posts the request. Fails if the group has failed, and if another call of this rank is running. Every
// call that began ends with end_call.
sn_status begin_call(sn_communicator* c, const Request& request, const void* x, void* out,
                     const NormTensors* norm = nullptr);
void end_call(sn_communicator* c);
// The first phase of a call, which compares what all ranks ask for.
sn_status meet_and_compare(sn_communicator* c);
// Any other phase.
sn_status meet(sn_communicator* c);

bool same_request(const Request& a, const Request& b);

// Around all use of other ranks' tensors, which a rank that gives up waits for before its caller may free them. Blocks
// in between should be short; may_go_on says when to stop early.
sn_status enter_memory(sn_communicator* c);
bool may_go_on(sn_communicator* c);
void leave_memory(sn_communicator* c);

// Makes the group fail, unless it has failed already, and returns what failed.
sn_status give_up(sn_communicator* c, Reason reason, int32_t culprit);
// The status and sentence of a group that has failed.
sn_status failed(sn_communicator* c);

// The operations on each other's tensors, and through slots.
sn_status all_reduce_directly(sn_communicator* c, sn_device* device, const sn_tensor* x, sn_reduction reduction,
                              sn_tensor* out);
sn_status reduce_scatter_directly(sn_communicator* c, sn_device* device, const sn_tensor* x, sn_reduction reduction,
                                  sn_tensor* out);
sn_status all_gather_directly(sn_communicator* c, const sn_tensor* x, sn_tensor* out);
sn_status broadcast_directly(sn_communicator* c, int32_t root, sn_tensor* x);
sn_status all_reduce_in_slots(sn_communicator* c, sn_device* device, const sn_tensor* x, sn_reduction reduction,
                              sn_tensor* out);
sn_status reduce_scatter_in_slots(sn_communicator* c, sn_device* device, const sn_tensor* x, sn_reduction reduction,
                                  sn_tensor* out);
sn_status all_reduce_compressed_in_slots(sn_communicator* c, sn_device* device, const sn_tensor* x,
                                         sn_reduction reduction, sn_tensor* out);
sn_status all_gather_in_slots(sn_communicator* c, const sn_tensor* x, sn_tensor* out);
sn_status broadcast_in_slots(sn_communicator* c, int32_t root, sn_tensor* x);

// Where ranks share tensors: no rank's output may be memory that another rank reads or writes. All ranks look at all
// that is posted, so all find the same.
sn_status outputs_apart(sn_communicator* c, int64_t x_bytes, int64_t out_bytes);

// Bytes of the slots of a group: two a rank, which follow the control block.
constexpr int64_t kSlotBytes = 256 << 10;
inline int64_t slots_bytes(int32_t world_size) { return 2 * kSlotBytes * world_size; }
// A rank's slot for this step. Slots alternate, so one meeting a step is enough: a slot is written again two steps
// later, and between the two everybody has met once more.
inline char* slot(sn_communicator* c, int32_t of) {
  return c->slots + (2 * of + static_cast<int64_t>(c->steps & 1)) * kSlotBytes;
}
// f(offset, count, first) for pieces of at most `most` of `whole`, a step each; once for nothing, since ranks meet all
// the same.
template <class F>
sn_status for_pieces(sn_communicator* c, int64_t whole, int64_t most, F f) {
  int64_t offset = 0;
  do {
    const int64_t piece = most < whole - offset ? most : whole - offset;
    const sn_status status = f(offset, piece, offset == 0);
    if (status != SN_OK) return status;
    ++c->steps;
    offset += piece;
  } while (offset < whole);
  return SN_OK;
}

}  // namespace sn
