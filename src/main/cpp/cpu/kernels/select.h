// Selection among few numbers.
#pragma once

#include "cpu/simd/simd.h"

namespace sn {
namespace SN_ISA_NAME {

// Moves the `count` smallest of n unsigned numbers to the front. Hoare's quickselect with the middle element as pivot.
template <class U>
inline void select_smallest(U* numbers, int n, int count) {
  int low = 0, high = n - 1;
  while (low < high && count > 0 && count < n) {
    const U pivot = numbers[low + (high - low) / 2];
    int i = low, j = high;
    while (i <= j) {
      while (numbers[i] < pivot) ++i;
      while (numbers[j] > pivot) --j;
      if (i <= j) {
        const U t = numbers[i];
        numbers[i++] = numbers[j];
        numbers[j--] = t;
      }
    }
    if (count <= j) {
      high = j;
    } else if (count > i) {
      low = i;
    } else {
      break;
    }
  }
}

}  // namespace SN_ISA_NAME
}  // namespace sn
