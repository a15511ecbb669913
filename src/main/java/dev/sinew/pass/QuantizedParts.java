package dev.sinew.pass;

import dev.sinew.Tensor;

/**
 * What a quantized tensor is made of, in memory and in the form that {@link
 * dev.sinew.Ops#dequantize} takes, whatever layout it was stored in; see {@link Decoding#parts}.
 *
 * @param values [rows, cols] I8 or F8_E4M3, or for int4 U8 [rows, ceil(cols / 2)]
 * @param scale F32, one element a slice
 * @param zeroPoint I8, or null
 * @param group elements of a row that share a scale; 0 for whole rows or the whole tensor
 */
public record QuantizedParts(Tensor values, Tensor scale, Tensor zeroPoint, long group) {}
