// Meeting, comparing, waiting and failing.
#include "collective/group.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/checks.h"
#include "core/memory.h"
#include "cpu/isa.h"

namespace sn {
namespace {

constexpr int64_t kPage = 4096;
// A wait this long is no longer worth a processor. Sleeping a part of it costs a few percent at most.
constexpr int64_t kSleepAfterNs = 2000000;
constexpr int64_t kSleepPart = 32;
constexpr int64_t kLongestSleepNs = 2000000;

// One word, so that the first failure wins and is seen whole.
struct Failure {
  Reason reason;
  int32_t culprit, by;
  int32_t parity;  // of the call in which it happened
};
uint64_t pack(const Failure& f) {
  return uint64_t{1} << 63 | static_cast<uint64_t>(f.parity) << 56 | static_cast<uint64_t>(f.reason) << 48 |
         static_cast<uint64_t>(f.culprit) << 16 | static_cast<uint64_t>(f.by);
}
Failure unpack(uint64_t word) {
  return {static_cast<Reason>(word >> 48 & 255), static_cast<int32_t>(word >> 16 & 0xffff),
          static_cast<int32_t>(word & 0xffff), static_cast<int32_t>(word >> 56 & 1)};
}

const char* name_of(Operation operation) {
  static const char* const names[] = {
      "all-reduce", "compressed all-reduce", "all-reduce with a norm", "reduce-scatter", "all-gather", "broadcast",
      "barrier",    "the start of the group"};
  return operation >= kAllReduce && operation <= kStart ? names[operation] : "unknown";
}
const char* reduction_name(sn_reduction reduction) {
  static const char* const names[] = {"sum", "average", "min", "max"};
  return reduction >= SN_SUM && reduction <= SN_MAX ? names[reduction] : "unknown";
}

// What a rank asks for, each number read once: another process may write it at any time.
Request read(const volatile Request& request) {
  return {request.operation, request.dtype, request.reduction, request.root, request.elements, request.elsewhere};
}

// "rank 2 has 1001 elements where rank 0 has 1000, in all-reduce"
void describe_difference(const Request& a, int32_t rank_a, const Request& b, int32_t rank_b, char* text, size_t size) {
  const char* operation = name_of(a.operation);
  if (a.operation != b.operation) {
    snprintf(text, size, "rank %d calls %s where rank %d calls %s", rank_a, operation, rank_b, name_of(b.operation));
  } else if (a.dtype != b.dtype) {
    snprintf(text, size, "rank %d has %s where rank %d has %s, in %s", rank_a, dtype_name(a.dtype), rank_b,
             dtype_name(b.dtype), operation);
  } else if (a.reduction != b.reduction) {
    snprintf(text, size, "rank %d asks for the %s where rank %d asks for the %s, in %s", rank_a,
             reduction_name(a.reduction), rank_b, reduction_name(b.reduction), operation);
  } else if (a.root != b.root && a.operation == kAllReduceNorm) {
    snprintf(text, size, "rank %d has rows of %d elements where rank %d has rows of %d, in %s", rank_a, a.root, rank_b,
             b.root, operation);
  } else if (a.root != b.root) {
    snprintf(text, size, "rank %d takes rank %d for the root where rank %d takes rank %d, in %s", rank_a, a.root,
             rank_b, b.root, operation);
  } else if (a.elements == b.elements) {
    const bool first = a.elsewhere != 0;
    snprintf(text, size, "rank %d agrees on %s where rank %d calls it", first ? rank_a : rank_b, operation,
             first ? rank_b : rank_a);
  } else {
    snprintf(text, size, "rank %d has %lld elements where rank %d has %lld, in %s", rank_a,
             static_cast<long long>(a.elements), rank_b, static_cast<long long>(b.elements), operation);
  }
}

void describe_failure(sn_communicator* c, const Failure& f, char* text, size_t size) {
  const RankState* states = c->states();
  const Request by = read(states[f.by].posted[f.parity].request);
  const double seconds = static_cast<double>(c->timeout_ns) * 1e-9;
  switch (f.reason) {
    case kLate:
      if (f.culprit == c->rank) {
        snprintf(text, size, "this rank, %d, is late: rank %d has waited for it for %g s in %s", f.culprit, f.by,
                 seconds, name_of(by.operation));
      } else {
        snprintf(text, size, "rank %d has not called %s within %g s, or hangs in it", f.culprit, name_of(by.operation),
                 seconds);
      }
      return;
    case kClosed:
      snprintf(text, size, "rank %d has closed its communicator, before %s was complete", f.culprit,
               name_of(by.operation));
      return;
    case kEnded:
      snprintf(text, size, "the process of rank %d has ended, before %s was complete", f.culprit,
               name_of(by.operation));
      return;
    case kDisagrees:
      describe_difference(read(states[f.culprit].posted[f.parity].request), f.culprit, by, f.by, text, size);
      return;
    case kOverlaps:
      snprintf(text, size, "the output of rank %d overlaps a tensor of rank %d, in %s", f.by, f.culprit,
               name_of(by.operation));
      return;
    case kStuck:
      snprintf(text, size, "the tensors were not moved within %g s, in %s: a rank has failed or hangs", seconds,
               name_of(by.operation));
      return;
    case kUnable:
      snprintf(text, size, "rank %d could not do its part of %s", f.culprit, name_of(by.operation));
      return;
    case kNone:
      break;
  }
  snprintf(text, size, "the group has failed");
}

Posted& own_of(sn_communicator* c) { return c->states()[c->rank].posted[c->calls & 1]; }
// A rank that has gone on to its next call has left there how far it came in this one.
bool arrived(sn_communicator* c, int32_t rank) {
  return __atomic_load_n(&c->posted(rank).arrived, __ATOMIC_ACQUIRE) >= c->phase;
}

// Fails if somebody has failed, or a rank that has not arrived never will; `rank` is one that is waited for.
sn_status look_around(sn_communicator* c, int32_t rank, const Patience& patience) {
  // If the others have gone on, what has failed is their next call.
  if (__atomic_load_n(&c->control->failure, __ATOMIC_ACQUIRE) != 0 && !arrived(c, rank)) return failed(c);
  // Before its arrival is looked at: a rank may well close or end right after its last phase.
  if (c->transport->look_for_ended != nullptr) c->transport->look_for_ended(c);
  for (int32_t q = 0; q < c->world_size; ++q) {
    const bool closed = __atomic_load_n(&c->states()[q].closed, __ATOMIC_ACQUIRE) != 0;
    if ((closed || c->ended[q]) && !arrived(c, q)) return give_up(c, closed ? kClosed : kEnded, q);
  }
  return patience.is_over() && !arrived(c, rank) ? give_up(c, kLate, rank) : SN_OK;
}

sn_status meet_all(sn_communicator* c, bool compare) {
  ++c->phase;
  __atomic_store_n(&own_of(c).arrived, c->phase, __ATOMIC_RELEASE);
  Patience patience(c->spins, c->timeout_ns);
  for (int32_t q = 0; q < c->world_size; ++q) {
    while (!arrived(c, q)) {
      if (patience.pause()) SN_TRY(look_around(c, q, patience));
    }
    if (compare && !same_request(read(c->posted(q).request), read(c->posted(c->rank).request)))
      return give_up(c, kDisagrees, q);
  }
  return SN_OK;
}

}  // namespace

bool same_request(const Request& a, const Request& b) {
  return a.operation == b.operation && a.dtype == b.dtype && a.reduction == b.reduction && a.root == b.root &&
         a.elements == b.elements && a.elsewhere == b.elsewhere;
}

int64_t now_ns() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * int64_t{1000000000} + t.tv_nsec;
}

bool Patience::pause() {
  if (spins_ > 0) {
    --spins_;
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
    return false;
  }
  if (start_ == 0) start_ = now_ns();
  if (waited_ > kSleepAfterNs) {
    const int64_t part = waited_ / kSleepPart;
    const timespec moment = {0, part < kLongestSleepNs ? part : kLongestSleepNs};
    nanosleep(&moment, nullptr);
  } else {
    sched_yield();
    if (++yields_ % 16 != 0) return false;
  }
  waited_ = now_ns() - start_;
  return true;
}

int64_t control_bytes(int32_t world_size) {
  const int64_t bytes =
      static_cast<int64_t>(sizeof(Control)) + (world_size - 1) * static_cast<int64_t>(sizeof(RankState));
  return (bytes + kPage - 1) / kPage * kPage;
}

sn_communicator* create_communicator(const Transport* transport, Control* control, int32_t rank, int32_t world_size,
                                     int64_t timeout_ms) {
  sn_communicator* c = make<sn_communicator>();
  if (c == nullptr) return nullptr;
  c->transport = transport;
  c->control = control;
  c->failed_rank = -1;
  c->rank = rank;
  c->world_size = world_size;
  constexpr int64_t kLongest = INT64_MAX / 1000000;
  c->timeout_ns = (timeout_ms < kLongest ? timeout_ms : kLongest) * 1000000;
  // With more ranks than processors, whoever spins keeps the one it waits for from running.
  c->spins = world_size <= available_processors() ? 1000 : 0;
  return c;
}

sn_status begin_call(sn_communicator* c, const Request& request, const void* x, void* out, const NormTensors* norm) {
  if (__atomic_exchange_n(&c->in_use, 1, __ATOMIC_ACQUIRE)) {
    return fail(SN_INVALID_ARGUMENT, "the communicator of rank %d is in use by another call; give each thread its own",
                c->rank);
  }
  if (c->broken[0] != 0) {
    end_call(c);
    return fail(SN_RANK_FAILED, "the communicator of rank %d is unusable since a call failed: %s", c->rank, c->broken);
  }
  if (__atomic_load_n(&c->control->failure, __ATOMIC_ACQUIRE) != 0) {
    const sn_status status = failed(c);
    end_call(c);
    return status;
  }
  ++c->calls;
  Posted& own = own_of(c);
  const bool shared = c->transport->shares_tensors;
  own.request = request;
  own.x = shared ? x : nullptr;
  own.out = shared ? out : nullptr;
  own.norm = shared ? norm : nullptr;
  return SN_OK;
}

void end_call(sn_communicator* c) { __atomic_store_n(&c->in_use, 0, __ATOMIC_RELEASE); }

sn_status meet_and_compare(sn_communicator* c) { return meet_all(c, true); }
sn_status meet(sn_communicator* c) { return meet_all(c, false); }

// A rank that gives up and one that enters each write first and then look at what the other has written, so that at
// least one of them notices.
sn_status enter_memory(sn_communicator* c) {
  __atomic_store_n(&c->states()[c->rank].busy, 1, __ATOMIC_SEQ_CST);
  if (may_go_on(c)) return SN_OK;
  leave_memory(c);
  return failed(c);
}
bool may_go_on(sn_communicator* c) { return __atomic_load_n(&c->control->failure, __ATOMIC_SEQ_CST) == 0; }
void leave_memory(sn_communicator* c) { __atomic_store_n(&c->states()[c->rank].busy, 0, __ATOMIC_SEQ_CST); }

sn_status give_up(sn_communicator* c, Reason reason, int32_t culprit) {
  const Failure failure = {reason, culprit, c->rank, static_cast<int32_t>(c->calls & 1)};
  uint64_t none = 0;
  __atomic_compare_exchange_n(&c->control->failure, &none, pack(failure), false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
  return failed(c);
}

sn_status failed(sn_communicator* c) {
  Failure failure = unpack(__atomic_load_n(&c->control->failure, __ATOMIC_SEQ_CST));
  if (failure.culprit >= c->world_size || failure.by >= c->world_size) failure = {};
  describe_failure(c, failure, c->broken, sizeof c->broken);
  // Of an overlap both ranks are part.
  c->failed_rank = failure.culprit == c->rank && failure.reason == kOverlaps ? failure.by : failure.culprit;
  if (failure.reason == kStuck) c->failed_rank = -1;
  // The caller may free its tensors once it knows. Others work on them for a moment only, as blocks are short.
  for (int32_t q = 0; q < c->world_size && c->transport->shares_tensors; ++q) {
    Patience patience(0, INT64_MAX);
    while (q != c->rank && __atomic_load_n(&c->states()[q].busy, __ATOMIC_SEQ_CST)) patience.pause();
  }
  return fail(SN_RANK_FAILED, "%s", c->broken);
}

}  // namespace sn
