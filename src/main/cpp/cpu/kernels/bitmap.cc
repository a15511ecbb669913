// Sparse storage by bitmaps. See sinew.h. Elements are seen as unsigned integers of their size: their meaning does not
// matter, and only all bits zero is a zero.
#include "core/bits.h"
#include "cpu/kernels/driver.h"

namespace sn {
namespace SN_ISA_NAME {
namespace {

constexpr int64_t kMostParts = 1024;

// A matrix in consecutive parts, one a task, of runs: up to 4096 columns of one row, the first a multiple of 64.
struct Parts {
  int64_t rows, cols, per_row, per_part, count;

  Parts(const sn_device* device, int64_t r, int64_t c) : rows(r), cols(c) {
    per_row = ceil_div(cols, kBlock);
    const int64_t runs = rows * per_row;
    per_part = runs;
    if (device->threads > 1) {
      // At least 64 Ki elements a part; eight parts a thread even out threads that are held up.
      const int64_t least = max_of(1, 65536 / max_of(1, min_of(cols, kBlock)));
      const int64_t most = min_of(int64_t{8} * device->threads, kMostParts);
      per_part = min_of(runs, max_of(least, ceil_div(runs, most)));
    }
    count = runs == 0 ? 0 : ceil_div(runs, per_part);
  }

  // f(row, col, n) for the runs of a part, until one returns false.
  template <class F>
  void for_runs(int64_t part, F f) const {
    const int64_t end = min_of((part + 1) * per_part, rows * per_row);
    for (int64_t run = part * per_part; run < end; ++run) {
      const int64_t col = run % per_row * kBlock;
      if (!f(run / per_row, col, min_of(kBlock, cols - col))) return;
    }
  }
};

SN_INLINE int64_t ones(uint64_t bits) { return __builtin_popcountll(bits); }

// Steps f(i, elements) through n elements, 64 at a time; the last ones are copied and followed by zeros.
template <class U, class F>
SN_INLINE void for_64(const U* x, int64_t n, F f) {
  int64_t i = 0;
  for (; i + 64 <= n; i += 64) {
    fetch_ahead(x + i, kFar);
    if (!f(i, x + i)) return;
  }
  if (i < n) {
    U rest[64] = {};
    memcpy(rest, x + i, static_cast<size_t>(n - i) * sizeof(U));
    f(i, rest);
  }
}

template <class U>
SN_INLINE int64_t count_run(const U* x, int64_t n) {
  int64_t total = 0;
  for_64(x, n, [&](int64_t, const U* elements) {
    total += ones(nonzero_64(elements));
    return true;
  });
  return total;
}

// Where each part's values begin, from how many each has; returns the number of all.
SN_INLINE int64_t sum_up(int64_t* parts, int64_t count) {
  int64_t total = 0;
  for (int64_t p = 0; p < count; ++p) {
    const int64_t here = parts[p];
    parts[p] = total;
    total += here;
  }
  return total;
}

template <class U>
SN_INLINE void compress_64(U* out, const U* in, uint64_t mask) {
  for (int i = 0; i < 64; i += kLanes) {
    const uint64_t lanes = mask >> i & 0xffff;
    compress_16(out, in + i, lanes);
    out += ones(lanes);
  }
}
template <bool kBypass, class U>
SN_INLINE void expand_64(U* out, const U* in, uint64_t mask) {
  for (int i = 0; i < 64; i += kLanes) {
    const uint64_t lanes = mask >> i & 0xffff;
    expand_16<kBypass>(out + i, in, lanes);
    in += ones(lanes);
  }
}

// The bitmap and values of n elements. False if the values do not fit before `end`.
template <class U>
SN_INLINE bool encode_run(const U* x, int64_t n, uint8_t* bitmap, U** values, U* end) {
  U* to = *values;
  bool fits = true;
  for_64(x, n, [&](int64_t i, const U* elements) {
    const uint64_t mask = nonzero_64(elements);
    const int64_t found = ones(mask);
    fits = found <= end - to;
    if (!fits) return false;
    memcpy(bitmap + i / 8, &mask, n - i >= 64 ? 8 : static_cast<size_t>((n - i + 7) / 8));
    if (end - to >= 64) {
      compress_64(to, elements, mask);  // what this writes too much is written again by what follows
    } else {
      U packed[64];
      compress_64(packed, elements, mask);
      memcpy(to, packed, static_cast<size_t>(found) * sizeof(U));
    }
    to += found;
    return true;
  });
  *values = to;
  return fits;
}

SN_INLINE uint64_t load_bits(const uint8_t* bitmap, int64_t n) {
  uint64_t bits = 0;
  memcpy(&bits, bitmap, n >= 64 ? 8 : static_cast<size_t>((n + 7) / 8));
  return bits;
}

// The ones among n bits; negative if bits that complete the last byte are set.
SN_INLINE int64_t count_bits(const uint8_t* bitmap, int64_t n) {
  int64_t total = 0, i = 0;
  for (; i + 64 <= n; i += 64) total += ones(load_bits(bitmap + i / 8, 64));
  if (i == n) return total;
  const uint64_t last = load_bits(bitmap + i / 8, n - i);
  return last >> (n - i) != 0 ? -1 : total + ones(last);
}

// n <= 64 elements from the values before `end`, which may be fewer than the 64 that expansion may read.
template <class U>
SN_INLINE void decode_some(uint64_t mask, const U* from, const U* end, U* y, int64_t n) {
  U in[64] = {}, out[64];
  memcpy(in, from, static_cast<size_t>(min_of(64, end - from)) * sizeof(U));
  expand_64<false>(out, in, mask);
  memcpy(y, out, static_cast<size_t>(n) * sizeof(U));
}

// n elements of a row from the values before `end`, of which there are enough; returns where the next ones are.
template <bool kBypass, class U>
inline const U* decode_run(const uint8_t* bitmap, const U* from, const U* end, U* y, int64_t n) {
  for (int64_t i = 0; i < n; i += 64) {
    const uint64_t mask = load_bits(bitmap + i / 8, n - i);
    if (n - i >= 64 && end - from >= 64) {
      fetch_ahead(from, kFar);
      expand_64<kBypass>(y + i, from, mask);
    } else {
      decode_some(mask, from, end, y + i, min_of(64, n - i));
    }
    from += ones(mask);
  }
  return from;
}

sn_status wrong_count(int64_t values, int64_t found) {
  return fail(SN_INVALID_ARGUMENT, "values has %lld elements, but %lld are not zero", static_cast<long long>(values),
              static_cast<long long>(found));
}

}  // namespace

sn_status count_nonzeros(sn_device* device, const sn_tensor* x, int64_t* count) {
  *count = 0;
  with_integers(x->dtype, [&](auto* type) {
    using U = typename Pointee<decltype(type)>::type;
    for_elements(
        device, x->elements, int64_t{0},
        [&](int64_t& total, int64_t i, int64_t n) { total += count_run(data_of<U>(x) + i, n); },
        [&](int64_t& total) { atomic_add(count, total); });
    return SN_OK;
  });
  return SN_OK;
}

sn_status bitmap_encode(sn_device* device, const sn_tensor* x, int64_t first, sn_tensor* values, sn_tensor* bitmap,
                        sn_tensor* row_offsets) {
  const int64_t row_bytes = ceil_div(x->cols, 8);
  const Parts parts(device, x->rows, x->cols);
  int64_t* const offsets = data_of<int64_t>(row_offsets);
  return with_integers(x->dtype, [&](auto* type) {
    using U = typename Pointee<decltype(type)>::type;
    const U* in = data_of<U>(x);
    U* const out = data_of<U>(values);
    // With a single part nobody has to know beforehand how many values there are.
    int64_t begin[kMostParts + 1] = {0, values->elements};
    if (parts.count != 1) {
      auto count = [&](int64_t p) {
        begin[p] = 0;
        parts.for_runs(p, [&](int64_t row, int64_t col, int64_t n) {
          begin[p] += count_run(in + row * x->cols + col, n);
          return true;
        });
      };
      for_tasks(device, parts.count, count);
      begin[parts.count] = sum_up(begin, parts.count);
      if (begin[parts.count] != values->elements) return wrong_count(values->elements, begin[parts.count]);
    }
    int32_t broken = 0;
    auto encode = [&](int64_t p) {
      U* to = out + begin[p];
      U* const end = out + begin[p + 1];
      bool fits = true;
      parts.for_runs(p, [&](int64_t row, int64_t col, int64_t n) {
        if (col == 0) offsets[row] = first + (to - out);
        fits = encode_run(in + row * x->cols + col, n, data_of<uint8_t>(bitmap) + row * row_bytes + col / 8, &to, end);
        return fits;
      });
      if (!fits || to != end) atomic_or(&broken);
    };
    for_tasks(device, parts.count, encode);
    if (broken) return wrong_count(values->elements, count_run(in, x->elements));
    if (parts.count == 0) {
      for (int64_t row = 0; row < x->rows; ++row) offsets[row] = first;
    }
    offsets[x->rows] = first + values->elements;
    return SN_OK;
  });
}

sn_status bitmap_decode(sn_device* device, const sn_tensor* values, const sn_tensor* bitmap,
                        const sn_tensor* row_offsets, sn_tensor* y) {
  const int64_t row_bytes = ceil_div(y->cols, 8);
  const Parts parts(device, y->rows, y->cols);
  const uint8_t* const bits = data_of<uint8_t>(bitmap);
  const int64_t* const offsets = data_of<int64_t>(row_offsets);
  // Every place in the values follows from the bitmap alone, whose ones are as many as there are values; so nothing
  // that row_offsets says leads outside.
  int64_t begin[kMostParts + 1] = {0};
  int32_t padded = 0;
  auto count = [&](int64_t p) {
    begin[p] = 0;
    parts.for_runs(p, [&](int64_t row, int64_t col, int64_t n) {
      const int64_t here = count_bits(bits + row * row_bytes + col / 8, n);
      if (here < 0) atomic_or(&padded);
      begin[p] += here;
      return here >= 0;
    });
  };
  for_tasks(device, parts.count, count);
  if (padded) return fail(SN_INVALID_ARGUMENT, "the bitmap has ones beyond the last column");
  begin[parts.count] = sum_up(begin, parts.count);
  if (begin[parts.count] != values->elements) {
    return fail(SN_INVALID_ARGUMENT, "values has %lld elements, but the bitmap %lld ones",
                static_cast<long long>(values->elements), static_cast<long long>(begin[parts.count]));
  }
  int32_t misplaced = 0;
  const bool bypass = bypass_caches(y);
  with_integers(y->dtype, [&](auto* type) {
    using U = typename Pointee<decltype(type)>::type;
    const U* const in = data_of<U>(values);
    const U* const end = in + values->elements;
    auto decode = [&](int64_t p) {
      const U* from = in + begin[p];
      parts.for_runs(p, [&](int64_t row, int64_t col, int64_t n) {
        // Unsigned, because hostile offsets may overflow.
        const uint64_t offset = static_cast<uint64_t>(offsets[row]) - static_cast<uint64_t>(offsets[0]);
        if (col == 0 && offset != static_cast<uint64_t>(from - in)) {
          atomic_or(&misplaced);
          return false;
        }
        const uint8_t* run = bits + row * row_bytes + col / 8;
        U* to = data_of<U>(y) + row * y->cols + col;
        const bool aligned = reinterpret_cast<uintptr_t>(to) % 64 == 0;
        from = bypass && aligned ? decode_run<true>(run, from, end, to, n) : decode_run<false>(run, from, end, to, n);
        return true;
      });
      stream_fence();
    };
    for_tasks(device, parts.count, decode);
    return SN_OK;
  });
  for (int64_t row = 0; parts.count == 0 && row < y->rows; ++row) misplaced |= offsets[row] != offsets[0];
  const uint64_t length = static_cast<uint64_t>(offsets[y->rows]) - static_cast<uint64_t>(offsets[0]);
  if (misplaced || length != static_cast<uint64_t>(values->elements))
    return fail(SN_INVALID_ARGUMENT, "row_offsets do not fit the ones of the bitmap");
  return SN_OK;
}

}  // namespace SN_ISA_NAME
}  // namespace sn
