// Weight sharing: indices of nearest codebook entries, exact sums for the entries' means, and decoding. See sinew.h.
#include "cpu/kernels/codebook.h"
#include "cpu/kernels/floats.h"

namespace sn {
namespace SN_ISA_NAME {
namespace {

template <int kValue>
struct Bits {
  static constexpr int value = kValue;
};

// What f returns for the width of indices into a codebook of so many entries.
template <class F>
auto with_bits(int64_t entries, F f) {
  switch (entries) {
    case 4:
      return f(Bits<2>());
    case 8:
      return f(Bits<3>());
    case 16:
      return f(Bits<4>());
    case 32:
      return f(Bits<5>());
    case 64:
      return f(Bits<6>());
    case 128:
      return f(Bits<7>());
    default:
      return f(Bits<8>());
  }
}

sn_status ascending(const sn_tensor* codebook) {
  const float* c = data_of<float>(codebook);
  for (int64_t i = 0; i < codebook->elements; ++i) {
    if ((bits_of(c[i]) & 0x7fffffffu) >= 0x7f800000u) return fail(SN_NOT_FINITE, "the codebook holds NaN or infinity");
    if (i > 0 && c[i] < c[i - 1]) return fail(SN_INVALID_ARGUMENT, "the codebook is not in ascending order");
  }
  return SN_OK;
}

int bits_for(const sn_tensor* codebook) { return __builtin_ctzll(static_cast<uint64_t>(codebook->elements)); }

// Rows of indices that fill whole bytes are one long row.
struct Rows {
  int64_t rows, cols, bytes;
};
inline Rows rows_of(const sn_tensor* x, int bits) {
  Rows r = {x->rows, x->cols, (x->cols * bits + 7) / 8};
  if (x->cols * bits % 8 == 0) r = {1, x->elements, x->elements * bits / 8};
  return r;
}

struct Largest {
  I key;
};

// n elements from a whole byte of q on.
typedef void AssignRun(Largest& state, const float* x, uint8_t* q, int64_t n, const Borders& borders);
template <int kBits>
void assign_run(Largest& state, const float* x, uint8_t* q, int64_t n, const Borders& borders) {
  I largest = state.key;
  uint8_t bytes[64];
  int64_t i = 0;
  for (; i + 64 <= n; i += 64) {
    fetch_ahead(x + i, kFar);
    F a = load(x + i), b = load(x + i + 16), c = load(x + i + 32), d = load(x + i + 48);
    largest = max(max(largest, max(key(a), key(b))), max(key(c), key(d)));
    store_indices<kBits>(bytes, nearest<kBits>(borders, a), nearest<kBits>(borders, b), nearest<kBits>(borders, c),
                         nearest<kBits>(borders, d));
    pack_indices<kBits>(bytes, q + i / 8 * kBits);
  }
  if (i < n) {
    uint8_t rest[64] = {}, packed[64];
    for_vectors(n - i, [&](int64_t j, int64_t lanes) {
      F v = load_some(x + i + j, lanes);
      largest = max(largest, key(v));
      I index = nearest<kBits>(borders, v);
      store_indices<kBits>(bytes, index, index, index, index);
      memcpy(rest + j, bytes, static_cast<size_t>(lanes));
    });
    pack_indices<kBits>(rest, packed);
    memcpy(q + i / 8 * kBits, packed, static_cast<size_t>(((n - i) * kBits + 7) / 8));
  }
  state.key = largest;
}

}  // namespace

sn_status cluster_assign(sn_device* device, const sn_tensor* x, const sn_tensor* codebook, sn_tensor* q) {
  const sn_status valid = ascending(codebook);
  if (valid != SN_OK) return valid;
  int32_t broken = 0;
  const int bits = bits_for(codebook);
  AssignRun* const run =
      with_bits(codebook->elements, [](auto width) -> AssignRun* { return assign_run<width.value>; });
  Borders borders;
  find_borders(data_of<float>(codebook), bits, &borders);
  const Rows r = rows_of(x, bits);
  with_floating(x->dtype, [&](auto* type) {
    using T = typename Pointee<decltype(type)>::type;
    for_pieces(
        device, r.rows, r.cols, 64, Largest{splat_int(0)},
        [&](Largest& state, int64_t row, int64_t col, int64_t n) {
          as_floats(data_of<T>(x) + row * r.cols + col, n, [&](int64_t i, const float* part, int64_t here) {
            run(state, part, data_of<uint8_t>(q) + row * r.bytes + (col + i) / 8 * bits, here, borders);
          });
        },
        [&](Largest& state) {
          if (reduce_max(state.key) >= kInfinityKey) atomic_or(&broken);
        });
    return SN_OK;
  });
  return broken ? not_finite() : SN_OK;
}

namespace {

constexpr int kDigits = 32;
constexpr int kMostSlots = 256 * kDigits;
// A slot counts in its upper 16 bits and sums, signed, in the lower 48: enough for so many elements below 2^31.
constexpr int64_t kMostInSlots = 1 << 15;
constexpr int kCountShift = 48;

// Where a few entries would be hit again before the last addition is through, they have several slots, by lane.
constexpr int spread_of(int bits) { return bits <= 6 ? 4 : 256 >> bits; }

// Adds n elements to slots [spread, entry, digit]. A float is m 2^(8 d - 149) with |m| < 2^31: d is its slot's digit.
typedef void Tally(Largest& state, const float* x, int64_t n, const Borders& borders, int64_t* slots);
template <int kBits>
void tally(Largest& state, const float* x, int64_t n, const Borders& borders, int64_t* slots) {
  static constexpr uint8_t kNumbers[kLanes] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  const I zero = splat_int(0), one = splat_int(1), lane = load_index(kNumbers);
  const I place = shift_left(bit_and(lane, splat_int(spread_of(kBits) - 1)), splat_int(kBits + 5));
  I largest = state.key;
  for_vectors(n, [&](int64_t i, int64_t lanes) {
    if (i % 64 == 0) fetch_ahead(x + i, kFar);
    F v = load_some(x + i, lanes);
    I magnitude = key(v);
    largest = max(largest, magnitude);
    I exponent = shift_right<23>(magnitude);
    I mantissa = add(bit_and(magnitude, splat_int(0x7fffff)), select(gt(exponent, zero), splat_int(0x800000), zero));
    I scale = sub(max(exponent, one), one);
    I m = shift_left(mantissa, bit_and(scale, splat_int(7)));
    m = select(gt(zero, raw_bits(v)), sub(zero, m), m);
    // Zeros add nothing wherever they go, and pruned weights have many: each lane has its own slot for them.
    I digit = select(eq(magnitude, zero), lane, shift_right<3>(scale));
    I slot = add(add(shift_left(nearest<kBits>(borders, v), splat_int(5)), digit), place);
    int32_t values[kLanes], where[kLanes];
    store_int(values, m);
    store_int(where, slot);
    for (int64_t l = 0; l < lanes; ++l) slots[where[l]] += values[l] + (int64_t{1} << kCountShift);
  });
  state.key = largest;
}

// Empties the slots into sums and counts.
inline void drain(int64_t* slots, int bits, int64_t* sums, int64_t* counts) {
  const int table = kDigits << bits;
  for (int i = 0; i < spread_of(bits) * table; ++i) {
    const int64_t v = slots[i];
    if (v == 0) continue;
    const int64_t count = (v + (int64_t{1} << (kCountShift - 1))) >> kCountShift;
    counts[i % table / kDigits] += count;
    sums[i % table] += v - (count << kCountShift);
    slots[i] = 0;
  }
}

// Carries what is beyond eight bits into the next digit.
inline void carry(int64_t* sums, int64_t entries) {
  for (int64_t i = 0; i < entries * kDigits; ++i) {
    if (i % kDigits == kDigits - 1) continue;
    const int64_t over = sums[i] >> 8;
    sums[i] -= over * 256;
    sums[i + 1] += over;
  }
}

}  // namespace

sn_status cluster_sums(sn_device* device, const sn_tensor* x, const sn_tensor* codebook, sn_tensor* sums,
                       sn_tensor* counts) {
  const sn_status valid = ascending(codebook);
  if (valid != SN_OK) return valid;
  const int64_t entries = codebook->elements;
  int32_t broken = 0, starved = 0;
  const int64_t tasks = device->threads == 1 ? 1 : min_of(device->threads, ceil_div(x->elements, 1 << 17));
  const int64_t share = ceil_div(x->elements, max_of(tasks, 1));
  const int bits = bits_for(codebook);
  Tally* const add_up = with_bits(entries, [](auto width) -> Tally* { return tally<width.value>; });
  Borders borders;
  find_borders(data_of<float>(codebook), bits, &borders);
  with_floating(x->dtype, [&](auto* type) {
    using T = typename Pointee<decltype(type)>::type;
    auto task = [&](int64_t index) {
      int64_t* slots = static_cast<int64_t*>(scratch_allocate((2 * kMostSlots + 256) * 8));
      if (slots == nullptr) {
        atomic_or(&starved);
        return;
      }
      int64_t* own_sums = slots + kMostSlots;
      int64_t* own_counts = own_sums + kMostSlots;
      Largest state = {splat_int(0)};
      const int64_t end = min_of((index + 1) * share, x->elements);
      for (int64_t i = index * share; i < end; i += kMostInSlots) {
        as_floats(data_of<T>(x) + i, min_of(kMostInSlots, end - i),
                  [&](int64_t, const float* part, int64_t n) { add_up(state, part, n, borders, slots); });
        drain(slots, bits, own_sums, own_counts);
      }
      if (reduce_max(state.key) >= kInfinityKey) atomic_or(&broken);
      for (int64_t k = 0; k < entries * kDigits; ++k) {
        if (own_sums[k] != 0) atomic_add(data_of<int64_t>(sums) + k, own_sums[k]);
      }
      for (int64_t k = 0; k < entries; ++k) atomic_add(data_of<int64_t>(counts) + k, own_counts[k]);
      scratch_free(slots);
    };
    for_tasks(device, tasks, task);
    return SN_OK;
  });
  if (starved) return fail(SN_OUT_OF_MEMORY, "no memory for the sums of clusters");
  carry(data_of<int64_t>(sums), entries);
  return broken ? not_finite() : SN_OK;
}

namespace {

struct Nothing {};

// n elements from a whole byte of q on.
typedef void DecodeRun(const uint8_t* q, float* y, int64_t n, const float* entries);
template <bool kBypass, int kBits>
void decode_run(const uint8_t* q, float* y, int64_t n, const float* entries) {
  const int64_t head = kBypass ? to_line(y) : 0;
  if (kBypass && head % 8 != 0) return decode_run<false, kBits>(q, y, n, entries);  // indices must begin with a byte
  for_lines(
      head, n,
      [&](int64_t i, int64_t lanes) {
        uint8_t packed[64] = {};
        uint64_t words[8];
        memcpy(packed, q + i / 8 * kBits, static_cast<size_t>((lanes * kBits + 7) / 8));
        unpack_indices<kBits>(packed, words);
        store_tail(y + i, look_up<kBits>(entries, index_of(words[0], words[1])), lanes);
      },
      [&](int64_t i) {
        uint64_t words[8];
        fetch_ahead(q + i / 8 * kBits, kFar);
        unpack_indices<kBits>(q + i / 8 * kBits, words);
        for (int j = 0; j < 4; ++j)
          store<kBypass>(y + i + j * kLanes, look_up<kBits>(entries, index_of(words[2 * j], words[2 * j + 1])));
      });
}

// Whole groups of 64 elements by a table of words, for 4 bits and types of 16 bits; returns how many these are.
template <bool kBypass, class T>
inline int64_t decode_words(const uint8_t* q, T* y, int64_t n, const Table& table) {
  int64_t i = 0;
  for (; i + 64 <= n; i += 64) {
    fetch_ahead(q + i / 2, kFar);
    store_looked_up<kBypass>(y + i, table, q + i / 2);
    store_looked_up<kBypass>(y + i + 32, table, q + i / 2 + 16);
  }
  return i;
}

template <class T>
inline void decode_piece(DecodeRun* run, int bits, const uint8_t* q, T* y, int64_t n, const float* entries,
                         bool bypass) {
  int64_t i = 0;
  if constexpr (sizeof(T) == 2) {
    if (bits == 4) {
      const Table table = table_of(y, load(entries));
      i = bypass && to_line(y) == 0 ? decode_words<true>(q, y, n, table) : decode_words<false>(q, y, n, table);
    }
  }
  from_floats(y + i, n - i, bypass,
              [&](int64_t j, float* part, int64_t here) { run(q + (i + j) / 8 * bits, part, here, entries); });
}
inline void decode_piece(DecodeRun* run, int, const uint8_t* q, float* y, int64_t n, const float* entries, bool) {
  run(q, y, n, entries);
}

}  // namespace

sn_status cluster_decode(sn_device* device, const sn_tensor* q, const sn_tensor* codebook, sn_tensor* y) {
  const bool bypass = bypass_caches(y);
  float entries[256] = {};
  memcpy(entries, codebook->data, static_cast<size_t>(codebook->bytes()));
  const int bits = bits_for(codebook);
  const bool past = bypass && y->dtype == SN_F32;
  DecodeRun* const run = with_bits(codebook->elements, [&](auto width) -> DecodeRun* {
    return past ? decode_run<true, width.value> : decode_run<false, width.value>;
  });
  const Rows r = rows_of(y, bits);
  with_floating(y->dtype, [&](auto* type) {
    using T = typename Pointee<decltype(type)>::type;
    for_pieces(
        device, r.rows, r.cols, 64, Nothing{},
        [&](Nothing&, int64_t row, int64_t col, int64_t n) {
          const uint8_t* from = data_of<uint8_t>(q) + row * r.bytes + col / 8 * bits;
          decode_piece(run, bits, from, data_of<T>(y) + row * r.cols + col, n, entries, bypass);
        },
        [](Nothing&) {});
    return SN_OK;
  });
  return SN_OK;
}

}  // namespace SN_ISA_NAME
}  // namespace sn
