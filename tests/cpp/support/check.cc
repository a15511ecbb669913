#include "support/check.h"

#include <csignal>
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

std::string hex(const uint8_t* p, int64_t size) {
  static const char digits[] = "0123456789abcdef";
  std::string text = "0x";
  for (int64_t i = size - 1; i >= 0; --i) {
    text += digits[p[i] >> 4];
    text += digits[p[i] & 15];
  }
  return text;
}

bool is_nan(const uint8_t* p) {
  double value;
  std::memcpy(&value, p, sizeof value);
  return value != value;
}

std::string compare(const Operand& operand, const std::vector<uint8_t>& expected, const uint8_t* actual, bool any_nan) {
  if (static_cast<int64_t>(expected.size()) != operand.size())
    return "the oracle gives " + std::to_string(expected.size()) + " bytes";
  if (expected.empty() || std::memcmp(expected.data(), actual, expected.size()) == 0) return "";
  const int64_t size = size_of(operand.dtype);
  for (int64_t i = 0; i < operand.count(); ++i) {
    const uint8_t* e = expected.data() + i * size;
    const uint8_t* a = actual + i * size;
    if (std::memcmp(e, a, static_cast<size_t>(size)) == 0) continue;
    if (any_nan && operand.dtype == SN_F64 && is_nan(e) && is_nan(a)) continue;
    std::string text = "element " + std::to_string(i) + " is " + hex(a, size) + ", expected " + hex(e, size);
    if (operand.dtype <= SN_BF16) {
      text += " (as F32 " + std::to_string(as_f32(operand.dtype, a)) + ", expected " +
              std::to_string(as_f32(operand.dtype, e)) + ")";
    }
    return text;
  }
  return "";
}

// Which operands lie where, for the crash handler: plain storage that a signal handler may read.
char running[512];

#if !defined(SINEW_TEST_SANITIZED)  // sanitizers have handlers of their own
void report_crash(int number) {
  const char text[] = "\nThe library crashed in: ";
  ssize_t written = write(2, text, sizeof text - 1);
  written += write(2, running, strnlen(running, sizeof running));
  written += write(2, "\n", 1);
  static_cast<void>(written);
  signal(number, SIG_DFL);
  raise(number);
}
#endif

void install_crash_handler() {
#if !defined(SINEW_TEST_SANITIZED)
  static const bool installed = [] {
    for (int number : {SIGSEGV, SIGBUS, SIGFPE, SIGILL}) signal(number, report_crash);
    return true;
  }();
  static_cast<void>(installed);
#endif
}

std::string run_once(const Call& call, std::vector<std::unique_ptr<Buffer>>& in,
                     std::vector<std::unique_ptr<Buffer>>& out, bool in_place) {
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
  const sn_status status = call.run(inputs, outputs, numbers);
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
    const std::string difference = compare(call.outputs[i], call.expected[i], buffer.data(), call.any_nan);
    if (!difference.empty()) return "output " + std::to_string(i) + ": " + difference;
  }
  for (size_t i = 0; i < 4; ++i) {
    const int64_t expected = i < call.numbers.size() ? call.numbers[i] : kUnset;
    if (numbers[i] != expected)
      return "number " + std::to_string(i) + " is " + std::to_string(numbers[i]) + ", expected " +
             std::to_string(expected);
  }
  return "";
}

std::string run_in(const Call& call, Place place, int32_t threads, bool in_place, int times) {
  const std::string where =
      call.label + ", " + name_of(place) + ", " + std::to_string(threads) + " threads" + (in_place ? ", in place" : "");
  std::strncpy(running, where.c_str(), sizeof running - 1);
  sn_device* device = device_with(threads);
  std::vector<std::unique_ptr<Buffer>> in, out;
  for (const Operand& operand : call.inputs) in.push_back(std::make_unique<Buffer>(device, operand, place));
  for (size_t i = 0; i < call.outputs.size(); ++i) {
    out.push_back(in_place && i == 0 ? nullptr : std::make_unique<Buffer>(device, call.outputs[i], place));
  }
  for (int t = 0; t < times; ++t) {
    const std::string wrong = run_once(call, in, out, in_place);
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
  static const Way few[] = {{Place::kCreated, 1}, {Place::kEndsAtPage, 7}, {Place::kShifted, 2}, {Place::kCreated, 3}};
  const bool small = bytes_read(call) + bytes_written(call) < kManyBytes;
  std::vector<Way> ways =
      small ? std::vector<Way>(std::begin(all), std::end(all)) : std::vector<Way>(std::begin(few), std::end(few));
  for (size_t i = 0; i < ways.size(); ++i) {
    if (call.created_only) ways[i].place = Place::kCreated;
    std::string wrong = run_in(call, ways[i].place, ways[i].threads, false, i == 0 ? 2 : 1);
    if (wrong.empty() && call.in_place) wrong = run_in(call, ways[i].place, ways[i].threads, true, 1);
    if (!wrong.empty()) return wrong;
  }
  return "";
}

}  // namespace sinew_test
