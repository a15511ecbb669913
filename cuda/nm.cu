// N:M sparsity. See sinew.h.
#include "launch.h"

namespace sn {
namespace cuda {
namespace {

struct Matrix {
  sn_dtype dtype;
  const void* x;
  void* out;
  bool mask;  // out is BOOL
  int64_t elements;

  // Writes the elements of step i that `kept` has a bit for, and zeros for the others.
  template <class T>
  SN_HD void store_kept_as(int64_t i, int n, uint32_t kept) const {
    Elements<T> all = load(static_cast<const T*>(x) + i * kStep, n);
    SN_UNROLL
    for (int j = 0; j < kStep; ++j) all.of[j] = kept >> j & 1u ? all.of[j] : T{0};
    store(static_cast<T*>(out) + i * kStep, all, n);
  }
  SN_HD void store_kept(int64_t i, int n, uint32_t kept) const {
    if (mask) {
      Elements<uint8_t> bits;
      SN_UNROLL
      for (int j = 0; j < kStep; ++j) bits.of[j] = static_cast<uint8_t>(kept >> j & 1u);
      store(static_cast<uint8_t*>(out) + i * kStep, bits, n);
    } else if (dtype == SN_F32) {
      store_kept_as<uint32_t>(i, n, kept);
    } else if (dtype == SN_F64) {
      store_kept_as<uint64_t>(i, n, kept);
    } else {
      store_kept_as<uint16_t>(i, n, kept);
    }
  }
};

// Groups of kM elements, of which a step holds whole ones. An element's rank is the number of those before it: smaller
// ones, and equal ones of a lower index.
template <int kM>
struct PruneGroups {
  static constexpr bool kFinds = true;
  Matrix matrix;
  int drop;

  SN_HD void step(int64_t i, Findings& found) const {
    const int n = length_of(i, matrix.elements);
    const Elements<float> in = load_numbers(matrix.dtype, matrix.x, i * kStep, n);
    uint32_t kept = 0;
    int nonzeros = 0;
    SN_UNROLL
    for (int j = 0; j < kStep; ++j) {
      const uint32_t key = key_of(in.of[j]);
      int rank = 0;
      SN_UNROLL
      for (int k = j / kM * kM; k < j / kM * kM + kM; ++k) {
        const uint32_t other = key_of(in.of[k]);
        rank += k < j ? other <= key : other < key;
      }
      found.largest = key > found.largest ? key : found.largest;
      kept |= static_cast<uint32_t>(rank >= drop) << j;
      nonzeros += rank >= drop && key > 0;
    }
    found.count += static_cast<unsigned long long>(nonzeros);
    matrix.store_kept(i, n, kept);
  }
};

// Any groups, and shorter ones at the ends of rows.
struct PruneAnyGroups {
  static constexpr bool kFinds = true;
  Matrix matrix;
  int64_t cols;
  int kept_of, m;  // n of m

  SN_HD uint32_t key_at(int64_t i) const { return key_of(number_at(matrix.dtype, matrix.x, i)); }

  SN_HD bool keeps(int64_t i, uint32_t key) const {
    const int64_t row = i / cols, col = i - row * cols, begin = col / m * m;
    const int length = static_cast<int>(m < cols - begin ? m : cols - begin);
    const int64_t first = row * cols + begin;
    int rank = 0;
    for (int k = 0; k < length; ++k) {
      const uint32_t other = key_at(first + k);
      rank += first + k < i ? other <= key : other < key;
    }
    return rank >= length * (m - kept_of) / m;
  }
  SN_HD void step(int64_t i, Findings& found) const {
    const int n = length_of(i, matrix.elements);
    uint32_t kept = 0;
    for (int j = 0; j < n; ++j) {
      const uint32_t key = key_at(i * kStep + j);
      const bool keep = keeps(i * kStep + j, key);
      found.largest = key > found.largest ? key : found.largest;
      found.count += keep && key > 0;
      kept |= static_cast<uint32_t>(keep) << j;
    }
    matrix.store_kept(i, n, kept);
  }
};

}  // namespace

sn_status prune_nm(sn_device* device, const sn_tensor* x, int32_t n, int32_t m, sn_tensor* out, int64_t* zeros) {
  Call call(device);
  const Matrix matrix = {x->dtype, x->data, out->data, out->dtype == SN_BOOL, x->elements};
  const int64_t steps = steps_of_elements(x->elements);
  Findings found = {0, 0, 0};
  sn_status status;
  if (x->cols % m != 0 || (m != 2 && m != 4 && m != 8 && m != 16)) {
    // In place a step would change what its neighbours compare with.
    Matrix apart = matrix;
    if (!apart.mask && x->data == out->data) apart.x = call.scratch(x->bytes());
    status = call.status();
    if (status == SN_OK && apart.x != x->data) status = call.copy(const_cast<void*>(apart.x), x->data, x->bytes());
    if (status == SN_OK) status = run(call, PruneAnyGroups{apart, x->cols, n, m}, steps, &found);
  } else if (m == 2) {
    status = run(call, PruneGroups<2>{matrix, m - n}, steps, &found);
  } else if (m == 4) {
    status = run(call, PruneGroups<4>{matrix, m - n}, steps, &found);
  } else if (m == 8) {
    status = run(call, PruneGroups<8>{matrix, m - n}, steps, &found);
  } else {
    status = run(call, PruneGroups<16>{matrix, m - n}, steps, &found);
  }
  if (zeros != nullptr) *zeros = x->elements - static_cast<int64_t>(found.count);
  if (status != SN_OK) return status;
  return found.largest >= kInfinityKey ? not_finite() : SN_OK;
}

}  // namespace cuda
}  // namespace sn
