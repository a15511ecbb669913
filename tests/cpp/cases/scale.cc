// Scale and zero point of given ranges.
#include <cmath>
#include <limits>

#include "support/quantizing.h"
#include "support/values.h"

namespace sinew_test {
namespace {

Call scale_call(const Ranges& ranges, sn_scheme scheme, const std::string& what) {
  const int64_t n = static_cast<int64_t>(ranges.lo.size());
  const Scales scales = oracle_scale(ranges, scheme);
  Call call;
  call.label = std::string("scale ") + scheme_name(scheme) + " " + std::to_string(n) + " " + what;
  call.inputs = {{SN_F32, {n}, bytes_of(ranges.lo), true}, {SN_F32, {n}, bytes_of(ranges.hi), true}};
  call.outputs = {{SN_F32, {n}, {}, true}};
  call.expected = {bytes_of(scales.scale)};
  if (is_asymmetric(scheme)) {
    call.outputs.push_back({SN_I8, {n}, {}, true});
    call.expected.push_back(bytes_of(scales.zero_point));
  }
  call.run = [scheme](const Tensors& in, const Tensors& out, int64_t*) {
    return sn_scale(in[0], in[1], scheme, out[0], out.size() > 1 ? out[1] : nullptr);
  };
  return call;
}

void sizes(const Emit& emit) {
  for (sn_scheme scheme : kSchemes) {
    for (int64_t n : kSizes) {
      const uint64_t seed = next_seed();
      Ranges ranges;
      for (float v : as_f32s(SN_F32, random_elements(SN_F32, n, n % 2 == 0 ? Fill::kWeights : Fill::kBits, seed)))
        ranges.lo.push_back(-std::fabs(v));
      for (float v : as_f32s(SN_F32, random_elements(SN_F32, n, n % 2 == 0 ? Fill::kWeights : Fill::kBits, seed + 1)))
        ranges.hi.push_back(std::fabs(v));
      emit(scale_call(ranges, scheme, "seed " + std::to_string(seed)));
    }
  }
}

// Empty, denormal, one-sided and the widest ranges; zero points on a tie and at both ends.
void special_ranges(const Emit& emit) {
  const float most = std::numeric_limits<float>::max();
  const float bounds[] = {0.0f, 0x1p-149f, 0x2p-149f, 0x80p-149f, 0x1p-140f, 0x1p-126f, 1e-20f, 0.5f,  1.0f,
                          3.0f, 127.0f,    127.5f,    128.0f,     7.5f,      8.0f,      255.0f, 1e30f, most};
  Ranges ranges;
  for (float lo : bounds) {
    for (float hi : bounds) {
      ranges.lo.push_back(-lo);
      ranges.hi.push_back(hi);
    }
  }
  for (sn_scheme scheme : kSchemes) emit(scale_call(ranges, scheme, "special"));
}

// Ranges without zero are widened to it, as every range includes it.
void without_zero(const Emit& emit) {
  const Ranges given = {{1.0f, -3.0f, 2.0f}, {2.0f, -1.0f, 2.0f}}, widened = {{0.0f, -3.0f, 0.0f}, {2.0f, 0.0f, 2.0f}};
  for (sn_scheme scheme : kSchemes) {
    Call call = scale_call(widened, scheme, "without zero");
    call.inputs[0].bytes = bytes_of(given.lo);
    call.inputs[1].bytes = bytes_of(given.hi);
    emit(call);
  }
}

void not_finite(const Emit& emit) {
  const float infinity = std::numeric_limits<float>::infinity();
  for (sn_scheme scheme : kSchemes) {
    for (float bad : {infinity, -infinity, std::nanf("")}) {
      for (bool in_lo : {false, true}) {
        Ranges ranges = {{-1, -1, -1}, {1, 1, 1}};
        Call call = scale_call(ranges, scheme, "not finite");
        (in_lo ? ranges.lo : ranges.hi)[2] = bad;
        call.inputs[0].bytes = bytes_of(ranges.lo);
        call.inputs[1].bytes = bytes_of(ranges.hi);
        call.status = SN_NOT_FINITE;
        emit(call);
      }
    }
  }
}

const Register registered(
    {"scale",
     {{"sizes", sizes}, {"special_ranges", special_ranges}, {"without_zero", without_zero}, {"not_finite", not_finite}},
     {}});

}  // namespace
}  // namespace sinew_test
