// DARE: elements of task vectors are dropped by a random number that anybody can compute again.
#include <array>
#include <cmath>

#include "support/merging.h"
#include "support/pruning.h"

namespace sinew_test {
namespace {

// Philox4x32-10 one counter at a time, from its definition: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as
// easy as 1, 2, 3", 2011.
std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53} * counter[0], b = uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(b),
               static_cast<uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(a)};
    key = {key[0] + 0x9E3779B9, key[1] + 0xBB67AE85};
  }
  return counter;
}

struct Options {
  std::vector<float> weights;
  double density;
  uint64_t seed;
  std::vector<int64_t> streams;
  int64_t first;
};

bool kept(const Options& options, size_t model, int64_t index) {
  const uint64_t e = static_cast<uint64_t>(options.first + index), counter = 16 * (e / 64) + e % 16;
  const uint64_t stream = static_cast<uint64_t>(options.streams[model]);
  const std::array<uint32_t, 4> words =
      philox({static_cast<uint32_t>(counter), static_cast<uint32_t>(counter >> 32), static_cast<uint32_t>(stream),
              static_cast<uint32_t>(stream >> 32)},
             {static_cast<uint32_t>(options.seed), static_cast<uint32_t>(options.seed >> 32)});
  const double limit = std::max(1.0, std::nearbyint(std::ldexp(options.density, 32)));
  return static_cast<double>(words[e / 16 % 4]) < limit;
}

// inputs: the base, then the models.
Call dare_call(std::vector<std::vector<uint8_t>> inputs, sn_dtype in, sn_dtype out, int64_t n, const Options& options,
               const std::string& what) {
  const size_t count = options.weights.size();
  const std::vector<sn_dtype> dtypes(inputs.size(), in);
  Call call = merge_call(dtypes, std::move(inputs), out, n, [&](const std::vector<float>& x, int64_t index) {
    float sum = 0;
    for (size_t m = 0; m < count; ++m) sum += kept(options, m, index) ? options.weights[m] * (x[m + 1] - x[0]) : 0.0f;
    return x[0] + sum;
  });
  call.label = std::string("merge_dare of ") + std::to_string(count) + " " + name_of(in) + " " + std::to_string(n) +
               " to " + name_of(out) + " density " + std::to_string(options.density) + " first " +
               std::to_string(options.first) + " " + what;
  call.run = [options](const Tensors& tensors, const Tensors& outputs, int64_t*) {
    const std::vector<const sn_tensor*> x(tensors.begin() + 1, tensors.end());
    return sn_merge_dare(tensors[0], x.data(), static_cast<int32_t>(x.size()), options.weights.data(), options.density,
                         static_cast<int64_t>(options.seed), options.streams.data(), options.first, outputs[0]);
  };
  return call;
}

Options random_options(int count, double density, int64_t first, uint64_t seed) {
  Options options = {random_weights(count, false, seed), density, seed * 0x9e3779b97f4a7c15u, {}, first};
  for (int m = 0; m < count; ++m) options.streams.push_back(static_cast<int64_t>(seed * 0xbf58476d1ce4e5b9u) + m);
  return options;
}

void random_call(const Emit& emit, const Mix& mix, int64_t n, Fill fill, double density, int64_t first) {
  const uint64_t seed = next_seed();
  emit(dare_call(random_inputs(mix.in, n, mix.count + 1, fill, seed), mix.in, mix.out, n,
                 random_options(mix.count, density, first, seed),
                 std::string(name_of(fill)) + " seed " + std::to_string(seed)));
}

void tails(const Emit& emit) {
  for (const Mix& mix : mixes()) {
    if (mix.count != 2) continue;
    for (int64_t n : kSizes) random_call(emit, mix, n, Fill::kWeights, 0.5, 64 * n);
  }
}

void fills(const Emit& emit) {
  for (const Mix& mix : mixes()) {
    for (Fill fill : kFills) random_call(emit, mix, 301, fill, 0.3, 0);
  }
}

void densities(const Emit& emit) {
  for (double density : {1.0, 0.5, 0.1, 0x1p-32, 1e-300, 1 - 0x1p-33, 1 - 0x1p-32})
    random_call(emit, {SN_F32, SN_F32, 2}, 4099, Fill::kWeights, density, 0);
}

// Where the counter's low word ends, and the largest elements there can be.
void far_elements(const Emit& emit) {
  for (int64_t first : {int64_t{64}, (int64_t{1} << 34) - 128, (int64_t{1} << 34) - 64, int64_t{1} << 34,
                        (int64_t{1} << 62) + 64, INT64_MAX / 64 * 64 - 192})
    random_call(emit, {SN_F32, SN_F32, 2}, 250, Fill::kWeights, 0.5, first);
}

void most_inputs(const Emit& emit) { random_call(emit, {SN_BF16, SN_BF16, 64}, 133, Fill::kWeights, 0.2, 128); }

void not_finite(const Emit& emit) {
  for (int64_t n : {1, 39, 4099}) {
    for (const Spoiled& spoiled : spoiled_elements(n)) {
      for (size_t place = 0; place < 3; ++place) {
        std::vector<std::vector<uint8_t>> inputs = random_inputs(spoiled.dtype, n, 3, Fill::kWeights, 5);
        inputs[place] = spoiled.bytes;
        emit(
            dare_call(std::move(inputs), spoiled.dtype, spoiled.dtype, n, random_options(2, 1e-9, 0, 1), spoiled.what));
      }
    }
  }
}

void large(const Emit& emit) {
  for (sn_dtype dtype : large_dtypes())
    random_call(emit, {dtype, dtype, 2}, large_count(dtype), Fill::kWeights, 0.5, 0);
}

template <sn_dtype kDtype>
Call timed() {
  // The benchmark repeats what it is given, and an element's number goes on: with a density of 1 all parts are alike.
  const int64_t n = 1024 * 4096;
  Options options = {{0.5f, 0.5f}, 1.0, 7, {1, 2}, 0};
  Call call = dare_call(random_inputs(kDtype, n, 3, Fill::kWeights, 7), kDtype, kDtype, n, options, "timed");
  call.in_place = false;
  return call;
}

const Register registered({"merge_dare",
                           {{"tails", tails},
                            {"fills", fills},
                            {"densities", densities},
                            {"far_elements", far_elements},
                            {"most_inputs", most_inputs},
                            {"not_finite", not_finite},
                            {"large", large}},
                           {{"f32 2", timed<SN_F32>}, {"bf16 2", timed<SN_BF16>}}});

}  // namespace
}  // namespace sinew_test
