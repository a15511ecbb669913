#include "support/ranks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <deque>
#include <random>
#include <string>
#include <thread>

#include "support/check.h"
#include "support/number.h"
#include "support/values.h"

namespace sinew_test {
namespace {

// Element i of a rank's input: within [-4, 4] and so that sums of 8 ranks fit a byte. It repeats after kPeriod
// elements.
constexpr int64_t kPeriod = 81;
int64_t input(int32_t rank, int64_t i) { return (i * 7 + rank * 5 + i / 9) % 9 - 4; }

double expected(sn_reduction reduction, sn_dtype dtype, int32_t world_size, int64_t i) {
  double result = static_cast<double>(input(0, i));
  for (int32_t r = 1; r < world_size; ++r) {
    const double x = static_cast<double>(input(r, i));
    result = reduction == SN_MIN ? std::min(result, x) : reduction == SN_MAX ? std::max(result, x) : result + x;
  }
  if (reduction != SN_AVERAGE) return result;
  result /= world_size;
  return dtype == SN_I8 || dtype == SN_I32 ? std::nearbyint(result) : result;
}

// A number as an element, and back.
void put_number(sn_dtype dtype, double value, uint8_t* p) {
  if (dtype == SN_I8) {
    *reinterpret_cast<int8_t*>(p) = static_cast<int8_t>(value);
  } else if (dtype == SN_I32) {
    const int32_t word = static_cast<int32_t>(value);
    std::memcpy(p, &word, sizeof word);
  } else {
    // A quotient is rounded to F32 before it is to the dtype.
    put_f32(dtype, static_cast<float>(value), p);
  }
}

// Memory of its own for each rank, `shift` elements after a cache line.
struct Shifted {
  Shifted(sn_dtype type, int64_t n, int64_t shift)
      : dtype(type), count(n), memory(device_with(1), SN_U8, {(n + shift) * size_of(type) + 1}) {
    data = memory.data() + shift * size_of(type);
    if (sn_tensor_wrap(device_with(1), data, dtype, 1, &count, &tensor) != SN_OK)
      throw std::runtime_error(sn_last_error());
  }
  ~Shifted() { sn_tensor_close(tensor); }
  Shifted(const Shifted&) = delete;
  Shifted& operator=(const Shifted&) = delete;

  // value(i) repeats after kPeriod elements.
  template <class F>
  void fill(F value) {
    const int64_t size = size_of(dtype), first = std::min(count, kPeriod);
    for (int64_t i = 0; i < first; ++i) put_number(dtype, static_cast<double>(value(i)), data + i * size);
    for (int64_t done = first; done < count;) {
      const int64_t more = std::min(done, count - done);
      std::memcpy(data + done * size, data, static_cast<size_t>(more * size));
      done += more;
    }
  }
  // "" or where elements [begin, end) are not value(0), value(1), ..., which repeat after kPeriod elements.
  template <class F>
  std::string mismatch(F value, int64_t begin, int64_t end) const {
    const int64_t size = size_of(dtype), n = end - begin;
    const uint8_t* p = data + begin * size;
    for (int64_t i = 0; i < std::min(n, kPeriod); ++i) {
      uint8_t wanted[8];
      put_number(dtype, static_cast<double>(value(i)), wanted);
      if (std::memcmp(wanted, p + i * size, static_cast<size_t>(size)) != 0)
        return "wrong at element " + std::to_string(begin + i) + " of " + std::to_string(count);
    }
    if (n <= kPeriod || std::memcmp(p, p + kPeriod * size, static_cast<size_t>((n - kPeriod) * size)) == 0) return "";
    int64_t i = kPeriod;
    while (std::memcmp(p + i * size, p + (i - kPeriod) * size, static_cast<size_t>(size)) == 0) ++i;
    return "wrong at element " + std::to_string(begin + i) + " of " + std::to_string(count);
  }
  template <class F>
  std::string mismatch(F value) const {
    return mismatch(value, 0, count);
  }

  sn_dtype dtype;
  int64_t count;
  Tensor memory;
  uint8_t* data;
  sn_tensor* tensor = nullptr;
};

std::string what(const char* operation, sn_communicator* c, sn_dtype dtype, int64_t n) {
  return std::string(operation) + " of " + std::to_string(n) + " " + name_of(dtype) + ", rank " +
         std::to_string(sn_communicator_rank(c)) + " of " + std::to_string(sn_communicator_world_size(c)) + ": " +
         sn_last_error();
}

void check_parts(sn_communicator* c, sn_dtype dtype, int64_t n, int64_t shift) {
  const int32_t rank = sn_communicator_rank(c), world = sn_communicator_world_size(c);
  for (bool in_place : {false, true}) {
    // In place the part is a view of the whole.
    Shifted whole(dtype, n * world, shift), own(dtype, n, shift);
    sn_tensor* view = nullptr;
    ASSERT_EQ(sn_tensor_view(whole.tensor, n * rank, 1, &n, &view), SN_OK);
    whole.fill([&](int64_t i) { return input(rank, i); });
    ASSERT_EQ(sn_reduce_scatter(c, whole.tensor, SN_SUM, in_place ? view : own.tensor), SN_OK)
        << what("reduce-scatter", c, dtype, n);
    if (in_place && n > 0) std::memcpy(own.data, sn_tensor_data(view), static_cast<size_t>(n * size_of(dtype)));
    EXPECT_EQ(own.mismatch([&](int64_t i) { return expected(SN_SUM, dtype, world, n * rank + i); }), "")
        << what("reduce-scatter", c, dtype, n);

    own.fill([&](int64_t i) { return input(rank, i); });
    if (in_place && n > 0) std::memcpy(sn_tensor_data(view), own.data, static_cast<size_t>(n * size_of(dtype)));
    ASSERT_EQ(sn_all_gather(c, in_place ? view : own.tensor, whole.tensor), SN_OK) << what("all-gather", c, dtype, n);
    for (int32_t q = 0; q < world; ++q) {
      EXPECT_EQ(whole.mismatch([&](int64_t i) { return input(q, i); }, n * q, n * (q + 1)), "")
          << what("all-gather", c, dtype, n);
    }
    sn_tensor_close(view);
  }
}

void check_broadcast(sn_communicator* c, sn_dtype dtype, int64_t n, int32_t root, int64_t shift) {
  Shifted x(dtype, n, shift);
  x.fill([&](int64_t i) { return input(sn_communicator_rank(c), i); });
  ASSERT_EQ(sn_broadcast(c, root, x.tensor), SN_OK) << what("broadcast", c, dtype, n);
  EXPECT_EQ(x.mismatch([&](int64_t i) { return input(root, i); }), "") << what("broadcast", c, dtype, n);
}

}  // namespace

ThreadRanks::ThreadRanks(int world_size, int64_t timeout_ms) : communicators_(static_cast<size_t>(world_size)) {
  if (sn_communicator_threads(world_size, timeout_ms, communicators_.data()) != SN_OK)
    throw std::runtime_error(sn_last_error());
  device_with(1);  // opened here, so that no two ranks do it
}
ThreadRanks::~ThreadRanks() {
  for (sn_communicator* c : communicators_) sn_communicator_close(c);
}
void ThreadRanks::run(const std::function<void(sn_communicator*)>& rank) {
  std::vector<std::thread> threads;
  for (sn_communicator* c : communicators_) threads.emplace_back([&rank, c] { rank(c); });
  for (std::thread& thread : threads) thread.join();
}
void ThreadRanks::close(size_t rank) {
  sn_communicator_close(communicators_[rank]);
  communicators_[rank] = nullptr;
}

void check_all_reduce(sn_communicator* c, sn_dtype dtype, int64_t n, sn_reduction reduction, bool in_place,
                      int64_t shift) {
  const int32_t rank = sn_communicator_rank(c), world = sn_communicator_world_size(c);
  Shifted x(dtype, n, shift), out(dtype, n, shift);
  Shifted& result = in_place ? x : out;
  x.fill([&](int64_t i) { return input(rank, i); });
  ASSERT_EQ(sn_all_reduce(c, x.tensor, reduction, result.tensor), SN_OK) << what("all-reduce", c, dtype, n);
  EXPECT_EQ(result.mismatch([&](int64_t i) { return expected(reduction, dtype, world, i); }), "")
      << what("all-reduce", c, dtype, n) << " reduction " << reduction;
}

void check_compressed(sn_communicator* c, sn_dtype dtype, int64_t n, sn_reduction reduction, bool in_place) {
  const int32_t rank = sn_communicator_rank(c), world = sn_communicator_world_size(c);
  const int64_t groups = (n + SN_COMPRESSED_GROUP - 1) / SN_COMPRESSED_GROUP;
  sn_device* device = device_with(1);
  Tensor x(device, dtype, {n}), out(device, dtype, {n}), wanted(device, dtype, {n});
  Tensor scale(device, SN_F32, {groups}), q(device, SN_I8, {n});
  std::deque<Tensor> parts;
  std::vector<const sn_tensor*> scales, qs;
  for (int32_t r = 0; r < world; ++r) {
    // The oracle of one rank's input is the other ranks' as well.
    const std::vector<uint8_t> bytes = random_elements(dtype, n, Fill::kWeights, static_cast<uint64_t>(100 * n + r));
    if (n > 0) std::memcpy(wanted.data(), bytes.data(), bytes.size());
    if (n > 0 && r == rank) std::memcpy(x.data(), bytes.data(), bytes.size());
    parts.emplace_back(device, SN_F32, std::vector<int64_t>{groups});
    scales.push_back(parts.back());
    parts.emplace_back(device, SN_I8, std::vector<int64_t>{n});
    qs.push_back(parts.back());
    ASSERT_EQ(sn_compress(wanted, parts[parts.size() - 2], parts.back()), SN_OK) << sn_last_error();
  }
  ASSERT_EQ(sn_reduce_compressed(scales.data(), qs.data(), world, reduction, scale, q), SN_OK) << sn_last_error();
  ASSERT_EQ(sn_expand(scale, q, wanted), SN_OK) << sn_last_error();
  Tensor& result = in_place ? x : out;
  ASSERT_EQ(sn_all_reduce_compressed(c, x, reduction, result), SN_OK) << what("compressed all-reduce", c, dtype, n);
  if (n == 0) return;
  EXPECT_EQ(std::memcmp(result.data(), wanted.data(), static_cast<size_t>(n * size_of(dtype))), 0)
      << what("compressed all-reduce", c, dtype, n);
}

void check_operations(sn_communicator* c, sn_dtype dtype, int64_t n, int64_t shift) {
  for (sn_reduction reduction : {SN_SUM, SN_AVERAGE, SN_MIN, SN_MAX}) {
    check_all_reduce(c, dtype, n, reduction, reduction % 2 == 0, shift);
  }
  check_all_reduce(c, dtype, n, SN_SUM, false, shift);
  check_parts(c, dtype, n / sn_communicator_world_size(c), shift);
  check_broadcast(c, dtype, n, sn_communicator_world_size(c) - 1, shift);
  ASSERT_EQ(sn_barrier(c), SN_OK);
}

void check_many_calls(sn_communicator* c, int calls) {
  const int32_t rank = sn_communicator_rank(c), world = sn_communicator_world_size(c);
  std::mt19937_64 same(17), own(static_cast<uint64_t>(rank) + 1);
  Shifted x(SN_I32, 20000, 0);
  for (int call = 0; call < calls; ++call) {
    const uint64_t choice = same();
    const int64_t n = static_cast<int64_t>(choice % 40 == 0 ? 10000 + choice / 64 % 10000 : choice / 64 % 300);
    if (own() % 100 == 0) std::this_thread::sleep_for(std::chrono::microseconds(own() % 500));
    sn_tensor* some = nullptr;
    ASSERT_EQ(sn_tensor_view(x.tensor, 0, 1, &n, &some), SN_OK);
    int32_t* data = reinterpret_cast<int32_t*>(x.data);
    for (int64_t i = 0; i < n; ++i) data[i] = static_cast<int32_t>(input(rank, i + call));
    const bool broadcast = choice / 8 % 4 == 0;
    const int32_t root = static_cast<int32_t>(choice / 32 % static_cast<uint64_t>(world));
    ASSERT_EQ(broadcast ? sn_broadcast(c, root, some) : sn_all_reduce(c, some, SN_SUM, some), SN_OK)
        << what("call", c, SN_I32, n);
    sn_tensor_close(some);
    for (int64_t i = 0; i < n; ++i) {
      const double wanted =
          broadcast ? static_cast<double>(input(root, i + call)) : expected(SN_SUM, SN_I32, world, i + call);
      ASSERT_EQ(static_cast<double>(data[i]), wanted) << "call " << call << ", element " << i << " of " << n;
    }
  }
}

}  // namespace sinew_test
