// Products, int8 layers and convolutions on a GPU, in operations a second.
#pragma once

#include "sinew.h"

namespace sinew_bench {

// Prints a line for each; false if an answer is not what the CPU computes.
bool measure_products(sn_device* gpu, int rounds);

}  // namespace sinew_bench
