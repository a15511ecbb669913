// The CUDA back end by way of the C interface, on the plug-in that SINEW_CUDA_PLUGIN names: the real one where there is
// a GPU, else host_cudart.cc.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "gpu.h"
#include "support/call.h"
#include "support/quantizing.h"
#include "support/tensor.h"
#include "support/values.h"

namespace sinew_test {
namespace {

constexpr int kNotRun = 77;
constexpr uint8_t kCanary = 0x5c, kPattern = 0xa5;

// Elements on both sides of an operand that are watched. With 0, SINEW_TEST_MARGIN leaves that to AddressSanitizer, or
// to compute-sanitizer, who see what is read there as well.
int64_t margin() {
  static const char* const asked = std::getenv("SINEW_TEST_MARGIN");
  return asked == nullptr ? 64 : std::atoll(asked);
}

const char* plugin_path() { return std::getenv("SINEW_CUDA_PLUGIN"); }

sn_device* gpu() {
  static sn_device* const device = [] {
    sn_device* opened = nullptr;
    if (sn_cuda_load(plugin_path()) != SN_OK || sn_cuda_open(0, &opened) != SN_OK)
      throw std::runtime_error(sn_last_error());
    return opened;
  }();
  return device;
}

// An operand in the GPU's memory, `shift` elements beyond an aligned address, between bytes that are watched.
class DeviceOperand {
 public:
  DeviceOperand(const Operand& operand, int64_t shift)
      : whole_(gpu(), operand.dtype, {shift + operand.count() + 2 * margin()}),
        size_(static_cast<size_t>(operand.size())),
        offset_(static_cast<size_t>((margin() + shift) * size_of(operand.dtype))) {
    EXPECT_EQ(sn_tensor_view(whole_, margin() + shift, static_cast<int32_t>(operand.shape.size()), operand.shape.data(),
                             part_.out()),
              SN_OK)
        << sn_last_error();
  }
  void fill(const std::vector<uint8_t>& bytes) {
    std::vector<uint8_t> all(whole_.size(), kCanary);
    for (size_t i = 0; i < size_; ++i) all[offset_ + i] = bytes.empty() ? kPattern : bytes[i];
    EXPECT_EQ(sn_tensor_write(whole_, 0, all.data(), static_cast<int64_t>(all.size())), SN_OK) << sn_last_error();
  }
  // The operand's bytes; empty if what surrounds them was written.
  bool read(std::vector<uint8_t>* bytes) const {
    std::vector<uint8_t> all(whole_.size());
    EXPECT_EQ(sn_tensor_read(whole_, 0, all.data(), static_cast<int64_t>(all.size())), SN_OK) << sn_last_error();
    bytes->assign(all.begin() + static_cast<ptrdiff_t>(offset_), all.begin() + static_cast<ptrdiff_t>(offset_ + size_));
    for (size_t i = 0; i < all.size(); ++i) {
      if ((i < offset_ || i >= offset_ + size_) && all[i] != kCanary) return false;
    }
    return true;
  }
  sn_tensor* tensor() const { return part_; }

 private:
  Tensor whole_, part_;
  size_t size_, offset_;
};

// Packs the call's weights and closes what they are packed from, then runs the call.
sn_status run_packed(const Call& call, const Tensors& inputs, const Tensors& outputs, int64_t shift) {
  sn_weights* weights = nullptr;
  {
    std::vector<std::unique_ptr<DeviceOperand>> sources;
    Tensors tensors;
    for (const Operand& operand : call.sources) {
      sources.push_back(std::make_unique<DeviceOperand>(operand, shift));
      sources.back()->fill(operand.bytes);
      tensors.push_back(sources.back()->tensor());
    }
    const sn_status packed = call.pack(tensors, &weights);
    if (packed != SN_OK) return packed;
  }
  const sn_status status = call.run_packed(inputs, weights, outputs);
  sn_weights_close(weights);
  return status;
}

std::string run_on_gpu(const Call& call, int64_t shift, bool in_place) {
  std::vector<std::unique_ptr<DeviceOperand>> in, out;
  Tensors inputs, outputs;
  for (const Operand& operand : call.inputs) {
    in.push_back(std::make_unique<DeviceOperand>(operand, shift));
    in.back()->fill(operand.bytes);
    inputs.push_back(in.back()->tensor());
  }
  for (size_t i = 0; i < call.outputs.size(); ++i) {
    if (in_place && i == 0) {
      out.push_back(nullptr);
      outputs.push_back(inputs[0]);
      continue;
    }
    out.push_back(std::make_unique<DeviceOperand>(call.outputs[i], shift));
    out.back()->fill(call.outputs[i].bytes);
    outputs.push_back(out.back()->tensor());
  }
  int64_t numbers[4] = {-1, -1, -1, -1};
  const sn_status status =
      call.run_packed ? run_packed(call, inputs, outputs, shift) : call.run(inputs, outputs, numbers);
  const std::string where = call.label + (shift > 0 ? ", misaligned" : "") + (in_place ? ", in place: " : ": ");
  if (status != call.status) return where + "status " + std::to_string(status) + " (" + sn_last_error() + ")";
  std::vector<uint8_t> bytes;
  std::vector<std::vector<uint8_t>> results;
  for (size_t i = in_place ? 1 : 0; i < in.size(); ++i) {
    if (!in[i]->read(&bytes)) return where + "bytes around input " + std::to_string(i) + " were written";
    if (bytes != call.inputs[i].bytes) return where + "input " + std::to_string(i) + " was written";
  }
  for (size_t i = 0; i < out.size(); ++i) {
    if (!(out[i] != nullptr ? *out[i] : *in[0]).read(&bytes))
      return where + "bytes around output " + std::to_string(i) + " were written";
    if (status != SN_OK) continue;
    const std::string differs = difference(call, i, bytes.data());
    if (!differs.empty()) return where + "output " + std::to_string(i) + ": " + differs;
    results.push_back(bytes);
  }
  const std::string other = status == SN_OK ? other_fingerprint(call, results) : "";
  if (!other.empty()) return where + other;
  for (size_t i = 0; status == SN_OK && i < call.numbers.size(); ++i) {
    if (numbers[i] != call.numbers[i])
      return where + "number " + std::to_string(i) + " is " + std::to_string(numbers[i]) + ", expected " +
             std::to_string(call.numbers[i]);
  }
  return "";
}

std::string check_on_gpu(const Call& call, int64_t number) {
  if (quick()) return run_on_gpu(call, number % 2, call.in_place && number % 4 >= 2);
  for (int64_t shift : {0, 1}) {
    std::string wrong = run_on_gpu(call, shift, false);
    if (wrong.empty() && call.in_place) wrong = run_on_gpu(call, shift, true);
    if (!wrong.empty()) return wrong;
  }
  return "";
}

// The operations that have kernels.
const char* const kOperations[] = {"prune_threshold",
                                   "prune_smallest",
                                   "prune_nm",
                                   "key_histogram",
                                   "magnitude_count",
                                   "range",
                                   "scale",
                                   "quantize",
                                   "dequantize",
                                   "fake_quantize",
                                   "quantization_error",
                                   "weighted_sum",
                                   "difference",
                                   "merge_ties",
                                   "merge_dare",
                                   "block_products",
                                   "cluster_assign",
                                   "cluster_sums",
                                   "cluster_decode",
                                   "convert",
                                   "count_nonzeros",
                                   "bitmap_encode",
                                   "bitmap_decode",
                                   "reduce",
                                   "compress",
                                   "reduce_compressed",
                                   "expand",
                                   "rms_norm",
                                   "quantize_per_token",
                                   "rms_norm_quantize",
                                   "layer_norm",
                                   "batch_norm",
                                   "max_pool2d",
                                   "avg_pool2d",
                                   "softmax",
                                   "activate",
                                   "add",
                                   "multiply",
                                   "embedding",
                                   "rotary_embedding",
                                   "transpose_heads",
                                   "attention",
                                   "linear_w8a8",
                                   "linear_w8",
                                   "linear_w4",
                                   "linear_sparse",
                                   "linear_clustered",
                                   "linear_float",
                                   "conv2d",
                                   "matmul"};

class GpuSectionTest : public testing::Test {
 public:
  explicit GpuSectionTest(const Section& section) : section_(section) {}

  void TestBody() override {
    restart_seeds();
    int64_t calls = 0;
    int failures = 0;
    section_.calls([&](const Call& call) {
      ++calls;
      if (failures >= 5) return;
      const std::string wrong = check_on_gpu(call, calls);
      if (wrong.empty()) return;
      ++failures;
      ADD_FAILURE() << wrong;
    });
    EXPECT_GT(calls, 0) << "the section has no calls";
  }

 private:
  Section section_;
};

void register_sections() {
  for (const char* op : kOperations) {
    for (const Case& c : all_cases()) {
      if (std::string(c.op) != op) continue;
      for (const Section& section : c.sections) {
        testing::RegisterTest(c.op, section.name, nullptr, nullptr, __FILE__, __LINE__,
                              [section]() -> testing::Test* { return new GpuSectionTest(section); });
      }
    }
  }
}

bool says(const char* word) { return std::string(sn_last_error()).find(word) != std::string::npos; }

// In processes of their own, as a plug-in that has been loaded stays.
TEST(Refused, WhatIsNoPlugin) {
  EXPECT_EQ(sn_cuda_load("/nowhere/libsinew_cuda.so"), SN_UNSUPPORTED);
  EXPECT_TRUE(says("cannot be loaded") && says("/nowhere/libsinew_cuda.so")) << sn_last_error();
  EXPECT_EQ(sn_cuda_load("libc.so.6"), SN_UNSUPPORTED);
  EXPECT_TRUE(says("'libc.so.6' is not Sinew's CUDA plug-in")) << sn_last_error();
  const char* other = std::getenv("SINEW_CUDA_OTHER_BUILD");
  ASSERT_NE(other, nullptr);
  EXPECT_EQ(sn_cuda_load(other), SN_UNSUPPORTED);
  EXPECT_TRUE(says("of another build")) << sn_last_error();
}

TEST(Refused, DevicesWithoutAPlugin) {
  for (const char* path : {"/nowhere/libsinew_cuda.so", "libc.so.6"}) EXPECT_EQ(sn_cuda_load(path), SN_UNSUPPORTED);
  int32_t count = 5;
  // Where there is a GPU, and the real plug-in beside the library, this finds it.
  if (sn_cuda_count(&count) == SN_OK) GTEST_SKIP() << count << " GPUs";
  EXPECT_EQ(count, 0);
  EXPECT_TRUE(says("no GPU can be used, as ")) << sn_last_error();
  sn_device* device = nullptr;
  EXPECT_EQ(sn_cuda_open(0, &device), SN_UNSUPPORTED);
  EXPECT_EQ(device, nullptr);
  EXPECT_TRUE(says("no GPU can be used, as ")) << sn_last_error();
  EXPECT_STREQ(sn_cuda_description(0), "");
}

TEST(Plugin, SaysWhichGpusThereAre) {
  gpu();
  EXPECT_EQ(sn_cuda_load("/nowhere"), SN_OK);  // it is there already
  int32_t count = 0;
  ASSERT_EQ(sn_cuda_count(&count), SN_OK) << sn_last_error();
  EXPECT_GE(count, 1);
  EXPECT_STRNE(sn_cuda_description(0), "");
  sn_device* device = nullptr;
  for (int32_t index : {-1, count, INT32_MAX, INT32_MIN}) {
    EXPECT_EQ(sn_cuda_open(index, &device), SN_INVALID_ARGUMENT);
    EXPECT_TRUE(says(("there is no GPU " + std::to_string(index)).c_str())) << sn_last_error();
    EXPECT_EQ(device, nullptr);
    EXPECT_STREQ(sn_cuda_description(index), "");
  }
  EXPECT_EQ(sn_cuda_open(0, nullptr), SN_INVALID_ARGUMENT);
  EXPECT_EQ(sn_cuda_count(nullptr), SN_INVALID_ARGUMENT);
  EXPECT_EQ(sn_device_threads(gpu()), 1);
}

TEST(Memory, IsZeroedAndCopied) {
  for (int64_t n : {int64_t{0}, int64_t{1}, int64_t{4097}, int64_t{5000011}}) {
    Tensor x(gpu(), SN_U8, {n});
    std::vector<uint8_t> bytes(static_cast<size_t>(n), 7);
    ASSERT_EQ(sn_tensor_read(x, 0, bytes.data(), n), SN_OK) << sn_last_error();
    EXPECT_TRUE(std::all_of(bytes.begin(), bytes.end(), [](uint8_t b) { return b == 0; }));
    const std::vector<uint8_t> written = random_bytes(n, 5);
    ASSERT_EQ(sn_tensor_write(x, 0, written.data(), n), SN_OK) << sn_last_error();
    const int64_t some = n > 2 ? 2 : 0;
    EXPECT_EQ(sn_tensor_write(x, n > 2 ? 1 : 0, "ab", some), SN_OK);
    ASSERT_EQ(sn_tensor_read(x, 0, bytes.data(), n), SN_OK);
    std::vector<uint8_t> expected = written;
    if (some > 0) std::memcpy(expected.data() + 1, "ab", 2);
    EXPECT_EQ(bytes, expected);
    EXPECT_EQ(sn_device_synchronize(gpu()), SN_OK);
  }
}

void create_from(const std::vector<uint8_t>& bytes, Tensor* tensor) {
  const int64_t shape[] = {static_cast<int64_t>(bytes.size() / 4)};
  ASSERT_EQ(sn_tensor_create_from(gpu(), SN_F32, 1, shape, bytes.data(), tensor->out()), SN_OK) << sn_last_error();
}
std::vector<uint8_t> floats(int64_t count, float value) {
  return bytes_of(std::vector<float>(static_cast<size_t>(count), value));
}
std::vector<uint8_t> read_back(const sn_tensor* tensor, size_t size) {
  std::vector<uint8_t> bytes(size);
  EXPECT_EQ(sn_tensor_read(tensor, 0, bytes.data(), static_cast<int64_t>(size)), SN_OK) << sn_last_error();
  return bytes;
}

TEST(Memory, IsCreatedFromTheHosts) {
  for (int64_t n : {0, 1, 4097, 65535, 65536, 1250003}) {
    const std::vector<uint8_t> bytes = random_bytes(4 * n, 6);
    Tensor x;
    create_from(bytes, &x);
    EXPECT_EQ(read_back(x, bytes.size()), bytes) << n;
  }
  const int64_t shape[] = {1 << 20}, most[] = {int64_t{1} << 50};
  sn_tensor* tensor = nullptr;
  EXPECT_EQ(sn_tensor_create_from(gpu(), SN_F32, 1, shape, nullptr, &tensor), SN_INVALID_ARGUMENT);
  EXPECT_TRUE(says("the buffer is null")) << sn_last_error();
  EXPECT_EQ(sn_tensor_create_from(gpu(), SN_F32, 1, most, most, &tensor), SN_OUT_OF_MEMORY);
  EXPECT_TRUE(says("no memory for 4503599627370496 bytes of a tensor on cuda")) << sn_last_error();
  EXPECT_EQ(tensor, nullptr);
}

// While one tile is computed the next one is copied in. On the stand-in a kernel runs when something waits for it.
TEST(Memory, IsCreatedBesideKernels) {
  constexpr int64_t kElements = 300007;
  const auto* const run = of_stub<std::atomic<int64_t>>("SINEW_CUDA_PLUGIN", "sn_host_kernels_run");
  const std::vector<uint8_t> ones = floats(kElements, 1), twos = floats(kElements, 2);
  Tensor sums(gpu(), SN_F32, {kElements});
  ASSERT_EQ(sn_device_synchronize(gpu()), SN_OK);
  const auto kernels = [&] { return run == nullptr ? -1 : run->load(); };
  const int64_t before = kernels();
  {
    Tensor tile;
    create_from(ones, &tile);
    ASSERT_EQ(sn_add(tile, tile, sums), SN_OK) << sn_last_error();
  }
  // Its memory is not used again before the kernel has read it.
  Tensor next;
  create_from(twos, &next);
  EXPECT_EQ(kernels(), before) << "the copy has waited for a kernel";
  EXPECT_EQ(read_back(sums, twos.size()), twos);
  EXPECT_EQ(read_back(next, twos.size()), twos);

  // What a kernel may still use is another matter.
  ASSERT_EQ(sn_add(next, next, sums), SN_OK) << sn_last_error();
  ASSERT_EQ(sn_tensor_write(next, 0, ones.data(), 4 * kElements), SN_OK) << sn_last_error();
  EXPECT_EQ(kernels(), run == nullptr ? -1 : before + 2) << "the copy has not waited for a kernel";
  EXPECT_EQ(read_back(sums, twos.size()), floats(kElements, 4));
}

TEST(Memory, CopiesStayInside) {
  sn_device* cpu = nullptr;
  ASSERT_EQ(sn_cpu_open(1, &cpu), SN_OK);
  for (sn_device* device : {cpu, gpu()}) {
    Tensor x(device, SN_F32, {10});
    char buffer[64];
    for (int64_t offset : {int64_t{-1}, int64_t{1}, int64_t{41}, INT64_MAX}) {
      EXPECT_EQ(sn_tensor_read(x, offset, buffer, 40), SN_INVALID_ARGUMENT);
      EXPECT_EQ(sn_tensor_write(x, offset, buffer, 40), SN_INVALID_ARGUMENT);
    }
    EXPECT_EQ(sn_tensor_read(x, 0, buffer, -1), SN_INVALID_ARGUMENT);
    EXPECT_EQ(sn_tensor_read(x, 0, nullptr, 1), SN_INVALID_ARGUMENT);
    EXPECT_EQ(sn_tensor_read(nullptr, 0, buffer, 1), SN_INVALID_ARGUMENT);
    EXPECT_EQ(sn_tensor_read(x, 40, nullptr, 0), SN_OK);
    const float value = 2.5f;
    EXPECT_EQ(sn_tensor_write(x, 36, &value, 4), SN_OK);
    float back = 0;
    EXPECT_EQ(sn_tensor_read(x, 36, &back, 4), SN_OK);
    EXPECT_EQ(back, value);
  }
  sn_device_close(cpu);
}

TEST(Memory, ThatIsNotThereIsAnError) {
  const int64_t shape[] = {int64_t{1} << 50};
  sn_tensor* tensor = nullptr;
  EXPECT_EQ(sn_tensor_create(gpu(), SN_U8, 1, shape, &tensor), SN_OUT_OF_MEMORY);
  EXPECT_TRUE(says("1125899906842624 bytes")) << sn_last_error();
  EXPECT_EQ(tensor, nullptr);
  Tensor works(gpu(), SN_U8, {100});
}

TEST(Memory, OfTheHostIsRefused) {
  float values[4] = {};
  const int64_t shape[] = {4};
  sn_tensor* tensor = nullptr;
  EXPECT_EQ(sn_tensor_wrap(gpu(), values, SN_F32, 1, shape, &tensor), SN_UNSUPPORTED);
  EXPECT_TRUE(says("copy it")) << sn_last_error();
  EXPECT_EQ(sn_tensor_map(gpu(), "/proc/self/exe", 0, SN_F32, 1, shape, &tensor), SN_UNSUPPORTED);
  EXPECT_EQ(tensor, nullptr);
}

TEST(Devices, DoNotMix) {
  sn_device* cpu = nullptr;
  ASSERT_EQ(sn_cpu_open(1, &cpu), SN_OK);
  sn_device* other = nullptr;
  ASSERT_EQ(sn_cuda_open(0, &other), SN_OK) << sn_last_error();
  {
    Tensor x(gpu(), SN_F32, {10}), on_cpu(cpu, SN_F32, {10}), on_other(other, SN_F32, {10});
    for (sn_tensor* out : {static_cast<sn_tensor*>(on_cpu), static_cast<sn_tensor*>(on_other)}) {
      EXPECT_EQ(sn_prune_threshold(x, 1, out, nullptr), SN_INVALID_ARGUMENT);
      EXPECT_TRUE(says("different devices")) << sn_last_error();
      EXPECT_EQ(sn_prune_threshold(out, 1, x, nullptr), SN_INVALID_ARGUMENT);
    }
  }
  sn_device_close(cpu);
  sn_device_close(other);
}

TEST(Devices, CloseBeforeTheirTensors) {
  sn_device* device = nullptr;
  ASSERT_EQ(sn_cuda_open(0, &device), SN_OK) << sn_last_error();
  Tensor x(device, SN_F32, {1000}), view;
  const int64_t ten = 10;
  ASSERT_EQ(sn_tensor_view(x, 5, 1, &ten, view.out()), SN_OK);
  sn_device_close(device);
  float value;
  EXPECT_EQ(sn_prune_threshold(x, 1, x, nullptr), SN_INVALID_ARGUMENT);
  EXPECT_EQ(sn_tensor_read(x, 0, &value, 4), SN_INVALID_ARGUMENT);
  EXPECT_TRUE(says("closed")) << sn_last_error();
  EXPECT_EQ(sn_device_synchronize(device), SN_INVALID_ARGUMENT);
}

TEST(Devices, SayWhatHasNoKernel) {
  Tensor x(gpu(), SN_F32, {8, 8}), counts(gpu(), SN_I64, {5});
  EXPECT_EQ(sn_value_histogram(x, 0, 1, counts), SN_UNSUPPORTED);
  EXPECT_TRUE(says("value_histogram has no CUDA kernel yet")) << sn_last_error();
}

TEST(Devices, ServeManyCallersAtOnce) {
  static constexpr int64_t kElements = 100003;
  std::atomic<int> wrong{0};
  std::vector<std::thread> callers;
  for (int c = 0; c < 4; ++c) {
    callers.emplace_back([&wrong, c] {
      for (int round = 0; round < 5; ++round) {
        Tensor x, out(gpu(), SN_F32, {kElements});
        std::vector<float> values(kElements), back(kElements);
        for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 100) + 1;
        int64_t zeros = 0;
        const float threshold = static_cast<float>(c * 10 + round);
        const bool anew = (c + round) % 2 == 0;
        bool ok = anew ? sn_tensor_create_from(gpu(), SN_F32, 1, &kElements, values.data(), x.out()) == SN_OK
                       : sn_tensor_create(gpu(), SN_F32, 1, &kElements, x.out()) == SN_OK &&
                             sn_tensor_write(x, 0, values.data(), 4 * kElements) == SN_OK;
        ok = ok && sn_prune_threshold(x, threshold, out, &zeros) == SN_OK;
        ok = ok && sn_tensor_read(out, 0, back.data(), 4 * kElements) == SN_OK;
        int64_t expected = 0;
        for (size_t i = 0; i < values.size(); ++i) {
          const bool pruned = values[i] <= threshold;
          expected += pruned;
          ok = ok && back[i] == (pruned ? 0 : values[i]);
        }
        wrong += !(ok && zeros == expected);
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(wrong, 0);
}

}  // namespace

int run_all() {
  std::string& filter = testing::GTEST_FLAG(filter);
  if (plugin_path() == nullptr) {
    filter = "Refused.*";
  } else {
    filter += filter.find('-') == std::string::npos ? "-Refused.*" : ":Refused.*";
    int32_t count = 0;
    const bool loaded = sn_cuda_load(plugin_path()) == SN_OK;
    if (!loaded || sn_cuda_count(&count) != SN_OK) {
      std::printf("%s: %s\n", loaded ? "NOT RUN" : "FAILED", sn_last_error());
      return loaded ? kNotRun : 1;
    }
    std::printf("%s\n", sn_cuda_description(0));
    register_sections();
  }
  const int result = RUN_ALL_TESTS();
  if (plugin_path() != nullptr) sn_device_close(gpu());
  if (sn_live_tensors() != 0) {
    std::printf("FAILED: %lld tensors are still open\n", static_cast<long long>(sn_live_tensors()));
    return 1;
  }
  return result;
}

}  // namespace sinew_test

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  return sinew_test::run_all();
}
