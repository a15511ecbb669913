// One description of a call serves the correctness tests and the benchmark: operands, the library function, and what
// the oracle says must come out.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "sinew.h"
#include "support/number.h"

namespace sinew_test {

struct Operand {
  sn_dtype dtype;
  std::vector<int64_t> shape;
  std::vector<uint8_t> bytes;  // an output without bytes is filled with a pattern before the call
  // One part for every row of the matrix: the benchmark makes a large tensor by repeating it.
  bool per_row = false;
  // I64 numbers that grow from row to row, then one more: repeated rows continue them.
  bool running = false;

  int64_t count() const;
  int64_t size() const { return count() * size_of(dtype); }
};

using Tensors = std::vector<sn_tensor*>;

// Float results that need not be the exact ones: |result - value| <= bound for each element; NaN where value is NaN.
struct Bounded {
  std::vector<double> value, bound;
};

struct Call {
  std::string label;  // operation, dtypes, shape and seed: what a failure prints
  std::vector<Operand> inputs, outputs;
  // Calls the library. numbers has room for four results.
  std::function<sn_status(const Tensors& in, const Tensors& out, int64_t* numbers)> run;

  // Of operations on packed weights: what a handle is packed from, how, and the call, which takes the place of `run`.
  // The sources are closed before it, and each way of running packs anew.
  std::vector<Operand> sources;
  std::function<sn_status(const Tensors& sources, sn_weights** weights)> pack;
  std::function<sn_status(const Tensors& in, const sn_weights* weights, const Tensors& out)> run_packed;

  double operations = 0;  // multiplications and additions, for the benchmark

  sn_status status = SN_OK;                    // when it is not SN_OK, outputs and numbers are not looked at
  std::vector<std::vector<uint8_t>> expected;  // one an output
  // In the place of `expected`, one an output; all ways of running have to give the same bits all the same.
  std::vector<Bounded> bounded;
  // Of the bytes of all bounded outputs, if not 0: where every tier has to give the same bits.
  uint64_t fingerprint = 0;
  std::vector<int64_t> numbers;
  bool in_place = false;      // output 0 may be input 0
  bool created_only = false;  // operands have to be memory of sn_tensor_create
  bool any_nan = false;       // which NaN it is does not matter
};

// Receives the calls of a case one by one, so that only one is in memory.
using Emit = std::function<void(const Call&)>;

struct Section {
  const char* name;
  void (*calls)(const Emit& emit);
};
// A call worth timing. `make` describes a few MiB; the benchmark repeats its rows until the caches are too small.
struct Timed {
  const char* name;
  Call (*make)();
};
// Everything known about one operation of core/ops.inc.
struct Case {
  const char* op;
  std::vector<Section> sections;
  std::vector<Timed> timed;
  // The operation that packs weights for this one: every call runs it too, so it has no case of its own.
  const char* packing = nullptr;
};

// Construct one at namespace scope in every cases/<op>.cc.
struct Register {
  explicit Register(Case described);
};
const std::vector<Case>& all_cases();

// "" if output i of the call may be these bytes, else how they differ, for people.
std::string difference(const Call& call, size_t i, const uint8_t* actual);
// "" if the call has no fingerprint, or these outputs have it, else which one they have.
std::string other_fingerprint(const Call& call, const std::vector<std::vector<uint8_t>>& outputs);

// Bytes that a call must move at least: each input read once, each output written once.
int64_t bytes_read(const Call& call);
int64_t bytes_written(const Call& call);

// Whether SINEW_TEST_QUICK asks for fewer large calls, and for every call in one way only: for sanitizers and
// emulators.
bool quick();

// Sizes that hit every tail of 16 and 64 lanes and the borders of blocks of 4096.
extern const std::vector<int64_t> kSizes;
// Shapes [rows, cols, ...] with odd rows, single rows and columns, rank 1 and more than 2.
extern const std::vector<std::vector<int64_t>> kShapes;
// A few of each, for operations with many variants.
extern const std::vector<std::vector<int64_t>> kFewShapes;
// So many elements that an output of this dtype just reaches the size from which outputs bypass the caches, and a tail.
// Of a library that was built with another size (SN_STREAM_FROM) SINEW_TEST_LARGE tells it.
int64_t large_count(sn_dtype output);
// Enough elements for every thread to get tasks, where no output is large.
constexpr int64_t kManyTasks = 1300021;

int64_t count_of(const std::vector<int64_t>& shape);
// The library's view of a shape as a matrix.
int64_t rows_of(const std::vector<int64_t>& shape);
int64_t cols_of(const std::vector<int64_t>& shape);
std::string text_of(const std::vector<int64_t>& shape);

}  // namespace sinew_test
