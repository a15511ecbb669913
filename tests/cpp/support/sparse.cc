#include "support/sparse.h"

#include <cstring>
#include <random>

namespace sinew_test {

std::vector<uint8_t> sparse_elements(sn_dtype dtype, int64_t count, double share, uint64_t seed) {
  std::mt19937_64 random(seed);
  const int64_t size = size_of(dtype);
  int64_t left = static_cast<int64_t>(static_cast<double>(count) * share);
  std::vector<uint8_t> bytes(static_cast<size_t>(count * size));
  for (int64_t i = 0; i < count; ++i) {
    // Each choice of `left` among the remaining elements is as likely as any other.
    if (random() % static_cast<uint64_t>(count - i) >= static_cast<uint64_t>(left)) continue;
    --left;
    uint64_t bits = random() >> (64 - 8 * size);
    if (bits == 0 || random() % 5 == 0) bits = uint64_t{1} << random() % static_cast<uint64_t>(8 * size);
    std::memcpy(bytes.data() + i * size, &bits, static_cast<size_t>(size));
  }
  return bytes;
}

Sparse sparse_oracle(sn_dtype dtype, const std::vector<int64_t>& shape, const std::vector<uint8_t>& bytes,
                     int64_t first) {
  const int64_t size = size_of(dtype), rows = rows_of(shape), cols = cols_of(shape);
  Sparse sparse;
  int64_t values = 0;
  for (int64_t row = 0; row < rows; ++row) {
    sparse.row_offsets.push_back(first + values);
    const size_t row_begin = sparse.bitmap.size();
    sparse.bitmap.resize(row_begin + static_cast<size_t>((cols + 7) / 8));
    for (int64_t col = 0; col < cols; ++col) {
      const uint8_t* element = bytes.data() + (row * cols + col) * size;
      bool zero = true;
      for (int64_t b = 0; b < size; ++b) zero = zero && element[b] == 0;
      if (zero) continue;
      uint8_t& byte = sparse.bitmap[row_begin + static_cast<size_t>(col / 8)];
      byte = static_cast<uint8_t>(byte + (1 << col % 8));
      sparse.values.insert(sparse.values.end(), element, element + size);
      ++values;
    }
  }
  sparse.row_offsets.push_back(first + values);
  return sparse;
}

std::vector<Operand> sparse_operands(sn_dtype dtype, const std::vector<int64_t>& shape, const Sparse& sparse) {
  const int64_t rows = rows_of(shape), cols = cols_of(shape);
  std::vector<uint8_t> offsets(sparse.row_offsets.size() * 8);
  std::memcpy(offsets.data(), sparse.row_offsets.data(), offsets.size());
  Operand row_offsets = {SN_I64, {rows + 1}, std::move(offsets)};
  row_offsets.running = true;
  return {{dtype, {static_cast<int64_t>(sparse.values.size()) / size_of(dtype)}, sparse.values, true},
          {SN_U8, {rows, (cols + 7) / 8}, sparse.bitmap, true},
          std::move(row_offsets)};
}

std::string sparse_label(const char* op, sn_dtype dtype, const std::vector<int64_t>& shape, double share,
                         uint64_t seed) {
  return std::string(op) + " " + name_of(dtype) + text_of(shape) + " share " + std::to_string(share) + " seed " +
         std::to_string(seed);
}

}  // namespace sinew_test
