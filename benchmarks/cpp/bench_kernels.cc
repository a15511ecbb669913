// Times every kernel against the memory probe of the same run. See options.cc for the command line.
//
// The tier is chosen once a process, so each one is measured in a child process. A figure means something only beside
// the probe's in its own line: the two are timed in turn, and the ratio is the median over the pairs.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "layer.h"
#include "measure.h"
#include "options.h"
#include "peak.h"

namespace sinew_bench {
namespace {

// The share of the probe's rate that elementwise kernels have to reach.
constexpr double kTarget = 0.9;
constexpr double kProbeTarget = 0.95;

std::string load() {
  double loads[1] = {0};
  char text[32];
  std::snprintf(text, sizeof text, "%.2f", getloadavg(loads, 1) == 1 ? loads[0] : -1.0);
  return text;
}

void print_copies(const Options& options, int32_t threads, const CopyRates& rates) {
  if (options.json) {
    std::printf(
        "{\"kernel\":\"copy\",\"isa\":\"%s\",\"threads\":%d,\"memcpy_gbps\":%.3f,\"streaming_gbps\":%.3f,\"probe_"
        "gbps\":%.3f,\"ratio\":%.4f,\"load\":%s}\n",
        sn_cpu_isa(), threads, rates.memcpy_rate, rates.streaming_rate, rates.probe_rate, rates.ratio, load().c_str());
    return;
  }
  std::printf(
      "\n%s, %d thread%s, %lld MiB, %d pairs, load %s: memcpy %.1f GB/s, streaming copy %.1f, probe %.1f; probe / best "
      "%.2f%s\n",
      sn_cpu_isa(), threads, threads == 1 ? "" : "s", static_cast<long long>(options.mib), options.pairs,
      load().c_str(), rates.memcpy_rate, rates.streaming_rate, rates.probe_rate, rates.ratio,
      rates.ratio < kProbeTarget ? " (below 0.95: not a fair yardstick)" : "");
  std::printf("  %-42s %10s %10s %7s  %s\n", "kernel", "GB/s", "probe", "ratio", "answer");
}

// False when an answer was wrong.
bool measure_kernel(const Options& options, sn_device* device, const std::string& name, const sinew_test::Call& call) {
  LargeCall large(device, call, options.mib);
  std::vector<double> kernel, probe, ratios;
  for (int i = 0; i <= options.pairs; ++i) {
    const double p = large.probe_bytes() * 1e-9 / seconds_of([&] { large.run_probe(); });
    const double k = large.kernel_bytes() * 1e-9 / seconds_of([&] { large.run_kernel(); });
    if (i == 0) continue;  // warms up
    kernel.push_back(k);
    probe.push_back(p);
    ratios.push_back(k / p);
  }
  const bool right = large.outputs_are_right();
  const double ratio = median(ratios);
  if (options.json) {
    std::printf(
        "{\"kernel\":\"%s\",\"isa\":\"%s\",\"threads\":%d,\"bytes\":%.0f,\"gbps\":%.3f,\"probe_gbps\":%.3f,\"ratio\":%."
        "4f,\"right\":%s}\n",
        name.c_str(), sn_cpu_isa(), sn_device_threads(device), large.kernel_bytes(), median(kernel), median(probe),
        ratio, right ? "true" : "false");
  } else {
    std::printf("  %-42s %10.2f %10.2f %6.2f%s  %s\n", name.c_str(), median(kernel), median(probe), ratio,
                ratio < kTarget ? "<" : " ", right ? "right" : "WRONG");
  }
  std::fflush(stdout);
  return right;
}

// False when an answer was wrong. Layers with weights in cold memory: bytes of weights per second beside the rate at
// which the probe reads as many; operations per second beside what the registers alone would allow.
bool measure_layer(const Options& options, sn_device* device, const std::string& name, const sinew_test::Call& call) {
  const int32_t threads = sn_device_threads(device);
  ColdLayer layer(device, call, options.mib);
  std::vector<double> seconds, read_ratios, peaks;
  for (int i = 0; i <= options.pairs; ++i) {
    const double peak = peak_rate(threads);
    const double read = layer.time_read();
    const double t = layer.time_layer();
    if (i == 0) continue;  // warms up
    seconds.push_back(t);
    read_ratios.push_back(read / t);
    peaks.push_back(call.operations / t / peak);
  }
  const bool right = layer.output_is_right();
  const double t = median(seconds), bytes = layer.weight_bytes();
  std::printf(options.json
                  ? "{\"kernel\":\"%s\",\"isa\":\"%s\",\"threads\":%d,\"us\":%.2f,\"gbps\":%.3f,\"read_ratio\":%.4f,"
                    "\"gops\":%.2f,\"peak_ratio\":%.4f,\"packing_ms\":%.2f,\"right\":%s}\n"
                  : "  %-42s %s %d: %.1f us, weights %.2f GB/s = %.2f of read, %.1f GOPS = %.2f of peak, packed in "
                    "%.1f ms, %s\n",
              name.c_str(), sn_cpu_isa(), threads, t * 1e6, bytes / t * 1e-9, median(read_ratios),
              call.operations / t * 1e-9, median(peaks), layer.packing_seconds() * 1e3,
              options.json ? (right ? "true" : "false") : (right ? "right" : "WRONG"));
  std::fflush(stdout);
  return right;
}

bool measure_tier(const Options& options) {
  bool right = true;
  for (int32_t threads : options.threads) {
    sn_device* device = nullptr;
    require(sn_cpu_open(threads, &device));
    print_copies(options, sn_device_threads(device), measure_copies(device, options.mib, options.pairs));
    for (const sinew_test::Case& c : sinew_test::all_cases()) {
      for (const sinew_test::Timed& timed : c.timed) {
        const std::string name = std::string(c.op) + " " + timed.name;
        if (name.find(options.filter) == std::string::npos) continue;
        const sinew_test::Call call = timed.make();
        right = (call.pack ? measure_layer : measure_kernel)(options, device, name, call) && right;
      }
    }
    sn_device_close(device);
  }
  return right;
}

// Runs this program again with SINEW_ISA set; its exit status.
int run_child(const std::string& isa, char** argv) {
  std::vector<char*> arguments;
  for (char** a = argv; *a != nullptr; ++a) arguments.push_back(*a);
  std::string child = "--child";
  arguments.push_back(child.data());
  arguments.push_back(nullptr);
  std::fflush(stdout);
  const pid_t pid = fork();
  if (pid == 0) {
    setenv("SINEW_ISA", isa.c_str(), 1);
    execv("/proc/self/exe", arguments.data());
    _exit(127);
  }
  int status = 1;
  if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status)) return 1;
  return WEXITSTATUS(status);
}

}  // namespace
}  // namespace sinew_bench

int main(int argc, char** argv) {
  using namespace sinew_bench;
  const Options options = parse(argc, argv);
  if (options.child) {
    const char* wanted = std::getenv("SINEW_ISA");
    if (wanted == nullptr || std::strcmp(wanted, sn_cpu_isa()) != 0) {
      std::fprintf(stderr, "not measured: %s\n", sn_cpu_isa_reason());
      return 0;
    }
    return measure_tier(options) ? 0 : 1;
  }
  int worst = 0;
  for (const std::string& isa : options.isas) worst = std::max(worst, run_child(isa, argv));
  return worst;
}
