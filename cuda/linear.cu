// Linear layers of packed weights. Made for few rows of activations, where reading the weights is what takes time: all
// weights are read once for every four rows. See sinew.h; linear_tiles.cu has W8A8 of many rows.
#include "linear.h"
#include "team.h"
#include "two_of_four.h"

namespace sn {
namespace cuda {
namespace {

// From so many rows on W8A8 goes to the tensor cores, and floats are multiplied by tiles.
constexpr int64_t kManyRows = 32;
// What windows take in memory at a time.
constexpr int64_t kWindowBytes = int64_t{64} << 20;

// Weights as they are packed (layer.h); load gives those of 16 columns of a row, zeros for what is missing.
struct Weights {
  sn_kind kind;
  sn_dtype dtype;
  const uint8_t* data;
  const float* scale;
  const int8_t* zero_point;
  const uint64_t* masks;
  const uint32_t* before;
  const int64_t* begin;
  int64_t pitch, words, per_row, rows_per_book;
  int bits;
  bool grouped;  // scales belong to groups, be it one a row
  TwoOfFour two_of_four;

  // A bit for each of 16 columns that has a value, and where in the values the first is.
  SN_HD uint32_t mask_of(int64_t row, int64_t col, int n, int64_t* place) const {
    const int64_t word = row * words + col / 64;
    const int shift = static_cast<int>(col % 64);
    const uint64_t here = masks[word], below = here & ((uint64_t{1} << shift) - 1);
#if defined(__CUDA_ARCH__)
    const int count = __popcll(below);
#else
    const int count = __builtin_popcountll(below);
#endif
    *place = begin[row] + before[word] + count;
    uint64_t mask = here >> shift;
    if (shift + n > 64) mask |= masks[word + 1] << (64 - shift);
    return static_cast<uint32_t>(mask) & ((1u << n) - 1u);
  }

  // As many bytes as the mask has ones, at most 16, the first one lowest: in whole words, which packing has made room
  // for, all on their way at once.
  struct Bytes {
    uint64_t low, high;
  };
  SN_HD static Bytes bytes_at(const uint8_t* from, uint32_t mask) {
#if defined(__CUDA_ARCH__)
    const int count = __popc(mask);
#else
    const int count = __builtin_popcount(mask);
#endif
    const int shift = static_cast<int>(reinterpret_cast<uintptr_t>(from) & 3), end = shift + count;
    uint32_t words[5];
    SN_UNROLL
    for (int i = 0; i < 5; ++i) words[i] = 4 * i < end ? word_at(from - shift + 4 * i) : 0u;
    SN_UNROLL
    for (int i = 0; i < 4; ++i)
      words[i] = static_cast<uint32_t>((static_cast<uint64_t>(words[i + 1]) << 32 | words[i]) >> (8 * shift));
    return {words[0] | static_cast<uint64_t>(words[1]) << 32, words[2] | static_cast<uint64_t>(words[3]) << 32};
  }
  SN_HD static uint32_t word_at(const uint8_t* aligned) {
#if defined(__CUDA_ARCH__)
    return *reinterpret_cast<const uint32_t*>(aligned);
#else
    uint32_t word;
    memcpy(&word, aligned, sizeof word);
    return word;
#endif
  }

  SN_HD void load(int64_t row, int64_t col, int n, Elements<int8_t>* w) const {
    if (kind == SN_SPARSE) {
      int64_t place;
      const uint32_t mask = mask_of(row, col, n, &place);
      Bytes values = bytes_at(data + place, mask);
      SN_UNROLL
      for (int j = 0; j < kStep; ++j) {
        const bool is_value = (mask >> j & 1u) != 0;
        w->of[j] = is_value ? static_cast<int8_t>(values.low) : int8_t{0};
        if (!is_value) continue;
        values.low = values.low >> 8 | values.high << 56;
        values.high >>= 8;
      }
    } else if (kind == SN_W4) {
      const uint8_t* from = data + row * pitch + col / 2;
      uint64_t nibbles = 0;
#if defined(__CUDA_ARCH__)
      if ((reinterpret_cast<uintptr_t>(from) & 7) == 0)
        nibbles = *reinterpret_cast<const uint64_t*>(from);
      else
#endif
        for (int b = 0; b < (n + 1) / 2; ++b) nibbles |= static_cast<uint64_t>(from[b]) << (8 * b);
      SN_UNROLL
      for (int j = 0; j < kStep; ++j) w->of[j] = static_cast<int8_t>(static_cast<int>(nibbles >> (4 * j) & 15u) - 8);
    } else if (two_of_four.values != nullptr) {
      *w = two_of_four.load(row, col);
    } else {
      *w = cuda::load(reinterpret_cast<const int8_t*>(data) + row * pitch + col, n);
    }
  }
  // A stored column of a layer whose weights are int8 and not sparse.
  SN_HD int8_t integer_at(int64_t row, int64_t col) const {
    if (two_of_four.values != nullptr) return two_of_four.at(row, col);
    return reinterpret_cast<const int8_t*>(data)[row * pitch + col];
  }

  SN_HD void load(int64_t row, int64_t col, int n, Elements<float>* w) const {
    if (kind == SN_SPARSE) {
      int64_t place;
      const uint32_t mask = mask_of(row, col, n, &place);
      SN_UNROLL
      for (int j = 0; j < kStep; ++j) {
        const bool is_value = (mask >> j & 1u) != 0;
        w->of[j] = is_value ? value_at(place) : 0.0f;
        place += is_value;
      }
    } else if (kind == SN_CLUSTERED) {
      const float* codebook = scale + (row / rows_per_book << bits);
      const uint8_t* from = data + row * pitch;
      SN_UNROLL
      for (int j = 0; j < kStep; ++j) {
        if (j >= n) {
          w->of[j] = 0.0f;
          continue;
        }
        const int64_t at = (col + j) * bits;
        const uint32_t two = from[at / 8] | static_cast<uint32_t>(at % 8 + bits > 8 ? from[at / 8 + 1] : 0) << 8;
        w->of[j] = codebook[two >> (at % 8) & ((1u << bits) - 1u)];
      }
    } else if (dtype == SN_F8_E4M3) {
      const Elements<f8e4m3> codes = cuda::load(reinterpret_cast<const f8e4m3*>(data) + row * pitch + col, n);
      SN_UNROLL
      for (int j = 0; j < kStep; ++j) w->of[j] = to_float(codes.of[j]);
    } else {
      *w = load_reals(dtype, data + row * pitch, col, n);
    }
  }

  SN_HD float value_at(int64_t place) const {
    return dtype == SN_F8_E4M3 ? to_float(reinterpret_cast<const f8e4m3*>(data)[place])
                               : number_at(dtype == SN_F64 ? SN_F32 : dtype, data, place);
  }
};

template <bool kFloat>
struct Parts;
template <>
struct Parts<true> {
  using Weight = float;
  using Sum = float;
};
template <>
struct Parts<false> {
  using Weight = int8_t;
  using Sum = int32_t;
};

// Four rows with eight channels, each of which has 32 threads, eight a block of columns. They add up 16 columns each;
// then a thread for each row, channel and block adds up these sums, and one for each row and channel the blocks, in
// order.
template <bool kFloat>
struct Multiply {
  static constexpr bool kFinds = false, kOrdered = false;
  static constexpr int kRows = 4, kChannels = 8, kThreads = 8, kBlocks = 32;
  static constexpr int kNext = 32 / kThreads;  // blocks from one of a thread's to its next
  // Blocks whose weights are on their way at once: with one alone the memory would wait more than it moves. 16 floats
  // are several loads already.
  static constexpr int kAhead = kFloat ? 1 : 4;
  using Sum = typename Parts<kFloat>::Sum;
  using Weight = typename Parts<kFloat>::Weight;
  struct State {};
  // What a block adds to a result: F32, or of W8A8 an integer.
  union Term {
    float number;
    int32_t integer;
  };
  struct Shared {
    Sum part[kRows][kChannels][kBlocks][kThreads];
    Term terms[kRows][kChannels][kBlocks + 1];  // one more, so that channels are in different banks
    Term total[kRows][kChannels];
  };
  Activations x;
  Weights w;
  Results to;

  SN_HD int phases() const {
    const int64_t chunks = (x.split.count + kBlocks - 1) / kBlocks;
    return 3 * static_cast<int>(chunks > 0 ? chunks : 1);
  }

  SN_HD void phase(int p, int64_t team, int thread, State&, Shared& shared, Findings&) const {
    const int64_t groups = (to.out + kChannels - 1) / kChannels;
    const int64_t row = team / groups * kRows, channel = (team - team / groups * groups) * kChannels;
    const int rows = static_cast<int>(x.rows - row < kRows ? x.rows - row : kRows);
    const int64_t first = int64_t{p / 3} * kBlocks;
    const int blocks = static_cast<int>(x.split.count - first < kBlocks ? x.split.count - first : kBlocks);
    if (p % 3 == 0) {
      const int c = thread / 32;
      if (channel + c >= to.out) return;
      for (int b = thread % 32 / kThreads; b < blocks; b += kAhead * kNext)
        multiply_some(row, rows, channel + c, first, b, blocks, thread % kThreads, &shared.part[0][c][0][0]);
      return;
    }
    if (p % 3 == 1) {
      for (int i = thread; i < rows * kChannels * kBlocks; i += kTeam) {
        const int r = i / (kChannels * kBlocks), c = i / kBlocks % kChannels, b = i % kBlocks;
        if (b < blocks && channel + c < to.out)
          shared.terms[r][c][b] = term(row + r, channel + c, first + b, shared.part[r][c][b]);
      }
      return;
    }
    const int r = thread / kChannels, c = thread % kChannels;
    if (r >= rows || channel + c >= to.out) return;
    Term total = {0};
    if (p > 2) total = shared.total[r][c];
    for (int b = 0; b < blocks; ++b) {
      if (is_w8a8()) {
        total.integer += shared.terms[r][c][b].integer;
      } else {
        total.number = total.number + shared.terms[r][c][b].number;
      }
    }
    shared.total[r][c] = total;
    if (p == phases() - 1) finish(row + r, channel + c, total);
  }

  SN_HD bool is_w8a8() const { return !kFloat && w.kind == SN_W8A8; }

  // 16 columns of blocks `b` and on, kAhead of them; the sums of the rows are kRowParts apart.
  static constexpr int kRowParts = kChannels * kBlocks * kThreads;
  SN_HD void multiply_some(int64_t row, int rows, int64_t channel, int64_t first, int b, int blocks, int lane,
                           Sum* sums) const {
    Elements<Weight> weights[kAhead];
    SN_UNROLL
    for (int i = 0; i < kAhead; ++i) {
      const int64_t block = first + b + i * kNext;
      const int left = b + i * kNext < blocks ? x.split.size(block) - lane * kStep : 0;
      if (left > 0) {
        w.load(channel, x.split.first(block) + lane * kStep, left < kStep ? left : kStep, weights + i);
      } else {
        SN_UNROLL
        for (int j = 0; j < kStep; ++j) weights[i].of[j] = 0;
      }
    }
    SN_UNROLL
    for (int i = 0; i < kAhead; ++i) {
      const int at = b + i * kNext;
      if (at >= blocks) break;
      const bool is_there = lane * kStep < x.split.size(first + at);
      for (int r = 0; r < rows; ++r) {
        const int64_t place = x.place(row + r, first + at) + lane * kStep;
        sums[r * kRowParts + at * kThreads + lane] = is_there ? product_of(place, weights[i]) : Sum{0};
      }
    }
  }
  SN_HD Sum product_of(int64_t place, const Elements<Weight>& weights) const {
    Sum sum = 0;
    if constexpr (kFloat) {
      const Elements<float> v = load(x.floats + place, kStep);
      SN_UNROLL
      for (int j = 0; j < kStep; ++j) sum = sum + v.of[j] * weights.of[j];
    } else {
      const Elements<int16_t> v = load(x.q + place, kStep);
      SN_UNROLL
      for (int j = 0; j < kStep; ++j) sum += v.of[j] * weights.of[j];
    }
    return sum;
  }

  SN_HD int64_t slice_of(int64_t channel, int64_t block) const {
    return channel * w.per_row + (w.grouped ? x.split.group_of(block) : 0);
  }
  SN_HD Term term(int64_t row, int64_t channel, int64_t block, const Sum (&parts)[kThreads]) const {
    Sum sum = 0;
    for (int i = 0; i < kThreads; ++i) sum = sum + parts[i];
    Term t;
    if constexpr (kFloat) {
      t.number = w.grouped ? sum * w.scale[slice_of(channel, block)] : sum;
    } else if (is_w8a8()) {
      t.integer = sum;
    } else {
      const Token token = x.tokens[row * x.split.count + block];
      const int64_t slice = slice_of(channel, block);
      if (w.zero_point != nullptr) sum -= w.zero_point[slice] * token.sum;
      t.number = static_cast<float>(sum) * token.scale;
      if (w.grouped) t.number = t.number * w.scale[slice];
    }
    return t;
  }
  SN_HD void finish(int64_t row, int64_t channel, Term total) const {
    float v;
    if (is_w8a8()) {
      const Token token = x.tokens[row];
      int32_t all = total.integer;
      if (w.zero_point != nullptr) all -= w.zero_point[channel] * token.sum;
      v = (static_cast<float>(all) * w.scale[channel]) * token.scale;
    } else {
      v = total.number;
      if (!w.grouped && w.scale != nullptr && w.kind != SN_CLUSTERED) v = v * w.scale[channel];
    }
    to.put(row, channel, v);
  }
};

template <bool kFloat>
sn_status multiply(Call& call, const Activations& x, const Weights& w, const Results& to) {
  using Body = Multiply<kFloat>;
  const int64_t channels = (to.out + Body::kChannels - 1) / Body::kChannels;
  return run_teams(call, Body{x, w, to}, (x.rows + Body::kRows - 1) / Body::kRows * channels, nullptr);
}

Weights weights_of(const sn_weights* w) {
  const int64_t books = w->kind == SN_CLUSTERED ? w->group : 1;
  return {w->kind,
          w->dtype,
          w->part<uint8_t>(kWeightPart),
          w->part<float>(kScalePart),
          w->part<int8_t>(kZeroPointPart),
          w->part<uint64_t>(kMaskPart),
          w->part<uint32_t>(kBeforePart),
          w->part<int64_t>(kBeginPart),
          pitch_of(w),
          words_of_row(w->cols),
          w->kind == SN_CLUSTERED || w->group == 0 ? 1 : (w->cols + w->group - 1) / w->group,
          (w->rows + books - 1) / books,
          w->bits,
          w->kind != SN_CLUSTERED && w->group != 0,
          two_of_four_of(w)};
}

// Whether products are of floats.
bool multiplies_floats(const sn_weights* w) {
  return w->kind == SN_CLUSTERED || w->kind == SN_FLOAT ||
         (w->kind != SN_W8A8 && w->kind != SN_W4 && w->dtype != SN_I8);
}

// kStep columns of a row a step, as floats.
struct Unpack {
  static constexpr bool kFinds = false;
  Weights w;
  bool integers;
  Order order;
  int64_t cols, group, pitch;
  float* to;

  SN_HD void step(int64_t i, Findings&) const {
    const int64_t row = i * kStep / pitch, col = i * kStep - row * pitch;
    const int n = static_cast<int>(cols - col < kStep ? cols - col : kStep);
    if (n <= 0) return;
    Elements<float> v;
    if (order.taps > 1) {
      SN_UNROLL
      for (int j = 0; j < kStep; ++j)
        v.of[j] = j < n ? static_cast<float>(w.integer_at(row, order.stored(col + j))) : 0.0f;
    } else if (integers) {
      Elements<int8_t> q;
      w.load(row, col, n, &q);
      SN_UNROLL
      for (int j = 0; j < kStep; ++j) v.of[j] = static_cast<float>(q.of[j]);
    } else {
      w.load(row, col, n, &v);
    }
    if (w.scale != nullptr && w.kind != SN_CLUSTERED) {
      SN_UNROLL
      for (int j = 0; j < kStep; ++j) {
        if (j >= n) break;
        const int64_t slice = row * w.per_row + (w.grouped ? (col + j) / group : 0);
        const float zero = w.zero_point == nullptr ? 0.0f : static_cast<float>(w.zero_point[slice]);
        v.of[j] = (v.of[j] - zero) * w.scale[slice];
      }
    }
    store(to + i * kStep, v, kStep);
  }
};

sn_status linear(sn_device* device, const sn_tensor* x, const sn_weights* w, const sn_tensor* bias,
                 sn_activation activation, sn_tensor* y) {
  Call call(device);
  if (y->elements == 0) return call.status();
  Activations a = {};
  a.dtype = x->dtype;
  a.x = x->data;
  a.rows = y->elements / w->rows;
  return multiply_rows(call, a, w,
                       {bias == nullptr ? nullptr : data_of<float>(bias), activation, y->dtype, y->data, w->rows});
}

}  // namespace

sn_status unpack(Call& call, const sn_weights* w, int64_t pitch, float* to) {
  const Unpack body = {weights_of(w), !multiplies_floats(w), order_of(w), w->cols, w->group, pitch, to};
  return run(call, body, w->rows * pitch / kStep, nullptr);
}

sn_status multiply_rows(Call& call, const Activations& x, const sn_weights* w, const Results& to) {
  const bool floats = multiplies_floats(w), is_w8a8 = w->kind == SN_W8A8;
  Activations a = x;
  a.cols = w->cols;
  a.split = split_of(w);
  a.order = order_of(w);
  if (w->kind == SN_FLOAT && a.windows.taps == nullptr && a.rows >= kManyRows) return linear_floats(call, a, w, to);
  const bool tiles = is_w8a8 && a.rows >= kManyRows;
  // Windows overlap and would take much more memory than x: some at a time.
  const int64_t row_bytes = a.split.count * kColumns * (floats ? 4 : 2), fit = kWindowBytes / (row_bytes + 1);
  const int64_t at_once = a.windows.taps == nullptr || a.rows <= fit ? a.rows : fit > 0 ? fit : 1;
  const int64_t blocks = at_once * a.split.count;
  if (floats) {
    a.floats = call.scratch_of<float>(blocks * kColumns);
  } else {
    a.tokens = call.scratch_of<Token>(is_w8a8 ? at_once : blocks);
    if (tiles) {
      a.bytes = call.scratch_of<int8_t>(blocks * kColumns);
    } else {
      a.q = call.scratch_of<int16_t>(blocks * kColumns);
    }
  }
  const Weights weights = weights_of(w);
  Results some = to;
  for (int64_t first = 0; first < x.rows; first += at_once) {
    a.first = some.first = first;
    a.rows = x.rows - first < at_once ? x.rows - first : at_once;
    sn_status status = floats ? widen(call, a) : is_w8a8 ? quantize_rows(call, a) : quantize_blocks(call, a);
    if (status != SN_OK) return status;
    status = tiles    ? linear_tiles(call, a, w, some)
             : floats ? multiply<true>(call, a, weights, some)
                      : multiply<false>(call, a, weights, some);
    if (status != SN_OK) return status;
  }
  return call.status();
}

#define SN_LINEAR(name)                                                                             \
  sn_status name(sn_device* device, const sn_tensor* x, const sn_weights* w, const sn_tensor* bias, \
                 sn_activation activation, sn_tensor* y) {                                          \
    return linear(device, x, w, bias, activation, y);                                               \
  }
SN_LINEAR(linear_w8)
SN_LINEAR(linear_w4)
SN_LINEAR(linear_w8a8)
SN_LINEAR(linear_sparse)
SN_LINEAR(linear_clustered)
SN_LINEAR(linear_float)
#undef SN_LINEAR

}  // namespace cuda
}  // namespace sn
