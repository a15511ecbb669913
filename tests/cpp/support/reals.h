// Layers of neural networks: inputs, and oracles in float64 with the bounds that rounding in F32 leaves.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "support/call.h"
#include "support/values.h"

namespace sinew_test {

constexpr sn_dtype kReals[] = {SN_F32, SN_F16, SN_BF16};
constexpr double kUlp = 0x1p-23;   // between neighbours of F32, relative to the lower end of their power of two
constexpr double kHalf = 0x1p-24;  // the largest relative error of one rounding to F32

std::vector<double> doubles_of(sn_dtype dtype, const std::vector<uint8_t>& bytes);
// Uniform within [-range, range].
std::vector<uint8_t> uniform_elements(sn_dtype dtype, int64_t count, double range, uint64_t seed);
Operand operand_of(sn_dtype dtype, const std::vector<int64_t>& shape, std::vector<uint8_t> bytes);
Operand random_operand(sn_dtype dtype, const std::vector<int64_t>& shape, double range, uint64_t seed);

// By how much F32 arithmetic may miss a sum of n products whose magnitudes add up to `magnitude`: a rounding of each
// product and each sum, for which there is 2^-150 instead below 2^-126. Where the matrix unit multiplies BF16 with
// BF16, it has no numbers below 2^-126: n products and two sums of every 32, of which the very first is exact, may lose
// one.
double product_error(int64_t n, double magnitude, bool both_bf16);

// Adds to bounds what rounding to an output's dtype may change, and the smallest F32 or so for denormals.
void round_to(sn_dtype dtype, Bounded& close);

// A call without run function: inputs, one output of this dtype and shape, and what it has to be near to.
Call close_call(const std::string& label, std::vector<Operand> inputs, sn_dtype dtype,
                const std::vector<int64_t>& shape, Bounded close);

// Shapes of rows, with lengths on both sides of a vector.
extern const std::vector<std::vector<int64_t>> kRowShapes;

}  // namespace sinew_test
