// How kernels walk over memory: tasks for the pool's threads, pieces within a task, several memory streams at once.
#pragma once

#include "cpu/device.h"
#include "cpu/simd/simd.h"

namespace sn {
namespace SN_ISA_NAME {

inline int64_t min_of(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t max_of(int64_t a, int64_t b) { return a > b ? a : b; }
inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

constexpr int64_t kBlock = 4096;  // elements that one float64 partial sum covers
constexpr int32_t kInfinityKey = 0x7f800000;
#if !defined(SN_STREAM_FROM)
#define SN_STREAM_FROM (8 << 20)
#endif
constexpr int64_t kStreamFrom = SN_STREAM_FROM;  // outputs of this many bytes bypass the caches

inline bool bypass_caches(const sn_tensor* out) { return out->bytes() >= kStreamFrom; }
// In place, the lines to be written are in the caches already.
inline bool bypass_caches(const sn_tensor* in, const sn_tensor* out) {
  return in->data != out->data && bypass_caches(out);
}

// f(task) for task in [0, tasks), in parallel.
template <class F>
void for_tasks(sn_device* device, int64_t tasks, F& f) {
  run_tasks(
      device, tasks, [](void* context, int64_t task) { (*static_cast<F*>(context))(task); }, &f);
}

constexpr int kMostStreams = 8;

// A matrix cut into pieces of one row each, and these dealt to tasks.
struct Pieces {
  int64_t cols, piece, per_row, total, per_task;
  int streams;

  Pieces(sn_device* device, int64_t rows, int64_t columns, int64_t align, int most_streams)
      : cols(columns), streams(static_cast<int>(min_of(memory_streams(device), most_streams))) {
    const int64_t wanted = streams > 1 ? 512 : 4096;
    piece = max_of(wanted / align, 1) * align;
    per_row = ceil_div(cols, piece);
    total = rows * per_row;
    // At least 64 Ki elements a task; eight tasks a thread even out threads that are held up.
    const int64_t least = max_of(1, 65536 / min_of(piece, cols));
    per_task = device->threads == 1 ? total : max_of(least, ceil_div(total, int64_t{8} * device->threads));
  }
  int64_t tasks() const { return ceil_div(total, per_task); }
};

// f(context, state, row, col, n) for the pieces of one task. Not a template, which would be compiled for every kernel:
// a call for each piece costs nothing beside it.
typedef void OnPiece(void* context, void* state, int64_t row, int64_t col, int64_t n);
inline SN_NOINLINE void walk_pieces(const Pieces& p, int64_t task, OnPiece* f, void* context, void* state) {
  struct Cursor {
    int64_t row, col;
  } cursor[kMostStreams];
  const int64_t first = task * p.per_task;
  const int64_t count = min_of(p.per_task, p.total - first);
  const int64_t share = count / p.streams;
  for (int s = 0; s < p.streams; ++s) {
    const int64_t at = first + s * share;
    cursor[s] = {at / p.per_row, at % p.per_row * p.piece};
  }
  auto step = [&](Cursor& c) {
    f(context, state, c.row, c.col, min_of(p.piece, p.cols - c.col));
    c.col += p.piece;
    if (c.col >= p.cols) {
      c.col = 0;
      ++c.row;
    }
  };
  for (int64_t i = 0; i < share; ++i) {
    for (int s = 0; s < p.streams; ++s) step(cursor[s]);
  }
  for (int64_t i = share * p.streams; i < count; ++i) step(cursor[p.streams - 1]);
}

// Covers the matrix [rows, cols] with pieces f(state, row, col, n): n consecutive elements of one row, at most about
// 4096, beginning at a multiple of `align`. Every task begins with a copy of `initial` and ends with finish(state), so
// counts and maxima need no atomics inside. Pieces of a task come from memory_streams() places in turn, or from
// most_streams: one is best for operations that read several tensors.
template <class State, class F, class G>
void for_pieces(sn_device* device, int64_t rows, int64_t cols, int64_t align, const State& initial, F f, G finish,
                int most_streams = kMostStreams) {
  if (rows == 0 || cols == 0) return;
  const Pieces pieces(device, rows, cols, align, most_streams);
  auto task = [&](int64_t index) {
    State state = initial;
    walk_pieces(
        pieces, index,
        [](void* context, void* own, int64_t row, int64_t col, int64_t n) {
          (*static_cast<F*>(context))(*static_cast<State*>(own), row, col, n);
        },
        &f, &state);
    stream_fence();
    finish(state);
  };
  for_tasks(device, pieces.tasks(), task);
}

// for_pieces over all elements as one row: f(state, offset, n).
template <class State, class F, class G>
void for_elements(sn_device* device, int64_t elements, const State& initial, F f, G finish,
                  int most_streams = kMostStreams) {
  for_pieces(
      device, 1, elements, 64, initial, [&](State& state, int64_t, int64_t offset, int64_t n) { f(state, offset, n); },
      finish, most_streams);
}

inline void atomic_or(int32_t* flag) { __atomic_store_n(flag, 1, __ATOMIC_RELAXED); }
inline void atomic_add(int64_t* sum, int64_t x) { __atomic_fetch_add(sum, x, __ATOMIC_RELAXED); }
inline int64_t count(M m) { return __builtin_popcount(bits(m)); }

template <class P>
struct Pointee;
template <class T>
struct Pointee<T*> {
  using type = T;
};

template <class T>
const T* data_of(const sn_tensor* t) {
  return static_cast<const T*>(t->data);
}
template <class T>
T* data_of(sn_tensor* t) {
  return static_cast<T*>(t->data);
}

inline sn_status not_finite() { return fail(SN_NOT_FINITE, "the tensor holds NaN or infinity"); }

// Steps f(i, n) through n <= 16 lanes of [0, length).
template <class F>
SN_INLINE void for_vectors(int64_t length, F f) {
  int64_t i = 0;
  for (; i + kLanes <= length; i += kLanes) f(i, kLanes);
  if (i < length) f(i, length - i);
}
// Elements of T from p to the next border between cache lines.
template <class T>
SN_INLINE int64_t to_line(const T* p) {
  return static_cast<int64_t>(-reinterpret_cast<uintptr_t>(p) & 63) / static_cast<int64_t>(sizeof(T));
}
// Covers [0, n) with many(i), which takes kStep elements, and some(i, lanes) for those before `head` and those that are
// left.
template <int64_t kStep = 64, class Some, class Many>
SN_INLINE void for_lines(int64_t head, int64_t n, Some some, Many many) {
  // Two rounds of one loop, so that both parts are compiled once.
  int64_t i = 0;
  for (int64_t stop = min_of(head, n);; stop = n) {
    while (i < stop) {
      const int64_t lanes = min_of(kLanes, stop - i);
      some(i, lanes);
      i += lanes;
    }
    for (; i + kStep <= n; i += kStep) many(i);
    if (i == n) return;
  }
}
// How many bytes ahead to ask for memory: far when the processor, busy with computing, cannot look ahead itself.
#if defined(SN_TIER_AVX512)
constexpr uintptr_t kNear = 512, kFar = 1024;
#else
constexpr uintptr_t kNear = 512, kFar = 2048;
#endif
// Asks for the 64 elements that lie so far after those at x.
template <class T>
SN_INLINE void fetch_ahead(const T* x, uintptr_t distance) {
  for (uintptr_t i = 0; i < 64 * sizeof(T); i += 64) {
    __builtin_prefetch(reinterpret_cast<const void*>(reinterpret_cast<uintptr_t>(x) + distance + i));
  }
}
template <class T>
SN_INLINE F load_some(const T* p, int64_t n) {
  return n == kLanes ? load(p) : load_tail(p, n);
}

}  // namespace SN_ISA_NAME
}  // namespace sn
