// The rows that the benchmark of GPUs prints: what was measured, what it is compared with in the same run, and whether
// the ratio reaches its target.
#pragma once

#include <functional>
#include <string>

namespace sinew_bench {

struct GpuOptions {
  int64_t mib = 4096;       // that the operands of a kernel take, at most a quarter of the free memory
  int pairs = 7;            // how often both sides of a ratio are timed, in turn
  int calls = 10;           // in a row, as one may take less time than starting it
  int64_t side = 4096;      // of square products
  std::string filter = "";  // a regular expression that the names of the rows to be measured have a part of
};

class Report {
 public:
  explicit Report(const std::string& filter);

  bool wants(const std::string& name) const;
  // A value and what it is compared with, both in the unit, and the median of their ratios; the three may be 0: nothing
  // to compare with was found. `target` is the least ratio, 0 if there is none.
  void row(const std::string& name, const char* unit, double value, double baseline, double ratio, double target,
           bool right);
  void line(const std::string& text);
  // Counts, in a last line. Succeeds if all answers were right; targets that were missed are for people to judge.
  bool finish();

 private:
  std::string filter_;
  int rows_ = 0, wrong_ = 0, met_ = 0, missed_ = 0, not_judged_ = 0;
};

// Medians of two rates that are measured in turn, after once to warm up, and of their ratios, first to second.
struct Pair {
  double first, second, ratio;
};
Pair in_turn(int pairs, const std::function<double()>& first, const std::function<double()>& second);

}  // namespace sinew_bench
