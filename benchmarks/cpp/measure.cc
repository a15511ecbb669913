#include "measure.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

#if defined(__x86_64__)
#include <emmintrin.h>
#endif

namespace sinew_bench {

using sinew_test::Call;
using sinew_test::Operand;

void require(sn_status status) {
  if (status == SN_OK) return;
  std::fprintf(stderr, "%s\n", sn_last_error());
  std::exit(1);
}

double seconds_of(const std::function<void()>& f) {
  const auto begin = std::chrono::steady_clock::now();
  f();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

LargeCall::LargeCall(sn_device* device, const Call& call, int64_t mib) : device_(device), call_(call) {
  int64_t largest = 1;
  for (const auto* operands : {&call.inputs, &call.outputs}) {
    for (const Operand& operand : *operands) largest = std::max(largest, operand.size());
  }
  repeats_ = std::max<int64_t>(1, (mib << 20) / largest);
  for (const Operand& operand : call.inputs) {
    inputs_.push_back(make(operand));
    kernel_bytes_ += static_cast<double>(operand.size() * (operand.per_row ? repeats_ : 1));
  }
  for (size_t i = 0; i < call.outputs.size(); ++i) {
    const Operand& operand = call.outputs[i];
    outputs_.push_back(i == 0 && call.in_place ? inputs_[0] : make(operand));
    kernel_bytes_ += static_cast<double>(operand.size() * (operand.per_row ? repeats_ : 1));
  }
  // Small inputs and outputs, such as scales, are no part of the probe.
  const int64_t in_size = join_inputs();
  const int64_t out_size = call.outputs.empty() || !call.outputs[0].per_row ? 0 : call.outputs[0].size() * repeats_;
  if (out_size * 32 > in_size) {
    probe_out_ = outputs_[0];
    probe_bytes_ = static_cast<double>(in_size + out_size);
  } else {
    probe_out_ = make({SN_U8, {0}, {}, false});
    probe_bytes_ = static_cast<double>(in_size);
  }
}

// How many bytes the probe reads: those of all large inputs, for which several need a piece of memory of their own.
int64_t LargeCall::join_inputs() {
  const int64_t first = call_.inputs[0].size();
  int64_t size = 0;
  for (const Operand& operand : call_.inputs) {
    if (operand.per_row && operand.size() * 32 > first) size += operand.size() * repeats_;
  }
  probe_in_ = size > first * repeats_ ? make({SN_U8, {size}, {}, false}) : inputs_[0];
  return std::max(size, first * repeats_);
}

LargeCall::~LargeCall() {
  for (sn_tensor* t : all_) sn_tensor_close(t);
}

sn_tensor* LargeCall::make(const Operand& operand) {
  if (operand.running) return make_running(operand);
  std::vector<int64_t> shape = operand.shape;
  const int64_t repeats = operand.per_row ? repeats_ : 1;
  if (!shape.empty()) shape[0] *= repeats;
  sn_tensor* tensor = nullptr;
  require(sn_tensor_create(device_, operand.dtype, static_cast<int32_t>(shape.size()), shape.data(), &tensor));
  all_.push_back(tensor);
  const size_t size = static_cast<size_t>(operand.size());
  auto* data = static_cast<uint8_t*>(sn_tensor_data(tensor));
  for (int64_t r = 0; r < repeats && size > 0; ++r, data += size) {
    if (operand.bytes.empty()) {
      std::memset(data, 0xa5, size);  // so that no page is touched for the first time while the clock runs
    } else {
      std::memcpy(data, operand.bytes.data(), size);
    }
  }
  return tensor;
}

sn_tensor* LargeCall::make_running(const Operand& operand) {
  const int64_t rows = operand.count() - 1, count = rows * repeats_ + 1;
  sn_tensor* tensor = nullptr;
  require(sn_tensor_create(device_, SN_I64, 1, &count, &tensor));
  all_.push_back(tensor);
  std::vector<int64_t> part(static_cast<size_t>(rows + 1));
  if (!operand.bytes.empty()) std::memcpy(part.data(), operand.bytes.data(), operand.bytes.size());
  auto* data = static_cast<int64_t*>(sn_tensor_data(tensor));
  for (int64_t i = 0; i < count; ++i)
    data[i] = i / rows * (part.back() - part.front()) + part[static_cast<size_t>(i % rows)];
  return tensor;
}

void LargeCall::run_kernel() {
  int64_t numbers[4];
  require(call_.run(inputs_, outputs_, numbers));
}

void LargeCall::run_probe() { require(sn_memory_probe(probe_in_, probe_out_)); }

bool LargeCall::outputs_are_right() const {
  for (size_t i = 0; i < call_.outputs.size(); ++i) {
    if (!call_.outputs[i].per_row) continue;  // sums over all rows
    const std::vector<uint8_t>& expected = call_.expected[i];
    const auto* data = static_cast<const uint8_t*>(sn_tensor_data(outputs_[i]));
    for (int64_t r = 0; r < repeats_; ++r, data += expected.size()) {
      if (std::memcmp(data, expected.data(), expected.size()) != 0) return false;
    }
  }
  return true;
}

namespace {

void copy_streaming(uint8_t* to, const uint8_t* from, size_t size) {
#if defined(__x86_64__)
  for (size_t i = 0; i < size; i += 64) {
    for (size_t j = i; j < i + 64; j += 16) {
      _mm_stream_si128(reinterpret_cast<__m128i*>(to + j), _mm_load_si128(reinterpret_cast<const __m128i*>(from + j)));
    }
  }
  _mm_sfence();
#else
  std::memcpy(to, from, size);
#endif
}

// f(begin, size) for equal shares of whole cache lines, one a thread.
void in_shares(int32_t threads, int64_t size, const std::function<void(int64_t, int64_t)>& f) {
  const int64_t share = size / threads / 64 * 64;
  std::vector<std::thread> others;
  for (int32_t t = 1; t < threads; ++t) {
    others.emplace_back(f, t * share, t + 1 == threads ? size - t * share : share);
  }
  f(0, threads == 1 ? size : share);
  for (std::thread& other : others) other.join();
}

}  // namespace

CopyRates measure_copies(sn_device* device, int64_t mib, int pairs) {
  const int64_t size = mib << 20;
  const int32_t threads = sn_device_threads(device);
  sn_tensor *x = nullptr, *y = nullptr;
  require(sn_tensor_create(device, SN_U8, 1, &size, &x));
  require(sn_tensor_create(device, SN_U8, 1, &size, &y));
  auto* from = static_cast<uint8_t*>(sn_tensor_data(x));
  auto* to = static_cast<uint8_t*>(sn_tensor_data(y));
  std::memset(from, 1, static_cast<size_t>(size));
  std::memset(to, 2, static_cast<size_t>(size));
  const double gigabytes = 2e-9 * static_cast<double>(size);
  std::vector<double> plain, streaming, probe, ratios;
  for (int i = 0; i <= pairs; ++i) {
    const double a = gigabytes / seconds_of([&] {
                       in_shares(threads, size, [&](int64_t begin, int64_t n) {
                         std::memcpy(to + begin, from + begin, static_cast<size_t>(n));
                       });
                     });
    const double b = gigabytes / seconds_of([&] {
                       in_shares(threads, size, [&](int64_t begin, int64_t n) {
                         copy_streaming(to + begin, from + begin, static_cast<size_t>(n));
                       });
                     });
    const double c = gigabytes / seconds_of([&] { require(sn_memory_probe(x, y)); });
    if (i == 0) continue;  // warms up
    plain.push_back(a);
    streaming.push_back(b);
    probe.push_back(c);
    ratios.push_back(c / std::max(a, b));
  }
  sn_tensor_close(x);
  sn_tensor_close(y);
  return {median(plain), median(streaming), median(probe), median(ratios)};
}

}  // namespace sinew_bench
