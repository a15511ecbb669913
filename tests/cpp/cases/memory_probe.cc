// The benchmark's yardstick must move every byte that it claims to move.
#include <cstring>

#include "support/pruning.h"
#include "support/values.h"

namespace sinew_test {
namespace {

// in : out lines of 64 bytes a step; line by line, what y gets: the last line read of the step.
Call probe_call(int64_t steps, int64_t in_lines, int64_t out_lines, uint64_t seed) {
  const int64_t in_bytes = steps * in_lines * 64, out_bytes = steps * out_lines * 64;
  std::vector<uint8_t> x = random_bytes(in_bytes, seed), y(static_cast<size_t>(out_bytes), 0);
  for (int64_t i = 0; i < steps && in_lines > 0; ++i) {
    for (int64_t l = 0; l < out_lines; ++l)
      std::memcpy(y.data() + (i * out_lines + l) * 64, x.data() + ((i + 1) * in_lines - 1) * 64, 64);
  }
  Call call;
  call.label = "memory_probe " + std::to_string(steps) + " x (" + std::to_string(in_lines) + " read, " +
               std::to_string(out_lines) + " written)";
  call.inputs = {{SN_U8, {steps, in_lines * 64}, std::move(x), true}};
  call.outputs = {{SN_U8, {steps, out_lines * 64}, {}, true}};
  call.expected = {std::move(y)};
  call.in_place = in_lines == out_lines;
  call.created_only = true;  // other memory need not begin at a cache line
  call.run = [](const Tensors& in, const Tensors& out, int64_t*) { return sn_memory_probe(in[0], out[0]); };
  return call;
}

void mixes(const Emit& emit) {
  for (int64_t steps : {0, 1, 2, 63, 64, 65, 1000, 4097}) {
    for (int64_t in : {0, 1, 2, 4, 8}) {
      emit(probe_call(steps, in, 1, next_seed()));
      emit(probe_call(steps, 1, in, next_seed()));
    }
  }
}

void large(const Emit& emit) {
  const int64_t steps = quick() ? 35001 : 140001;
  emit(probe_call(steps, 1, 1, 1));
  emit(probe_call(steps, 4, 1, 2));
  emit(probe_call(steps / 4, 1, 4, 3));
}

const Register registered({"memory_probe", {{"mixes", mixes}, {"large", large}}, {}});

}  // namespace
}  // namespace sinew_test
