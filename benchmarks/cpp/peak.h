// What the multipliers can do when nothing has to be loaded.
#pragma once

#include <cstdint>

namespace sinew_bench {

// Multiplications and additions of int8 (16-bit where the tier in use has no instructions for 8) per second, on so many
// threads, from registers only.
double peak_rate(int32_t threads);
// The same of F32.
double float_peak_rate(int32_t threads);

}  // namespace sinew_bench
