// How many elements have any bit set.
#include "support/pruning.h"
#include "support/sparse.h"
#include "support/values.h"

namespace sinew_test {
namespace {

Call count_call(sn_dtype dtype, const std::vector<int64_t>& shape, double share) {
  const uint64_t seed = next_seed();
  Call call;
  std::vector<uint8_t> bytes = sparse_elements(dtype, count_of(shape), share, seed);
  call.label = sparse_label("count_nonzeros", dtype, shape, share, seed);
  call.numbers = {sparse_oracle(dtype, shape, bytes, 0).row_offsets.back()};
  call.inputs = {{dtype, shape, std::move(bytes), true}};
  call.run = [](const Tensors& in, const Tensors&, int64_t* numbers) { return sn_count_nonzeros(in[0], numbers); };
  return call;
}

void tails(const Emit& emit) {
  for (sn_dtype dtype : kAllDtypes) {
    for (int64_t n : kSizes) emit(count_call(dtype, {n}, 0.5));
  }
}

void shares(const Emit& emit) {
  for (sn_dtype dtype : kAllDtypes) {
    for (double share : kShares) emit(count_call(dtype, {7, 301}, share));
  }
}

void large(const Emit& emit) {
  for (sn_dtype dtype : kSizedDtypes) emit(count_call(dtype, {kManyTasks}, 0.4));
}

template <sn_dtype kDtype>
Call timed() {
  return count_call(kDtype, {1024, 4096}, 0.5);
}

const Register registered({"count_nonzeros",
                           {{"tails", tails}, {"shares", shares}, {"large", large}},
                           {{"int8", timed<SN_I8>}, {"bf16", timed<SN_BF16>}, {"f32", timed<SN_F32>}}});

}  // namespace
}  // namespace sinew_test
