#include "description.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

namespace sn {
namespace cuda {

void describe_code(const char* architectures, int major, int minor, char* text, int64_t capacity) {
  const int wanted = major * 10 + minor;
  struct Code {
    int number;
    char letter;
  } machine = {0, 0}, ptx = {0, 0};
  for (const char* item = architectures; item != nullptr && *item != 0;) {
    char* rest;
    Code code = {static_cast<int>(strtol(item, &rest, 10)), 0};
    if (*rest >= 'a' && *rest <= 'z') code.letter = *rest++;
    const char* const next = strchr(item, ',');
    const bool has_machine_code = strncmp(rest, "-virtual", 8) != 0, has_ptx = strncmp(rest, "-real", 5) != 0;
    // The letter a is for one chip alone, f for those of its major version.
    const bool of_family = code.number / 10 == major && code.number <= wanted;
    const bool fits = code.number > 0 && (code.letter == 'a'   ? code.number == wanted
                                          : code.letter == 'f' ? of_family
                                                               : code.number <= wanted);
    const auto take = [&code](Code* best) {
      if (code.number > best->number || (code.number == best->number && code.letter != 0)) *best = code;
    };
    if (fits && has_machine_code && of_family) take(&machine);
    if (fits && has_ptx) take(&ptx);
    item = next == nullptr ? nullptr : next + 1;
  }
  const Code best = machine.number > 0 ? machine : ptx;
  char name[24];
  snprintf(name, sizeof name, "%d.%d%c", best.number / 10, best.number % 10, best.letter);
  snprintf(text, static_cast<size_t>(capacity),
           machine.number > 0 ? "machine code for %s"
           : ptx.number > 0   ? "PTX of %s, which the driver compiles"
                              : "no code for it",
           name);
}

void driver_version(const char* file, char* version, int64_t capacity) {
  *version = 0;
  FILE* in = fopen(file, "r");
  if (in == nullptr) return;
  // "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sun Jul ..." and other words before and after; the
  // version is the first word of digits and points.
  char line[512];
  char* place = nullptr;
  const char* word = fgets(line, sizeof line, in) == nullptr ? nullptr : strtok_r(line, " \t\n", &place);
  for (; word != nullptr && *version == 0; word = strtok_r(nullptr, " \t\n", &place)) {
    if (strspn(word, "0123456789.") == strlen(word) && strchr(word, '.') != nullptr)
      snprintf(version, static_cast<size_t>(capacity), "%s", word);
  }
  fclose(in);
}

void describe_gpu(const GpuFacts& gpu, char* text, int64_t capacity) {
  char version[40], code[80];
  driver_version(gpu.driver_file, version, sizeof version);
  describe_code(gpu.architectures, gpu.major, gpu.minor, code, sizeof code);
  snprintf(text, static_cast<size_t>(capacity),
           "%.200s, compute capability %d.%d, %d multiprocessors, %.1f GiB, driver %s%sfor CUDA %d.%d, %s", gpu.name,
           gpu.major, gpu.minor, gpu.multiprocessors, gpu.gib, version, *version == 0 ? "" : " ",
           gpu.driver_cuda / 1000, gpu.driver_cuda % 1000 / 10, code);
}

}  // namespace cuda
}  // namespace sn
