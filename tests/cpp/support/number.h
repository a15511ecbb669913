// The tests' own view of element types: how a stored element becomes a number and back. Written with frexp and
// nearbyint in float64, on purpose unlike the library's bit arithmetic, so that a mistake cannot be in both.
#pragma once

#include <cstdint>
#include <vector>

#include "sinew.h"

namespace sinew_test {

constexpr sn_dtype kFloats[] = {SN_F32, SN_F16, SN_BF16, SN_F64};

int64_t size_of(sn_dtype dtype);
const char* name_of(sn_dtype dtype);

uint32_t bits_of(float x);
float float_of(uint32_t bits);

// The element at p as F32, as the numerical contract converts it. NaN keeps its sign and the upper payload and is
// quiet, except that F32 and BF16 need no conversion that could quiet it.
float as_f32(sn_dtype dtype, const void* p);
std::vector<float> as_f32s(sn_dtype dtype, const std::vector<uint8_t>& bytes);
// Rounds x to nearest even into the element at p; saturates for F8_E4M3, which has no infinity.
void put_f32(sn_dtype dtype, float x, void* p);
// Rounds value (a number that need not fit F32) into the element at p; for making inputs.
void put(sn_dtype dtype, double value, void* p);
std::vector<uint8_t> elements(sn_dtype dtype, const std::vector<double>& values);

}  // namespace sinew_test
