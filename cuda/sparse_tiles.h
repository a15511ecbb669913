// Products by tiles of weights that are 2:4, on the sparse tensor cores (mma.sp), whose int32 sums are exact.
#pragma once

#include "tiles.h"
#include "two_of_four.h"

namespace sn {
namespace cuda {

// The same for rows of 32 bytes.
struct RowsOf32 {
  static constexpr int kParts = 2;
  SN_HD static int place(int row, int part) { return row * 32 + (part ^ (row >> 2 & 1)) * 16; }
};

// Each of a team's 8 warps has 32 rows by 64 channels of its tile: it is the sparse operand that has 16 rows in an
// instruction, so the sums are those of the transposed product. Of weights half as many values go through shared
// memory, and where they were.
template <class Source>
struct SparseTiles {
  static constexpr bool kFinds = false, kOrdered = false;
  using WholeWarps = void;
  static constexpr int kSide = kTileSide, kDepth = TwoOfFour::kDepth, kStages = 3;
  static constexpr int kWarpRows = 32, kWarpChannels = 64, kWarpsAcross = kSide / kWarpChannels;
  static constexpr int kRowParts = kWarpRows / 8, kChannelParts = kWarpChannels / 16;
  static constexpr int kBlocks = kSide / TwoOfFour::kRows, kWords = TwoOfFour::kWords;
  // Channels of a warp whose sums fit in shared memory at once, and from one row of them to the next, so that neither
  // the stores of a fragment nor the loads of a row meet in a bank; of windows the loads of four rows' channel.
  static constexpr int kHalf = TileResults<Source>::kChannels, kSumPitch = kHalf + (Source::kWindows ? 1 : 4);

  struct State {
    Registers<int32_t, 4> sums[kChannelParts][kRowParts];
    Copies copies;
  };
  struct Operands {
    int8_t activations[kSide * kDepth];
    int8_t weights[kSide * kDepth / 2];
    uint32_t places[kBlocks][kWords];
  };
  struct alignas(128) Shared {
    union {
      Operands operands[kStages];
      int32_t sums[kTeam / kWarp][kWarpRows * kSumPitch];
    };
  };
  TileResults<Source> results;
  TwoOfFour weights;

  SN_HD int64_t steps() const { return weights.cols / kDepth; }
  SN_HD int phases() const { return buffered_phases(*this); }

  // Which row, of the part that begins at `first`, and which 16 bytes lane l gives to load a fragment: of weights
  // [16, 32 of 64], and of activations [64, 8].
  SN_HD static int weight_place(int first, int lane) { return RowsOf32::place(first + lane % 16, lane / 16); }
  SN_HD static int activation_place(int first, int lane) { return RowsOf64::place(first + lane % 8, lane / 8); }
  // Row and channel of register i of a fragment of sums [16 channels, 8 rows].
  SN_HD static int sum_channel(int lane, int i) { return lane / 4 + i / 2 * 8; }
  SN_HD static int sum_row(int lane, int i) { return lane % 4 * 2 + i % 2; }

  SN_DEVICE void phase(int p, int64_t team, int thread, State& state, Shared& shared, Findings&) const {
    buffered_phase(*this, p, team, thread, state, shared);
  }

  // What the phases are made of. This one begins to copy the columns of a step. A group, if an empty one, for every
  // step.
  SN_DEVICE void fetch(int step, int64_t row, int64_t channel, int thread, State& state, Shared& shared) const {
    // Registers are too few for the sums and for all that windows need of a thread from step to step.
    if constexpr (Source::kWindows) thread = computed_anew(thread);
    if (step < steps()) {
      Operands& to = shared.operands[step % kStages];
      const Rows values = {weights.values, weights.rows, weights.pitch()};
      for (int l = 0; l < kHeld; ++l) {
        copy_rows<RowsOf64>(results.x, row, int64_t{step} * kDepth, thread + l, to.activations, state.copies);
        copy_rows<RowsOf32>(values, channel, int64_t{step} * (kDepth / 2), thread + l, to.weights, state.copies);
        copy_places(channel, step, thread + l, to, state.copies);
      }
    }
    state.copies.end_group();
  }
  // Where there are no more channels those of the first, since zeros are no places.
  SN_DEVICE void copy_places(int64_t channel, int step, int thread, Operands& to, Copies& copies) const {
    constexpr int kThreads = kWords / 4;
    if (thread >= kBlocks * kThreads) return;
    const int64_t block = channel / TwoOfFour::kRows + thread / kThreads;
    const int64_t first = weights.first_word(block < weights.blocks() ? block : 0, step);
    const int word = thread % kThreads * 4;
    copies.begin(to.places[thread / kThreads] + word, weights.places + first + word, true);
  }

  SN_DEVICE static void multiply(int thread, const Operands& operands, State& state) {
    const int warp = thread / kWarp, first = thread % kWarp;
    const int row = warp / kWarpsAcross * kWarpRows, channel = warp % kWarpsAcross * kWarpChannels;
    MatrixRows rows;
    Registers<uint32_t, 4> x[kRowParts];
    SN_UNROLL
    for (int r = 0; r < kRowParts; ++r) {
      for (int l = 0; l < kHeld; ++l) rows.of[l] = operands.activations + activation_place(row + r * 8, first + l);
      load_matrices(rows, x + r);
    }
    SN_UNROLL
    for (int c = 0; c < kChannelParts; ++c) {
      Registers<uint32_t, 4> w;
      Registers<uint32_t, 1> places;
      for (int l = 0; l < kHeld; ++l) {
        rows.of[l] = operands.weights + weight_place(channel + c * 16, first + l);
        places.of[l][0] = operands.places[channel / 16 + c][first + l];
      }
      load_matrices(rows, &w);
      SN_UNROLL
      for (int r = 0; r < kRowParts; ++r) multiply_add_sparse(w, x[r], places, &state.sums[c][r]);
    }
  }

  // The sums of kHalf channels, from part kFirst on, to shared memory, so that whole rows can be stored.
  template <int kFirst>
  SN_DEVICE static void put_sums(int thread, Shared& shared, const State& state) {
    int32_t* sums = shared.sums[thread / kWarp];
    SN_UNROLL
    for (int c = 0; c < kHalf / 16; ++c) {
      SN_UNROLL
      for (int r = 0; r < kRowParts; ++r) {
        for (int l = 0; l < kHeld; ++l) {
          const int lane = thread % kWarp + l;
          SN_UNROLL
          for (int i = 0; i < 4; ++i) {
            sums[(r * 8 + sum_row(lane, i)) * kSumPitch + c * 16 + sum_channel(lane, i)] =
                state.sums[kFirst + c][r].of[l][i];
          }
        }
      }
    }
  }

  SN_DEVICE void finish(int64_t tile_row, int64_t tile_channel, int first, int thread, const Shared& shared) const {
    const int warp = thread / kWarp;
    const int64_t top = tile_row + warp / kWarpsAcross * kWarpRows;
    const int64_t channel = tile_channel + warp % kWarpsAcross * kWarpChannels + first;
    for (int l = 0; l < kHeld; ++l)
      results.template finish<kWarpRows, kSumPitch>(top, channel, thread % kWarp + l, shared.sums[warp]);
  }
};

// Multiplies by tiles of the weights' form.
template <class Source>
sn_status run_tiles(Call& call, const TileResults<Source>& results, const sn_weights* w, int64_t cols) {
  const TwoOfFour two_of_four = two_of_four_of(w);
  if (two_of_four.values != nullptr) {
    const SparseTiles<Source> body = {results, two_of_four};
    return run_teams(call, body, results.tiles(), nullptr);
  }
  const MultiplyTiles<Source> body = {results, dense_rows(w), cols};
  return run_teams(call, body, results.tiles(), nullptr);
}

}  // namespace cuda
}  // namespace sn
