// Activations, within a few units in the last place, and the same bits on every tier.
#include <cmath>
#include <limits>

#include "support/layer.h"
#include "support/reals.h"

namespace sinew_test {
namespace {

const char* const kNames[] = {"none", "relu", "gelu", "silu", "gelu_tanh", "sigmoid", "tanh"};

Call activation_call(sn_dtype dtype, const std::vector<int64_t>& shape, std::vector<uint8_t> bytes,
                     sn_activation activation, const std::string& what) {
  Bounded close;
  for (double x : doubles_of(dtype, bytes)) {
    close.value.push_back(oracle_activation(x, activation));
    close.bound.push_back(std::isfinite(x) ? activation_bound(x, activation) : 0);
  }
  Call call =
      close_call("activate " + std::string(kNames[activation]) + " " + name_of(dtype) + text_of(shape) + " " + what,
                 {operand_of(dtype, shape, std::move(bytes))}, dtype, shape, std::move(close));
  call.in_place = true;
  call.run = [activation](const Tensors& in, const Tensors& out, int64_t*) {
    return sn_activate(in[0], activation, out[0]);
  };
  return call;
}

void tails(const Emit& emit) {
  for (sn_dtype dtype : kReals) {
    for (sn_activation activation = SN_NONE; activation <= SN_TANH; ++activation) {
      for (int64_t n : kSizes) {
        const uint64_t seed = next_seed();
        emit(activation_call(dtype, {n}, uniform_elements(dtype, n, 8, seed), activation,
                             "seed " + std::to_string(seed)));
      }
    }
  }
}

void special_values(const Emit& emit) {
  const double infinity = std::numeric_limits<double>::infinity();
  for (sn_dtype dtype : kReals) {
    for (sn_activation activation = SN_NONE; activation <= SN_TANH; ++activation) {
      std::vector<double> values = {0.0, -0.0, infinity, -infinity, std::nan(""), 88,  -88,
                                    104, -104, 17,       -17,       200,          -250};
      for (int e = -24; e < 16; ++e) {
        values.push_back(std::ldexp(1.0, e));
        values.push_back(-std::ldexp(1.0, e));
      }
      const int64_t n = static_cast<int64_t>(values.size());
      emit(activation_call(dtype, {n}, elements(dtype, values), activation, "special"));
      for (Fill fill : {Fill::kTiny, Fill::kZeros, Fill::kFew}) {
        const uint64_t seed = next_seed();
        emit(activation_call(dtype, {3, 67}, random_elements(dtype, 201, fill, seed), activation,
                             std::string(name_of(fill)) + " seed " + std::to_string(seed)));
      }
    }
  }
}

// A grid over all magnitudes of F32 where something happens, whose results have to be the same bits everywhere.
void grid(const Emit& emit) {
  const uint64_t fingerprints[] = {0x7a8f4b3288f3d5f9, 0x31accafebfb74ed8, 0x14ab9eb9020edcaf, 0xd9586d0fd3bed612,
                                   0x2b4f3de746222d89, 0x6fd520053cf462f0, 0xef289a807f7db6fd};
  std::vector<double> values;
  for (uint32_t bits = 0x30000000; bits < 0x43800000; bits += 4093) {
    values.push_back(static_cast<double>(float_of(bits)));
    values.push_back(-values.back());
  }
  const int64_t n = static_cast<int64_t>(values.size());
  for (sn_activation activation = SN_NONE; activation <= SN_TANH; ++activation) {
    Call call = activation_call(SN_F32, {n}, elements(SN_F32, values), activation, "grid");
    call.fingerprint = fingerprints[activation];
    emit(call);
  }
}

void many_tasks(const Emit& emit) {
  emit(activation_call(SN_F32, {kManyTasks}, uniform_elements(SN_F32, kManyTasks, 8, 5), SN_SILU, "many tasks"));
}

const Register registered(
    {"activate",
     {{"tails", tails}, {"special_values", special_values}, {"grid", grid}, {"many_tasks", many_tasks}},
     {}});

}  // namespace
}  // namespace sinew_test
