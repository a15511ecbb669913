// Codebooks: entries by index, the index of the nearest entry, and indices as packed bits. See sinew.h.
#pragma once

#include "core/midpoint.h"
#include "cpu/kernels/driver.h"

namespace sn {
namespace SN_ISA_NAME {

// The entries of a table of 2^kBits, at least eight long in memory, that the lanes name; each lane is below 2^kBits.
template <int kBits>
SN_INLINE F look_up(const float* table, I index) {
  if constexpr (kBits == 0) {
    return splat(table[0]);
  } else if constexpr (kBits <= 3) {
    return look_up8(table, index);
  } else if constexpr (kBits <= 5) {
    constexpr int kHalf = 1 << (kBits - 1);
    M upper = gt(bit_and(index, splat_int(kHalf)), splat_int(0));
    return select(upper, look_up<kBits - 1>(table + kHalf, index), look_up<kBits - 1>(table, index));
  } else {
    return gather(table, index);
  }
}

// The borders between the cells of 2^bits ascending entries as a search tree: level l has 2^l of them. An element is
// compared with the one that its index so far names, and goes up if it is greater.
struct Borders {
  float level[8][128];
};

inline void find_borders(const float* codebook, int bits, Borders* borders) {
  const int entries = 1 << bits;
  float border[256];
  // Of equal entries the first takes the elements: their borders are the one of the last. No element is beyond
  // infinity.
  border[entries - 1] = __builtin_inff();
  for (int i = entries - 2; i >= 0; --i)
    border[i] = codebook[i] < codebook[i + 1] ? middle(codebook[i], codebook[i + 1]) : border[i + 1];
  memset(borders, 0, sizeof *borders);
  for (int l = 0; l < bits; ++l) {
    for (int p = 0; p < 1 << l; ++p) borders->level[l][p] = border[((2 * p + 1) << (bits - 1 - l)) - 1];
  }
}

template <int kBits, int kLevel = 0>
SN_INLINE I nearest(const Borders& borders, F x, I index) {
  if constexpr (kLevel == kBits) {
    return index;
  } else {
    M above = gt(x, look_up<kLevel>(borders.level[kLevel], index));
    return nearest<kBits, kLevel + 1>(borders, x, increment(add(index, index), above));
  }
}
template <int kBits>
SN_INLINE I nearest(const Borders& borders, F x) {
  return nearest<kBits>(borders, x, splat_int(0));
}

// 64 indices as bytes. Packing saturates at 127, so the largest are moved down for it.
template <int kBits>
SN_INLINE void store_indices(uint8_t* p, I a, I b, I c, I d) {
  const I shift = splat_int(kBits == 8 ? 128 : 0);
  store_bytes(reinterpret_cast<int8_t*>(p), pack(sub(a, shift), sub(b, shift), sub(c, shift), sub(d, shift)));
  if constexpr (kBits == 8) {
    for (int i = 0; i < 64; ++i) p[i] = static_cast<uint8_t>(p[i] ^ 128);
  }
}

// Eight bytes below 2^kBits as 8 kBits bits, and back: neighbours are joined, then pairs, then fours.
template <int kBits>
SN_INLINE uint64_t squeeze(uint64_t v) {
  v = (v & 0x00ff00ff00ff00ffu) | (v & 0xff00ff00ff00ff00u) >> (8 - kBits);
  v = (v & 0x0000ffff0000ffffu) | (v & 0xffff0000ffff0000u) >> (16 - 2 * kBits);
  return (v & 0x00000000ffffffffu) | (v & 0xffffffff00000000u) >> (32 - 4 * kBits);
}
template <int kBits>
SN_INLINE uint64_t stretch(uint64_t v) {
  constexpr uint64_t kFour = (uint64_t{1} << (4 * kBits)) - 1;
  constexpr uint64_t kTwo = ((uint64_t{1} << (2 * kBits)) - 1) * 0x0000000100000001u;
  constexpr uint64_t kOne = ((uint64_t{1} << kBits) - 1) * 0x0001000100010001u;
  v = (v & kFour) | (v << (32 - 4 * kBits) & kFour << 32);
  v = (v & kTwo) | (v << (16 - 2 * kBits) & kTwo << 16);
  return (v & kOne) | (v << (8 - kBits) & kOne << 8);
}

// 64 bytes below 2^kBits to 8 kBits bytes.
template <int kBits>
SN_INLINE void pack_indices(const uint8_t* bytes, uint8_t* packed) {
  if constexpr (kBits == 8) {
    memcpy(packed, bytes, 64);
    return;
  }
  uint64_t words[8], bits[9] = {};
  memcpy(words, bytes, 64);
  for (int g = 0; g < 8; ++g) words[g] = squeeze<kBits>(words[g]);
  for (int g = 0; g < 8; ++g) {
    const int at = g * kBits / 8, shift = g * kBits % 8 * 8;
    bits[at] |= words[g] << shift;
    if (shift + 8 * kBits > 64) bits[at + 1] |= words[g] >> (64 - shift) % 64;
  }
  memcpy(packed, bits, 8 * kBits);
}
// 8 kBits bytes to 64 indices, in words of eight bytes.
template <int kBits>
SN_INLINE void unpack_indices(const uint8_t* packed, uint64_t* words) {
  if constexpr (kBits == 8) {
    memcpy(words, packed, 64);
    return;
  }
  uint64_t bits[9] = {};
  memcpy(bits, packed, 8 * kBits);
  for (int g = 0; g < 8; ++g) {
    const int at = g * kBits / 8, shift = g * kBits % 8 * 8;
    words[g] = bits[at] >> shift;
    if (shift + 8 * kBits > 64) words[g] |= bits[at + 1] << (64 - shift) % 64;
    words[g] = stretch<kBits>(words[g]);
  }
}

}  // namespace SN_ISA_NAME
}  // namespace sn
