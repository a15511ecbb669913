// What the operations that merge models have in common.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "support/call.h"
#include "support/values.h"

namespace sinew_test {

// A way to run a section: so many models of one dtype, merged into another.
struct Mix {
  sn_dtype in, out;
  int count;
};
// Equal dtypes and F32 into each of the others, of one, two and several models.
std::vector<Mix> mixes();

// The stored bytes of `count` tensors of n elements, every one from a seed of its own.
std::vector<std::vector<uint8_t>> random_inputs(sn_dtype dtype, int64_t n, int count, Fill fill, uint64_t seed);

// A call without a run function: the inputs as operands, and as output 0 what `result` says of the values of all inputs
// at one index. Refused as not finite if an input or a stored result is.
Call merge_call(const std::vector<sn_dtype>& dtypes, std::vector<std::vector<uint8_t>> inputs, sn_dtype out, int64_t n,
                const std::function<float(const std::vector<float>& values, int64_t index)>& result);

// Weights of both signs or of one, from a seed.
std::vector<float> random_weights(int count, bool positive, uint64_t seed);

}  // namespace sinew_test
