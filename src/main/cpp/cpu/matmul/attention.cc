// Scaled dot-product attention with an online softmax (Milakov and Gimelshein 2018; Dao et al. 2022): keys pass by in
// blocks, so that memory does not grow with the square of the length. The queries of all heads that share a key head
// are rows of one product. BF16 is read and written where it lies, and everything in between is F32. See sinew.h.
#include "cpu/matmul/product.h"

namespace sn {
namespace SN_ISA_NAME {
namespace {

constexpr int64_t kKeys = 128, kQueries = 96;

// The attention of the queries that share one head of keys and values, F32 or BF16.
template <class T>
struct Group {
  const T *q, *k, *v;
  T* y;
  int64_t rows, tokens;  // queries of all heads, and of one
  int64_t keys, width, value_width;
  bool causal;
  float scale;

  // Query `row` sees keys [0, visible).
  int64_t visible(int64_t row) const { return causal ? keys - tokens + row % tokens + 1 : keys; }
};

// What a task works with, one after the other in its scratch.
struct Work {
  float *queries, *scores, *keys, *weights, *values, *sums, *results, *top;
  double* total;

  static int64_t floats_of(int64_t n) { return round_up(n, kPanel); }
  // Queries and a block of keys, packed.
  template <class T>
  static int64_t query_floats(const Group<T>& g) {
    return floats_of(packed_floats(kQueries, g.width));
  }
  template <class T>
  static int64_t key_floats(const Group<T>& g) {
    return g.width * kKeys;
  }
#if defined(SN_TIER_AMX)
  static int64_t query_floats(const Group<bf16>& g) {
    return floats_of(TiledRows<bf16>::bytes(kQueries, g.width) / int64_t{sizeof(float)});
  }
  static int64_t key_floats(const Group<bf16>& g) {
    return Panels<paired_bf16>::padded(g.width) * kKeys / 2 + kKeys;  // masks of panels at the end
  }
#endif
  template <class T>
  static int64_t bytes(const Group<T>& g) {
    const int64_t panels = ceil_div(g.value_width, kPanel);
    return (query_floats(g) + kQueries * kKeys + key_floats(g) + packed_floats(kQueries, kKeys) +
            panels * kPanel * kKeys + 2 * kQueries * floats_of(g.value_width) + kQueries + 2 * kQueries) *
           static_cast<int64_t>(sizeof(float));
  }
  template <class T>
  Work(const Group<T>& g, char* scratch) {
    const int64_t panels = ceil_div(g.value_width, kPanel);
    queries = reinterpret_cast<float*>(scratch);
    scores = queries + query_floats(g);
    keys = scores + kQueries * kKeys;
    weights = keys + key_floats(g);
    values = weights + packed_floats(kQueries, kKeys);
    sums = values + panels * kPanel * kKeys;
    results = sums + kQueries * floats_of(g.value_width);
    top = results + kQueries * floats_of(g.value_width);
    total = reinterpret_cast<double*>(top + kQueries);
  }
};

SN_INLINE float sum_of(F v) {
  alignas(64) float lanes[kLanes];
  store(lanes, v);
  for (int half = 8; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  }
  return lanes[0];
}

// scores [rows][kKeys] = q k for few queries: products of rows as they lie in memory.
template <class T>
void few_scores(const Group<T>& g, int64_t first, int64_t rows, int64_t key, int64_t keys, float* scores) {
  for (int64_t j = 0; j < keys; ++j) {
    const T* k = g.k + (key + j) * g.width;
    for (int64_t r = 0; r < rows; ++r) {
      const T* q = g.q + (first + r) * g.width;
      F sum = splat(0);
      for_vectors(g.width, [&](int64_t i, int64_t lanes) {
        sum = multiply_add(load_some(q + i, lanes), load_some(k + i, lanes), sum);
      });
      scores[r * kKeys + j] = sum_of(sum);
    }
  }
}

// The same for many: queries [first, first + rows), packed once, with blocks of packed keys.
template <class T>
void pack_queries(const Group<T>& g, int64_t first, int64_t rows, const Work& w) {
  const Tiles queries = {w.queries, rows, g.width};
  for (int64_t tile = 0; tile < ceil_div(rows, kGemmRows); ++tile)
    pack_tile(g.q + first * g.width, g.width, tile, queries);
}
template <class T>
void many_scores(const Group<T>& g, int64_t, int64_t rows, int64_t key, int64_t keys, const Work& w) {
  for (int64_t j = 0; j < keys; j += kPanel)
    transpose_panel(g.k + (key + j) * g.width, g.width, min_of(kPanel, keys - j), g.width, w.keys + j * g.width);
  const Layer<float> layer = {w.scores, kKeys, keys, nullptr, SN_NONE};
  const Tiles queries = {w.queries, rows, g.width};
  multiply_block(queries, 0, ceil_div(rows, kGemmRows), 0, Panels<float>{w.keys, g.width, keys}, 0,
                 ceil_div(keys, kPanel), layer);
}
#if defined(SN_TIER_AMX)
TiledRows<bf16> tiled_queries(const Group<bf16>& g, int64_t first, int64_t rows, const Work& w) {
  return {g.q + first * g.width, g.width, rows, g.width, w.queries};
}
void pack_queries(const Group<bf16>& g, int64_t first, int64_t rows, const Work& w) {
  const TiledRows<bf16> queries = tiled_queries(g, first, rows, w);
  for (int64_t r = 0; r < rows; ++r) queries.pack(r);
}
void many_scores(const Group<bf16>& g, int64_t first, int64_t rows, int64_t key, int64_t keys, const Work& w) {
  auto* panels = reinterpret_cast<paired_bf16*>(w.keys);
  const int64_t padded = Panels<paired_bf16>::padded(g.width);
  auto* subnormal = reinterpret_cast<uint16_t*>(panels + padded * kKeys);
  for (int64_t j = 0; j < keys; j += kPanel)
    subnormal[j / kPanel] =
        transpose_panel(g.k + (key + j) * g.width, g.width, min_of(kPanel, keys - j), g.width, panels + j * padded);
  const Layer<float> layer = {w.scores, kKeys, keys, nullptr, SN_NONE};
  multiply_in_tiles(tiled_queries(g, first, rows, w), 0, rows, {panels, g.width, keys, subnormal}, 0,
                    ceil_div(keys, kPanel), layer);
}
#endif

// Turns a row of scores into weights e^(score - top) and returns what earlier sums have to be multiplied by.
float weigh(float factor_of_scores, int64_t keys, int64_t visible, float* scores, float& top, double& total) {
  const float lowest = -__builtin_inff();
  const F scale = splat(factor_of_scores);
  F largest = splat(top);
  const int64_t seen = max_of(0, min_of(keys, visible));
  for_vectors(keys, [&](int64_t i, int64_t lanes) {
    F s = mul(load_some(scores + i, lanes), scale);
    if (i + lanes > seen) s = select(first_lanes(max_of(0, min_of(seen - i, kLanes))), s, splat(lowest));
    lanes == kLanes ? store(scores + i, s) : store_tail(scores + i, s, lanes);
    if (lanes < kLanes) s = select(first_lanes(lanes), s, splat(lowest));
    largest = max(s, largest);
  });
  const float before = top;
  top = reduce_max(largest);
  // Nothing seen so far: any finite number in the place of -infinity makes all weights 0.
  const F subtracted = splat(top == lowest ? 0.0f : top);
  D sum = zero_sum();
  for_vectors(keys, [&](int64_t i, int64_t lanes) {
    const F e = exponential(sub(load_some(scores + i, lanes), subtracted));
    lanes == kLanes ? store(scores + i, e) : store_tail(scores + i, e, lanes);
    add(sum, lanes == kLanes ? e : select(first_lanes(lanes), e, splat(0)));
  });
  alignas(64) float factor[kLanes];
  store(factor, exponential(sub(splat(before), subtracted)));
  total = total * static_cast<double>(factor[0]) + reduce(sum);
  return factor[0];
}

// sums [rows][value_width] = weights v, values as they lie in memory but for columns that fill no vector.
template <int kRows, int kMany, class T>
void few_sums_rows(const Group<T>& g, const float* weights, int64_t key, int64_t keys, float* tail, float* sums) {
  const T* v = g.v + key * g.value_width;
  const int64_t whole = g.value_width / kPanel * kPanel;
  int64_t column = 0;
  const auto finish_sums = [&](const F* sum, int64_t at, int64_t lanes) {
    for (int64_t r = 0; r < kRows; ++r) {
      float* to = sums + r * g.value_width + at;
      lanes == kLanes ? store(to, sum[r]) : store_tail(to, sum[r], lanes);
    }
  };
  for (; column + kMany * kPanel <= whole; column += kMany * kPanel) {
    F sum[kRows][kMany];
    clear(sum);
    multiply_panels<kRows, kMany, false>(weights, kKeys, v + column, kPanel, g.value_width, keys, sum);
    for (int p = 0; p < kMany; ++p) {
      F part[kRows];
      for (int r = 0; r < kRows; ++r) part[r] = sum[r][p];
      finish_sums(part, column + p * kPanel, kLanes);
    }
  }
  for (; column < g.value_width; column += kPanel) {
    const int64_t lanes = min_of(kPanel, g.value_width - column);
    F sum[kRows][1];
    clear(sum);
    if (lanes == kPanel) {
      multiply_panels<kRows, 1, false>(weights, kKeys, v + column, kPanel, g.value_width, keys, sum);
    } else {
      for (int64_t j = 0; j < keys; ++j) store(tail + j * kPanel, load_tail(v + column + j * g.value_width, lanes));
      multiply_panels<kRows, 1, false>(weights, kKeys, tail, kPanel, kPanel, keys, sum);
    }
    F part[kRows];
    for (int r = 0; r < kRows; ++r) part[r] = sum[r][0];
    finish_sums(part, column, lanes);
  }
}

template <class T>
void few_sums(const Group<T>& g, int64_t rows, const float* weights, int64_t key, int64_t keys, float* tail,
              float* sums) {
  switch (rows) {
    case 1:
      return few_sums_rows<1, kThinPanels>(g, weights, key, keys, tail, sums);
    case 2:
      return few_sums_rows<2, kThinPanels / 2>(g, weights, key, keys, tail, sums);
    case 3:
      return few_sums_rows<3, 1>(g, weights, key, keys, tail, sums);
    default:
      return few_sums_rows<4, 1>(g, weights, key, keys, tail, sums);
  }
}

template <class T>
void many_sums(const Group<T>& g, int64_t rows, const Work& w, int64_t key, int64_t keys) {
  for (int64_t column = 0; column < g.value_width; column += kPanel) {
    const int64_t lanes = min_of(kPanel, g.value_width - column);
    for (int64_t j = 0; j < keys; ++j)
      store(w.values + (column * keys + j * kPanel), load_some(g.v + (key + j) * g.value_width + column, lanes));
  }
  const Tiles tiles = {w.weights, rows, keys};
  const int64_t count = ceil_div(rows, kGemmRows);
  for (int64_t tile = 0; tile < count; ++tile) pack_tile(w.scores, kKeys, tile, tiles);
  const Layer<float> layer = {w.sums, g.value_width, g.value_width, nullptr, SN_NONE};
  multiply_block(tiles, 0, count, 0, Panels<float>{w.values, keys, g.value_width}, 0, ceil_div(g.value_width, kPanel),
                 layer);
}

// Where sums are kept until they are divided.
float* results_in(float* y, const Work&) { return y; }
float* results_in(bf16*, const Work& work) { return work.results; }

// Queries [first, first + rows).
template <class T>
void attend(const Group<T>& g, int64_t first, int64_t rows, const Work& w) {
  const bool few = rows <= kThinRows;
  if (!few) pack_queries(g, first, rows, w);
  int64_t end = 0;
  for (int64_t r = 0; r < rows; ++r) {
    w.top[r] = -__builtin_inff();
    w.total[r] = 0;
    end = max_of(end, g.visible(first + r));
  }
  // F32 results are summed where they end up.
  float* y = results_in(g.y + first * g.value_width, w);
  memset(y, 0, static_cast<size_t>(rows * g.value_width) * sizeof(float));
  for (int64_t key = 0; key < end; key += kKeys) {
    const int64_t keys = min_of(kKeys, end - key);
    if (few) {
      few_scores(g, first, rows, key, keys, w.scores);
    } else {
      many_scores(g, first, rows, key, keys, w);
    }
    float factors[kQueries];
    for (int64_t r = 0; r < rows; ++r)
      factors[r] = weigh(g.scale, keys, g.visible(first + r) - key, w.scores + r * kKeys, w.top[r], w.total[r]);
    if (few) {
      few_sums(g, rows, w.scores, key, keys, w.values, w.sums);
    } else {
      many_sums(g, rows, w, key, keys);
    }
    for (int64_t r = 0; r < rows; ++r) {
      const F factor = splat(factors[r]);
      for_vectors(g.value_width, [&](int64_t i, int64_t lanes) {
        float* to = y + r * g.value_width + i;
        const F sum = add(mul(load_some(to, lanes), factor), load_some(w.sums + r * g.value_width + i, lanes));
        lanes == kLanes ? store(to, sum) : store_tail(to, sum, lanes);
      });
    }
  }
  T* to = g.y + first * g.value_width;
  for (int64_t r = 0; r < rows; ++r) {
    // Without keys there is nothing to divide.
    const F total = splat(end > 0 ? static_cast<float>(w.total[r]) : 1);
    for_vectors(g.value_width, [&](int64_t i, int64_t lanes) {
      const int64_t at = r * g.value_width + i;
      const F v = div(load_some(y + at, lanes), total);
      lanes == kLanes ? store(to + at, v) : store_tail(to + at, v, lanes);
    });
  }
}

template <class T>
sn_status attend_all(sn_device* device, const sn_tensor* q, const sn_tensor* k, const sn_tensor* v, int64_t length,
                     int32_t causal, double scale, sn_tensor* y) {
  const int64_t groups = k->shape[0] * k->shape[1], capacity = k->shape[2], tokens = q->shape[2];
  const int64_t width = q->shape[3], value_width = v->shape[3], rows = q->shape[0] * q->shape[1] / groups * tokens;
  const auto group = [&](int64_t i) {
    return Group<T>{data_of<T>(q) + i * rows * width,
                    data_of<T>(k) + i * capacity * width,
                    data_of<T>(v) + i * capacity * value_width,
                    data_of<T>(y) + i * rows * value_width,
                    rows,
                    tokens,
                    length,
                    width,
                    value_width,
                    causal != 0,
                    static_cast<float>(scale)};
  };
  const int64_t a_block = rows <= 2 * kThinRows ? kThinRows : kQueries;
  const int64_t blocks = ceil_div(rows, a_block), bytes = Work::bytes(group(0));
  int32_t starved = 0;
  auto task = [&](int64_t index) {
    const Scratch scratch(device, bytes);
    if (scratch.data() == nullptr) return atomic_or(&starved);
    const Group<T> g = group(index / blocks);
    const int64_t first = index % blocks * a_block;
    attend(g, first, min_of(a_block, rows - first), Work(g, scratch.data()));
  };
  for_tasks(device, groups * blocks, task);
  return starved ? no_scratch(bytes) : SN_OK;
}

}  // namespace

sn_status attention(sn_device* device, const sn_tensor* q, const sn_tensor* k, const sn_tensor* v, int64_t length,
                    int32_t causal, double scale, sn_tensor* y) {
  if (y->elements == 0) return SN_OK;
  return q->dtype == SN_BF16 ? attend_all<bf16>(device, q, k, v, length, causal, scale, y)
                             : attend_all<float>(device, q, k, v, length, causal, scale, y);
}

}  // namespace SN_ISA_NAME
}  // namespace sn
