// Convolutions of a GPU that may be cuDNN's beside those of the CPU. Elements are integers whose sums F32 holds
// exactly, so that all orders give the same bits; those of F32 have more bits than TF32 keeps.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "gpu.h"
#include "support/reals.h"
#include "support/values.h"

namespace sinew_test {
namespace {

struct Shape {
  std::vector<int64_t> x, weight;  // [batch, channels, height, width], [out, channels / groups, height, width]
  std::array<int64_t, 8> window;
  int64_t groups = 1;
  sn_dtype dtype = SN_F32, y_dtype = SN_F32;  // of x and the weights, of y
  sn_activation activation = SN_NONE;
  bool bias = true;
  int64_t shift = 0;  // elements that x lies beyond an aligned address

  int64_t size(size_t i) const {
    return (x[2 + i] + 2 * window[4 + i] - window[6 + i] * (window[i] - 1) - 1) / window[2 + i] + 1;
  }
  std::vector<int64_t> y() const { return {x[0], weight[0], size(0), size(1)}; }
  std::string text() const {
    return text_of(x) + " with " + text_of(weight) + " " + name_of(dtype) + " to " + name_of(y_dtype);
  }
};

std::vector<uint8_t> integers(sn_dtype dtype, int64_t count, int64_t most, uint64_t seed) {
  const std::vector<uint8_t> uniform = uniform_elements(SN_F32, count, 1, seed);
  std::vector<uint8_t> bytes(static_cast<size_t>(count * size_of(dtype)));
  const std::vector<double> numbers = doubles_of(SN_F32, uniform);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t integer = static_cast<int64_t>(numbers[static_cast<size_t>(i)] * static_cast<double>(most));
    put_f32(dtype, static_cast<float>(integer), bytes.data() + i * size_of(dtype));
  }
  return bytes;
}

// The status, and y's bytes if all went well.
sn_status convolve(sn_device* device, const Shape& s, std::vector<uint8_t>* bytes) {
  const int64_t elements = count_of(s.x), shape[] = {s.x[0], s.x[1], s.x[2], s.x[3]};
  Tensor whole(device, s.dtype, {elements + s.shift}), x, weight(device, s.dtype, s.weight);
  Tensor bias(device, SN_F32, {s.weight[0]}), y(device, s.y_dtype, s.y());
  EXPECT_EQ(sn_tensor_view(whole, s.shift, 4, shape, x.out()), SN_OK) << sn_last_error();
  const std::vector<uint8_t> numbers = integers(s.dtype, elements, s.dtype == SN_F32 ? 4095 : 255, 11);
  const std::vector<uint8_t> weights = integers(s.dtype, count_of(s.weight), 3, 12);
  const std::vector<uint8_t> biases = integers(SN_F32, s.weight[0], 1000, 13);
  write(x, numbers.data(), numbers.size());
  write(weight, weights.data(), weights.size());
  write(bias, biases.data(), biases.size());
  sn_weights* packed = nullptr;
  EXPECT_EQ(sn_pack_float(weight, &packed), SN_OK) << sn_last_error();
  const sn_status status = sn_conv2d(x, packed, s.window.data(), s.groups,
                                     s.bias ? static_cast<sn_tensor*>(bias) : nullptr, s.activation, y);
  bytes->resize(y.size());
  if (status == SN_OK) {
    EXPECT_EQ(sn_tensor_read(y, 0, bytes->data(), static_cast<int64_t>(y.size())), SN_OK) << sn_last_error();
  }
  sn_weights_close(packed);
  return status;
}

std::vector<uint8_t> result(bool on_gpu, const Shape& s, int32_t index = 0) {
  sn_device* device = opened(on_gpu, index);
  std::vector<uint8_t> bytes;
  EXPECT_EQ(convolve(device, s, &bytes), SN_OK) << s.text() << ": " << sn_last_error();
  sn_device_close(device);
  return bytes;
}

// Of the stand-in; null where it is not there.
template <class T>
std::atomic<T>* stub(const char* name) {
  return of_stub<std::atomic<T>>("SINEW_CUDNN", name);
}
int64_t convolutions_of_stub() {
  const std::atomic<int64_t>* count = stub<int64_t>("sn_dnn_stub_convolutions");
  return count == nullptr ? 0 : count->load();
}
void expect_no_breach() {
  const std::atomic<int64_t>* forbidden = stub<int64_t>("sn_dnn_stub_forbidden");
  EXPECT_TRUE(forbidden == nullptr || *forbidden == 0) << *forbidden;
}
bool has_stub() {
  sn_device_close(opened(true));
  sn_cuda_cudnn_description();
  return stub<int64_t>("sn_dnn_stub_convolutions") != nullptr && convolutions_of_stub() >= 0 &&
         std::string(sn_cuda_cudnn_description()).rfind("cuDNN 9.", 0) == 0;
}

// Each of a size that cuDNN is asked for.
std::vector<Shape> shapes() {
  return {{{1, 32, 32, 32}, {16, 32, 3, 3}, {3, 3, 1, 1, 1, 1, 1, 1}},
          // Rows of weights that packing has put further apart.
          {{2, 37, 31, 37}, {35, 37, 3, 5}, {3, 5, 1, 2, 2, 0, 1, 1}},
          {{1, 64, 40, 41}, {68, 64, 1, 1}, {1, 1, 1, 1, 0, 0, 1, 1}},
          {{1, 24, 50, 37}, {32, 12, 3, 3}, {3, 3, 1, 1, 2, 3, 2, 3}, 2},
          {{1, 65, 90, 90}, {65, 1, 3, 3}, {3, 3, 1, 1, 1, 1, 1, 1}, 65}};
}

TEST(GpuConvolutions, CudnnIsNamedBeforeItIsLookedFor) {
  sn_device_close(opened(true));  // loads the plug-in
  const std::string longest(4095, 'x');
  EXPECT_EQ(sn_cuda_cudnn((longest + "x").c_str()), SN_INVALID_ARGUMENT);
  EXPECT_STREQ(sn_last_error(), "the name of cuDNN's file has more than 4095 bytes");
  const std::string found = sn_cuda_cudnn_description();
  const char* expected = std::getenv("SINEW_TEST_CUDNN_SAYS");
  EXPECT_NE(found.find(expected == nullptr ? "" : expected), std::string::npos) << found;
  EXPECT_TRUE(found.rfind("cuDNN 9.", 0) == 0 || found.rfind("Sinew, as ", 0) == 0) << found;
  EXPECT_EQ(sn_cuda_cudnn("none"), SN_INVALID_ARGUMENT);
  EXPECT_STREQ(sn_last_error(), "cuDNN was looked for before its file was named");
  EXPECT_EQ(sn_cuda_cudnn_description(), found);
}

// What it is told of shapes, windows, groups and layouts, and what becomes of its sums.
TEST(GpuConvolutions, LargeOnesAreThoseOfTheCpu) {
  const bool stubbed = has_stub();
  for (Shape s : shapes()) {
    for (sn_dtype dtype : {SN_F32, SN_BF16}) {
      for (sn_dtype y_dtype : {SN_F32, SN_BF16}) {
        s.dtype = dtype;
        s.y_dtype = y_dtype;
        s.activation = y_dtype == SN_F32 ? SN_NONE : SN_RELU;
        s.bias = s.groups == 1;
        const std::vector<uint8_t> expected = result(false, s);
        ASSERT_EQ(expected, result(true, s)) << s.text();
        const int64_t before = convolutions_of_stub();
        ASSERT_EQ(expected, result(true, s)) << s.text() << ", as chosen before";
        // The stand-in refuses BF16 with one channel a group.
        const bool refused = dtype == SN_BF16 && s.weight[1] == 1;
        EXPECT_EQ(convolutions_of_stub() - before, stubbed && !refused ? 1 : 0) << s.text();
      }
    }
  }
  expect_no_breach();
}

TEST(GpuConvolutions, AreNotCudnnsWhereAddressesAreOdd) {
  Shape s = shapes()[0];
  s.shift = 1;
  s.x[2] = 33;
  const std::vector<uint8_t> expected = result(false, s);
  int64_t before = convolutions_of_stub();
  EXPECT_EQ(expected, result(true, s));
  EXPECT_EQ(convolutions_of_stub(), before);
  // Nor is that what is chosen for others of the shape.
  s.shift = 0;
  EXPECT_EQ(expected, result(true, s));
  before = convolutions_of_stub();
  EXPECT_EQ(expected, result(true, s));
  EXPECT_EQ(convolutions_of_stub() - before, has_stub() ? 1 : 0);
}

TEST(GpuConvolutions, AreCudnnsOnlyIfThatIsClearlyFaster) {
  if (!has_stub()) GTEST_SKIP() << "the stand-in is not there";
  std::atomic<int64_t>& time = *stub<int64_t>("sn_dnn_stub_time");
  Shape s = shapes()[0];
  s.x[2] = 34;
  // Our own kernel: one phase more than steps of 16 columns, for one tile of channels and of windows as many as there
  // are, each 256 steps of the stand-in; nothing has to be moved, but sums are finished, 16 a step.
  const int64_t tiles = (34 * 32 + 63) / 64, own = tiles * (32 * 9 / 16 + 1) * 256;
  const int64_t finish = 16 * 34 * 32 / 16;
  const std::vector<uint8_t> expected = result(false, s);
  time = own - finish;
  EXPECT_EQ(expected, result(true, s));
  const int64_t before = convolutions_of_stub();
  time = 0;
  EXPECT_EQ(expected, result(true, s));
  EXPECT_EQ(convolutions_of_stub(), before) << "as fast is not clearly faster, and the choice stays";
  // Just beyond and just below the border.
  for (const double times : {1.09, 1.11}) {
    s.x[2] = 34;
    s.window[4] = times > 1.1 ? 2 : 0;  // other shapes
    s.x[2] += 2 - 2 * s.window[4];
    time = static_cast<int64_t>(static_cast<double>(own) / times) - finish;
    EXPECT_EQ(result(false, s), result(true, s));
    const int64_t tried = convolutions_of_stub();
    EXPECT_EQ(result(false, s), result(true, s));
    EXPECT_EQ(convolutions_of_stub() - tried, times > 1.1 ? 1 : 0) << times;
  }
  time = 1;
  expect_no_breach();
}

TEST(GpuConvolutions, ThatFailInCudnnAreErrorsAndThoseItRefusesAreOurs) {
  if (!has_stub()) GTEST_SKIP() << "the stand-in is not there";
  std::atomic<int>& status = *stub<int>("sn_dnn_stub_status");
  Shape s = shapes()[0];
  s.x[2] = 36;
  const std::vector<uint8_t> expected = result(false, s);
  EXPECT_EQ(expected, result(true, s));
  sn_device* device = opened(true);
  std::vector<uint8_t> bytes;
  status = 5003;
  EXPECT_EQ(convolve(device, s, &bytes), SN_INTERNAL);
  EXPECT_NE(std::string(sn_last_error()).find("a convolution of cuDNN failed"), std::string::npos) << sn_last_error();
  EXPECT_NE(std::string(sn_last_error()).find("CUDNN_STATUS_EXECUTION_FAILED"), std::string::npos) << sn_last_error();
  for (int refused : {3000, 2000, 4000}) {
    status = refused;
    EXPECT_EQ(convolve(device, s, &bytes), SN_OK) << sn_last_error();
    EXPECT_EQ(bytes, expected) << refused;
  }
  // What fails while it is tried is not taken.
  Shape other = s;
  other.x[2] = 37;
  status = 5000;
  EXPECT_EQ(convolve(device, other, &bytes), SN_OK) << sn_last_error();
  EXPECT_EQ(bytes, result(false, other));
  status = 0;
  const int64_t before = convolutions_of_stub();
  EXPECT_EQ(convolve(device, other, &bytes), SN_OK);
  EXPECT_EQ(convolutions_of_stub(), before);
  EXPECT_EQ(convolve(device, s, &bytes), SN_OK);
  EXPECT_EQ(bytes, expected);
  EXPECT_EQ(convolutions_of_stub(), before + 1);
  sn_device_close(device);
}

TEST(GpuConvolutions, OfManyThreadsAndGpus) {
  sn_device_close(opened(true));
  int32_t gpus = 0;
  ASSERT_EQ(sn_cuda_count(&gpus), SN_OK) << sn_last_error();
  std::vector<Shape> all;
  std::vector<std::vector<uint8_t>> expected;
  // GPUs are asked for what cuDNN takes, the stand-in for less, which is enough for ThreadSanitizer.
  const int64_t height = quick() ? 6 : 38;
  for (sn_dtype dtype : {SN_F32, SN_BF16}) {
    all.push_back(shapes()[0]);
    all.back().x[2] = height + (dtype == SN_BF16);
    all.back().dtype = dtype;
    expected.push_back(result(false, all.back()));
  }
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 6; ++t) {
    threads.emplace_back([&, t] {
      for (int round = 0; round < 2; ++round) {
        const size_t i = static_cast<size_t>(t + round) % all.size();
        wrong += result(true, all[i], t % gpus) != expected[i];
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  // Of a shape and GPU two descriptors stay, those of its plan and engine.
  const std::atomic<int64_t>* living = has_stub() ? stub<int64_t>("sn_dnn_stub_descriptors") : nullptr;
  const int64_t before = living == nullptr ? 0 : living->load();
  for (size_t i = 0; i < all.size(); ++i) EXPECT_EQ(result(true, all[i]), expected[i]);
  if (living != nullptr) {
    EXPECT_EQ(*living, before);
    Shape s = all[0];
    s.x[2] = height + 2;
    result(true, s);
    EXPECT_EQ(*living, before + 2);
  }
  expect_no_breach();
}

}  // namespace
}  // namespace sinew_test
