// Convolutions of weights of int8 with activations quantized to int8: a part of conv2d, in a source of its own.
#pragma once

#include "cpu/matmul/windows.h"

namespace sn {
namespace SN_ISA_NAME {

// For one group and weights of SN_W8A8 that were packed from kernels of the window's size; y is not empty.
sn_status conv2d_w8a8(sn_device* device, const Convolution& c, const sn_tensor* x, const sn_weights& w,
                      const float* bias, sn_activation activation, sn_tensor* y);

}  // namespace SN_ISA_NAME
}  // namespace sn
