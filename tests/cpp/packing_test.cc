// Packing refuses parts that do not agree, whatever they say, and leaves no handle behind.
#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <memory>

#include "support/buffer.h"
#include "support/check.h"
#include "support/sparse.h"

namespace sinew_test {
namespace {

// The parts of a matrix [37, 133] with half of its elements, in buffers that end at a page which cannot be read.
struct Parts {
  static constexpr int64_t kRows = 37, kCols = 133, kRowBytes = 17;
  std::vector<Operand> operands;

  explicit Parts(sn_dtype dtype) {
    const std::vector<uint8_t> bytes = sparse_elements(dtype, kRows * kCols, 0.5, 3);
    operands = sparse_operands(dtype, {kRows, kCols}, sparse_oracle(dtype, {kRows, kCols}, bytes, 5));
  }
  std::vector<uint8_t>& bitmap() { return operands[1].bytes; }
  void set_offset(int64_t row, int64_t offset) { std::memcpy(operands[2].bytes.data() + 8 * row, &offset, 8); }

  sn_status pack(int32_t threads) const {
    std::vector<std::unique_ptr<Buffer>> buffers;
    for (const Operand& operand : operands) {
      buffers.push_back(std::make_unique<Buffer>(device_with(threads), operand, Place::kEndsAtPage));
      buffers.back()->fill(operand.bytes);
    }
    const Operand one = {SN_F32, {1}, {0, 0, 0x80, 0x3f}};
    Buffer scale(device_with(threads), one, Place::kHeap);
    scale.fill(one.bytes);
    const bool scaled = operands[0].dtype == SN_I8;
    const int64_t before = sn_live_tensors();
    sn_weights* weights = nullptr;
    const sn_status status = sn_pack_sparse(buffers[0]->tensor(), buffers[1]->tensor(), buffers[2]->tensor(),
                                            scaled ? scale.tensor() : nullptr, 0, kCols, &weights);
    EXPECT_EQ(weights == nullptr, status != SN_OK);
    sn_weights_close(weights);
    EXPECT_EQ(sn_live_tensors(), before);
    return status;
  }
  void refused(const std::string& what) const {
    for (int32_t threads : {1, 3}) EXPECT_EQ(pack(threads), SN_INVALID_ARGUMENT) << what;
  }
};

TEST(Packing, PartsOfSparseWeightsThatDisagreeAreRefused) {
  constexpr int64_t kLargest = std::numeric_limits<int64_t>::max();
  for (sn_dtype dtype : {SN_I8, SN_BF16, SN_F32, SN_F64}) {
    const Parts good(dtype);
    for (int32_t threads : {1, 3}) EXPECT_EQ(good.pack(threads), SN_OK) << sn_last_error();
    for (int64_t more : {-1, 1}) {
      Parts other = good;
      other.operands[0].shape[0] += more;
      other.operands[0].bytes.resize(static_cast<size_t>(other.operands[0].size()));
      other.refused("the number of values");
    }
    for (size_t byte = 0; byte < 37 * 17; byte += 31) {
      Parts other = good;
      other.bitmap()[byte] ^= 1;
      other.refused("a bit flipped in byte " + std::to_string(byte));
    }
    Parts padded = good;
    padded.bitmap()[16] |= 0x20;
    padded.refused("a bit beyond the last column");
    for (int64_t row : {int64_t{0}, int64_t{1}, int64_t{16}, Parts::kRows - 1, Parts::kRows}) {
      for (int64_t wrong : {int64_t{-1}, int64_t{0}, kLargest, -kLargest - 1, kLargest / 8}) {
        Parts other = good;
        other.set_offset(row, wrong);
        other.refused("offset " + std::to_string(wrong) + " of row " + std::to_string(row));
      }
    }
  }
}

}  // namespace
}  // namespace sinew_test
