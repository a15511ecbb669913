// Runs one call in every way that must not matter.
#pragma once

#include <string>

#include "support/call.h"

namespace sinew_test {

// Runs the call with its operands in every kind of memory, on several numbers of threads, twice, and in place where
// allowed.
// "" when all results are as expected to the last bit, else what is wrong, for people.
std::string check(const Call& call);

// A device with this many threads, opened once and kept for the process.
sn_device* device_with(int32_t threads);
void close_devices();

}  // namespace sinew_test
