// The oracle of weight sharing: exact numbers, the nearest entry by trying all, and indices bit by bit.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "support/call.h"

namespace sinew_test {

// A sum of F32 numbers without any rounding: an integer of 384 bits, in units of 2^-149.
class Exact {
 public:
  // Adds m 2^(shift - 149), 0 <= shift < 300.
  void add(int64_t m, int shift);
  void add(float x);
  Exact negated() const;
  bool is_negative() const { return words_.back() >> 31 != 0; }
  bool operator<(const Exact& other) const;  // of numbers that are not negative
  // The lower 31 bytes, then what is above them as one signed number.
  std::vector<int64_t> digits() const;

 private:
  void add(const Exact& other);
  std::array<uint32_t, 12> words_ = {};
};

constexpr int kWidths[] = {2, 3, 4, 5, 6, 7, 8};

// An ascending codebook of 2^bits entries with a zero among them.
enum class Book {
  kWeights,  // distinct, of the size of Fill::kWeights
  kEqual,    // many entries are equal
  kWide,     // from denormals to the end of the range
};
constexpr Book kBooks[] = {Book::kWeights, Book::kEqual, Book::kWide};
std::vector<float> make_codebook(Book book, int bits, uint64_t seed);

// The first of the entries that are nearest to x; 0 if x is not finite.
int oracle_nearest(float x, const std::vector<float>& codebook);
// [rows, ceil(cols bits / 8)], low bits first.
Operand indices_operand(const std::vector<int>& indices, const std::vector<int64_t>& shape, int bits);
Operand codebook_operand(const std::vector<float>& codebook);
std::string describe_clustering(const char* op, sn_dtype dtype, const std::vector<int64_t>& shape, int bits,
                                const std::string& what);

}  // namespace sinew_test
