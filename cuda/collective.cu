// Collectives of ranks that have GPUs; see ranks.h.
#include "ranks.h"
#include "rms_norm.h"
#include "together.h"

namespace sn {
namespace cuda {
namespace {

// All-reduce to sums in one meeting, then residual and RMS norm, a row a team at a time.
struct OneShotNorm : Ranks {
  using Norm = RmsNorm<false>;
  using State = Norm::State;
  struct Shared {
    Late late;
    Norm::Shared norm;
  };
  sn_rank_norm then;

  SN_HD int64_t rows() const { return c.elements / then.cols; }
  SN_HD Norm norm_of(int rank) const {
    return {c.dtype, c.out[rank], then.weight[rank], then.eps[rank], then.cols, then.y[rank], nullptr};
  }
  SN_HD int row_phases() const { return 1 + norm_of(0).phases(); }
  SN_HD int phases() const { return 3 + row_phases() * static_cast<int>((rows() + c.teams - 1) / c.teams); }

  // Sums are rounded before the residual is added, as they are where the two follow each other.
  SN_HD void add_residual(int rank, int64_t row, int thread) const {
    for (int64_t col = int64_t{thread} * kStep; col < then.cols; col += kTeam * kStep) {
      const int n = then.cols - col < kStep ? static_cast<int>(then.cols - col) : kStep;
      const int64_t i = row * then.cols + col;
      Elements<float> sum = reduced_floats(Sources{this, rank, true}, c.world_size, c.dtype, SN_SUM, i, n);
      round_numbers(c.dtype, sum);
      const Elements<float> residual = load_reals(c.dtype, then.residual[rank], i, n);
      SN_UNROLL
      for (int j = 0; j < kStep; ++j) sum.of[j] = plus(sum.of[j], residual.of[j]);
      store_reals(c.dtype, c.out[rank], i, sum, n);
    }
  }

  SN_HD void phase(int p, int64_t team, int thread, State& state, Shared& shared, Findings& found) const {
    if (p == 0) {
      if (thread == 0) shared.late.any = 0;
      const int64_t row_bytes = c.bytes / rows();
      push(team, thread, part_begin(team, rows()) * row_bytes, part_end(team, rows()) * row_bytes);
      return;
    }
    if (p == 1) return say_all(0, team, thread);
    if (p == 2) return await(0, team, thread, shared.late, found);
    const int64_t row = part_begin(team, rows()) + (p - 3) / row_phases();
    const int step = (p - 3) % row_phases();
    if (shared.late.any != 0 || row >= part_end(team, rows())) return;
    const int rank = rank_of(team);
    if (step == 0) return add_residual(rank, row, thread);
    norm_of(rank).phase(step - 1, row, thread, state, shared.norm, found);
  }
};

template <class Body>
sn_status run_ranks(Call& call, const Body& body, int32_t* late) {
  Findings found = {0, 0, 0};
  const sn_status status = run_together(call, body, int64_t{body.c.here_count} * body.c.teams, &found);
  *late = static_cast<int32_t>(found.largest) - 1;
  if (status != SN_OK || found.largest == 0) return status;
  return fail(SN_RANK_FAILED, "rank %d has not come", static_cast<int>(*late));
}

}  // namespace

int64_t exchange_bytes(int32_t world_size) { return static_cast<int64_t>(sizeof(Flags)) + 2 * kRankSlot * world_size; }

sn_status collective(sn_device* device, const sn_rank_call* ranks, int32_t* late) {
  Call call(device);
  *late = -1;
  // What goes through slots, if it is small, saves a meeting; what does not fit one cannot.
  return run_ranks(call, Collective{{*ranks}, ranks->bytes <= kRankSlot}, late);
}

sn_status all_reduce_norm(sn_device* device, const sn_rank_call* ranks, const sn_rank_norm* norm, int32_t* late) {
  Call call(device);
  *late = -1;
  return run_ranks(call, OneShotNorm{{*ranks}, *norm}, late);
}

}  // namespace cuda
}  // namespace sn
