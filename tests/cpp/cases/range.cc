// The range of every slice: extremes, percentiles, and least squared error.
#include <algorithm>
#include <cmath>

#include "support/pruning.h"
#include "support/quantizing.h"
#include "support/values.h"

namespace sinew_test {
namespace {

struct Choice {
  int64_t grain;
  sn_scheme scheme;
  sn_range_method method;
  float percentile;
};

Call range_call(sn_dtype dtype, const std::vector<int64_t>& shape, std::vector<uint8_t> bytes, Choice choice, bool,
                const std::string& what) {
  static const char* const methods[] = {"minmax", "percentile", "mse"};
  const Slicing slicing(shape, choice.grain);
  Call call;
  call.label = describe("range", dtype, shape, choice.grain, choice.scheme) + " " + methods[choice.method] + " " +
               std::to_string(choice.percentile) + " " + what;
  const std::vector<float> x = as_f32s(dtype, bytes);
  bool finite = true;
  for (float v : x) finite = finite && std::isfinite(v);
  call.expected = {{}, {}};
  if (finite) {
    const Ranges ranges = oracle_range(x, slicing, choice.scheme, choice.method, choice.percentile);
    call.expected = {bytes_of(ranges.lo), bytes_of(ranges.hi)};
  }
  call.inputs = {{dtype, shape, std::move(bytes), true}};
  call.outputs = {{SN_F32, slicing.shape(), {}, !slicing.one}, {SN_F32, slicing.shape(), {}, !slicing.one}};
  const int64_t group = slicing.argument();
  call.run = [group, choice](const Tensors& in, const Tensors& out, int64_t*) {
    return sn_range(in[0], group, choice.scheme, choice.method, choice.percentile, out[0], out[1]);
  };
  return call;
}

void random_call(const Emit& emit, sn_dtype dtype, const std::vector<int64_t>& shape, Fill fill, Choice choice) {
  const uint64_t seed = next_seed();
  emit(range_call(dtype, shape, random_elements(dtype, count_of(shape), fill, seed), choice, false,
                  std::string(name_of(fill)) + " seed " + std::to_string(seed)));
}

void tails(const Emit& emit) {
  for (sn_dtype dtype : kFloats) {
    for (sn_scheme scheme : {SN_INT8_SYMMETRIC, SN_INT4_ASYMMETRIC}) {
      for (int64_t n : kSizes) {
        random_call(emit, dtype, {n}, Fill::kWeights, {kPerTensor, scheme, SN_RANGE_MINMAX, 0});
        random_call(emit, dtype, {n}, Fill::kFew, {kPerTensor, scheme, SN_RANGE_PERCENTILE, 99});
      }
    }
  }
}

void mse_tails(const Emit& emit) {
  for (sn_dtype dtype : kFloats) {
    for (sn_scheme scheme : kSchemes) {
      for (int64_t n : {0, 1, 15, 16, 17, 65, 997, 4096, 4097, 8209})
        random_call(emit, dtype, {n}, Fill::kWeights, {kPerTensor, scheme, SN_RANGE_MSE, 0});
    }
  }
}

void shapes(const Emit& emit) {
  for (sn_dtype dtype : kFloats) {
    for (sn_scheme scheme : kSchemes) {
      for (const auto& shape : dtype == SN_F32 ? kShapes : kFewShapes) {
        for (int64_t grain : grains_for(shape, SN_INT8_SYMMETRIC)) {
          random_call(emit, dtype, shape, Fill::kWeights, {grain, scheme, SN_RANGE_MINMAX, 0});
          if (dtype == SN_F32 || grain <= 0)
            random_call(emit, dtype, shape, Fill::kWeights, {grain, scheme, SN_RANGE_PERCENTILE, 97.5f});
          if (dtype == SN_F32 && grain != 1 && grain != 2 && grain != 7)
            random_call(emit, dtype, shape, Fill::kWeights, {grain, scheme, SN_RANGE_MSE, 0});
        }
      }
    }
  }
}

void special_values(const Emit& emit) {
  for (sn_dtype dtype : kFloats) {
    for (sn_scheme scheme : kSchemes) {
      for (Fill fill : kFills) {
        for (int64_t grain : {kPerTensor, kPerChannel, int64_t{32}}) {
          random_call(emit, dtype, {3, 157}, fill, {grain, scheme, SN_RANGE_MINMAX, 0});
          random_call(emit, dtype, {3, 157}, fill, {grain, scheme, SN_RANGE_PERCENTILE, 50});
          random_call(emit, dtype, {3, 157}, fill, {grain, scheme, SN_RANGE_MSE, 0});
        }
      }
    }
  }
}

// Slices of one sign only, whose range still reaches to zero.
void one_sign(const Emit& emit) {
  for (sn_scheme scheme : kSchemes) {
    for (sn_range_method method : {SN_RANGE_MINMAX, SN_RANGE_PERCENTILE, SN_RANGE_MSE}) {
      for (double sign : {1.0, -1.0}) {
        std::vector<double> values;
        for (int i = 0; i < 77; ++i) values.push_back(sign * (1 + 0.01 * (i * 37 % 77)));
        emit(range_call(SN_F32, {77}, elements(SN_F32, values), {kPerTensor, scheme, method, 90}, false, "one sign"));
      }
    }
  }
}

// Percentiles at which the rank is exactly an integer, just above one, the first and the last.
void percentiles(const Emit& emit) {
  for (sn_scheme scheme : {SN_INT8_SYMMETRIC, SN_INT8_ASYMMETRIC}) {
    for (int64_t n : {1, 2, 3, 7, 10, 100, 128, 200, 999, 1000, 4000}) {
      std::vector<double> values;
      for (int64_t i = 0; i < n; ++i)
        values.push_back((i % 2 == 0 ? 1.0 : -1.0) * static_cast<double>((i * 7919) % n + 1));
      for (float percentile : {0.001f, 0.1f,  1.0f,  7.0f,  10.0f, 14.0f, 25.0f, 28.0f, 29.0f,  33.3f,   50.0f,
                               55.0f,  56.0f, 57.0f, 58.0f, 75.0f, 90.0f, 99.0f, 99.9f, 99.99f, 99.999f, 100.0f}) {
        emit(range_call(SN_F32, {n}, elements(SN_F32, values), {kPerTensor, scheme, SN_RANGE_PERCENTILE, percentile},
                        false, "ranks"));
      }
    }
  }
  // Mostly zeros: the percentile's range would be empty, so the extremes hold.
  std::vector<double> sparse(200, 0.0);
  sparse[17] = 3;
  sparse[18] = -2;
  for (sn_scheme scheme : kSchemes)
    emit(range_call(SN_F32, {200}, elements(SN_F32, sparse), {kPerTensor, scheme, SN_RANGE_PERCENTILE, 90}, false,
                    "mostly zeros"));
}

void not_finite(const Emit& emit) {
  for (sn_range_method method : {SN_RANGE_MINMAX, SN_RANGE_PERCENTILE, SN_RANGE_MSE}) {
    not_finite_calls(emit, range_call, Choice{kPerTensor, SN_INT8_SYMMETRIC, method, 99});
    not_finite_calls(emit, range_call, Choice{7, SN_INT8_ASYMMETRIC, method, 99});
  }
}

void large(const Emit& emit) {
  for (sn_dtype dtype : large_dtypes()) {
    random_call(emit, dtype, {kManyTasks}, Fill::kWeights, {kPerTensor, SN_INT8_SYMMETRIC, SN_RANGE_MINMAX, 0});
    random_call(emit, dtype, {29, kManyTasks / 29}, Fill::kWeights, {131, SN_INT8_ASYMMETRIC, SN_RANGE_MINMAX, 0});
  }
  // Long slices whose blocks are computed in parallel, more of them than fit one window.
  random_call(emit, SN_F32, {2, 300001}, Fill::kWeights, {kPerChannel, SN_INT8_SYMMETRIC, SN_RANGE_PERCENTILE, 99.9f});
  if (!quick()) {
    random_call(emit, SN_F32, {1100001}, Fill::kWeights, {kPerTensor, SN_INT4_SYMMETRIC, SN_RANGE_MSE, 0});
  }
  random_call(emit, SN_F32, {300, 997}, Fill::kWeights, {kPerTensor, SN_INT8_ASYMMETRIC, SN_RANGE_MSE, 0});
}

template <int64_t kGrain, sn_range_method kMethod>
Call timed() {
  return range_call(SN_F32, {1024, 4096}, random_elements(SN_F32, 1024 * 4096, Fill::kWeights, 7),
                    {kGrain, SN_INT8_SYMMETRIC, kMethod, 99.9f}, false, "timed");
}

const Register registered({"range",
                           {{"tails", tails},
                            {"mse_tails", mse_tails},
                            {"shapes", shapes},
                            {"special_values", special_values},
                            {"one_sign", one_sign},
                            {"percentiles", percentiles},
                            {"not_finite", not_finite},
                            {"large", large}},
                           {{"f32 minmax tensor", timed<kPerTensor, SN_RANGE_MINMAX>},
                            {"f32 minmax channel", timed<kPerChannel, SN_RANGE_MINMAX>},
                            {"f32 minmax group 128", timed<128, SN_RANGE_MINMAX>}}});

}  // namespace
}  // namespace sinew_test
