#include "options.h"

#include <cstdio>
#include <cstdlib>
#include <sstream>

namespace sinew_bench {
namespace {

constexpr char kHelp[] =
    "sinew_bench_kernels: bytes per second of every kernel, and of a probe that moves as many bytes the same way.\n"
    "  --mib N        size of a kernel's largest tensor in MiB, default 1024; use at least four times the last cache\n"
    "  --isa A,B      tiers to measure, default avx512,avx2; also scalar. Tiers that the processor lacks are left out\n"
    "  --threads A,B  numbers of threads, default 1,0; 0 is all processors this process may use\n"
    "  --filter TEXT  only kernels whose name contains TEXT\n"
    "  --pairs N      timings of kernel and probe taken in turn, default 7; medians are shown\n"
    "  --json         one JSON object a line instead of a table\n";

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, ',');) parts.push_back(part);
  return parts;
}

[[noreturn]] void refuse(const std::string& what) {
  std::fprintf(stderr, "%s\n%s", what.c_str(), kHelp);
  std::exit(2);
}

int64_t number(const std::string& text, int64_t least) {
  char* end = nullptr;
  const int64_t value = std::strtoll(text.c_str(), &end, 10);
  if (text.empty() || *end != 0 || value < least || value > (1 << 20))
    refuse("'" + text + "' is not a number that fits");
  return value;
}

}  // namespace

Options parse(int argc, char** argv) {
  Options options;
  options.isas = {"avx512", "avx2"};
  options.threads = {1, 0};
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (name == "--json") {
      options.json = true;
    } else if (name == "--child") {
      options.child = true;
    } else if (name == "--help" || name == "-h") {
      std::fputs(kHelp, stdout);
      std::exit(0);
    } else if (i + 1 == argc) {
      refuse("'" + name + "' is not an option, or lacks its value");
    } else {
      const std::string value = argv[++i];
      if (name == "--mib") {
        options.mib = number(value, 16);
      } else if (name == "--pairs") {
        options.pairs = static_cast<int>(number(value, 1));
      } else if (name == "--filter") {
        options.filter = value;
      } else if (name == "--isa") {
        options.isas = split(value);
      } else if (name == "--threads") {
        options.threads.clear();
        for (const std::string& part : split(value)) options.threads.push_back(static_cast<int32_t>(number(part, 0)));
      } else {
        refuse("'" + name + "' is not an option");
      }
    }
  }
  return options;
}

}  // namespace sinew_bench
