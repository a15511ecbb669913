// Seeded inputs. Every generator gives the stored bytes of finite elements unless it says otherwise.
#pragma once

#include <cstdint>
#include <vector>

#include "sinew.h"

namespace sinew_test {

enum class Fill {
  kWeights,  // normally distributed, standard deviation 0.05, as in a trained layer
  kBits,     // any finite bit pattern: all magnitudes, denormals, both zeros
  kFew,      // few distinct values, so that magnitudes tie everywhere; both zeros and both signs
  kZeros,    // zeros of both signs
  kTiny,     // denormals of the dtype only, and zeros
  kHuge,     // the two ends of the dtype's finite range (F32's for F64) and numbers near them
};
constexpr Fill kFills[] = {Fill::kWeights, Fill::kBits, Fill::kFew, Fill::kZeros, Fill::kTiny, Fill::kHuge};
const char* name_of(Fill fill);

std::vector<uint8_t> random_elements(sn_dtype dtype, int64_t count, Fill fill, uint64_t seed);
// Random bytes for integer dtypes.
std::vector<uint8_t> random_bytes(int64_t count, uint64_t seed);
// Rows of which four bytes from a multiple of four on have at most two that are not 0, in any places.
std::vector<uint8_t> random_two_of_four(int64_t rows, int64_t cols, uint64_t seed);

// A seed that differs from one call to the next. Every section starts the sequence anew, so it is the same in every
// run, alone or with all others.
uint64_t next_seed();
void restart_seeds();

}  // namespace sinew_test
