// Weight sharing: indices of nearest codebook entries, exact sums of what belongs to them, and decoding. See sinew.h.
#include "core/midpoint.h"
#include "team.h"

namespace sn {
namespace cuda {
namespace {

constexpr int kMostEntries = 256;
constexpr int kDigits = 32;

// Rows of indices of `bits` bits; rows that fill whole bytes are one long row. A step is 16 elements of a row, whose
// indices are whole bytes.
struct Indices {
  int64_t rows, cols;
  int bits;

  SN_HD int64_t steps_of_row() const { return (cols + kStep - 1) / kStep; }
  SN_HD int64_t row_bytes() const { return (cols * bits + 7) / 8; }
  SN_HD int64_t row(int64_t i) const { return i / steps_of_row(); }
  SN_HD int64_t col(int64_t i) const { return (i - row(i) * steps_of_row()) * kStep; }
  SN_HD int length(int64_t i) const {
    const int64_t left = cols - col(i);
    return left < kStep ? static_cast<int>(left) : kStep;
  }
  SN_HD int64_t place(int64_t i) const { return row(i) * cols + col(i); }
  SN_HD int64_t byte(int64_t i) const { return row(i) * row_bytes() + col(i) / 8 * bits; }
};
Indices indices_of(const sn_tensor* x, int bits) {
  if (x->cols * bits % 8 == 0) return {1, x->elements, bits};
  return {x->rows, x->cols, bits};
}

// Borders between entries, in the memory of the GPU: an element belongs to the first entry whose border is not below
// it.
sn_status find_borders(Call& call, const sn_tensor* codebook, int* bits, float** borders) {
  float entries[kMostEntries], border[kMostEntries];
  const int count = static_cast<int>(codebook->elements);
  *bits = __builtin_ctz(static_cast<unsigned>(count));
  const sn_status status = call.download(entries, codebook->data, codebook->bytes());
  if (status != SN_OK) return status;
  for (int i = 0; i < count; ++i) {
    if (key_of(entries[i]) >= kInfinityKey) return fail(SN_NOT_FINITE, "the codebook holds NaN or infinity");
    if (i > 0 && entries[i] < entries[i - 1])
      return fail(SN_INVALID_ARGUMENT, "the codebook is not in ascending order");
  }
  // Of equal entries the first takes the elements: their borders are the one of the last. No element is beyond
  // infinity.
  border[count - 1] = __builtin_inff();
  for (int i = count - 2; i >= 0; --i)
    border[i] = entries[i] < entries[i + 1] ? middle(entries[i], entries[i + 1]) : border[i + 1];
  *borders = call.scratch_of<float>(count);
  return call.upload(*borders, border, count * 4);
}

SN_HD inline uint32_t nearest(const float* borders, int bits, float x) {
  uint32_t index = 0;
  for (int bit = bits - 1; bit >= 0; --bit) {
    const uint32_t half = 1u << bit;
    index += x > borders[index + half - 1] ? half : 0u;
  }
  return index;
}

struct Assign {
  static constexpr bool kFinds = true;
  sn_dtype dtype;
  const void* x;
  const float* borders;
  uint8_t* q;
  Indices indices;

  SN_HD void step(int64_t i, Findings& found) const {
    const int n = indices.length(i), bits = indices.bits;
    const Elements<float> in = load_numbers(dtype, x, indices.place(i), n);
    uint64_t low = 0, high = 0;  // the indices of eight elements each
    SN_UNROLL
    for (int j = 0; j < kStep; ++j) {
      const uint32_t key = key_of(in.of[j]);
      found.largest = key > found.largest ? key : found.largest;
      const uint64_t index = j < n ? nearest(borders, bits, in.of[j]) : 0u;
      if (j < 8) {
        low |= index << (j * bits);
      } else {
        high |= index << ((j - 8) * bits);
      }
    }
    uint8_t* to = q + indices.byte(i);
    const int bytes = (n * bits + 7) / 8;
    for (int b = 0; b < bytes; ++b) to[b] = static_cast<uint8_t>(b < bits ? low >> (8 * b) : high >> (8 * (b - bits)));
  }
};

struct DecodeIndices {
  static constexpr bool kFinds = false;
  const uint8_t* q;
  const float* codebook;
  sn_dtype dtype;
  void* y;
  Indices indices;

  SN_HD void step(int64_t i, Findings&) const {
    const int n = indices.length(i), bits = indices.bits;
    const uint8_t* from = q + indices.byte(i);
    const int bytes = (n * bits + 7) / 8;
    uint64_t low = 0, high = 0;
    for (int b = 0; b < bytes; ++b) {
      const uint64_t byte = from[b];
      if (b < bits) {
        low |= byte << (8 * b);
      } else {
        high |= byte << (8 * (b - bits));
      }
    }
    Elements<float> out;
    const uint64_t mask = (1u << bits) - 1u;
    SN_UNROLL
    for (int j = 0; j < kStep; ++j) out.of[j] = codebook[(j < 8 ? low >> (j * bits) : high >> ((j - 8) * bits)) & mask];
    store_numbers(dtype, y, indices.place(i), out, n);
  }
};

// A float is m 2^(8 d - 149) with |m| < 2^31. The lower 16 bits of m go to digit d and the others, which are signed, to
// digit d + 2: sums of 2^34 elements fit. Zeros add nothing and are counted by warps together, since pruned weights
// have many.
struct Tally {
  static constexpr bool kFinds = true;
  sn_dtype dtype;
  const void* x;
  int64_t elements;
  const float* borders;
  int bits;
  int64_t* digits;  // [entries, kDigits + 2]
  int64_t* counts;

  SN_HD void step(int64_t i, Findings& found) const {
    const int n = length_of(i, elements);
    const Elements<float> in = load_numbers(dtype, x, i * kStep, n);
    unsigned zeros = 0;
    SN_UNROLL
    for (int j = 0; j < kStep; ++j) {
      const uint32_t magnitude = key_of(in.of[j]);
      found.largest = magnitude > found.largest ? magnitude : found.largest;
      zeros += j < n && magnitude == 0;
      if (j < n && magnitude != 0) add(in.of[j]);
    }
#if defined(__CUDA_ARCH__)
    const unsigned peers = __activemask();
    zeros = __reduce_add_sync(peers, zeros);
    if (static_cast<int>(threadIdx.x % 32) != __ffs(static_cast<int>(peers)) - 1) return;
#endif
    if (zeros != 0) add_to(counts + nearest(borders, bits, 0.0f), zeros);
  }

  SN_HD void add(float v) const {
    const uint32_t entry = nearest(borders, bits, v), exponent = key_of(v) >> 23;
    const uint32_t mantissa = (bits_of(v) & 0x7fffffu) | (exponent > 0 ? 0x800000u : 0u);
    const uint32_t place = exponent > 0 ? exponent - 1 : 0;
    int64_t m = static_cast<int64_t>(mantissa) << (place & 7u);
    if (v < 0) m = -m;
    int64_t* to = digits + entry * (kDigits + 2) + (place >> 3);
    add_to(to, m & 0xffff);
    add_to(to + 2, m >> 16);
    add_to(counts + entry, 1);
  }
};

// Adds an entry's digits to its sum, and carries what is beyond eight bits into the next digit.
struct Carry {
  static constexpr bool kFinds = false;
  const int64_t* digits;
  int64_t* sums;

  SN_HD void step(int64_t entry, Findings&) const {
    const int64_t* from = digits + entry * (kDigits + 2);
    int64_t* to = sums + entry * kDigits;
    int64_t over = 0;
    for (int d = 0; d < kDigits - 1; ++d) {
      const int64_t sum = to[d] + from[d] + over;
      over = sum >> 8;
      to[d] = sum - over * 256;
    }
    to[kDigits - 1] += from[kDigits - 1] + over + from[kDigits] * 256 + from[kDigits + 1] * 65536;
  }
};

}  // namespace

sn_status cluster_assign(sn_device* device, const sn_tensor* x, const sn_tensor* codebook, sn_tensor* q) {
  Call call(device);
  int bits;
  float* borders;
  sn_status status = find_borders(call, codebook, &bits, &borders);
  if (status != SN_OK) return status;
  const Indices indices = indices_of(x, bits);
  Findings found = {0, 0, 0};
  const Assign body = {x->dtype, x->data, borders, data_of<uint8_t>(q), indices};
  status = run(call, body, indices.rows * indices.steps_of_row(), &found);
  if (status != SN_OK) return status;
  return found.largest >= kInfinityKey ? not_finite() : SN_OK;
}

sn_status cluster_sums(sn_device* device, const sn_tensor* x, const sn_tensor* codebook, sn_tensor* sums,
                       sn_tensor* counts) {
  Call call(device);
  int bits;
  float* borders;
  sn_status status = find_borders(call, codebook, &bits, &borders);
  if (status != SN_OK) return status;
  int64_t* digits = call.zeroed_scratch_of<int64_t>(codebook->elements * (kDigits + 2));
  Findings found = {0, 0, 0};
  const Tally body = {x->dtype, x->data, x->elements, borders, bits, digits, data_of<int64_t>(counts)};
  status = run(call, body, steps_of_elements(x->elements), &found);
  if (status == SN_OK) status = run(call, Carry{digits, data_of<int64_t>(sums)}, codebook->elements, nullptr);
  if (status != SN_OK) return status;
  return found.largest >= kInfinityKey ? not_finite() : SN_OK;
}

sn_status cluster_decode(sn_device* device, const sn_tensor* q, const sn_tensor* codebook, sn_tensor* y) {
  Call call(device);
  const Indices indices = indices_of(y, __builtin_ctz(static_cast<unsigned>(codebook->elements)));
  const DecodeIndices body = {data_of<uint8_t>(q), data_of<float>(codebook), y->dtype, y->data, indices};
  return run(call, body, indices.rows * indices.steps_of_row(), nullptr);
}

}  // namespace cuda
}  // namespace sn
