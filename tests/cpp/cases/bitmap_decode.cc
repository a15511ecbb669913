// A matrix from its values and the bitmap of where they are.
#include <cstring>
#include <limits>

#include "support/pruning.h"
#include "support/sparse.h"
#include "support/values.h"

namespace sinew_test {
namespace {

Call decode_call(sn_dtype dtype, const std::vector<int64_t>& shape, double share, int64_t first = 0) {
  const uint64_t seed = next_seed();
  Call call;
  std::vector<uint8_t> bytes = sparse_elements(dtype, count_of(shape), share, seed);
  call.label = sparse_label("bitmap_decode", dtype, shape, share, seed) + " first " + std::to_string(first);
  call.inputs = sparse_operands(dtype, shape, sparse_oracle(dtype, shape, bytes, first));
  call.outputs = {{dtype, shape, {}, true}};
  call.expected = {std::move(bytes)};
  call.run = [](const Tensors& in, const Tensors& out, int64_t*) {
    return sn_bitmap_decode(in[0], in[1], in[2], out[0]);
  };
  return call;
}

void tails(const Emit& emit) {
  for (sn_dtype dtype : kAllDtypes) {
    for (int64_t n : kSizes) emit(decode_call(dtype, {n}, 0.5));
  }
}

void shapes(const Emit& emit) {
  for (sn_dtype dtype : kSizedDtypes) {
    for (const auto& shape : kShapes) {
      for (double share : kShares) emit(decode_call(dtype, shape, share, 12345678901));
    }
  }
}

void refuse(const Emit& emit, Call call, const std::string& what) {
  call.label += " " + what;
  call.status = SN_INVALID_ARGUMENT;
  emit(call);
}

// Everything that can disagree, in one part and in several. The values end at a page that cannot be read.
void hostile(const Emit& emit) {
  constexpr int64_t kLargest = std::numeric_limits<int64_t>::max();
  for (sn_dtype dtype : kSizedDtypes) {
    for (const auto& shape : {std::vector<int64_t>{5, 33}, {70, 8191}}) {
      const Call call = decode_call(dtype, shape, 0.5, 3);
      const int64_t rows = shape[0];
      for (int64_t more : {-1, 1}) {
        Call other = call;
        other.inputs[0].shape[0] += more;
        other.inputs[0].bytes.resize(static_cast<size_t>(other.inputs[0].size()));
        refuse(emit, other, std::to_string(more) + " values more");
      }
      for (size_t byte : {size_t{0}, call.inputs[1].bytes.size() / 2, call.inputs[1].bytes.size() - 1}) {
        Call other = call;
        other.inputs[1].bytes[byte] ^= 1;
        refuse(emit, other, "bit flipped in byte " + std::to_string(byte));
      }
      Call padded = call;
      padded.inputs[1].bytes.back() |= 0x80;
      refuse(emit, padded, "a bit beyond the last column");
      // The same number of ones, but of other rows.
      Call moved = call;
      for (size_t byte = 0;; ++byte) {
        uint8_t& first = moved.inputs[1].bytes[byte];
        uint8_t& second = moved.inputs[1].bytes[byte + static_cast<size_t>((shape[1] + 7) / 8)];
        const int only_first = first & ~second;
        if (only_first == 0) continue;
        const uint8_t lowest = static_cast<uint8_t>(only_first & -only_first);
        first ^= lowest;
        second ^= lowest;
        break;
      }
      refuse(emit, moved, "ones moved to another row");
      for (int64_t row : {int64_t{0}, int64_t{1}, rows - 1, rows}) {
        for (int64_t wrong : {int64_t{-1}, int64_t{0}, kLargest, -kLargest - 1, kLargest / 8}) {
          Call other = call;
          std::memcpy(other.inputs[2].bytes.data() + 8 * row, &wrong, 8);
          refuse(emit, other, "offset " + std::to_string(wrong) + " of row " + std::to_string(row));
        }
      }
    }
  }
  Call empty = decode_call(SN_F32, {3, 0}, 0, 0);
  const int64_t one = 1;
  std::memcpy(empty.inputs[2].bytes.data() + 8, &one, 8);
  refuse(emit, empty, "an offset that is not 0");
}

void large(const Emit& emit) {
  for (sn_dtype dtype : kSizedDtypes) {
    const int64_t n = large_count(dtype);
    emit(decode_call(dtype, {n}, 0.4));
    emit(decode_call(dtype, {n / 4096, 4096}, 0.6));
    emit(decode_call(dtype, {29, n / 29}, 0.6));
    if (!quick() || dtype == SN_I8) emit(decode_call(dtype, {kManyTasks / 9, 9}, 0.3));
  }
}

template <sn_dtype kDtype, int kPercent>
Call timed() {
  return decode_call(kDtype, {1024, 4096}, kPercent / 100.0);
}

const Register registered({"bitmap_decode",
                           {{"tails", tails}, {"shapes", shapes}, {"hostile", hostile}, {"large", large}},
                           {{"int8 50%", timed<SN_I8, 50>},
                            {"int8 10%", timed<SN_I8, 10>},
                            {"bf16 50%", timed<SN_BF16, 50>},
                            {"f32 50%", timed<SN_F32, 50>},
                            {"f64 50%", timed<SN_F64, 50>}}});

}  // namespace
}  // namespace sinew_test
