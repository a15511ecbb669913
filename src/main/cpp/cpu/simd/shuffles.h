// Compaction and expansion of 8- and 16-bit elements by table-driven byte shuffles, for the tiers that have SSSE3 but
// no VBMI2. Included by their headers. BMI2's pext and pdep would need no tables, but take hundreds of cycles on older
// AMD processors.
#pragma once

#include <immintrin.h>

namespace sn {
namespace SN_ISA_NAME {

// For each mask of 8 lanes: `compress` has the places of its set bits, in order; `expand` has, at each set bit, how
// many are set before it, else kNone, which makes a byte shuffle give zero and stays negative when widened. Those of
// words are the same for the bytes of 16-bit lanes. `expand_low` and `expand_high` are expand for the halves of 16
// lanes, where the high half goes on from the number of bits that are set in the low one.
struct LaneTables {
  static constexpr uint8_t kNone = 0x80;
  uint8_t compress[256][8] = {}, expand[256][8] = {};
  uint8_t compress_words[256][16] = {}, expand_words[256][16] = {};
  alignas(16) uint8_t expand_low[256][16] = {}, expand_high[256][16] = {};
  constexpr LaneTables() {
    for (int mask = 0; mask < 256; ++mask) {
      int set = 0;
      for (int lane = 0; lane < 8; ++lane) {
        const bool is_set = (mask >> lane & 1) != 0;
        expand[mask][lane] = is_set ? static_cast<uint8_t>(set) : kNone;
        if (is_set) compress[mask][set++] = static_cast<uint8_t>(lane);
      }
      for (int lane = 0; lane < 8; ++lane) {
        expand_low[mask][lane] = expand_high[mask][8 + lane] = expand[mask][lane];
        expand_low[mask][8 + lane] = static_cast<uint8_t>(set);
      }
      for (int byte = 0; byte < 16; ++byte) {
        const int odd = byte & 1;
        compress_words[mask][byte] = static_cast<uint8_t>(2 * compress[mask][byte / 2] + odd);
        const uint8_t from = expand[mask][byte / 2];
        expand_words[mask][byte] = from == kNone ? kNone : static_cast<uint8_t>(2 * from + odd);
      }
    }
  }
};
static constexpr LaneTables kLaneTables;

SN_INLINE void store_low64(void* p, __m128i v) { _mm_storel_epi64(static_cast<__m128i*>(p), v); }
SN_INLINE __m128i load_any128(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }
// Of a mask of 64 bits, so that no register has to be extended.
SN_INLINE uint64_t ones_of(uint64_t mask) { return static_cast<uint64_t>(__builtin_popcountll(mask)); }

SN_INLINE void compress_16(uint8_t* out, const uint8_t* in, uint64_t mask) {
  const uint64_t low = mask & 255, high = mask >> 8;
  store_low64(out, _mm_shuffle_epi8(load_low64(in), load_low64(kLaneTables.compress[low])));
  store_low64(out + ones_of(low), _mm_shuffle_epi8(load_low64(in + 8), load_low64(kLaneTables.compress[high])));
}
SN_INLINE void compress_16(uint16_t* out, const uint16_t* in, uint64_t mask) {
  const uint64_t low = mask & 255, high = mask >> 8;
  __m128i a = _mm_shuffle_epi8(load_any128(in), load_any128(kLaneTables.compress_words[low]));
  __m128i b = _mm_shuffle_epi8(load_any128(in + 8), load_any128(kLaneTables.compress_words[high]));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), a);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out + ones_of(low)), b);
}

// One shuffle of 16 bytes, whose control is the sum of an entry for either half.
SN_INLINE __m128i expand_bytes(const void* in, uint64_t mask) {
  const __m128i low = load_any128(kLaneTables.expand_low[mask & 255]);
  return _mm_shuffle_epi8(load_any128(in), _mm_add_epi8(low, load_any128(kLaneTables.expand_high[mask >> 8])));
}
template <bool kBypass>
SN_INLINE void expand_16(uint8_t* out, const uint8_t* in, uint64_t mask) {
  write<kBypass>(out, expand_bytes(in, mask));
}
template <bool kBypass>
SN_INLINE void expand_16(uint16_t* out, const uint16_t* in, uint64_t mask) {
  const uint64_t low = mask & 255, high = mask >> 8;
  __m128i b = load_any128(in + ones_of(low));
  write<kBypass>(out, _mm_shuffle_epi8(load_any128(in), load_any128(kLaneTables.expand_words[low])));
  write<kBypass>(out + 8, _mm_shuffle_epi8(b, load_any128(kLaneTables.expand_words[high])));
}

}  // namespace SN_ISA_NAME
}  // namespace sn
