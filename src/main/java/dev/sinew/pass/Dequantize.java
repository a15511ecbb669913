package dev.sinew.pass;

import dev.sinew.Ops;
import dev.sinew.Tensor;

/** Gives quantized tensors back as real numbers: {@code (q - zero_point) * scale}. */
public final class Dequantize {
  private Dequantize() {}

  /**
   * Dequantizes a tensor in memory; see {@link Ops#dequantize}.
   *
   * @param group elements of a row that share a scale; 0 for whole rows or the whole tensor
   */
  public static void apply(Tensor q, Tensor scale, Tensor zeroPoint, long group, Tensor y) {
    Ops.dequantize(q, scale, zeroPoint, group, y);
  }
}
