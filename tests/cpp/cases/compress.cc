// What compressed all-reduces compute: groups of 256 elements as bytes with a scale each, their sums, and back.
#include <algorithm>

#include "support/quantizing.h"
#include "support/values.h"

namespace sinew_test {
namespace {

constexpr int64_t kGroup = 256;
constexpr sn_dtype kGradients[] = {SN_F32, SN_F16, SN_BF16};
const std::vector<int64_t> kLengths = {0, 1, 15, 16, 17, 63, 64, 65, 127, 255, 256, 257, 511, 512, 513, 4099};
const float kNan = float_of(0x7fc00000);

struct Compressed {
  std::vector<float> scale;
  std::vector<int8_t> q;
};

Compressed oracle_compress(const std::vector<float>& x) {
  Compressed c;
  for (size_t begin = 0; begin < x.size(); begin += kGroup) {
    const size_t end = std::min(x.size(), begin + kGroup);
    const QuantizedRow group =
        oracle_quantize_row({x.begin() + static_cast<int64_t>(begin), x.begin() + static_cast<int64_t>(end)});
    c.scale.push_back(group.scale);
    c.q.insert(c.q.end(), group.q.begin(), group.q.end());
  }
  return c;
}

std::vector<float> oracle_sum(const std::vector<Compressed>& inputs, sn_reduction reduction) {
  std::vector<float> sums;
  for (size_t i = 0; i < inputs[0].q.size(); ++i) {
    float sum = 0;
    for (size_t m = 0; m < inputs.size(); ++m) {
      const float v = static_cast<float>(inputs[m].q[i]) * inputs[m].scale[i / kGroup];
      sum = m == 0 ? v : sum + v;
    }
    sums.push_back(reduction == SN_AVERAGE ? sum / static_cast<float>(inputs.size()) : sum);
  }
  return sums;
}

Operand scale_operand(const std::vector<float>& scale) {
  return {SN_F32, {static_cast<int64_t>(scale.size())}, bytes_of(scale)};
}
Operand q_operand(const std::vector<int8_t>& q) { return {SN_I8, {static_cast<int64_t>(q.size())}, bytes_of(q)}; }

void expect(Call& call, const Compressed& c) {
  call.outputs = {scale_operand(c.scale), q_operand(c.q)};
  for (Operand& output : call.outputs) {
    call.expected.push_back(std::move(output.bytes));
    output.bytes.clear();
  }
}

Call compress_call(sn_dtype dtype, std::vector<uint8_t> bytes, const std::string& what) {
  const int64_t n = static_cast<int64_t>(bytes.size()) / size_of(dtype);
  Call call;
  call.label = std::string("compress ") + name_of(dtype) + " " + std::to_string(n) + " " + what;
  expect(call, oracle_compress(as_f32s(dtype, bytes)));
  call.inputs = {{dtype, {n}, std::move(bytes)}};
  call.run = [](const Tensors& in, const Tensors& out, int64_t*) { return sn_compress(in[0], out[0], out[1]); };
  return call;
}

Call reduce_call(const std::vector<Compressed>& inputs, sn_reduction reduction, const std::string& what) {
  Call call;
  call.label = std::string("reduce_compressed ") + (reduction == SN_SUM ? "sum" : "average") + " of " +
               std::to_string(inputs.size()) + " x " + std::to_string(inputs[0].q.size()) + " " + what;
  for (const Compressed& c : inputs) {
    call.inputs.push_back(scale_operand(c.scale));
    call.inputs.push_back(q_operand(c.q));
  }
  expect(call, oracle_compress(oracle_sum(inputs, reduction)));
  call.run = [reduction](const Tensors& in, const Tensors& out, int64_t*) {
    std::vector<const sn_tensor*> scales, qs;
    for (size_t m = 0; m < in.size(); m += 2) {
      scales.push_back(in[m]);
      qs.push_back(in[m + 1]);
    }
    return sn_reduce_compressed(scales.data(), qs.data(), static_cast<int32_t>(qs.size()), reduction, out[0], out[1]);
  };
  return call;
}

Call expand_call(const Compressed& c, sn_dtype dtype, const std::string& what) {
  const std::vector<float> y = oracle_sum({c}, SN_SUM);
  std::vector<uint8_t> expected(y.size() * static_cast<size_t>(size_of(dtype)));
  for (size_t i = 0; i < y.size(); ++i) put_f32(dtype, y[i], expected.data() + i * static_cast<size_t>(size_of(dtype)));
  Call call;
  call.label = std::string("expand to ") + name_of(dtype) + " " + std::to_string(c.q.size()) + " " + what;
  call.inputs = {scale_operand(c.scale), q_operand(c.q)};
  call.outputs = {{dtype, {static_cast<int64_t>(c.q.size())}, {}}};
  call.expected = {std::move(expected)};
  call.any_nan = true;
  call.run = [](const Tensors& in, const Tensors& out, int64_t*) { return sn_expand(in[0], in[1], out[0]); };
  return call;
}

Compressed random_compressed(int64_t n, uint64_t seed) {
  return oracle_compress(as_f32s(SN_F32, random_elements(SN_F32, n, Fill::kWeights, seed)));
}
std::string seeded(uint64_t seed) { return "seed " + std::to_string(seed); }

void compress_tails(const Emit& emit) {
  for (sn_dtype dtype : kGradients) {
    for (int64_t n : kLengths) {
      const uint64_t seed = next_seed();
      emit(compress_call(dtype, random_elements(dtype, n, Fill::kWeights, seed), seeded(seed)));
    }
  }
}

void compress_fills(const Emit& emit) {
  for (sn_dtype dtype : kGradients) {
    for (Fill fill : kFills) {
      const uint64_t seed = next_seed();
      emit(compress_call(dtype, random_elements(dtype, 1300, fill, seed), std::string(name_of(fill)) + seeded(seed)));
    }
  }
  emit(compress_call(SN_F32, elements(SN_F32, std::vector<double>(300, 190 * 0x1p-149)), "scale of one denormal"));
  // Many tasks; a step between two integers everywhere.
  std::vector<double> ties;
  for (int64_t i = 0; i < 200000; ++i)
    ties.push_back(i % kGroup == 0 ? 127.0 : static_cast<double>(i % 253 - 126) + 0.5);
  emit(compress_call(SN_F32, elements(SN_F32, ties), "ties"));
}

void reduce_counts(const Emit& emit) {
  for (sn_reduction reduction : {SN_SUM, SN_AVERAGE}) {
    for (int count : {1, 2, 3, 8, 128}) {
      for (int64_t n : {1, 100, 256, 257, 1000}) {
        std::vector<Compressed> inputs;
        const uint64_t seed = next_seed();
        for (int m = 0; m < count; ++m) inputs.push_back(random_compressed(n, seed + static_cast<uint64_t>(m)));
        emit(reduce_call(inputs, reduction, seeded(seed)));
      }
    }
  }
  emit(reduce_call({{}, {}}, SN_SUM, "nothing"));
  emit(reduce_call({random_compressed(200003, 5), random_compressed(200003, 6)}, SN_SUM, "many tasks"));
}

void reduce_specials(const Emit& emit) {
  // A group that is not finite in one input, and a sum that is too large.
  Compressed a = random_compressed(700, 1), b = random_compressed(700, 2), c = a;
  std::fill(b.q.begin() + 256, b.q.begin() + 512, int8_t{0});
  b.scale[1] = kNan;
  c.scale[0] = 3e36f;
  for (sn_reduction reduction : {SN_SUM, SN_AVERAGE}) {
    emit(reduce_call({a, b, c}, reduction, "NaN"));
    emit(reduce_call({c, c, c}, reduction, "overflow"));
  }
}

void expand_tails(const Emit& emit) {
  for (sn_dtype dtype : kGradients) {
    for (int64_t n : kLengths) emit(expand_call(random_compressed(n, static_cast<uint64_t>(n) + 1), dtype, ""));
    Compressed c = random_compressed(600, 3);
    c.scale[1] = kNan;
    c.scale[0] = 3e38f;
    emit(expand_call(c, dtype, "NaN and infinity"));
    emit(expand_call(random_compressed(200003, 4), dtype, "many tasks"));
  }
}

constexpr int64_t kTimed = 1024 * 4096;
template <sn_dtype kDtype>
Call timed_compress() {
  return compress_call(kDtype, random_elements(kDtype, kTimed, Fill::kWeights, 7), "timed");
}
Call timed_reduce() {
  return reduce_call({random_compressed(kTimed, 7), random_compressed(kTimed, 8)}, SN_SUM, "timed");
}
Call timed_expand() { return expand_call(random_compressed(kTimed, 7), SN_F32, "timed"); }

const Register compress({"compress",
                         {{"tails", compress_tails}, {"fills", compress_fills}},
                         {{"f32", timed_compress<SN_F32>}, {"bf16", timed_compress<SN_BF16>}}});
const Register reduce({"reduce_compressed",
                       {{"counts", reduce_counts}, {"specials", reduce_specials}},
                       {{"sum 2", timed_reduce}}});
const Register expand({"expand", {{"tails", expand_tails}}, {{"to f32", timed_expand}}});

}  // namespace
}  // namespace sinew_test
