// The kernels as C++, in one file as they share their headers.
#include "prune.cu"
#include "quantize.cu"
#include "range.cu"
