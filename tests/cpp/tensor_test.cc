// The life of tensors: creating, wrapping, mapping, viewing, closing, and everything that can be wrong with them.
#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <climits>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "support/check.h"
#include "support/tensor.h"

namespace sinew_test {
namespace {

sn_device* device() { return device_with(1); }

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    char path[] = "/tmp/sinew-tensor-XXXXXX";
    path_ = mkdtemp(path);
  }
  ~TemporaryDirectory() {
    for (const std::string& file : files_) unlink(file.c_str());
    rmdir(path_.c_str());
  }
  std::string file(const std::string& name) {
    files_.push_back(path_ + "/" + name);
    return files_.back();
  }
  std::string file_with(const std::string& name, const std::vector<uint8_t>& bytes) {
    const std::string path = file(name);
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    return path;
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  std::vector<std::string> files_;
};

void refused(sn_status status, sn_status expected, const std::string& part, const sn_tensor* tensor) {
  EXPECT_EQ(status, expected) << part;
  EXPECT_NE(std::string(sn_last_error()).find(part), std::string::npos) << "got: " << sn_last_error();
  EXPECT_EQ(tensor, nullptr);
}

TEST(TensorTest, NewMemoryIsZeroAndAligned) {
  for (int64_t n : {int64_t{0}, int64_t{1}, int64_t{63}, int64_t{4097}, int64_t{1 << 20}, int64_t{(4 << 20) - 1},
                    int64_t{4 << 20}, int64_t{(6 << 20) + 5}}) {
    Tensor t{device(), SN_U8, {n}};
    EXPECT_EQ(reinterpret_cast<uintptr_t>(t.data()) % 64, 0u);
    EXPECT_TRUE(t.holds_only(0)) << n;
    t.fill(1);
  }
  // Memory that has been used before is zeroed again.
  for (int i = 0; i < 20; ++i) {
    Tensor t{device(), SN_F32, {1000}};
    EXPECT_TRUE(t.holds_only(0));
    t.fill(0xff);
  }
}

TEST(TensorTest, NewMemoryWithBytesOfTheHost) {
  std::vector<uint8_t> bytes((4 << 20) + 4);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i * 7 % 251);
  for (int64_t n : {0, 1, 1000, (1 << 20) + 1}) {
    const int64_t shape[] = {n, 1};
    Tensor t;
    ASSERT_EQ(sn_tensor_create_from(device(), SN_F32, 2, shape, bytes.data(), t.out()), SN_OK) << sn_last_error();
    EXPECT_EQ(reinterpret_cast<uintptr_t>(t.data()) % 64, 0u);
    EXPECT_NE(t.data(), bytes.data());
    EXPECT_EQ(std::memcmp(t.data(), bytes.data(), static_cast<size_t>(4 * n)), 0) << n;
  }
  const int64_t none[] = {0}, one[] = {1}, most[] = {INT64_MAX};
  Tensor empty;
  EXPECT_EQ(sn_tensor_create_from(device(), SN_F32, 1, none, nullptr, empty.out()), SN_OK);
  sn_tensor* t = nullptr;
  const auto create = [&](sn_device* on, const int64_t* shape, const void* from, sn_tensor** result) {
    return sn_tensor_create_from(on, SN_U8, 1, shape, from, result);
  };
  refused(create(nullptr, one, bytes.data(), &t), SN_INVALID_ARGUMENT, "device is null", t);
  refused(create(device(), one, bytes.data(), nullptr), SN_INVALID_ARGUMENT, "result pointer is null", t);
  refused(create(device(), one, nullptr, &t), SN_INVALID_ARGUMENT, "buffer is null", t);
  refused(create(device(), nullptr, bytes.data(), &t), SN_INVALID_ARGUMENT, "rank 1", t);
  refused(create(device(), most, bytes.data(), &t), SN_OUT_OF_MEMORY, "no memory", t);
}

TEST(TensorTest, ShapesThatAreRefused) {
  sn_tensor* t = nullptr;
  const int64_t shape[33] = {};
  const auto create = [&](const std::vector<int64_t>& dims, sn_dtype dtype = SN_F32) {
    return sn_tensor_create(device(), dtype, static_cast<int32_t>(dims.size()), dims.data(), &t);
  };
  refused(sn_tensor_create(nullptr, SN_F32, 0, nullptr, &t), SN_INVALID_ARGUMENT, "device is null", t);
  refused(sn_tensor_create(device(), SN_F32, 0, nullptr, nullptr), SN_INVALID_ARGUMENT, "result pointer is null", t);
  refused(sn_tensor_create(device(), SN_F32, 33, shape, &t), SN_INVALID_ARGUMENT, "rank 33", t);
  refused(sn_tensor_create(device(), SN_F32, -1, shape, &t), SN_INVALID_ARGUMENT, "rank -1", t);
  refused(sn_tensor_create(device(), SN_F32, INT32_MAX, shape, &t), SN_INVALID_ARGUMENT, "rank", t);
  refused(sn_tensor_create(device(), SN_F32, 1, nullptr, &t), SN_INVALID_ARGUMENT, "rank 1", t);
  refused(create({4}, -1), SN_INVALID_ARGUMENT, "-1 is not a dtype", t);
  refused(create({4}, 11), SN_INVALID_ARGUMENT, "11 is not a dtype", t);
  refused(create({-1}), SN_INVALID_ARGUMENT, "dimension 0 of size -1", t);
  refused(create({4, INT64_MIN}), SN_INVALID_ARGUMENT, "dimension 1", t);
  refused(create({INT64_MAX}), SN_INVALID_ARGUMENT, "larger than memory", t);
  refused(create({int64_t{1} << 32, int64_t{1} << 32}), SN_INVALID_ARGUMENT, "larger than memory", t);
  refused(create({3, int64_t{1} << 62}, SN_U8), SN_INVALID_ARGUMENT, "larger than memory", t);
  refused(create({0, int64_t{1} << 40, int64_t{1} << 40}), SN_INVALID_ARGUMENT, "larger than memory", t);
  refused(create({INT64_MAX}, SN_U8), SN_OUT_OF_MEMORY, "no memory", t);
  refused(create({INT64_MAX - (4 << 20)}, SN_U8), SN_OUT_OF_MEMORY, "no memory", t);
  refused(create({int64_t{1} << 60}, SN_U8), SN_OUT_OF_MEMORY, "no memory", t);
}

TEST(TensorTest, AllRanksUpTo32) {
  for (int32_t rank = 0; rank <= 32; ++rank) {
    const std::vector<int64_t> shape(static_cast<size_t>(rank), 1);
    Tensor t{device(), SN_F32, shape}, result{device(), SN_F64, {8}};
    EXPECT_EQ(sn_statistics(t, result), SN_OK);
    EXPECT_EQ(reinterpret_cast<double*>(result.data())[4], 1.0) << "one zero";
  }
}

TEST(TensorTest, EmptyTensorsOfAllKinds) {
  TemporaryDirectory directory;
  const std::string path = directory.file_with("empty", {});
  for (const std::vector<int64_t>& shape : std::vector<std::vector<int64_t>>{{0}, {3, 0}, {0, 3}, {0, 0}, {2, 0, 5}}) {
    const int32_t rank = static_cast<int32_t>(shape.size());
    Tensor created{device(), SN_F32, shape}, wrapped, mapped, view;
    ASSERT_EQ(sn_tensor_wrap(device(), nullptr, SN_F32, rank, shape.data(), wrapped.out()), SN_OK) << sn_last_error();
    ASSERT_EQ(sn_tensor_map(device(), path.c_str(), 0, SN_F32, rank, shape.data(), mapped.out()), SN_OK)
        << sn_last_error();
    ASSERT_EQ(sn_tensor_view(wrapped, 0, rank, shape.data(), view.out()), SN_OK) << sn_last_error();
    Tensor result{device(), SN_F64, {8}}, histogram{device(), SN_I64, {65536}}, one{device(), SN_F32, {1}},
        other{device(), SN_F32, {1}}, five{device(), SN_F64, {5}};
    for (sn_tensor* t : {static_cast<sn_tensor*>(created), static_cast<sn_tensor*>(wrapped),
                         static_cast<sn_tensor*>(mapped), static_cast<sn_tensor*>(view)}) {
      int64_t number = -1, equal = -1;
      EXPECT_EQ(sn_prune_threshold(t, 0, created, &number), SN_OK) << sn_last_error();
      EXPECT_EQ(number, 0);
      EXPECT_EQ(sn_prune_smallest(t, 1, 3, created, &number), SN_OK);
      EXPECT_EQ(sn_prune_nm(t, 2, 4, created, &number), SN_OK);
      EXPECT_EQ(sn_magnitude_count(t, 0, &number, &equal), SN_OK);
      EXPECT_EQ(number + equal, 0);
      EXPECT_EQ(sn_key_histogram(t, SN_ORDER_VALUE, -1, histogram), SN_OK);
      EXPECT_EQ(sn_range(t, 0, SN_INT8_SYMMETRIC, SN_RANGE_MSE, 0, one, other), SN_OK);
      EXPECT_EQ(sn_statistics(t, result), SN_OK);
      EXPECT_EQ(sn_compare(t, created, five), SN_OK);
      EXPECT_EQ(sn_convert(t, created), SN_OK);
      EXPECT_EQ(sn_fake_quantize(t, one, nullptr, 0, SN_INT4_SYMMETRIC, created), SN_OK);
    }
  }
}

TEST(TensorTest, WrapChecksTheAddress) {
  alignas(8) uint8_t memory[64] = {};
  const int64_t four = 4, none = 0;
  sn_tensor* t = nullptr;
  refused(sn_tensor_wrap(device(), memory + 2, SN_F32, 1, &four, &t), SN_INVALID_ARGUMENT, "multiple of their size", t);
  refused(sn_tensor_wrap(device(), memory + 1, SN_BF16, 1, &four, &t), SN_INVALID_ARGUMENT, "multiple of their size",
          t);
  refused(sn_tensor_wrap(device(), memory + 4, SN_F64, 1, &four, &t), SN_INVALID_ARGUMENT, "multiple of their size", t);
  refused(sn_tensor_wrap(device(), nullptr, SN_F32, 1, &four, &t), SN_INVALID_ARGUMENT, "cannot hold", t);
  refused(sn_tensor_wrap(device(), memory, SN_F32, 1, &four, nullptr), SN_INVALID_ARGUMENT, "null", t);
  Tensor bytes, empty;
  EXPECT_EQ(sn_tensor_wrap(device(), memory + 1, SN_I8, 1, &four, bytes.out()), SN_OK);
  EXPECT_EQ(bytes.data(), memory + 1);
  EXPECT_EQ(sn_tensor_wrap(device(), nullptr, SN_F32, 1, &none, empty.out()), SN_OK);
}

TEST(TensorTest, ViewsKeepMemoryAlive) {
  Tensor parent{device(), SN_F32, {1 << 21}};  // its own mapping: a use after it is freed would crash
  const int64_t ten = 10, five = 5;
  Tensor view, inner;
  ASSERT_EQ(sn_tensor_view(parent, 100, 1, &ten, view.out()), SN_OK);
  ASSERT_EQ(sn_tensor_view(view, 5, 1, &five, inner.out()), SN_OK);
  EXPECT_EQ(view.data(), parent.data() + 400);
  EXPECT_EQ(inner.data(), view.data() + 20);
  const int64_t live = sn_live_tensors();
  parent.close();
  view.close();
  EXPECT_EQ(sn_live_tensors(), live - 2);
  std::memset(inner.data(), 1, 20);
  int64_t zeros = -1;
  EXPECT_EQ(sn_prune_threshold(inner, 1e9f, inner, &zeros), SN_OK);
  EXPECT_EQ(zeros, 5);
}

TEST(TensorTest, ViewsLieInsideTheirParents) {
  Tensor parent{device(), SN_F32, {10}};
  sn_tensor* t = nullptr;
  const auto view = [&](int64_t first, int64_t count) { return sn_tensor_view(parent, first, 1, &count, &t); };
  refused(view(0, 11), SN_INVALID_ARGUMENT, "does not lie inside", t);
  refused(view(10, 1), SN_INVALID_ARGUMENT, "does not lie inside", t);
  refused(view(-1, 1), SN_INVALID_ARGUMENT, "does not lie inside", t);
  refused(view(INT64_MAX, 10), SN_INVALID_ARGUMENT, "does not lie inside", t);
  refused(view(INT64_MIN, 10), SN_INVALID_ARGUMENT, "does not lie inside", t);
  refused(view(0, -1), SN_INVALID_ARGUMENT, "negative", t);
  refused(sn_tensor_view(nullptr, 0, 0, nullptr, &t), SN_INVALID_ARGUMENT, "null", t);
  refused(sn_tensor_view(parent, 0, 0, nullptr, nullptr), SN_INVALID_ARGUMENT, "null", t);
  Tensor empty_end, all;
  const int64_t none = 0, two_by_five[] = {2, 5};
  EXPECT_EQ(sn_tensor_view(parent, 10, 1, &none, empty_end.out()), SN_OK);
  EXPECT_EQ(sn_tensor_view(parent, 0, 2, two_by_five, all.out()), SN_OK);
}

TEST(TensorTest, MapReadsTheFile) {
  TemporaryDirectory directory;
  std::vector<uint8_t> bytes(20000);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i * 7 + i / 256);
  const std::string path = directory.file_with("data", bytes);
  for (int64_t offset : {0, 4, 4092, 4096, 4100, 8192, 19996}) {
    const int64_t count = (20000 - offset) / 4;
    Tensor t, view;
    ASSERT_EQ(sn_tensor_map(device(), path.c_str(), offset, SN_F32, 1, &count, t.out()), SN_OK) << sn_last_error();
    const int64_t one = 1;
    ASSERT_EQ(sn_tensor_view(t, count - 1, 1, &one, view.out()), SN_OK);
    EXPECT_EQ(std::memcmp(t.data(), bytes.data() + offset, static_cast<size_t>(count * 4)), 0);
    t.close();
    EXPECT_EQ(std::memcmp(view.data(), bytes.data() + 19996, 4), 0) << "the view holds the mapping";
  }
}

TEST(TensorTest, MapRefusesWhatIsNotInAFile) {
  TemporaryDirectory directory;
  const std::string path = directory.file_with("data", std::vector<uint8_t>(100));
  const int64_t ten = 10, none = 0, huge = int64_t{1} << 60;
  sn_tensor* t = nullptr;
  const auto map = [&](const std::string& from, int64_t offset, const int64_t* count) {
    return sn_tensor_map(device(), from.c_str(), offset, SN_F32, 1, count, &t);
  };
  refused(map(directory.path() + "/missing", 0, &ten), SN_IO_ERROR, "No such file or directory", t);
  refused(map(directory.path(), 0, &ten), SN_IO_ERROR, "is a directory", t);
  refused(map("/dev/null", 0, &ten), SN_IO_ERROR, "pipe or device", t);
  refused(map("", 0, &ten), SN_IO_ERROR, "cannot be opened", t);
  refused(map(path, 64, &ten), SN_IO_ERROR, "has 100 bytes, too few for 40 bytes at offset 64", t);
  refused(map(path, 104, &none), SN_IO_ERROR, "too few", t);
  refused(map(path, 0, &huge), SN_IO_ERROR, "too few", t);
  refused(map(path, INT64_MAX - 3, &ten), SN_IO_ERROR, "too few", t);
  refused(map(path, 2, &ten), SN_INVALID_ARGUMENT, "offset 2", t);
  refused(map(path, -4, &ten), SN_INVALID_ARGUMENT, "offset -4", t);
  refused(sn_tensor_map(device(), nullptr, 0, SN_F32, 1, &ten, &t), SN_INVALID_ARGUMENT, "null", t);
  refused(sn_tensor_map(device(), path.c_str(), 0, SN_F32, 1, &ten, nullptr), SN_INVALID_ARGUMENT, "null", t);
  refused(sn_tensor_map(nullptr, path.c_str(), 0, SN_F32, 1, &ten, &t), SN_INVALID_ARGUMENT, "device is null", t);
  // A reason is given even when the path alone would fill the sentence.
  refused(map(std::string(3000, 'x'), 0, &ten), SN_IO_ERROR, "File name too long", t);
}

TEST(TensorTest, MapDoesNotWaitForAPipe) {
  TemporaryDirectory directory;
  const std::string path = directory.file("pipe");
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  sn_tensor* t = nullptr;
  const int64_t ten = 10;
  alarm(20);  // a library that waits for a writer must not hang the tests
  refused(sn_tensor_map(device(), path.c_str(), 0, SN_F32, 1, &ten, &t), SN_IO_ERROR, "pipe or device", t);
  alarm(0);
}

TEST(TensorTest, FailuresLeaveNoFileOpen) {
  TemporaryDirectory directory;
  const std::string path = directory.file_with("data", std::vector<uint8_t>(100));
  const auto lowest_free = [] {
    const int file = open("/dev/null", O_RDONLY);
    ::close(file);
    return file;
  };
  const int before = lowest_free();
  const int64_t ten = 10, fifty = 50, none = 0;
  for (int i = 0; i < 5; ++i) {
    sn_tensor* t = nullptr;
    sn_tensor_map(device(), path.c_str(), 0, SN_F32, 1, &fifty, &t);
    sn_tensor_map(device(), directory.path().c_str(), 0, SN_F32, 1, &ten, &t);
    EXPECT_EQ(t, nullptr);
    Tensor good, empty;
    EXPECT_EQ(sn_tensor_map(device(), path.c_str(), 0, SN_F32, 1, &ten, good.out()), SN_OK);
    EXPECT_EQ(sn_tensor_map(device(), path.c_str(), 0, SN_F32, 1, &none, empty.out()), SN_OK);
  }
  EXPECT_EQ(lowest_free(), before);
}

TEST(TensorTest, NullHandlesAreHarmless) {
  sn_tensor_close(nullptr);
  sn_device_close(nullptr);
  EXPECT_EQ(sn_tensor_data(nullptr), nullptr);
  EXPECT_EQ(sn_device_threads(nullptr), 0);
}

}  // namespace
}  // namespace sinew_test
