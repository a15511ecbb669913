// int8 weights times activations quantized row by row. See sinew.h.
#include "cpu/matmul/tiles.h"
#include "cpu/matmul/w8a8.h"
#include "cpu/matmul/words.h"

namespace sn {
namespace SN_ISA_NAME {
namespace {

// Steps of a panel that are computed with at once, for all rows of a block: they stay in the first-level cache. The
// same columns of the block's activations stay in the second for a group of panels.
constexpr int64_t kChunkSteps = 256;
constexpr int64_t kPanelGroup = 8;
// Products of int8 that are worth a task of their own.
constexpr int64_t kTaskProducts = 1 << 17;
#if defined(SN_TIER_AMX)
// From so many rows on the matrix unit is faster than dot products.
constexpr int64_t kTilesFrom = 5;
// Rows of activations that use a panel while it is in the caches.
constexpr int64_t kRowBlock = kTileRowBlock;
constexpr int64_t kDotRows = kTilesFrom - 1;
#else
constexpr int64_t kTilesFrom = INT64_MAX;
constexpr int64_t kRowBlock = 48;
constexpr int64_t kDotRows = kRowBlock;
#endif

int64_t steps_of(const sn_weights& w) { return Runs(w).all_steps(); }

// One panel: 16 channels of I8 [rows, cols] from `first` on.
void pack_panel(const int8_t* weight, int64_t rows, int64_t cols, int64_t first, uint8_t* panel) {
  const int64_t channels = min_of(kPanel, rows - first);
  for (int64_t step = 0; step * kStep < cols; ++step) {
    const int64_t col = step * kStep;
    const int64_t count = min_of(kStep, cols - col);
    for (int64_t c = 0; c < channels; ++c) {
      for (int64_t i = 0; i < count; ++i) {
        const int v = weight[(first + c) * cols + col + i];
        panel[step * kStepBytes + c * kStep + i] = static_cast<uint8_t>(v + kWeightOffset);
      }
    }
  }
}

// The same with the columns in runs.
void pack_runs(const int8_t* weight, const sn_weights& w, const Runs& runs, int64_t first, uint8_t* panel) {
  const int64_t channels = min_of(kPanel, w.rows - first);
  for (int64_t run = 0; run < runs.count; ++run) {
    for (int64_t i = 0; i < runs.length(); ++i) {
      const int64_t place = run * runs.padded() + i;
      uint8_t* to = panel + place / kStep * kStepBytes + place % kStep;
      const int8_t* from = weight + first * w.cols + runs.column(run, i / runs.channels, i % runs.channels);
      for (int64_t c = 0; c < channels; ++c) to[c * kStep] = static_cast<uint8_t>(from[c * w.cols] + kWeightOffset);
    }
  }
}

// Activations, quantized: in rows, or in tiles (see tiles.h).
struct Tokens {
  Quantized* q;
  Token* tokens;
  int64_t rows, cols;  // cols with padding
  bool tiles;

  Quantized* row(int64_t row) const { return q + (tiles ? tile_place(row, cols) : row * cols); }
  int64_t pitch() const { return tiles ? kTilePitch : 64; }
};

// Sums of a block of rows with each panel of a group.
struct Sums {
  alignas(64) int32_t of[kPanelGroup][kDotRows * kPanel];
};

void multiply_block(const sn_weights& w, const Tokens& x, int64_t first, int64_t rows, int64_t panel, int64_t panels,
                    Sums& sums) {
  memset(&sums, 0, sizeof sums);
  const int64_t steps = steps_of(w);
  const uint8_t* weights = w.part<uint8_t>(kInt8Weights) + panel * steps * kStepBytes;
  for (int64_t s = 0; s < steps; s += kChunkSteps) {
    const int64_t count = min_of(kChunkSteps, steps - s);
    for (int64_t p = 0; p < panels; ++p) {
      for (int64_t r = 0; r < rows; r += kMostRows) {
        multiply_rows(min_of(kMostRows, rows - r), x.row(first + r) + s * kStep, x.cols,
                      weights + (p * steps + s) * kStepBytes, count, sums.of[p] + r * kPanel);
      }
    }
  }
}

// What the sums of a row with a panel stand for.
template <class T>
SN_INLINE void finish_row(const sn_weights& w, const Tokens& x, int64_t row, int64_t panel, const int32_t* sums,
                          const Layer<T>& layer) {
  const Token token = x.tokens[row];
  I sum = load_int(sums);
  const int32_t* zero_points = w.part<int32_t>(kInt8ZeroPoints);
  if (zero_points != nullptr) sum = sub(sum, multiply_low(load_int(zero_points + panel * kPanel), token.sum));
  const F scale = load(w.part<float>(kInt8Scales) + panel * kPanel);
  finish(layer, row, panel * kPanel, mul(mul(from_int(sum), scale), splat(token.scale)));
}
template <class T>
void finish_block(const sn_weights& w, const Tokens& x, int64_t first, int64_t rows, int64_t panel, const int32_t* sums,
                  const Layer<T>& layer) {
  for (int64_t r = 0; r < rows; ++r) finish_row(w, x, first + r, panel, sums + r * kPanel, layer);
}

#if defined(SN_TIER_AMX)
// The same for the sums of kPanels panels from `panel` on, those of each kTileSums after the last's.
template <int kPanels, class T>
SN_INLINE void finish_panels(const sn_weights& w, const Tokens& x, int64_t first, int64_t rows, int64_t panel,
                             const int32_t* sums, const Layer<T>& layer) {
  const int64_t channel = panel * kPanel;
  if (layer.activation != SN_NONE || layer.out - channel < kPanels * kPanel) {
    for (int p = 0; p < kPanels; ++p) finish_block(w, x, first, rows, panel + p, sums + p * kTileSums, layer);
    return;
  }
  I points[kPanels];
  F scales[kPanels], bias[kPanels];
  for (int p = 0; p < kPanels; ++p) {
    points[p] = load_int(w.part<int32_t>(kInt8ZeroPoints) + channel + p * kPanel);
    scales[p] = load(w.part<float>(kInt8Scales) + channel + p * kPanel);
    bias[p] = layer.bias == nullptr ? splat(-0.0f) : load(layer.bias + channel + p * kPanel);  // v - 0 is v
  }
  T* y = layer.y + first * layer.stride + channel;
  for (int64_t r = 0; r < rows; ++r, y += layer.stride) {
    const Token token = x.tokens[first + r];
    for (int p = 0; p < kPanels; ++p) {
      const I sum = sub(load_int(sums + p * kTileSums + r * kPanel), multiply_low(points[p], token.sum));
      const F v = add(mul(mul(from_int(sum), scales[p]), splat(token.scale)), bias[p]);
      layer.bypass ? store<true>(y + p * kPanel, v) : store(y + p * kPanel, v);
    }
  }
}
#endif

// Rows [first, first + rows), at most kRowBlock, with panels [panel, end).
template <class T>
void block_of_layer(const sn_weights& w, const Tokens& x, int64_t first, int64_t rows, int64_t panel, int64_t end,
                    const Layer<T>& layer) {
  Sums sums;
  if (rows == 1 && !x.tiles) {
    const int64_t steps = steps_of(w), panel_bytes = steps * kStepBytes;
    for (; panel + kMostPanels <= end; panel += kMostPanels) {
      int32_t* few = sums.of[0];
      memset(few, 0, kMostPanels * kPanel * sizeof *few);
      multiply_panel<1, kMostPanels>(x.row(first), x.cols, w.part<uint8_t>(kInt8Weights) + panel * panel_bytes,
                                     panel_bytes, steps, few);
      for (int p = 0; p < kMostPanels; ++p) finish_block(w, x, first, 1, panel + p, few + p * kPanel, layer);
    }
  }
#if defined(SN_TIER_AMX)
  if (x.tiles) {
    const int64_t panel_bytes = x.cols * kPanel;
    const auto finish = [&](int64_t p, int64_t count, int64_t row, int64_t height, const int32_t* of_rows) {
      count == 1 ? finish_panels<1>(w, x, first + row, height, panel + p, of_rows, layer)
                 : finish_panels<2>(w, x, first + row, height, panel + p, of_rows, layer);
    };
    TileProducts<int32_t, decltype(finish)> products(x.row(first), rows, x.cols, finish);
    products.multiply(w.part<uint8_t>(kInt8Weights) + panel * panel_bytes, panel_bytes, end - panel,
                      int8_panels(w) - panel);
    if (layer.bypass) stream_fence();
    return;
  }
#endif
  for (; panel < end; panel += kPanelGroup) {
    const int64_t panels = min_of(kPanelGroup, end - panel);
    multiply_block(w, x, first, rows, panel, panels, sums);
    for (int64_t p = 0; p < panels; ++p) finish_block(w, x, first, rows, panel + p, sums.of[p], layer);
  }
}

}  // namespace

sn_status pack_w8a8(sn_device* device, const sn_tensor* weight, const sn_tensor* scale, const sn_tensor* zero_point,
                    sn_weights* w) {
  const Runs runs(*w);
  const int64_t panels = int8_panels(*w), panel_bytes = runs.all_steps() * kStepBytes;
  sn_status status = allocate_part(w, kInt8Weights, panels * panel_bytes);
  if (status == SN_OK) status = allocate_part(w, kInt8Scales, panels * kPanel * int64_t{sizeof(float)});
  const bool corrected = zero_point != nullptr || kWeightOffset != 0;
  if (status == SN_OK && corrected)
    status = allocate_part(w, kInt8ZeroPoints, panels * kPanel * int64_t{sizeof(int32_t)});
  if (status != SN_OK) return status;
  auto* scales = static_cast<float*>(w->parts[kInt8Scales]);
  auto* zero_points = static_cast<int32_t*>(w->parts[kInt8ZeroPoints]);
  for (int64_t c = 0; c < w->rows; ++c) {
    const int64_t from = scale->elements == 1 ? 0 : c;
    scales[c] = data_of<float>(scale)[from];
    if (corrected) zero_points[c] = kWeightOffset + (zero_point == nullptr ? 0 : data_of<int8_t>(zero_point)[from]);
  }
  auto* bytes = static_cast<uint8_t*>(w->parts[kInt8Weights]);
  auto task = [&](int64_t panel) {
    uint8_t* to = bytes + panel * panel_bytes;
    if (runs.reordered()) {
      pack_runs(data_of<int8_t>(weight), *w, runs, panel * kPanel, to);
    } else {
      pack_panel(data_of<int8_t>(weight), w->rows, w->cols, panel * kPanel, to);
    }
  };
  for_tasks(device, panels, task);
  return SN_OK;
}

namespace {

int64_t tokens_bytes(int64_t rows) { return round_up(rows * int64_t{sizeof(Token)}, 64); }

Tokens tokens_in(void* scratch, const sn_weights& w, int64_t rows) {
  auto* q = reinterpret_cast<Quantized*>(static_cast<char*>(scratch) + tokens_bytes(rows));
  return {q, static_cast<Token*>(scratch), rows, steps_of(w) * kStep, rows >= kTilesFrom};
}

template <class X>
void quantize_row(const X* x, int64_t cols, const Tokens& to, int64_t row) {
  to.tokens[row] = quantize_token(x + row * cols, cols, to.row(row), to.cols, to.pitch());
}

// x [rows, cols], all in the order of the packed columns.
template <class X, class T>
void run(sn_device* device, const X* x, int64_t cols, const sn_weights& w, const Tokens& tokens,
         const Layer<T>& layer) {
  // Tasks depend on the shape alone.
  const int64_t rows_a_task = max_of(1, (1 << 15) / max_of(cols, 1));
  auto quantize = [&](int64_t task) {
    const int64_t end = min_of((task + 1) * rows_a_task, tokens.rows);
    for (int64_t row = task * rows_a_task; row < end; ++row) quantize_row(x, cols, tokens, row);
  };
  for_tasks(device, ceil_div(tokens.rows, rows_a_task), quantize);
  const int64_t blocks = ceil_div(tokens.rows, kRowBlock), panels = int8_panels(w);
  const int64_t products = max_of(1, min_of(tokens.rows, kRowBlock) * kPanel * tokens.cols);
  const int64_t panels_a_task = round_up(max_of(1, kTaskProducts / products), kPanelGroup);
  const int64_t groups = ceil_div(panels, panels_a_task);
  auto multiply = [&](int64_t task) {
    const int64_t first = task / groups * kRowBlock, panel = task % groups * panels_a_task;
    block_of_layer(w, tokens, first, min_of(kRowBlock, tokens.rows - first), panel,
                   min_of(panel + panels_a_task, panels), layer);
  };
  for_tasks(device, blocks * groups, multiply);
}

// A row of the matrix's columns as runs.
template <class X>
void reorder_row(const X* x, const Runs& runs, float* to) {
  memset(to, 0, static_cast<size_t>(runs.count * runs.padded()) * sizeof(float));
  for (int64_t run = 0; run < runs.count; ++run) {
    for (int64_t i = 0; i < runs.length(); ++i)
      to[run * runs.padded() + i] = to_float(x[runs.column(run, i / runs.channels, i % runs.channels)]);
  }
}

// A row with its columns in runs, for weights of convolutions.
int64_t reordered_bytes(const Runs& runs, int64_t rows) {
  return runs.reordered() ? round_up(rows * runs.count * runs.padded() * int64_t{sizeof(float)}, 64) : 0;
}

}  // namespace

int64_t w8a8_scratch(const sn_weights& w, int64_t rows) {
  const int64_t stored = rows >= kTilesFrom ? round_up(rows, 32) : rows;  // what multiply_tiles reads
  return reordered_bytes(Runs(w), 1) + tokens_bytes(rows) + stored * steps_of(w) * kStep * int64_t{sizeof(Quantized)};
}

void w8a8_rows(const sn_weights& w, const float* x, int64_t rows, const Layer<float>& layer, void* scratch) {
  const Runs runs(w);
  auto* reordered = static_cast<float*>(scratch);
  const Tokens tokens = tokens_in(static_cast<char*>(scratch) + reordered_bytes(runs, 1), w, rows);
  for (int64_t row = 0; row < rows; ++row) {
    if (!runs.reordered()) {
      quantize_row(x, w.cols, tokens, row);
      continue;
    }
    const int64_t cols = runs.count * runs.padded();
    reorder_row(x + row * w.cols, runs, reordered);
    tokens.tokens[row] = quantize_token(reordered, cols, tokens.row(row), tokens.cols, tokens.pitch());
  }
  for (int64_t first = 0; first < rows; first += kRowBlock)
    block_of_layer(w, tokens, first, min_of(kRowBlock, rows - first), 0, int8_panels(w), layer);
}

sn_status linear_w8a8(sn_device* device, const sn_tensor* x, const sn_weights* w, const sn_tensor* bias,
                      sn_activation activation, sn_tensor* y) {
  if (y->elements == 0) return SN_OK;
  const Runs runs(*w);
  const int64_t rows = leading_rows(x), before = reordered_bytes(runs, rows);
  const int64_t bytes = before + w8a8_scratch(*w, rows);
  const Scratch scratch(device, bytes);
  if (scratch.data() == nullptr) return no_scratch(bytes);
  const Tokens tokens = tokens_in(scratch.data() + before, *w, rows);
  const float* bias_data = bias == nullptr ? nullptr : data_of<float>(bias);
  with_activation_type(y->dtype, [&](auto* y_type) {
    using T = typename Pointee<decltype(y_type)>::type;
    const bool lines = (reinterpret_cast<uintptr_t>(y->data) | static_cast<uintptr_t>(w->rows) * sizeof(T)) % 64 == 0;
    const Layer<T> layer = {data_of<T>(y), w->rows, w->rows, bias_data, activation, lines && bypass_caches(y)};
    with_activation_type(x->dtype, [&](auto* x_type) {
      using X = typename Pointee<decltype(x_type)>::type;
      if (!runs.reordered()) return run(device, data_of<X>(x), w->cols, *w, tokens, layer);
      const int64_t cols = runs.count * runs.padded();
      auto* reordered = reinterpret_cast<float*>(scratch.data());
      auto reorder = [&](int64_t row) { reorder_row(data_of<X>(x) + row * w->cols, runs, reordered + row * cols); };
      for_tasks(device, rows, reorder);
      run(device, static_cast<const float*>(reordered), cols, *w, tokens, layer);
    });
  });
  return SN_OK;
}

}  // namespace SN_ISA_NAME
}  // namespace sn
