#include "gpu_report.h"

#include <cstdio>
#include <regex>
#include <vector>

#include "measure.h"

namespace sinew_bench {

Report::Report(const std::string& filter) : filter_(filter) {
  std::printf("  %-46s %10s %-8s %10s %6s %7s %-10s %s\n", "kernel", "value", "unit", "baseline", "ratio", "target",
              "verdict", "answer");
}

bool Report::wants(const std::string& name) const { return std::regex_search(name, std::regex(filter_)); }

void Report::row(const std::string& name, const char* unit, double value, double baseline, double ratio, double target,
                 bool right) {
  const bool judged = baseline > 0;
  const char* verdict = "";
  if (target > 0) {
    verdict = !judged ? "not judged" : ratio >= target ? "met" : "missed";
    (!judged ? not_judged_ : ratio >= target ? met_ : missed_) += 1;
  }
  char compared[32] = "", wanted[16] = "";
  if (judged) std::snprintf(compared, sizeof compared, "%10.2f %6.2f", baseline, ratio);
  if (target > 0) std::snprintf(wanted, sizeof wanted, "%.2f", target);
  std::printf("  %-46s %10.2f %-8s %17s %7s %-10s %s\n", name.c_str(), value, unit, compared, wanted, verdict,
              right ? "right" : "WRONG");
  std::fflush(stdout);
  rows_ += 1;
  wrong_ += right ? 0 : 1;
}

void Report::line(const std::string& text) {
  std::printf("  %s\n", text.c_str());
  std::fflush(stdout);
}

bool Report::finish() {
  std::printf("%d rows, %d wrong answers; targets: %d met, %d missed, %d not judged for lack of a library\n", rows_,
              wrong_, met_, missed_, not_judged_);
  return rows_ > 0 && wrong_ == 0;
}

Pair in_turn(int pairs, const std::function<double()>& first, const std::function<double()>& second) {
  std::vector<double> a, b, ratios;
  for (int i = 0; i <= pairs; ++i) {
    const double y = second(), x = first();
    if (i == 0) continue;
    a.push_back(x);
    b.push_back(y);
    ratios.push_back(x / y);
  }
  return {median(a), median(b), median(ratios)};
}

}  // namespace sinew_bench
