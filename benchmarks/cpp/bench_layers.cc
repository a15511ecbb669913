// Decoding (one row of activations) and prefill (128 rows) with packed weights, against the speed of memory.
//
// sinew_bench_layers [FILTER [ROWS [MIB]]]. Weights are 4096 x 4096; as many handles as take MIB (512) are used in
// turn, so that they come from memory. Each figure stands beside a reading probe over as many bytes, timed in turn with
// it; the ratio is the median over the pairs. Some outputs are checked against float64.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "measure.h"

namespace sinew_bench {
namespace {

constexpr int64_t kOut = 4096, kIn = 4096;
int64_t pool_bytes = int64_t{512} << 20;
constexpr int kPairs = 9;

sn_tensor* make(sn_device* device, sn_dtype dtype, const std::vector<int64_t>& shape) {
  sn_tensor* tensor = nullptr;
  require(sn_tensor_create(device, dtype, static_cast<int32_t>(shape.size()), shape.data(), &tensor));
  return tensor;
}
template <class T>
T* data_of(sn_tensor* t) {
  return static_cast<T*>(sn_tensor_data(t));
}

// Weights of a kind: how to pack them, and their values for a few rows.
struct Weights {
  std::string name;
  std::function<sn_weights*()> pack;
  std::function<double(int64_t row, int64_t col)> at;
};

// The tensors that weights are packed from; they live as long as the program.
struct Sources {
  sn_device* device;
  sn_tensor* dense;  // F32, normally distributed

  explicit Sources(sn_device* d) : device(d), dense(make(d, SN_F32, {kOut, kIn})) {
    std::mt19937 random(1);
    std::normal_distribution<float> normal(0.0f, 0.05f);
    float* p = data_of<float>(dense);
    for (int64_t i = 0; i < kOut * kIn; ++i) p[i] = normal(random);
  }

  // scale, zero point (or null) and q.
  struct Quantized {
    sn_tensor *scale, *zero_point, *q, *back;
  };
  Quantized quantize(sn_tensor* x, sn_scheme scheme, int64_t group) const {
    const std::vector<int64_t> slices = {kOut, group == 0 ? 1 : kIn / group};
    const bool asymmetric = scheme == SN_INT8_ASYMMETRIC || scheme == SN_INT4_ASYMMETRIC;
    const bool int4 = scheme == SN_INT4_SYMMETRIC || scheme == SN_INT4_ASYMMETRIC;
    sn_tensor *lo = make(device, SN_F32, slices), *hi = make(device, SN_F32, slices);
    Quantized r = {make(device, SN_F32, slices), asymmetric ? make(device, SN_I8, slices) : nullptr,
                   make(device,
                        int4               ? SN_U8
                        : scheme == SN_FP8 ? SN_F8_E4M3
                                           : SN_I8,
                        {kOut, int4 ? kIn / 2 : kIn}),
                   make(device, SN_F32, {kOut, kIn})};
    require(sn_range(x, group, scheme, SN_RANGE_MINMAX, 100, lo, hi));
    require(sn_scale(lo, hi, scheme, r.scale, r.zero_point));
    require(sn_quantize(x, r.scale, r.zero_point, group, r.q));
    require(sn_dequantize(r.q, r.scale, r.zero_point, group, r.back));
    sn_tensor_close(lo);
    sn_tensor_close(hi);
    return r;
  }
  static std::function<double(int64_t, int64_t)> values(sn_tensor* back) {
    const float* p = data_of<float>(back);
    return [p](int64_t row, int64_t col) { return static_cast<double>(p[row * kIn + col]); };
  }

  Weights w8(const char* name, sn_scheme scheme, int64_t group) const {
    const Quantized r = quantize(dense, scheme, group);
    return {name,
            [=] {
              sn_weights* w = nullptr;
              require(sn_pack_w8(r.q, r.scale, r.zero_point, group, &w));
              return w;
            },
            values(r.back)};
  }
  Weights w8a8() const {
    const Quantized r = quantize(dense, SN_INT8_SYMMETRIC, 0);
    return {"w8a8",
            [=] {
              sn_weights* w = nullptr;
              require(sn_pack_w8a8(r.q, r.scale, nullptr, &w));
              return w;
            },
            values(r.back)};
  }
  Weights w4(const char* name, sn_scheme scheme, int64_t group) const {
    const Quantized r = quantize(dense, scheme, group);
    return {name,
            [=] {
              sn_weights* w = nullptr;
              require(sn_pack_w4(r.q, kIn, r.scale, r.zero_point, group, &w));
              return w;
            },
            values(r.back)};
  }
  Weights sparse(int percent, bool int8) const {
    sn_tensor* pruned = make(device, SN_F32, {kOut, kIn});
    std::memcpy(sn_tensor_data(pruned), sn_tensor_data(dense), static_cast<size_t>(kOut * kIn) * 4);
    std::mt19937 random(2);
    for (int64_t i = 0; i < kOut * kIn; ++i) {
      if (static_cast<int>(random() % 100) < percent) data_of<float>(pruned)[i] = 0;
    }
    Quantized r = {nullptr, nullptr, make(device, SN_BF16, {kOut, kIn}), make(device, SN_F32, {kOut, kIn})};
    if (int8) {
      r = quantize(pruned, SN_INT8_SYMMETRIC, 0);
    } else {
      require(sn_convert(pruned, r.q));
      require(sn_convert(r.q, r.back));
    }
    int64_t count = 0;
    require(sn_count_nonzeros(r.q, &count));
    sn_tensor* v = make(device, int8 ? SN_I8 : SN_BF16, {count});
    sn_tensor *bitmap = make(device, SN_U8, {kOut, kIn / 8}), *offsets = make(device, SN_I64, {kOut + 1});
    require(sn_bitmap_encode(r.q, 0, v, bitmap, offsets));
    return {std::string("sparse ") + (int8 ? "int8 " : "bf16 ") + std::to_string(percent) + "%",
            [=] {
              sn_weights* w = nullptr;
              require(sn_pack_sparse(v, bitmap, offsets, r.scale, 0, kIn, &w));
              return w;
            },
            values(r.back)};
  }
  Weights clustered(int bits) const {
    sn_tensor* codebook = make(device, SN_F32, {1, int64_t{1} << bits});
    for (int i = 0; i < 1 << bits; ++i)
      data_of<float>(codebook)[i] = (static_cast<float>(i) + 0.5f) * 0.3f / static_cast<float>(1 << bits) - 0.15f;
    sn_tensor *q = make(device, SN_U8, {kOut, kIn * bits / 8}), *back = make(device, SN_F32, {kOut, kIn});
    require(sn_cluster_assign(dense, codebook, q));
    require(sn_cluster_decode(q, codebook, back));
    return {"clustered " + std::to_string(bits) + " bits",
            [=] {
              sn_weights* w = nullptr;
              require(sn_pack_clustered(q, codebook, kIn, &w));
              return w;
            },
            values(back)};
  }
};

// Reads so many bytes in four streams a thread.
uint64_t sink;
void read_share(const char* p, int64_t bytes) {
  const int64_t part = bytes / 4 / 64 * 64;
  uint64_t sum[4][4] = {};
  for (int64_t i = 0; i < part; i += 64) {
    for (int s = 0; s < 4; ++s) {
      uint64_t words[8];
      std::memcpy(words, p + s * part + i, 64);
      for (int j = 0; j < 4; ++j) sum[s][j] ^= words[j] ^ words[4 + j];
    }
  }
  uint64_t all = 0;
  for (auto& stream : sum) {
    for (uint64_t word : stream) all ^= word;
  }
  __atomic_fetch_xor(&sink, all, __ATOMIC_RELAXED);
}
void read_pool(const char* p, int64_t bytes, int32_t threads) {
  const int64_t share = bytes / threads / 64 * 64;
  std::vector<std::thread> others;
  for (int32_t t = 1; t < threads; ++t) others.emplace_back(read_share, p + t * share, share);
  read_share(p, share);
  for (std::thread& other : others) other.join();
}

bool measure(sn_device* device, const Weights& weights, int64_t rows, sn_tensor* pool) {
  std::vector<sn_weights*> handles = {weights.pack()};
  const int64_t bytes = sn_weights_bytes(handles[0]);
  const double packing = seconds_of([&] { handles.push_back(weights.pack()); });
  const int64_t count = rows == 1 ? pool_bytes / bytes + 1 : 2;
  while (static_cast<int64_t>(handles.size()) < count) handles.push_back(weights.pack());
  sn_tensor *x = make(device, SN_F32, {rows, kIn}), *y = make(device, SN_F32, {rows, kOut});
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  for (int64_t i = 0; i < rows * kIn; ++i) data_of<float>(x)[i] = normal(random);
  std::vector<double> seconds, ratios;
  for (int pair = 0; pair <= kPairs; ++pair) {
    const double probe =
        rows > 1 ? 1 : seconds_of([&] { read_pool(data_of<char>(pool), bytes * count, sn_device_threads(device)); });
    const double kernel = seconds_of([&] {
      for (sn_weights* w : handles) require(sn_linear(x, w, nullptr, SN_NONE, y));
    });
    if (pair == 0) continue;  // warms up
    seconds.push_back(kernel / static_cast<double>(handles.size()));
    ratios.push_back(probe / static_cast<double>(count) * static_cast<double>(handles.size()) / kernel);
  }
  double worst = 0;
  for (int64_t row = 0; row < rows; row += 37) {
    for (int64_t n = 0; n < kOut; n += 101) {
      double sum = 0, size = 0;
      for (int64_t k = 0; k < kIn; ++k) {
        const double product = weights.at(n, k) * static_cast<double>(data_of<float>(x)[row * kIn + k]);
        sum += product;
        size += std::fabs(product);
      }
      worst = std::max(worst, std::fabs(sum - static_cast<double>(data_of<float>(y)[row * kOut + n])) / size);
    }
  }
  const bool right = worst < (weights.name == "w8a8" ? 1e-2 : 1e-4);
  const double s = median(seconds);
  if (rows == 1) {
    std::printf("  %-20s %9.1f us %7.2f GB/s  of read %.2f  %6.2f bits/weight  packed in %.0f ms  error %.1e %s\n",
                weights.name.c_str(), s * 1e6, static_cast<double>(bytes) / s * 1e-9, median(ratios),
                static_cast<double>(bytes) * 8 / (kOut * kIn), packing * 1e3, worst, right ? "right" : "WRONG");
  } else {
    std::printf("  %-20s %9.1f us %7.1f Gop/s                             error %.1e %s\n", weights.name.c_str(),
                s * 1e6, 2e-9 * static_cast<double>(rows * kOut * kIn) / s, worst, right ? "right" : "WRONG");
  }
  std::fflush(stdout);
  for (sn_weights* w : handles) sn_weights_close(w);
  sn_tensor_close(x);
  sn_tensor_close(y);
  return right;
}

int run(int argc, char** argv) {
  const std::string filter = argc > 1 ? argv[1] : "";
  const int64_t rows = argc > 2 ? std::atoll(argv[2]) : 1;
  if (argc > 3) pool_bytes = std::atoll(argv[3]) << 20;
  sn_device* all = nullptr;
  require(sn_cpu_open(0, &all));
  const Sources sources(all);
  const std::vector<std::pair<std::string, std::function<Weights()>>> kinds = {
      {"w8a8", [&] { return sources.w8a8(); }},
      {"w8 channel", [&] { return sources.w8("w8 channel", SN_INT8_SYMMETRIC, 0); }},
      {"w8 group 128", [&] { return sources.w8("w8 group 128", SN_INT8_ASYMMETRIC, 128); }},
      {"w8 fp8", [&] { return sources.w8("w8 fp8", SN_FP8, 0); }},
      {"w4 group 128", [&] { return sources.w4("w4 group 128", SN_INT4_SYMMETRIC, 128); }},
      {"w4 group 32 zp", [&] { return sources.w4("w4 group 32 zp", SN_INT4_ASYMMETRIC, 32); }},
      {"sparse int8 50%", [&] { return sources.sparse(50, true); }},
      {"sparse int8 70%", [&] { return sources.sparse(70, true); }},
      {"sparse int8 90%", [&] { return sources.sparse(90, true); }},
      {"sparse bf16 50%", [&] { return sources.sparse(50, false); }},
      {"sparse bf16 70%", [&] { return sources.sparse(70, false); }},
      {"sparse bf16 90%", [&] { return sources.sparse(90, false); }},
      {"clustered 4", [&] { return sources.clustered(4); }},
      {"clustered 8", [&] { return sources.clustered(8); }}};
  sn_tensor* pool = make(all, SN_U8, {pool_bytes + (int64_t{128} << 20)});
  std::memset(sn_tensor_data(pool), 1, static_cast<size_t>(pool_bytes + (int64_t{128} << 20)));
  bool right = true;
  for (const auto& kind : kinds) {
    if (kind.first.find(filter) == std::string::npos) continue;
    const Weights weights = kind.second();
    for (int32_t threads : {1, 2}) {
      sn_device* device = nullptr;
      require(sn_cpu_open(threads, &device));
      std::printf("%s, %d thread%s, %lld x %lld x %lld\n", sn_cpu_isa(), threads, threads == 1 ? "" : "s",
                  static_cast<long long>(rows), static_cast<long long>(kIn), static_cast<long long>(kOut));
      right = measure(device, weights, rows, pool) && right;
      sn_device_close(device);
    }
  }
  return right ? 0 : 1;
}

}  // namespace
}  // namespace sinew_bench

int main(int argc, char** argv) { return sinew_bench::run(argc, argv); }
