// Weights of int8 with at most two nonzeros in every aligned group of four columns (2:4), as sparse tensor cores take
// them (PTX ISA, mma.sp::ordered_metadata with m16n8k64): two values of each group, and where in the group they were.
//
// Values are in rows of half as many bytes as there are columns. The places of two values are four bits: two different
// numbers of 0 to 3, the lower one in the lower bits. A word holds those of 32 columns of a row, and 32 words those of
// 16 rows by 64 columns, in the order in which the lanes of a warp give them to the instruction: of four neighbouring
// lanes the first has the first 32 columns of a row, the second those of the row eight below, and the other two the
// last 32 columns of both. Rows beyond the last have places too, as the instruction takes no others.
#pragma once

#include "layer.h"

namespace sn {
namespace cuda {

// A group of four columns.
struct Pair {
  int8_t value[2];
  uint32_t places;
};

SN_HD SN_LOCAL bool is_two_of_four(const int8_t* group) {
  int nonzeros = 0;
  SN_UNROLL
  for (int i = 0; i < 4; ++i) nonzeros += group[i] != 0;
  return nonzeros <= 2;
}

// Of a group with fewer than two nonzeros a zero is the other value.
SN_HD SN_LOCAL Pair compressed(const int8_t* group) {
  int first = 2, last = 3;
  if (group[1] != 0) first = 1;
  if (group[0] != 0) first = 0;
  if (group[3] == 0 && group[2] != 0 && first < 2) last = 2;
  if (group[3] == 0 && group[2] == 0 && group[1] != 0 && first < 1) last = 1;
  Pair pair = {{0, 0}, static_cast<uint32_t>(first | last << 2)};
  SN_UNROLL
  for (int i = 0; i < 4; ++i) {
    if (i == first) pair.value[0] = group[i];
    if (i == last) pair.value[1] = group[i];
  }
  return pair;
}

// The four columns as the bytes of a word.
SN_HD SN_LOCAL uint32_t expanded(uint32_t first, uint32_t second, uint32_t places) {
  return first << (8 * (places & 3u)) | second << (8 * (places >> 2 & 3u));
}

struct TwoOfFour {
  static constexpr int kDepth = 64;                     // columns of an instruction
  static constexpr int kRows = 16, kWords = kRows * 2;  // rows of it, words of their places
  const int8_t* values;                                 // null where weights are not in this form
  const uint32_t* places;
  int64_t rows, cols;  // whole multiples of kDepth, of which those beyond the stored ones are 0

  SN_HD int64_t pitch() const { return cols / 2; }
  // Blocks of 16 rows.
  SN_HD int64_t blocks() const { return (rows + kRows - 1) / kRows; }
  SN_HD int64_t value_bytes() const { return rows * pitch(); }
  SN_HD int64_t place_bytes() const { return blocks() * (cols / kDepth) * kWords * int64_t{sizeof(uint32_t)}; }
  SN_HD int64_t bytes() const { return value_bytes() + place_bytes(); }
  // The word with the places of 32 columns.
  SN_HD int64_t word(int64_t row, int64_t col) const {
    return first_word(row / kRows, col / kDepth) + row % 8 * 4 + col / 32 % 2 * 2 + row / 8 % 2;
  }
  // The first word of a block of rows and kDepth columns.
  SN_HD int64_t first_word(int64_t block, int64_t step) const { return (block * (cols / kDepth) + step) * kWords; }
  SN_HD uint32_t pair_places(int64_t row, int64_t col) const { return places[word(row, col)] >> (col % 32); }

  // 16 columns of a row from a multiple of 16 on.
  SN_HD Elements<int8_t> load(int64_t row, int64_t col) const {
    const uint32_t at = pair_places(row, col);
    const int8_t* from = values + row * pitch() + col / 2;
    uint64_t pairs;
#if defined(__CUDA_ARCH__)
    pairs = *reinterpret_cast<const uint64_t*>(from);
#else
    memcpy(&pairs, from, sizeof pairs);
#endif
    uint32_t words[4];
    SN_UNROLL
    for (int i = 0; i < 4; ++i) {
      const uint32_t two = static_cast<uint32_t>(pairs >> (16 * i));
      words[i] = expanded(two & 0xffu, two >> 8 & 0xffu, at >> (4 * i));
    }
    Elements<int8_t> columns;
    memcpy(&columns, words, sizeof words);
    return columns;
  }
  SN_HD int8_t at(int64_t row, int64_t col) const {
    const uint32_t at = pair_places(row, col / 4 * 4);
    const int8_t* pair = values + row * pitch() + col / 4 * 2;
    const uint32_t place = static_cast<uint32_t>(col % 4);
    return place == (at & 3u) ? pair[0] : place == (at >> 2 & 3u) ? pair[1] : int8_t{0};
  }
};

inline int64_t padded_cols(const sn_weights* w) {
  return (stored_cols(w) + TwoOfFour::kDepth - 1) / TwoOfFour::kDepth * TwoOfFour::kDepth;
}
// Without values where the handle has another form.
inline TwoOfFour two_of_four_of(const sn_weights* w) {
  const uint32_t* places = w->kind == SN_W8A8 ? w->part<uint32_t>(kPlacesPart) : nullptr;
  return {places == nullptr ? nullptr : w->part<int8_t>(kWeightPart), places, w->rows, padded_cols(w)};
}

}  // namespace cuda
}  // namespace sn
