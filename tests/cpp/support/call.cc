#include "support/call.h"

#include <cstdlib>
#include <numeric>

namespace sinew_test {
namespace {

std::vector<Case>& registry() {
  static std::vector<Case> cases;
  return cases;
}

}  // namespace

const std::vector<int64_t> kSizes = {0,  1,   2,   15,  16,  17,  31,  32,  33,   47,   63,   64,   65,
                                     97, 127, 128, 129, 255, 256, 511, 997, 4095, 4096, 4097, 5003, 8209};
const std::vector<std::vector<int64_t>> kShapes = {{},        {0},     {1},    {17},       {4097},       {1, 1},
                                                   {1, 63},   {65, 1}, {3, 7}, {5, 33},    {7, 64},      {2, 129},
                                                   {3, 4099}, {4, 0},  {0, 5}, {2, 3, 11}, {2, 2, 2, 9}, {9, 1, 1, 5}};
const std::vector<std::vector<int64_t>> kFewShapes = {{},        {65},       {5, 33}, {7, 64},
                                                      {2, 4099}, {2, 3, 11}, {0, 5},  {4, 0}};

int64_t Operand::count() const { return count_of(shape); }

Register::Register(Case described) { registry().push_back(std::move(described)); }
const std::vector<Case>& all_cases() { return registry(); }

int64_t bytes_read(const Call& call) {
  return std::accumulate(call.inputs.begin(), call.inputs.end(), int64_t{0},
                         [](int64_t sum, const Operand& o) { return sum + o.size(); });
}
int64_t bytes_written(const Call& call) {
  return std::accumulate(call.outputs.begin(), call.outputs.end(), int64_t{0},
                         [](int64_t sum, const Operand& o) { return sum + o.size(); });
}

bool quick() {
  static const bool asked = std::getenv("SINEW_TEST_QUICK") != nullptr;
  return asked;
}

int64_t large_count(sn_dtype output) {
  static const char* asked = std::getenv("SINEW_TEST_LARGE");
  static const int64_t bytes = asked == nullptr ? 8 << 20 : std::atoll(asked);
  return bytes / size_of(output) + 4099;
}

int64_t count_of(const std::vector<int64_t>& shape) {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<int64_t>());
}
int64_t rows_of(const std::vector<int64_t>& shape) { return shape.size() < 2 ? 1 : shape[0]; }
int64_t cols_of(const std::vector<int64_t>& shape) {
  if (shape.size() < 2) return count_of(shape);
  return std::accumulate(shape.begin() + 1, shape.end(), int64_t{1}, std::multiplies<int64_t>());
}
std::string text_of(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i == 0 ? "" : ",") + std::to_string(shape[i]);
  return text + "]";
}

}  // namespace sinew_test
