// Squared errors of quantizing, and the ranges of least error. See sinew.h.
#include "quantizing.h"
#include "ranges.h"
#include "sums.h"
#include "team.h"

namespace sn {
namespace cuda {
namespace {

constexpr int kCandidates = 61;           // ranges that are tried
constexpr int kTogether = 64;             // quantizers that a team tries at once
constexpr int64_t kMostBlocks = 1 << 17;  // whose errors are kept at a time, unless a slice has more: 61 MiB

SN_HD inline float candidate(float bound, int j) {
  return static_cast<float>(static_cast<double>(bound) * (100 - j) / 100.0);
}

// The blocks of slices: within each row, from where the slice begins. A slice is part of a row, or all rows.
struct Blocks {
  int64_t rows, cols;      // of a slice: 1 and those of the tensor, unless it is the whole tensor
  int64_t group, per_row;  // columns of a slice, slices of a row
  int64_t blocks_per_row;  // of a slice

  SN_HD int64_t per_slice() const { return rows * blocks_per_row; }
  // The first element of a block, and how many it has: none where the last slice of a row is shorter.
  SN_HD int64_t place(int64_t slice, int64_t k, int* n) const {
    const int64_t r = k / blocks_per_row;
    const int64_t row = slice / per_row + r, col = (slice - slice / per_row * per_row) * group;
    const int64_t begin = col + (k - r * blocks_per_row) * kBlock;
    const int64_t end = group < cols - col ? col + group : cols;
    *n = begin >= end ? 0 : end - begin < kBlock ? static_cast<int>(end - begin) : kBlock;
    return row * cols + begin;
  }
};

Blocks blocks_of(const sn_tensor* x, int64_t group, int64_t scales) {
  const Slices s = slices_of(x, group, scales);
  if (s.shared) return {x->rows, x->cols, x->cols, 1, (x->cols + kBlock - 1) / kBlock};
  return {1, x->cols, s.group, s.per_row, (s.group + kBlock - 1) / kBlock};
}

// The errors of one block under up to kTogether quantizers: given ones, or those of narrower and narrower ranges.
template <bool kFloat8>
struct BlockErrors {
  static constexpr bool kFinds = false, kOrdered = false;
  static constexpr int kPhases = 3;
  struct State {};
  struct Shared {
    float x[kBlock];
    double sums[kTogether][kLanes];
    Quantizer quantizers[kTogether];
  };
  sn_dtype dtype;
  const void* x;
  Blocks blocks;
  int64_t first;  // slice
  sn_scheme scheme;
  const float* scale;  // or null
  const int8_t* zero_point;
  const float* lo;
  const float* hi;
  int64_t quantizers;
  double* errors;  // [blocks, quantizers]

  SN_HD Quantizer at(int64_t slice, int64_t j) const {
    if (scale != nullptr) return quantizer(scale[j], zero_point == nullptr ? 0 : zero_point[j], scheme);
    const int i = static_cast<int>(j);
    const Parameters p = parameters_of(candidate(lo[slice], i), candidate(hi[slice], i), scheme);
    return quantizer(p.scale, p.zero_point, scheme);
  }

  SN_HD void phase(int p, int64_t team, int thread, State&, Shared& shared, Findings&) const {
    const int64_t parts = (quantizers + kTogether - 1) / kTogether;
    const int64_t block = team / parts, from = (team - block * parts) * kTogether;
    const int count = static_cast<int>(quantizers - from < kTogether ? quantizers - from : kTogether);
    const int64_t part = block / blocks.per_slice(), slice = first + part;
    int n;
    const int64_t begin = blocks.place(slice, block - part * blocks.per_slice(), &n);
    switch (p) {
      case 0: {
        if (thread < count) shared.quantizers[thread] = at(slice, from + thread);
        const int left = n - thread * kStep;
        if (left <= 0) return;
        const Elements<float> in = load_numbers(dtype, x, begin + thread * kStep, left < kStep ? left : kStep);
        SN_UNROLL
        for (int j = 0; j < kStep; ++j) shared.x[thread * kStep + j] = in.of[j];
        return;
      }
      case 1:
        for (int c = thread / kLanes; c < count; c += kTeam / kLanes) {
          const Quantizer z = shared.quantizers[c];
          double sum = 0;
          for (int i = thread % kLanes; i < n; i += kLanes) {
            const float v = shared.x[i], e = v - faked<kFloat8>(z, v);
            sum += static_cast<double>(e) * static_cast<double>(e);
          }
          shared.sums[c][thread % kLanes] = sum;
        }
        return;
      default:
        if (thread >= count) return;
        errors[block * quantizers + from + thread] = fold(shared.sums[thread]);
    }
  }
};

// Adds up the blocks of a slice in index order.
struct AddBlocks {
  static constexpr bool kFinds = false;
  const double* errors;
  int64_t per_slice;
  double* totals;

  SN_HD void step(int64_t i, Findings&) const {
    const int64_t slice = i / kCandidates, j = i - slice * kCandidates;
    double sum = 0;
    for (int64_t k = 0; k < per_slice; ++k) sum += errors[(slice * per_slice + k) * kCandidates + j];
    totals[i] = sum;
  }
};

struct Choose {
  static constexpr bool kFinds = false;
  const double* totals;
  float* lo;
  float* hi;

  SN_HD void step(int64_t slice, Findings&) const {
    const double* errors = totals + slice * kCandidates;
    int best = 0;
    for (int j = 1; j < kCandidates; ++j) {
      if (errors[j] < errors[best]) best = j;
    }
    lo[slice] = candidate(lo[slice], best);
    hi[slice] = candidate(hi[slice], best);
  }
};

template <bool kFloat8>
sn_status find_errors(Call& call, const BlockErrors<kFloat8>& body, int64_t blocks) {
  return run_teams(call, body, blocks * ((body.quantizers + kTogether - 1) / kTogether), nullptr);
}

template <bool kFloat8>
sn_status narrow(Call& call, const sn_tensor* x, const Blocks& blocks, sn_scheme scheme, sn_tensor* lo, sn_tensor* hi) {
  const int64_t slices = lo->elements, per_slice = blocks.per_slice();
  const int64_t wanted = kMostBlocks / per_slice > 1 ? kMostBlocks / per_slice : 1;
  const int64_t together = slices < wanted ? slices : wanted;
  double* errors = call.scratch_of<double>(together * per_slice * kCandidates);
  double* totals = call.scratch_of<double>(together * kCandidates);
  float* low = data_of<float>(lo);
  float* high = data_of<float>(hi);
  for (int64_t first = 0; call.status() == SN_OK && first < slices; first += together) {
    const int64_t count = together < slices - first ? together : slices - first;
    const BlockErrors<kFloat8> body = {x->dtype, x->data, blocks, first,       scheme, nullptr,
                                       nullptr,  low,     high,   kCandidates, errors};
    sn_status status = find_errors(call, body, count * per_slice);
    if (status == SN_OK) status = run(call, AddBlocks{errors, per_slice, totals}, count * kCandidates, nullptr);
    if (status == SN_OK) status = run(call, Choose{totals, low + first, high + first}, count, nullptr);
    if (status != SN_OK) return status;
  }
  return call.status();
}

}  // namespace

sn_status narrow_to_least_error(Call& call, const sn_tensor* x, int64_t group, sn_scheme scheme, sn_tensor* lo,
                                sn_tensor* hi) {
  const Blocks blocks = blocks_of(x, group, lo->elements);
  return scheme == SN_FP8 ? narrow<true>(call, x, blocks, scheme, lo, hi)
                          : narrow<false>(call, x, blocks, scheme, lo, hi);
}

sn_status quantization_error(sn_device* device, const sn_tensor* x, const sn_tensor* scale, const sn_tensor* zero_point,
                             sn_scheme scheme, sn_tensor* errors) {
  Call call(device);
  const float* scales = data_of<float>(scale);
  const int8_t* zero_points = zero_point == nullptr ? nullptr : data_of<int8_t>(zero_point);
  const Blocks blocks = {x->rows, x->cols, x->cols, 1, (x->cols + kBlock - 1) / kBlock};
  const int64_t count = blocks.per_slice();
  double* out = data_of<double>(errors);
  if (scheme == SN_FP8) {
    const BlockErrors<true> body = {x->dtype, x->data, blocks,          0,  scheme, scales, zero_points,
                                    nullptr,  nullptr, scale->elements, out};
    return find_errors(call, body, count);
  }
  const BlockErrors<false> body = {x->dtype, x->data, blocks,          0,  scheme, scales, zero_points,
                                   nullptr,  nullptr, scale->elements, out};
  return find_errors(call, body, count);
}

}  // namespace cuda
}  // namespace sn
