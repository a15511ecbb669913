// Products by tiles on Hopper's tensor cores (wgmma), which read both operands from shared memory and give exact int32
// sums.
#pragma once

#include "tiles.h"
#include "warpgroup.h"

namespace sn {
namespace cuda {

// A tile of 128 rows by 256 channels a team, of which each of its two warpgroups has 64 rows. Columns go through shared
// memory 128 at a time, in four buffers: while one is multiplied, the two after it are on their way, and the one before
// it may still be read by the other warpgroup.
template <class Source>
struct WgmmaTiles {
  static constexpr bool kFinds = false, kOrdered = false;
  using WholeWarps = void;
  using Layout = RowsOf128;
  static constexpr int kRows = kTileSide, kChannels = kGroupChannels, kDepth = 128, kStages = 4;
  static constexpr int kWarpRows = 16, kBlock = TileResults<Source>::kChannels;
  // From a row of sums to the next, so that neither the stores of a fragment nor the loads of a row meet in a bank.
  static constexpr int kSumPitch = kChannels + 8;

  struct State {
    GroupSums sums;
    Copies copies;
    Products products;
  };
  struct Operands {
    int8_t activations[kRows * kDepth];
    int8_t weights[kChannels * kDepth];
  };
  struct alignas(1024) Shared {
    union {
      Operands operands[kStages];
      int32_t sums[kTeam / kWarp][kWarpRows * kSumPitch];
    };
  };
  TileResults<Source> results;
  Rows weights;
  int64_t cols;

  SN_HD int steps() const { return static_cast<int>((cols + kDepth - 1) / kDepth); }
  SN_HD int64_t row_tiles() const { return (results.x.count + kRows - 1) / kRows; }
  SN_HD int64_t tiles() const { return row_tiles() * ((results.to.out + kChannels - 1) / kChannels); }

  // Where a team is.
  struct Tile {
    int64_t row, channel;
  };
  SN_HD Tile tile_of(int64_t team) const {
    const int64_t tile = team / row_tiles();
    return {(team - tile * row_tiles()) * kRows, tile * kChannels};
  }

  // What threads do between barriers: begin, a step for every kDepth columns, end, put and finish.
  SN_DEVICE void begin(const Tile& tile, int thread, State& state, Shared& shared) const {
    SN_UNROLL
    for (int l = 0; l < kHeld; ++l) {
      SN_UNROLL
      for (int i = 0; i < kGroupSums; ++i) state.sums.all.of[l][i] = 0;
    }
    state.copies.clear();
    state.products.clear();
    fetch(0, tile, thread, state, shared);
    fetch(1, tile, thread, state, shared);
    state.copies.template wait<1>();
    publish_copies();
  }
  // The products of a step go on while the next one begins; those of the step before are done, for all threads after
  // the barrier, and so the buffer before that is free.
  SN_DEVICE void step(int step, const Tile& tile, int thread, State& state, Shared& shared) const {
    const int warpgroup = thread / kWarpgroup;
    const Operands& operands = shared.operands[step % kStages];
    const uint32_t x = shared_address(operands.activations + warpgroup * kGroupRows * kDepth, &shared);
    const uint32_t w = shared_address(operands.weights, &shared);
    state.products.begin_group();
    SN_UNROLL
    for (int col = 0; col < kDepth; col += kGroupDepth) {
      state.products.multiply_add(matrix_descriptor(x + static_cast<uint32_t>(col)),
                                  matrix_descriptor(w + static_cast<uint32_t>(col)), &shared, thread / kWarp % 4,
                                  &state.sums);
    }
    state.products.end_group();
    fetch(step + 2, tile, thread, state, shared);
    state.copies.template wait<1>();
    publish_copies();
    state.products.template wait<1>(&state.sums);
  }
  SN_DEVICE void end(State& state) const { state.products.template wait<0>(&state.sums); }
  // The sums to shared memory, so that whole rows can be stored.
  SN_DEVICE void put(int thread, const State& state, Shared& shared) const {
    int32_t* sums = shared.sums[thread / kWarp];
    for (int l = 0; l < kHeld; ++l) {
      const int lane = thread % kWarp + l;
      SN_UNROLL
      for (int i = 0; i < kGroupSums; ++i)
        sums[GroupSums::row(lane, i) * kSumPitch + GroupSums::channel(lane, i)] = state.sums.all.of[l][i];
    }
  }
  SN_DEVICE void finish(const Tile& tile, int thread, const Shared& shared) const {
    const int warp = thread / kWarp;
    SN_KEEP_LOOP
    for (int block = 0; block < kChannels; block += kBlock) {
      for (int l = 0; l < kHeld; ++l) {
        results.template finish<kWarpRows, kSumPitch>(tile.row + warp * kWarpRows, tile.channel + block,
                                                      thread % kWarp + l, shared.sums[warp] + block);
      }
    }
  }

#if !defined(SINEW_CUDA)
  int phases() const { return steps() + 4; }
  void phase(int p, int64_t team, int thread, State& state, Shared& shared, Findings&) const {
    const Tile tile = tile_of(team);
    if (p == 0) {
      begin(tile, thread, state, shared);
    } else if (p <= steps()) {
      step(p - 1, tile, thread, state, shared);
    } else if (p == steps() + 1) {
      end(state);
    } else if (p == steps() + 2) {
      put(thread, state, shared);
    } else {
      finish(tile, thread, shared);
    }
  }
#endif

 private:
  // Begins to copy the columns of a step. A group, if an empty one, for every step.
  SN_DEVICE void fetch(int step, const Tile& tile, int thread, State& state, Shared& shared) const {
    if (step < steps()) {
      Operands& to = shared.operands[step % kStages];
      const int64_t col = int64_t{step} * kDepth;
      for (int l = 0; l < kHeld; ++l) {
        copy_rows<Layout>(results.x, tile.row, col, thread + l, to.activations, state.copies);
        SN_UNROLL
        for (int part = 0; part < kChannels; part += kTileSide) {
          copy_rows<Layout>(weights, tile.channel + part, col, thread + l, to.weights + part * kDepth, state.copies);
        }
      }
    }
    state.copies.end_group();
  }
};

#if defined(SINEW_CUDA)

// One team a multiprocessor, which has nearly all of its shared memory. In a loop of its own, as a compiler that does
// not see what lies between products and the use of their sums makes them wait for each other. Code for other
// architectures has no such products; it is never started.
template <class Source>
__global__ void __launch_bounds__(kTeam, 1) run_wgmma(const __grid_constant__ WgmmaTiles<Source> body, int64_t teams) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  extern __shared__ __align__(1024) char memory[];
  using Shared = typename WgmmaTiles<Source>::Shared;
  Shared& shared = *reinterpret_cast<Shared*>(memory);
  const int thread = static_cast<int>(threadIdx.x);
  for (int64_t team = blockIdx.x; team < teams; team += gridDim.x) {
    const typename WgmmaTiles<Source>::Tile tile = body.tile_of(team);
    typename WgmmaTiles<Source>::State state;
    body.begin(tile, thread, state, shared);
    __syncthreads();
    for (int step = 0; step < body.steps(); ++step) {
      body.step(step, tile, thread, state, shared);
      __syncthreads();
    }
    body.end(state);
    __syncthreads();
    body.put(thread, state, shared);
    __syncthreads();
    body.finish(tile, thread, shared);
    __syncthreads();
  }
#endif
}

template <class Source>
sn_status run_wgmma_tiles(Call& call, const WgmmaTiles<Source>& body) {
  if (call.status() != SN_OK || body.tiles() == 0) return call.status();
  constexpr int kBytes = static_cast<int>(sizeof(typename WgmmaTiles<Source>::Shared));
  const int64_t blocks = body.tiles() < call.multiprocessors() ? body.tiles() : call.multiprocessors();
  // What a kernel may have is the device's to know, so it is said before every start. An error stays for launched().
  if (cudaFuncSetAttribute(run_wgmma<Source>, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes) == cudaSuccess)
    run_wgmma<Source><<<static_cast<unsigned>(blocks), kTeam, kBytes, call.stream()>>>(body, body.tiles());
  return call.launched();
}

#else

template <class Source>
sn_status run_wgmma_tiles(Call& call, const WgmmaTiles<Source>& body) {
  return run_teams(call, body, body.tiles(), nullptr);
}

#endif

}  // namespace cuda
}  // namespace sn
