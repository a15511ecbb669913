#include "support/check.h"

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>

#include <unistd.h>

#include "support/buffer.h"

namespace sinew_test {
namespace {

constexpr int64_t kUnset = -0x5a5a5a5a5a5a5a5a;
constexpr int64_t kManyBytes = 1 << 22;  // calls with more run in fewer ways

std::map<int32_t, sn_device*>& devices() {
  static std::map<int32_t, sn_device*> open;
  return open;
}

// What is being run, in plain storage that a signal handler may read.
char running[512];

#if defined(SINEW_TEST_SANITIZED)
void install_crash_handler() {}  // sanitizers have handlers of their own
#else
void report_crash(int number) {
  const char text[] = "\nThe library crashed in: ";
  ssize_t written = write(2, text, sizeof text - 1);
  written += write(2, running, strnlen(running, sizeof running));
  written += write(2, "\n", 1);
  static_cast<void>(written);
  signal(number, SIG_DFL);
  raise(number);
}

void install_crash_handler() {
  static const bool installed = [] {
    for (int number : {SIGSEGV, SIGBUS, SIGFPE, SIGILL}) signal(number, report_crash);
    return true;
  }();
  static_cast<void>(installed);
}
#endif

// The bytes of all bounded outputs of a call's first run, which all others have to repeat.
using Outputs = std::vector<std::vector<uint8_t>>;

std::string run_once(const Call& call, const sn_weights* weights, std::vector<std::unique_ptr<Buffer>>& in,
                     std::vector<std::unique_ptr<Buffer>>& out, bool in_place, Outputs& first) {
  Tensors inputs, outputs;
  for (size_t i = 0; i < in.size(); ++i) {
    in[i]->fill(call.inputs[i].bytes);
    inputs.push_back(in[i]->tensor());
  }
  for (size_t i = 0; i < call.outputs.size(); ++i) {
    Buffer& buffer = in_place && i == 0 ? *in[0] : *out[i];
    if (!(in_place && i == 0)) buffer.fill(call.outputs[i].bytes);
    outputs.push_back(buffer.tensor());
  }
  int64_t numbers[4] = {kUnset, kUnset, kUnset, kUnset};
  const sn_status status =
      call.run_packed ? call.run_packed(inputs, weights, outputs) : call.run(inputs, outputs, numbers);
  if (status != call.status) {
    return "status " + std::to_string(status) + " (" + (status == SN_OK ? "" : sn_last_error()) + "), expected " +
           std::to_string(call.status);
  }
  if (status != SN_OK && sn_last_error()[0] == 0) return "a failure without a sentence";
  for (size_t i = 0; i < in.size(); ++i) {
    if (!in[i]->surroundings_intact()) return "bytes around input " + std::to_string(i) + " were written";
    if (in_place && i == 0) continue;
    if (!call.inputs[i].bytes.empty() &&
        std::memcmp(in[i]->data(), call.inputs[i].bytes.data(), call.inputs[i].bytes.size()) != 0) {
      return "input " + std::to_string(i) + " was written";
    }
  }
  for (size_t i = 0; i < out.size(); ++i) {
    if (out[i] != nullptr && !out[i]->surroundings_intact())
      return "bytes around output " + std::to_string(i) + " were written";
  }
  if (status != SN_OK) return "";
  for (size_t i = 0; i < call.outputs.size(); ++i) {
    const Buffer& buffer = in_place && i == 0 ? *in[0] : *out[i];
    const std::string differs = difference(call, i, buffer.data());
    if (!differs.empty()) return "output " + std::to_string(i) + ": " + differs;
    if (call.bounded.empty()) continue;
    if (first.size() <= i) first.push_back(buffer.bytes());
    if (first[i] != buffer.bytes()) return "output " + std::to_string(i) + " has other bits than in the first run";
  }
  const std::string other = other_fingerprint(call, first);
  if (!other.empty()) return other;
  for (size_t i = 0; i < 4; ++i) {
    const int64_t expected = i < call.numbers.size() ? call.numbers[i] : kUnset;
    if (numbers[i] != expected)
      return "number " + std::to_string(i) + " is " + std::to_string(numbers[i]) + ", expected " +
             std::to_string(expected);
  }
  return "";
}

// A handle of packed weights that closes itself.
struct Weights {
  sn_weights* handle = nullptr;
  ~Weights() { sn_weights_close(handle); }
};

// Packs the call's weights from sources that are gone afterwards.
std::string pack(const Call& call, sn_device* device, Place place, Weights& weights) {
  if (!call.pack) return "";
  std::vector<std::unique_ptr<Buffer>> sources;
  Tensors tensors;
  for (const Operand& operand : call.sources) {
    sources.push_back(std::make_unique<Buffer>(device, operand, place));
    tensors.push_back(sources.back()->tensor());
  }
  if (call.pack(tensors, &weights.handle) != SN_OK) return std::string("packing failed: ") + sn_last_error();
  for (size_t i = 0; i < sources.size(); ++i) {
    if (!sources[i]->surroundings_intact() ||
        (!call.sources[i].bytes.empty() && sources[i]->bytes() != call.sources[i].bytes))
      return "packing has written to source " + std::to_string(i);
    sources[i]->fill({});
  }
  return "";
}

std::string run_in(const Call& call, Place place, int32_t threads, bool in_place, int times, Outputs& first) {
  const std::string where =
      call.label + ", " + name_of(place) + ", " + std::to_string(threads) + " threads" + (in_place ? ", in place" : "");
  std::strncpy(running, where.c_str(), sizeof running - 1);
  sn_device* device = device_with(threads);
  Weights weights;
  const std::string unpacked = pack(call, device, place, weights);
  if (!unpacked.empty()) return where + ": " + unpacked;
  std::vector<std::unique_ptr<Buffer>> in, out;
  for (const Operand& operand : call.inputs) in.push_back(std::make_unique<Buffer>(device, operand, place));
  for (size_t i = 0; i < call.outputs.size(); ++i) {
    out.push_back(in_place && i == 0 ? nullptr : std::make_unique<Buffer>(device, call.outputs[i], place));
  }
  for (int t = 0; t < times; ++t) {
    const std::string wrong = run_once(call, weights.handle, in, out, in_place, first);
    if (!wrong.empty()) return where + (t == 0 ? ": " : ", again: ") + wrong;
  }
  return "";
}

}  // namespace

sn_device* device_with(int32_t threads) {
  sn_device*& device = devices()[threads];
  if (device == nullptr) sn_cpu_open(threads, &device);
  return device;
}

void close_devices() {
  for (auto& entry : devices()) sn_device_close(entry.second);
  devices().clear();
}

std::string check(const Call& call) {
  install_crash_handler();
  struct Way {
    Place place;
    int32_t threads;
  };
  static const Way all[] = {
      {Place::kCreated, 1}, {Place::kEndsAtPage, 1}, {Place::kStartsPage, 2}, {Place::kShifted, 3}, {Place::kHeap, 7}};
  // For slow machines and emulators: every call still runs, but once, or once more in place.
#if defined(SINEW_TEST_SANITIZED)
  static const Way one[] = {{Place::kHeap, 2}};  // whose both ends AddressSanitizer watches
#else
  static const Way one[] = {{Place::kEndsAtPage, 2}};
#endif
  static const Way few[] = {{Place::kEndsAtPage, 7}, {Place::kShifted, 2}, {Place::kCreated, 1}};
  // Scalar code has no stores of its own for large outputs, so that only the tasks differ from those of small calls.
  static const bool scalar = std::string(sn_cpu_isa()) == "scalar";
  const bool small = bytes_read(call) + bytes_written(call) < kManyBytes;
  std::vector<Way> ways = quick() ? std::vector<Way>(std::begin(one), std::end(one))
                          : small ? std::vector<Way>(std::begin(all), std::end(all))
                                  : std::vector<Way>(std::begin(few), scalar ? std::begin(few) + 1 : std::end(few));
  Outputs first;
  for (size_t i = 0; i < ways.size(); ++i) {
    if (call.created_only) ways[i].place = Place::kCreated;
    const int times = i == 0 && small && !quick() ? 2 : 1;
    std::string wrong = run_in(call, ways[i].place, ways[i].threads, false, times, first);
    if (wrong.empty() && call.in_place) wrong = run_in(call, ways[i].place, ways[i].threads, true, 1, first);
    if (!wrong.empty()) return wrong;
  }
  return "";
}

}  // namespace sinew_test
