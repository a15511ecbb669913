// Addition with broadcasting, exact.
#include "support/broadcasting.h"

namespace sinew_test {
namespace {

Call add_call(sn_dtype dtype, const Shapes& shapes) {
  return broadcast_call(
      "add", dtype, shapes, [](float a, float b) { return a + b; }, sn_add);
}

void shapes(const Emit& emit) {
  for (sn_dtype dtype : kReals) {
    for (const Shapes& shapes : kBroadcasts) emit(add_call(dtype, shapes));
  }
}

void tails(const Emit& emit) {
  for (sn_dtype dtype : kReals) {
    for (int64_t n : kSizes) {
      emit(add_call(dtype, {{n}, {n}}));
      emit(add_call(dtype, {{n}, {1}}));
    }
  }
}

void large(const Emit& emit) { emit(add_call(SN_F32, {{1, 600, 2003}, {600, 1}})); }

const Register registered({"add", {{"shapes", shapes}, {"tails", tails}, {"large", large}}, {}});

}  // namespace
}  // namespace sinew_test
