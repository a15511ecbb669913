// Products of int8 by tiles that go through shared memory, for linear layers and convolutions: what all of them have in
// common, and the one of mma.sync, whose int32 sums are exact. sparse_tiles.h has the one of weights that are 2:4.
#pragma once

#include "linear.h"
#include "warp.h"

namespace sn {
namespace cuda {

constexpr int kTileSide = 128;

// Rows of bytes, one after the other.
struct Rows {
  const int8_t* data;
  int64_t count, pitch;

  using Column = int64_t;
  SN_DEVICE Column column(int64_t col) const { return col; }
  // 16 bytes of row `row` from a column on, or null.
  SN_DEVICE const int8_t* at(int64_t row, Column col) const {
    return row < count && col < pitch ? data + row * pitch + col : nullptr;
  }
};

// Weights that are not 2:4.
inline Rows dense_rows(const sn_weights* w) { return {w->part<int8_t>(kWeightPart), w->rows, pitch_of(w)}; }

// Where 16 bytes of a row lie in a buffer of rows of 64 bytes: eight rows at the same column are in different banks.
struct RowsOf64 {
  static constexpr int kParts = 4;
  SN_HD static int place(int row, int part) { return row * 64 + (part ^ (row >> 1 & 3)) * 16; }
};

// Begins to copy what a thread of the team copies of a tile's kTileSide rows, from a column on; what is beyond the last
// row or column becomes 0.
template <class Layout, class From>
SN_DEVICE void copy_rows(const From& from, int64_t first, int64_t column, int thread, int8_t* to, Copies& copies) {
  const int part = thread % Layout::kParts;
  const typename From::Column at = from.column(column + part * 16);
  SN_UNROLL
  for (int i = 0; i < kTileSide * Layout::kParts / kTeam; ++i) {
    const int row = thread / Layout::kParts + i * (kTeam / Layout::kParts);
    const int8_t* bytes = from.at(first + row, at);
    copies.begin(to + Layout::place(row, part), bytes == nullptr ? from.data : bytes, bytes != nullptr);
  }
}

// Fragments of sums, set to 0.
template <int kRows, int kCols>
SN_DEVICE void clear(Registers<int32_t, 4> (&sums)[kRows][kCols]) {
  SN_UNROLL
  for (int r = 0; r < kRows; ++r) {
    SN_UNROLL
    for (int c = 0; c < kCols; ++c) {
      SN_UNROLL
      for (int l = 0; l < kHeld; ++l) {
        SN_UNROLL
        for (int i = 0; i < 4; ++i) sums[r][c].of[l][i] = 0;
      }
    }
  }
}

// What becomes of the sums of a tile. Source says where the rows of activations are: rows, or the windows of images.
template <class Source>
struct TileResults {
  // Channels of a block of sums that a warp finishes at once.
  static constexpr int kChannels = 32;
  Source x;
  const float* scale;
  const int8_t* zero_point;
  Results to;

  // Tiles of 128 rows by 128 channels.
  SN_HD int64_t row_tiles() const { return (x.count + kTileSide - 1) / kTileSide; }
  SN_HD int64_t tiles() const { return row_tiles() * ((to.out + kTileSide - 1) / kTileSide); }

  // Of a block in shared memory each lane takes four channels of every fourth row, or of windows, whose rows are 32,
  // four rows of every fourth channel.
  template <int kRows, int kPitch>
  SN_DEVICE void finish(int64_t top, int64_t channel, int lane, const int32_t* sums) const {
    const int begin = lane % (kChannels / 4) * 4;
    if constexpr (Source::kWindows) {
      SN_KEEP_LOOP
      for (int c = lane / (kChannels / 4); c < kChannels && channel + c < to.out; c += kWarp / (kRows / 4))
        finish_windows<kPitch>(top + begin, channel + c, sums + begin * kPitch + c);
    } else {
      for (int r = lane / (kChannels / 4); r < kRows && top + r < x.count; r += kWarp / (kChannels / 4))
        finish_four(top + r, channel + begin, sums + r * kPitch + begin);
    }
  }

 private:
  // A channel of four windows.
  template <int kPitch>
  SN_DEVICE void finish_windows(int64_t window, int64_t channel, const int32_t* sums) const {
    const int64_t left = x.count - window;
    if (left <= 0) return;
    const int32_t zero = zero_point == nullptr ? 0 : zero_point[channel];
    const float factor = scale[channel];
    float v[4];
    SN_UNROLL
    for (int j = 0; j < 4; ++j) {
      const Token token = x.token(window + (j < left ? j : 0));
      v[j] = static_cast<float>(sums[j * kPitch] - zero * token.sum) * factor * token.scale;
    }
    SN_UNROLL
    for (int j = 0; j < 4; ++j) v[j] = to.finished(v[j], channel);
    to.put_windows(window, channel, left < 4 ? static_cast<int>(left) : 4, v);
  }
  SN_DEVICE void finish_four(int64_t row, int64_t channel, const int32_t* sums) const {
    const int64_t left = to.out - channel;
    const Token token = x.token(row);
    float v[4] = {0, 0, 0, 0};
    SN_UNROLL
    for (int j = 0; j < 4; ++j) {
      if (j >= left) break;
      int32_t sum = sums[j];
      if (zero_point != nullptr) sum -= zero_point[channel + j] * token.sum;
      v[j] = to.finished((static_cast<float>(sum) * scale[channel + j]) * token.scale, channel + j);
    }
    to.put_four(row, channel, left < 4 ? static_cast<int>(left) : 4, v);
  }
};

template <class Source>
TileResults<Source> tile_results(const Source& x, const sn_weights* w, const Results& to) {
  return {x, w->part<float>(kScalePart), w->part<int8_t>(kZeroPointPart), to};
}

// A phase of a body that has a tile of 128 rows by 128 channels a team, whose columns go through shared memory a step
// at a time, in three buffers: while one is multiplied, the two after it are on their way. Then the sums go through
// shared memory, which is too small for them, in two halves.
template <class Body>
SN_DEVICE void buffered_phase(const Body& body, int p, int64_t team, int thread, typename Body::State& state,
                              typename Body::Shared& shared) {
  const int64_t row_tiles = body.results.row_tiles(), tile = team / row_tiles;
  const int64_t row = (team - tile * row_tiles) * kTileSide, channel = tile * kTileSide;
  const int step = p - 1, last = static_cast<int>(body.steps());
  if (p == 0) {
    clear(state.sums);
    state.copies.clear();
    body.fetch(0, row, channel, thread, state, shared);
    body.fetch(1, row, channel, thread, state, shared);
    state.copies.template wait<1>();
  } else if (step < last) {
    body.fetch(step + 2, row, channel, thread, state, shared);
    Body::multiply(thread, shared.operands[step % Body::kStages], state);
    state.copies.template wait<1>();
  } else {
    const int epilogue = step - last;
    if (epilogue == 0) Body::template put_sums<0>(thread, shared, state);
    if (epilogue == 2) Body::template put_sums<Body::kHalf / 16>(thread, shared, state);
    if (epilogue % 2 == 1) body.finish(row, channel, epilogue / 2 * Body::kHalf, thread, shared);
  }
}
template <class Body>
SN_HD int buffered_phases(const Body& body) {
  return 1 + static_cast<int>(body.steps()) + 4;
}

// The product by mma.sync: each of a team's 8 warps has 64 rows by 32 channels of its tile.
template <class Source>
struct MultiplyTiles {
  static constexpr bool kFinds = false, kOrdered = false;
  using WholeWarps = void;
  using Layout = RowsOf64;
  static constexpr int kSide = kTileSide, kDepth = 64, kStages = 3;
  static constexpr int kWarpRows = 64, kWarpChannels = 32, kWarpsAcross = kSide / kWarpChannels;
  static constexpr int kRowParts = kWarpRows / 16, kChannelParts = kWarpChannels / 8;
  // Rows of a warp whose sums fit in shared memory at once, and from one row of them to the next, so that neither the
  // stores of a fragment nor the loads of a row meet in a bank. Of windows, whose results lie by channels, it is the
  // loads of four rows' channel that must not.
  static constexpr int kHalf = 32, kSumPitch = kWarpChannels + (Source::kWindows ? 1 : 8);

  struct State {
    Registers<int32_t, 4> sums[kRowParts][kChannelParts];
    Copies copies;
  };
  struct alignas(128) Shared {
    union {
      int8_t operands[kStages][2][kSide * kDepth];  // rows of activations, of weights
      int32_t sums[kTeam / kWarp][kHalf * kSumPitch];
    };
  };
  TileResults<Source> results;
  Rows weights;
  int64_t cols;

  SN_HD int64_t steps() const { return (cols + kDepth - 1) / kDepth; }
  SN_HD int phases() const { return buffered_phases(*this); }

  // Which row, of the part that begins at `first`, and which 16 bytes lane l gives to load a fragment: of activations
  // [16, 32], and of weights two of [32, 8] beside each other.
  SN_HD static int activation_place(int first, int step, int lane) {
    return Layout::place(first + lane % 16, 2 * step + lane / 16);
  }
  SN_HD static int weight_place(int first, int step, int lane) {
    return Layout::place(first + lane % 8 + lane / 16 * 8, 2 * step + lane / 8 % 2);
  }
  // Row and channel of register i of a fragment of sums [16, 8].
  SN_HD static int sum_row(int lane, int i) { return lane / 4 + i / 2 * 8; }
  SN_HD static int sum_channel(int lane, int i) { return lane % 4 * 2 + i % 2; }

  SN_DEVICE void phase(int p, int64_t team, int thread, State& state, Shared& shared, Findings&) const {
    buffered_phase(*this, p, team, thread, state, shared);
  }

  // What the phases are made of. This one begins to copy the columns of a step. A group, if an empty one, for every
  // step.
  SN_DEVICE void fetch(int step, int64_t row, int64_t channel, int thread, State& state, Shared& shared) const {
    if (step < steps()) {
      for (int l = 0; l < kHeld; ++l) {
        copy_rows<Layout>(results.x, row, int64_t{step} * kDepth, thread + l, shared.operands[step % kStages][0],
                          state.copies);
        copy_rows<Layout>(weights, channel, int64_t{step} * kDepth, thread + l, shared.operands[step % kStages][1],
                          state.copies);
      }
    }
    state.copies.end_group();
  }

  SN_DEVICE static void multiply(int thread, const int8_t (&operand)[2][kSide * kDepth], State& state) {
    const int warp = thread / kWarp, first = thread % kWarp;
    const int row = warp / kWarpsAcross * kWarpRows, channel = warp % kWarpsAcross * kWarpChannels;
    MatrixRows places;
    SN_UNROLL
    for (int step = 0; step < kDepth / 32; ++step) {
      Registers<uint32_t, 4> a[kRowParts], b[kChannelParts / 2];
      SN_UNROLL
      for (int r = 0; r < kRowParts; ++r) {
        for (int l = 0; l < kHeld; ++l) places.of[l] = operand[0] + activation_place(row + r * 16, step, first + l);
        load_matrices(places, a + r);
      }
      SN_UNROLL
      for (int c = 0; c < kChannelParts / 2; ++c) {
        for (int l = 0; l < kHeld; ++l) places.of[l] = operand[1] + weight_place(channel + c * 16, step, first + l);
        load_matrices(places, b + c);
      }
      SN_UNROLL
      for (int r = 0; r < kRowParts; ++r) {
        SN_UNROLL
        for (int c = 0; c < kChannelParts; ++c) multiply_add(a[r], b[c / 2], c % 2, &state.sums[r][c]);
      }
    }
  }

  // The sums of kHalf rows, from part kFirst on, to shared memory, so that whole rows can be stored.
  template <int kFirst>
  SN_DEVICE static void put_sums(int thread, Shared& shared, const State& state) {
    int32_t* sums = shared.sums[thread / kWarp];
    SN_UNROLL
    for (int r = 0; r < kHalf / 16; ++r) {
      SN_UNROLL
      for (int c = 0; c < kChannelParts; ++c) {
        for (int l = 0; l < kHeld; ++l) {
          const int lane = thread % kWarp + l;
          SN_UNROLL
          for (int i = 0; i < 4; ++i) {
            sums[(r * 16 + sum_row(lane, i)) * kSumPitch + c * 8 + sum_channel(lane, i)] =
                state.sums[kFirst + r][c].of[l][i];
          }
        }
      }
    }
  }

  SN_DEVICE void finish(int64_t tile_row, int64_t tile_channel, int first, int thread, const Shared& shared) const {
    const int warp = thread / kWarp;
    const int64_t top = tile_row + warp / kWarpsAcross * kWarpRows + first;
    const int64_t channel = tile_channel + warp % kWarpsAcross * kWarpChannels;
    for (int l = 0; l < kHeld; ++l)
      results.template finish<kHalf, kSumPitch>(top, channel, thread % kWarp + l, shared.sums[warp]);
  }
};

}  // namespace cuda
}  // namespace sn
