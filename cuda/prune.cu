// Pruning by magnitude. See sinew.h.
#include "team.h"

namespace sn {
namespace cuda {
namespace {

template <class T>
SN_HD inline T kept(T x, bool keep, const T*) {
  T zero;
  memset(static_cast<void*>(&zero), 0, sizeof zero);
  return keep ? x : zero;
}
template <class T>
SN_HD inline uint8_t kept(T, bool keep, const uint8_t*) {
  return keep;
}

// Keeps keys above `limit`, and from element `border` on also those equal to it.
template <class T, class Out>
struct PruneThreshold {
  static constexpr bool kFinds = true;
  const T* x;
  Out* out;
  int64_t elements, border;
  int32_t limit;

  SN_HD void step(int64_t i, Findings& found) const {
    const int n = length_of(i, elements);
    const Elements<T> in = load(x + i * kStep, n);
    Elements<Out> result;
    const int64_t left = border - i * kStep;
    uint32_t largest = found.largest;
    int nonzeros = 0;
    SN_UNROLL
    for (int j = 0; j < kStep; ++j) {
      const uint32_t key = key_of(number_of(in.of[j]));
      largest = key > largest ? key : largest;
      const bool keep = static_cast<int32_t>(key) > limit - (j >= left);
      nonzeros += keep && key > 0;  // what is missing has key 0
      result.of[j] = kept(in.of[j], keep, out);
    }
    store(out + i * kStep, result, n);
    found.largest = largest;
    found.count += static_cast<unsigned long long>(nonzeros);
  }
};

// Counts what is below the threshold and what is equal to it.
struct CountMagnitudes {
  static constexpr bool kFinds = true;
  sn_dtype dtype;
  const void* x;
  int64_t elements;
  uint32_t limit;

  SN_HD void step(int64_t i, Findings& found) const {
    const int n = length_of(i, elements);
    const Elements<float> in = load_numbers(dtype, x, i * kStep, n);
    int less = 0, equal = 0;
    SN_UNROLL
    for (int j = 0; j < kStep; ++j) {
      const uint32_t key = key_of(in.of[j]);
      found.largest = key > found.largest ? key : found.largest;
      less += j < n && key < limit;
      equal += j < n && key == limit;
    }
    found.count += static_cast<unsigned long long>(less);
    found.other += static_cast<unsigned long long>(equal);
  }
};

// Counts the elements of a key in each part of `part` steps from step `from` on.
struct CountInParts {
  static constexpr bool kFinds = false;
  sn_dtype dtype;
  const void* x;
  int64_t elements, from, part;
  uint32_t wanted;
  int64_t* counts;

  SN_HD void step(int64_t i, Findings&) const {
    const int n = length_of(from + i, elements);
    const Elements<float> in = load_numbers(dtype, x, (from + i) * kStep, n);
    unsigned equal = 0;
    SN_UNROLL
    for (int j = 0; j < kStep; ++j) equal += j < n && key_of(in.of[j]) == wanted;
    int64_t* sum = counts + i / part;
#if defined(__CUDA_ARCH__)
    const unsigned peers = __match_any_sync(__activemask(), reinterpret_cast<unsigned long long>(sum));
    equal = __reduce_add_sync(peers, equal);
    if (static_cast<int>(threadIdx.x % 32) != __ffs(static_cast<int>(peers)) - 1) return;
#endif
    if (equal != 0) add_to(sum, equal);
  }
};

// Sets *border to the end of the shortest prefix of x that holds `ties` elements of this key, to all of x if there are
// fewer: parts are counted, then the parts of the part that has the last one, down to a step.
sn_status find_border(Call& call, const sn_tensor* x, uint32_t key, int64_t ties, int64_t* border) {
  constexpr int64_t kParts = 1024;
  int64_t counts[kParts];
  int64_t from = 0, steps = steps_of_elements(x->elements);
  *border = ties == 0 ? 0 : x->elements;
  if (ties == 0 || x->elements == 0) return SN_OK;
  while (steps > 1) {
    const int64_t part = (steps + kParts - 1) / kParts, parts = (steps + part - 1) / part;
    int64_t* sums = call.zeroed_scratch_of<int64_t>(parts);
    if (sums == nullptr) return call.status();
    const CountInParts body = {x->dtype, x->data, x->elements, from, part, key, sums};
    sn_status status = run(call, body, steps, nullptr);
    if (status == SN_OK) status = call.download(counts, sums, parts * 8);
    if (status != SN_OK) return status;
    int64_t p = 0;
    while (p < parts && counts[p] < ties) ties -= counts[p++];
    if (p == parts) return SN_OK;
    from += p * part;
    steps = part < steps - p * part ? part : steps - p * part;
  }
  double last[kStep];  // of any type
  const int64_t first = from * kStep;
  const int n = length_of(from, x->elements);
  const int64_t size = dtype_size(x->dtype);
  const sn_status status = call.download(last, data_of<char>(x) + first * size, n * size);
  if (status != SN_OK) return status;
  int j = 0;
  for (; j < n && ties > 0; ++j) ties -= key_of(number_at(x->dtype, last, j)) == key;
  *border = first + j;
  return SN_OK;
}

sn_status prune_keys(Call& call, const sn_tensor* x, int64_t border, uint32_t limit, sn_tensor* out, int64_t* zeros) {
  Findings found = {0, 0, 0};
  const sn_status status = with_floating(x->dtype, [&](auto* type) {
    using T = typename Pointee<decltype(type)>::type;
    const auto prune = [&](auto* kept) {
      using Out = typename Pointee<decltype(kept)>::type;
      const PruneThreshold<T, Out> body = {data_of<T>(x), kept, x->elements, border, static_cast<int32_t>(limit)};
      return run(call, body, steps_of_elements(x->elements), &found);
    };
    return out->dtype == SN_BOOL ? prune(data_of<uint8_t>(out)) : prune(data_of<T>(out));
  });
  if (zeros != nullptr) *zeros = x->elements - static_cast<int64_t>(found.count);
  if (status != SN_OK) return status;
  return found.largest >= kInfinityKey ? not_finite() : SN_OK;
}

}  // namespace

sn_status prune_threshold(sn_device* device, const sn_tensor* x, float threshold, sn_tensor* out, int64_t* zeros) {
  Call call(device);
  return prune_keys(call, x, x->elements, key_of(threshold), out, zeros);
}

sn_status prune_smallest(sn_device* device, const sn_tensor* x, float threshold, int64_t ties, sn_tensor* out,
                         int64_t* zeros) {
  Call call(device);
  int64_t border = 0;
  const sn_status status = find_border(call, x, key_of(threshold), ties, &border);
  if (status != SN_OK) return status;
  return prune_keys(call, x, border, key_of(threshold), out, zeros);
}

sn_status magnitude_count(sn_device* device, const sn_tensor* x, float threshold, int64_t* less, int64_t* equal) {
  Call call(device);
  Findings found = {0, 0, 0};
  const CountMagnitudes body = {x->dtype, x->data, x->elements, key_of(threshold)};
  const sn_status status = run(call, body, steps_of_elements(x->elements), &found);
  *less = static_cast<int64_t>(found.count);
  *equal = static_cast<int64_t>(found.other);
  if (status != SN_OK) return status;
  return found.largest >= kInfinityKey ? not_finite() : SN_OK;
}

}  // namespace cuda
}  // namespace sn
