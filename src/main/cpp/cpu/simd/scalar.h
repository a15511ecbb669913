// Plain C++: the fallback for any processor. See simd.h.
#pragma once

namespace sn {
namespace scalar {

struct F {
  float v[16];
};
struct I {
  int32_t v[16];
};
struct M {
  bool v[16];
};
struct D {
  double v[16];
};
struct B {
  int8_t v[64];
};

#define SN_EACH for (int i = 0; i < 16; ++i)

template <class T>
SN_INLINE F load(const T* p) {
  F r;
  SN_EACH r.v[i] = to_float(p[i]);
  return r;
}
// There is no way past the caches here, so kBypass changes nothing.
template <bool kBypass = false, class T>
SN_INLINE void store(T* p, F x) {
  SN_EACH from_float(x.v[i], p + i);
}
// 32 elements, none of them NaN: other tiers save the conversion's work for it.
template <bool kBypass, class T>
SN_INLINE void store_numbers(T* p, F a, F b) {
  store(p, a);
  store(p + 16, b);
}
SN_INLINE void stream_fence() {}

SN_INLINE F splat(float x) {
  F r;
  SN_EACH r.v[i] = x;
  return r;
}
SN_INLINE I splat_int(int32_t x) {
  I r;
  SN_EACH r.v[i] = x;
  return r;
}
SN_INLINE F add(F a, F b) {
  SN_EACH a.v[i] += b.v[i];
  return a;
}
SN_INLINE F sub(F a, F b) {
  SN_EACH a.v[i] -= b.v[i];
  return a;
}
SN_INLINE F mul(F a, F b) {
  SN_EACH a.v[i] *= b.v[i];
  return a;
}
// Fused on the other tiers.
SN_INLINE F multiply_add(F a, F b, F sum) { return add(mul(a, b), sum); }
SN_INLINE F div(F a, F b) {
  SN_EACH a.v[i] /= b.v[i];
  return a;
}
// As minps and maxps: the second operand when either is NaN.
SN_INLINE F min(F a, F b) {
  SN_EACH a.v[i] = a.v[i] < b.v[i] ? a.v[i] : b.v[i];
  return a;
}
SN_INLINE F max(F a, F b) {
  SN_EACH a.v[i] = a.v[i] > b.v[i] ? a.v[i] : b.v[i];
  return a;
}
SN_INLINE F abs(F a) {
  SN_EACH a.v[i] = float_of(bits_of(a.v[i]) & 0x7fffffffu);
  return a;
}
SN_INLINE I key(F a) {
  I r;
  SN_EACH r.v[i] = static_cast<int32_t>(bits_of(a.v[i]) & 0x7fffffffu);
  return r;
}
// The bits of the lanes.
SN_INLINE I raw_bits(F a) {
  I r;
  memcpy(r.v, a.v, sizeof r.v);
  return r;
}
// a with the sign of each lane turned where b's sign bit is set.
SN_INLINE F turn(F a, F b) {
  SN_EACH a.v[i] = float_of(bits_of(a.v[i]) ^ (bits_of(b.v[i]) & 0x80000000u));
  return a;
}
SN_INLINE I order_value(F a) {
  I r;
  SN_EACH {
    uint32_t b = bits_of(a.v[i]);
    r.v[i] = static_cast<int32_t>(b ^ (b >> 31 ? 0xffffffffu : 0x80000000u));
  }
  return r;
}
// Rounds half to even. |a| must be below 2^22: adding 1.5 x 2^23 leaves the rounded integer in the low bits.
SN_INLINE I to_int(F a) {
  I r;
  SN_EACH r.v[i] = static_cast<int32_t>(bits_of(a.v[i] + 12582912.0f) - bits_of(12582912.0f));
  return r;
}
SN_INLINE F from_int(I a) {
  F r;
  SN_EACH r.v[i] = static_cast<float>(a.v[i]);
  return r;
}
SN_INLINE I add(I a, I b) {  // wraps around
  SN_EACH a.v[i] = static_cast<int32_t>(static_cast<uint32_t>(a.v[i]) + static_cast<uint32_t>(b.v[i]));
  return a;
}
SN_INLINE I sub(I a, I b) {  // likewise
  SN_EACH a.v[i] = static_cast<int32_t>(static_cast<uint32_t>(a.v[i]) - static_cast<uint32_t>(b.v[i]));
  return a;
}
SN_INLINE I exclusive_or(I a, I b) {
  SN_EACH a.v[i] ^= b.v[i];
  return a;
}
// The 64-bit products of unsigned lanes and m.
SN_INLINE void multiply(I a, uint32_t m, I* high, I* low) {
  SN_EACH {
    const uint64_t product = static_cast<uint64_t>(static_cast<uint32_t>(a.v[i])) * m;
    high->v[i] = static_cast<int32_t>(product >> 32);
    low->v[i] = static_cast<int32_t>(product & 0xffffffffu);
  }
}
// Floats of these bits.
SN_INLINE F as_float(I a) {
  F r;
  memcpy(r.v, a.v, sizeof r.v);
  return r;
}
SN_INLINE I bit_and(I a, I b) {
  SN_EACH a.v[i] &= b.v[i];
  return a;
}
SN_INLINE I bit_or(I a, I b) {
  SN_EACH a.v[i] |= b.v[i];
  return a;
}
// The sign bit moves in from the left.
template <int kBits>
SN_INLINE I shift_right(I a) {
  SN_EACH a.v[i] >>= kBits;
  return a;
}
SN_INLINE I max(I a, I b) {
  SN_EACH a.v[i] = a.v[i] > b.v[i] ? a.v[i] : b.v[i];
  return a;
}
// The operand and the result are not negative; shifts are below 32.
SN_INLINE I shift_left(I a, I by) {
  SN_EACH a.v[i] <<= by.v[i];
  return a;
}
// One more in the lanes of the mask.
SN_INLINE I increment(I a, M m) {
  SN_EACH a.v[i] += m.v[i];
  return a;
}
SN_INLINE M gt(F a, F b) {
  M r;
  SN_EACH r.v[i] = a.v[i] > b.v[i];
  return r;
}
SN_INLINE M gt(I a, I b) {
  M r;
  SN_EACH r.v[i] = a.v[i] > b.v[i];
  return r;
}
SN_INLINE M eq(I a, I b) {
  M r;
  SN_EACH r.v[i] = a.v[i] == b.v[i];
  return r;
}
SN_INLINE uint32_t bits(M m) {
  uint32_t r = 0;
  SN_EACH r |= static_cast<uint32_t>(m.v[i]) << i;
  return r;
}
SN_INLINE bool any(M m) { return bits(m) != 0; }
SN_INLINE M mask_of(uint32_t b) {
  M r;
  SN_EACH r.v[i] = (b >> i) & 1;
  return r;
}
SN_INLINE F select(M m, F a, F b) {
  SN_EACH a.v[i] = m.v[i] ? a.v[i] : b.v[i];
  return a;
}
SN_INLINE I select(M m, I a, I b) {
  SN_EACH a.v[i] = m.v[i] ? a.v[i] : b.v[i];
  return a;
}
// Lane i of the result is lane (i rotated by j within its group of m lanes); m is a power of two up to 16.
SN_INLINE I rotate(I a, int j, int m) {
  I r;
  SN_EACH r.v[i] = a.v[(i & ~(m - 1)) | ((i + j) & (m - 1))];
  return r;
}
SN_INLINE int32_t reduce_max(I a) {
  int32_t r = a.v[0];
  SN_EACH r = r > a.v[i] ? r : a.v[i];
  return r;
}
SN_INLINE float reduce_max(F a) {
  float r = a.v[0];
  SN_EACH r = a.v[i] > r ? a.v[i] : r;
  return r;
}
SN_INLINE float reduce_min(F a) {
  float r = a.v[0];
  SN_EACH r = a.v[i] < r ? a.v[i] : r;
  return r;
}
SN_INLINE void store_int(int32_t* p, I a) { memcpy(p, a.v, sizeof a.v); }

// out = in where keep, else +0; the bits of kept elements do not change.
template <bool kBypass = false, class T>
SN_INLINE void store_kept(T* out, const T* in, M keep) {
  T zero;
  memset(static_cast<void*>(&zero), 0, sizeof zero);
  SN_EACH out[i] = keep.v[i] ? in[i] : zero;
}
template <bool kBypass = false>
SN_INLINE void store_bool(uint8_t* out, M keep) {
  SN_EACH out[i] = keep.v[i];
}

// F16 and BF16 as they are stored: their magnitudes order as integers of 16 bits too.
struct Words {
  int16_t v;  // the same in all lanes, or the maximum of all
};
SN_INLINE Words splat_word(int16_t x) { return {x}; }
SN_INLINE int reduce_max(Words w) { return w.v; }
// Of the 64 words at `in` those whose magnitude is above `limit`, else 0; the number of those kept that are not 0.
// `largest` takes up the magnitudes.
template <bool kBypass>
SN_INLINE int64_t keep_words(const void* in, void* out, Words limit, Words& largest) {
  int16_t x[64];
  memcpy(x, in, sizeof x);
  int64_t nonzeros = 0;
  for (int16_t& word : x) {
    const int16_t magnitude = static_cast<int16_t>(word & 0x7fff);
    largest.v = magnitude > largest.v ? magnitude : largest.v;
    nonzeros += magnitude > limit.v && magnitude > 0;
    word = magnitude > limit.v ? word : int16_t{0};
  }
  memcpy(out, x, sizeof x);
  return nonzeros;
}

SN_INLINE B pack(I a, I b, I c, I d) {
  B r;
  SN_EACH {
    r.v[i] = static_cast<int8_t>(a.v[i]);
    r.v[16 + i] = static_cast<int8_t>(b.v[i]);
    r.v[32 + i] = static_cast<int8_t>(c.v[i]);
    r.v[48 + i] = static_cast<int8_t>(d.v[i]);
  }
  return r;
}
template <bool kBypass = false>
SN_INLINE void store_bytes(int8_t* p, B b) {
  memcpy(p, b.v, 64);
}
// Nibbles of 64 values in [-8, 7], stored as value + 8, low nibble first: 32 bytes.
template <bool kBypass = false>
SN_INLINE void store_nibbles(uint8_t* p, B b) {
  for (int i = 0; i < 32; ++i) p[i] = static_cast<uint8_t>((b.v[2 * i] + 8) | (b.v[2 * i + 1] + 8) << 4);
}
SN_INLINE I load_int(const int32_t* p) {
  I r;
  memcpy(r.v, p, sizeof r.v);
  return r;
}
SN_INLINE I load_int(const int8_t* p) {
  I r;
  SN_EACH r.v[i] = p[i];
  return r;
}
// 16 bytes as numbers from 0 to 255.
SN_INLINE I load_index(const uint8_t* p) {
  I r;
  SN_EACH r.v[i] = p[i];
  return r;
}
SN_INLINE I index_of(uint64_t low, uint64_t high) {
  I r;
  SN_EACH r.v[i] = static_cast<int32_t>((i < 8 ? low : high) >> (i % 8 * 8) & 255);
  return r;
}
// The entries of a table of eight that the lower three bits of each lane name.
SN_INLINE F look_up8(const float* table, I index) {
  F r;
  SN_EACH r.v[i] = table[index.v[i] & 7];
  return r;
}
SN_INLINE F gather(const float* table, I index) {
  F r;
  SN_EACH r.v[i] = table[index.v[i]];
  return r;
}
// 16 nibbles, from 0 to 15.
SN_INLINE I load_nibbles(const uint8_t* p) {
  I r;
  SN_EACH r.v[i] = (p[i / 2] >> (i % 2 * 4)) & 15;
  return r;
}

struct Table {
  uint16_t entries[16];
};
// The entries as words of a type of 16 bits.
template <class T>
SN_INLINE Table table_of(const T*, F entries) {
  T values[16];
  store(values, entries);
  Table table;
  memcpy(table.entries, values, sizeof table.entries);
  return table;
}
// Of entries none of which is NaN.
template <class T>
SN_INLINE Table table_of_numbers(const T* type, F entries) {
  return table_of(type, entries);
}
// The entries that the 32 nibbles at q name, as 32 words.
template <bool kBypass>
SN_INLINE void store_looked_up(void* p, const Table& table, const uint8_t* q) {
  uint16_t words[32];
  for (int i = 0; i < 32; ++i) words[i] = table.entries[(q[i / 2] >> (i % 2 * 4)) & 15];
  memcpy(p, words, sizeof words);
}

// Bit i of the result says whether element i of 64 has any bit set.
template <class U>
SN_INLINE uint64_t nonzero_64(const U* p) {
  uint64_t set = 0;
  for (int i = 0; i < 64; ++i) set |= static_cast<uint64_t>(p[i] != 0) << i;
  return set;
}
// The elements of 16 that the mask names, in order, to the front of `out`, of which all 16 may be written.
template <class U>
SN_INLINE void compress_16(U* out, const U* in, uint64_t mask) {
  SN_EACH {
    *out = in[i];
    out += mask >> i & 1;
  }
}
// The reverse: 16 elements, those that the mask names from the front of `in`, of which all 16 may be read, else zero.
template <bool kBypass, class U>
SN_INLINE void expand_16(U* out, const U* in, uint64_t mask) {
  SN_EACH {
    out[i] = (mask >> i & 1) != 0 ? *in : U{0};
    in += mask >> i & 1;
  }
}

SN_INLINE D zero_sum() {
  D r;
  SN_EACH r.v[i] = 0;
  return r;
}
SN_INLINE void add(D& s, F x) { SN_EACH s.v[i] += static_cast<double>(x.v[i]); }
SN_INLINE void add_product(D& s, F x, F y) {
  SN_EACH s.v[i] += static_cast<double>(x.v[i]) * static_cast<double>(y.v[i]);
}
SN_INLINE double reduce(D s) {
  for (int half = 8; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) s.v[i] += s.v[i + half];
  }
  return s.v[0];
}
#undef SN_EACH

}  // namespace scalar
}  // namespace sn
