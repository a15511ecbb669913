// What the operations of sparse storage have in common.
#pragma once

#include <string>
#include <vector>

#include "support/call.h"

namespace sinew_test {

constexpr sn_dtype kAllDtypes[] = {SN_F64, SN_F32, SN_F16, SN_BF16, SN_I64, SN_I32, SN_I16, SN_I8, SN_U8, SN_BOOL};
// One of each element size.
constexpr sn_dtype kSizedDtypes[] = {SN_I8, SN_BF16, SN_F32, SN_F64};
// Shares of non-zero elements.
constexpr double kShares[] = {0, 0.01, 0.1, 0.5, 0.9, 1};

// Elements of any bit pattern, of which exactly floor(count x share) are not zero; some of them have a single bit set,
// such as that of -0.
std::vector<uint8_t> sparse_elements(sn_dtype dtype, int64_t count, double share, uint64_t seed);

struct Sparse {
  std::vector<uint8_t> values, bitmap;
  std::vector<int64_t> row_offsets;
};
// The sparse form of a matrix, element by element.
Sparse sparse_oracle(sn_dtype dtype, const std::vector<int64_t>& shape, const std::vector<uint8_t>& bytes,
                     int64_t first);

// The operands of the sparse form: values, bitmap, row_offsets.
std::vector<Operand> sparse_operands(sn_dtype dtype, const std::vector<int64_t>& shape, const Sparse& sparse);

std::string sparse_label(const char* op, sn_dtype dtype, const std::vector<int64_t>& shape, double share,
                         uint64_t seed);

}  // namespace sinew_test
