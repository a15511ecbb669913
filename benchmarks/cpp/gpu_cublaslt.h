// Products by cuBLASLt itself, for comparison: the library that Sinew's own lookup finds.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace sinew_bench {

// y [rows, cols] = a [rows, inner] times the transpose of b [cols, inner], all in the GPU's memory.
struct LtShape {
  int64_t rows, cols, inner;
};
enum class LtKind { kInt8ToInt32, kBf16ToF32 };

class CublasLt {
 public:
  // Null where Sinew finds none, or it lacks a function.
  static std::unique_ptr<CublasLt> open();
  virtual ~CublasLt() = default;
  // A call with the fastest of the algorithms that the library proposes, each timed; it takes the matrices b in turn.
  // Empty if there is none. Calls are asynchronous, in the default stream.
  virtual std::function<void()> product(LtKind kind, const LtShape& shape, const void* a,
                                        const std::vector<const void*>& b, void* y) = 0;
};

}  // namespace sinew_bench
