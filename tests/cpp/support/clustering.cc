#include "support/clustering.h"

#include <algorithm>
#include <cmath>

#include "support/values.h"

namespace sinew_test {

void Exact::add(const Exact& other) {
  uint64_t carry = 0;
  for (size_t i = 0; i < words_.size(); ++i) {
    carry += uint64_t{words_[i]} + other.words_[i];
    words_[i] = static_cast<uint32_t>(carry);
    carry >>= 32;
  }
}

Exact Exact::negated() const {
  Exact result;
  uint64_t carry = 1;
  for (size_t i = 0; i < words_.size(); ++i) {
    carry += static_cast<uint32_t>(~words_[i]);
    result.words_[i] = static_cast<uint32_t>(carry);
    carry >>= 32;
  }
  return result;
}

void Exact::add(int64_t m, int shift) {
  const bool negative = m < 0;
  const uint64_t magnitude = negative ? uint64_t{0} - static_cast<uint64_t>(m) : static_cast<uint64_t>(m);
  Exact term;
  const size_t at = static_cast<size_t>(shift) / 32;
  const uint64_t low = (magnitude & 0xffffffffu) << shift % 32, high = (magnitude >> 32) << shift % 32;
  term.words_[at] = static_cast<uint32_t>(low);
  term.words_[at + 1] = static_cast<uint32_t>(low >> 32 | high);
  term.words_[at + 2] = static_cast<uint32_t>(high >> 32);
  add(negative ? term.negated() : term);
}

void Exact::add(float x) {
  if (x == 0.0f) return;
  int exponent = 0;
  const double fraction = std::frexp(static_cast<double>(x), &exponent);  // x = fraction 2^exponent
  // Denormals have fewer bits below their first one.
  const int places = std::min(24, exponent + 149);
  add(static_cast<int64_t>(std::ldexp(fraction, places)), exponent - places + 149);
}

std::vector<int64_t> Exact::digits() const {
  std::vector<int64_t> digits;
  for (size_t b = 0; b < 31; ++b) digits.push_back(words_[b / 4] >> b % 4 * 8 & 255);
  uint64_t above = 0;
  for (size_t b = 31; b < 39; ++b) above |= uint64_t{words_[b / 4] >> b % 4 * 8 & 255} << (b - 31) * 8;
  digits.push_back(static_cast<int64_t>(above));
  return digits;
}

std::vector<float> make_codebook(Book book, int bits, uint64_t seed) {
  const int64_t n = (int64_t{1} << bits) - 1;
  std::vector<float> codebook =
      as_f32s(SN_F32, random_elements(SN_F32, n, book == Book::kWide ? Fill::kBits : Fill::kWeights, seed));
  if (book == Book::kEqual) {
    for (size_t i = 0; i < codebook.size(); ++i) codebook[i] = 0.25f * static_cast<float>(static_cast<int>(i % 5) - 2);
  }
  if (book == Book::kWide) {
    codebook[0] = 0x1p-149f;
    codebook[1] = -float_of(0x7f7fffff);
    codebook[2] = float_of(0x7f7fffff);
  }
  codebook.push_back(0.0f);
  std::sort(codebook.begin(), codebook.end());
  return codebook;
}

namespace {

Exact distance(float x, float y) {
  Exact difference;
  difference.add(x);
  difference.add(-y);
  return difference.is_negative() ? difference.negated() : difference;
}

}  // namespace

bool Exact::operator<(const Exact& other) const {
  return std::lexicographical_compare(words_.rbegin(), words_.rend(), other.words_.rbegin(), other.words_.rend());
}

int oracle_nearest(float x, const std::vector<float>& codebook) {
  if (!std::isfinite(x)) return 0;
  const auto rough = [x](float c) { return std::fabs(static_cast<double>(x) - static_cast<double>(c)); };
  double least = rough(codebook[0]);
  for (float c : codebook) least = std::min(least, rough(c));
  int best = -1;
  for (size_t i = 0; i < codebook.size(); ++i) {
    if (rough(codebook[i]) > least * (1 + 0x1p-40)) continue;
    const bool nearer = best < 0 || (codebook[i] != codebook[static_cast<size_t>(best)] &&
                                     distance(x, codebook[i]) < distance(x, codebook[static_cast<size_t>(best)]));
    if (nearer) best = static_cast<int>(i);
  }
  return best;
}

Operand indices_operand(const std::vector<int>& indices, const std::vector<int64_t>& shape, int bits) {
  const int64_t rows = rows_of(shape), cols = cols_of(shape), width = (cols * bits + 7) / 8;
  Operand q = {SN_U8, {rows, width}, std::vector<uint8_t>(static_cast<size_t>(rows * width)), true};
  for (int64_t i = 0; i < rows * cols; ++i) {
    for (int b = 0; b < bits; ++b) {
      const int64_t at = i / cols * width * 8 + i % cols * bits + b;
      const int bit = indices[static_cast<size_t>(i)] >> b & 1;
      q.bytes[static_cast<size_t>(at / 8)] |= static_cast<uint8_t>(bit << at % 8);
    }
  }
  return q;
}

Operand codebook_operand(const std::vector<float>& codebook) {
  const auto* p = reinterpret_cast<const uint8_t*>(codebook.data());
  return {SN_F32, {static_cast<int64_t>(codebook.size())}, std::vector<uint8_t>(p, p + codebook.size() * 4), false};
}

std::string describe_clustering(const char* op, sn_dtype dtype, const std::vector<int64_t>& shape, int bits,
                                const std::string& what) {
  return std::string(op) + " " + name_of(dtype) + text_of(shape) + " " + std::to_string(bits) + " bits " + what;
}

}  // namespace sinew_test
