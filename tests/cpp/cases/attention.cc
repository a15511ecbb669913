// Scaled dot-product attention: heads that share keys, causal masks, caches with room for more.
#include <algorithm>
#include <cmath>
#include <limits>

#include "support/reals.h"

namespace sinew_test {
namespace {

struct Sizes {
  int64_t batch, heads, key_heads, tokens, length, capacity, width, value_width;
  bool causal;
};

std::string text(const Sizes& s) {
  return "attention " + text_of({s.batch, s.heads, s.tokens, s.width}) + " over " +
         text_of({s.batch, s.key_heads, s.capacity, s.value_width}) + " length " + std::to_string(s.length) +
         (s.causal ? " causal" : "");
}

// A score has the error of its chain of products, the weights that of their exponent besides a few roundings for every
// block of keys; the sum over values rounds once a key.
Bounded oracle(const Sizes& s, double scale, const std::vector<double>& q, const std::vector<double>& k,
               const std::vector<double>& v) {
  Bounded result;
  for (int64_t h = 0; h < s.batch * s.heads; ++h) {
    const int64_t kh = h / (s.heads / s.key_heads);
    const double* keys = k.data() + kh * s.capacity * s.width;
    const double* values = v.data() + kh * s.capacity * s.value_width;
    for (int64_t t = 0; t < s.tokens; ++t) {
      const int64_t visible = s.causal ? s.length - s.tokens + t + 1 : s.length;
      std::vector<double> scores;
      double top = -std::numeric_limits<double>::infinity(), error = 0, lowest = 0;
      for (int64_t j = 0; j < visible; ++j) {
        double sum = 0, magnitude = 0;
        for (int64_t i = 0; i < s.width; ++i) {
          const double product = q[static_cast<size_t>((h * s.tokens + t) * s.width + i)] * keys[j * s.width + i];
          sum += product;
          magnitude += std::fabs(product);
        }
        scores.push_back(sum * scale);
        top = std::max(top, sum * scale);
        error = std::max(error, kHalf * (static_cast<double>(s.width) + 2) * magnitude * std::fabs(scale));
      }
      for (double score : scores) lowest = std::max(lowest, top - score);
      double total = 0;
      for (double& score : scores) total += score = std::exp(score - top);
      const double n = static_cast<double>(visible);
      const double relative = 2 * error + kHalf * (n + 6 * n / 128 + 20 + 2 * lowest);
      for (int64_t i = 0; i < s.value_width; ++i) {
        double sum = 0, magnitude = 0;
        for (int64_t j = 0; j < visible; ++j) {
          const double term = scores[static_cast<size_t>(j)] / total * values[j * s.value_width + i];
          sum += term;
          magnitude += std::fabs(term);
        }
        result.value.push_back(sum);
        result.bound.push_back(1.05 * relative * magnitude);
      }
    }
  }
  return result;
}

// The first elements of queries or of keys may be below 2^-126, and those of the others so large that scores depend on
// them.
enum class Small { kNone, kQueries, kKeys };

Call attention_call(const Sizes& s, double range = 1, sn_dtype dtype = SN_F32, Small small = Small::kNone) {
  const uint64_t seed = next_seed();
  const double scale = 1 / std::sqrt(static_cast<double>(std::max<int64_t>(s.width, 1)));
  Operand q = random_operand(dtype, {s.batch, s.heads, s.tokens, s.width}, range, seed);
  Operand k = random_operand(dtype, {s.batch, s.key_heads, s.capacity, s.width}, range, seed + 1);
  if (small != Small::kNone) {
    Operand &low = small == Small::kQueries ? q : k, &high = small == Small::kQueries ? k : q;
    for (int64_t i = 0; i < low.count(); i += s.width) put(dtype, 0x1p-127, low.bytes.data() + size_of(dtype) * i);
    for (int64_t i = 0; i < high.count(); i += s.width)
      put(dtype, i / s.width % 3 == 0 ? 0x1p127 : -0x1p127, high.bytes.data() + size_of(dtype) * i);
  }
  const Operand v = random_operand(dtype, {s.batch, s.key_heads, s.capacity, s.value_width}, 1, seed + 2);
  Call call = close_call(text(s) + " " + name_of(dtype) + " seed " + std::to_string(seed), {q, k, v}, dtype,
                         {s.batch, s.heads, s.tokens, s.value_width},
                         oracle(s, static_cast<double>(static_cast<float>(scale)), doubles_of(dtype, q.bytes),
                                doubles_of(dtype, k.bytes), doubles_of(dtype, v.bytes)));
  call.run = [s, scale](const Tensors& in, const Tensors& out, int64_t*) {
    return sn_attention(in[0], in[1], in[2], s.length, s.causal, scale, out[0]);
  };
  return call;
}

void shapes(const Emit& emit) {
  const Sizes all[] = {{1, 1, 1, 1, 1, 1, 1, 1, false},        {2, 3, 3, 5, 7, 7, 16, 16, false},
                       {1, 4, 2, 1, 200, 256, 64, 64, true},   {1, 4, 1, 1, 129, 129, 33, 17, true},
                       {2, 2, 2, 17, 17, 17, 24, 40, true},    {1, 2, 1, 70, 70, 80, 64, 64, true},
                       {1, 2, 2, 100, 300, 300, 32, 32, true}, {1, 1, 1, 257, 257, 257, 80, 80, true},
                       {1, 8, 2, 3, 130, 131, 48, 48, false},  {1, 6, 2, 1, 300, 300, 128, 128, false},
                       {1, 2, 1, 4, 127, 127, 15, 31, true},   {0, 2, 1, 4, 7, 7, 8, 8, true},
                       {2, 2, 1, 0, 7, 7, 8, 8, false},        {1, 2, 1, 9, 0, 4, 8, 8, false},
                       {1, 2, 1, 3, 5, 5, 0, 8, false},        {1, 2, 1, 3, 5, 5, 8, 0, false}};
  for (sn_dtype dtype : {SN_F32, SN_BF16}) {
    for (const Sizes& s : all) emit(attention_call(s, 1, dtype));
  }
}

// Scores far apart: all but a few weights vanish, and the largest score so far grows from block to block.
void wide_scores(const Emit& emit) {
  for (bool causal : {false, true}) {
    emit(attention_call({1, 2, 1, 40, 400, 400, 32, 32, causal}, 12));
    emit(attention_call({1, 2, 1, 1, 400, 400, 32, 32, causal}, 12));
    emit(attention_call({1, 2, 1, 50, 300, 300, 40, 16, causal}, 12, SN_BF16));
  }
}

void small_elements(const Emit& emit) {
  for (int64_t tokens : {1, 30}) {
    for (Small small : {Small::kQueries, Small::kKeys}) {
      emit(attention_call({1, 2, 1, tokens, 140, 140, 24, 17, false}, 1, SN_BF16, small));
      emit(attention_call({1, 1, 1, tokens, 35, 40, 70, 16, true}, 1, SN_BF16, small));
    }
  }
}

// A query with NaN makes its own rows NaN only; keys that a query does not see do not matter.
void not_finite(const Emit& emit) {
  for (sn_dtype dtype : {SN_F32, SN_BF16}) {
    for (int64_t tokens : {2, 9}) {
      const Sizes s = {1, 2, 2, tokens, 20, 25, 16, 16, true};
      Call call = attention_call(s, 1, dtype);
      const int64_t size = size_of(dtype);
      put_f32(dtype, std::nanf(""), call.inputs[0].bytes.data() + size * 16);  // query 1 of head 0
      for (size_t i = 16; i < 32; ++i) call.bounded[0].value[i] = std::nan("");
      for (int64_t kv : {1, 2}) {
        for (int64_t i = 20 * 16; i < 25 * 16; ++i)
          put_f32(dtype, std::nanf(""), call.inputs[static_cast<size_t>(kv)].bytes.data() + size * i);
      }
      emit(call);
    }
  }
}

const Register registered(
    {"attention",
     {{"shapes", shapes}, {"wide_scores", wide_scores}, {"small_elements", small_elements}, {"not_finite", not_finite}},
     {}});

}  // namespace
}  // namespace sinew_test
