package dev.sinew;

import dev.sinew.internal.SinewNative;

/**
 * The operations that layers of neural networks are made of. Each runs on the device of its first
 * tensor and returns when the result is complete.
 *
 * <p>Outputs are the caller's and may not overlap inputs unless "in place" is said. Results do not
 * depend on the number of threads; docs/numerics.md has the rules. NaN and infinity are numbers
 * like others here, never an error. Wrong shapes or dtypes are {@link IllegalArgumentException},
 * closed tensors, weights and devices {@link IllegalStateException}. Safe for use by many threads.
 */
public final class Functional {
  private Functional() {}

  /**
   * A linear layer: {@code y = activation(x W^T + bias)}.
   *
   * <p>With weights of kind {@link PackedWeights.Kind#W8A8} each row of x is quantized to symmetric
   * int8 first, by the rules of {@link Ops#scale} and {@link Ops#quantize}; the sums of int8
   * products are exact; a row with NaN or infinity gives a row of NaN.
   *
   * <p>The other kinds keep the precision of x. Integers (int8, int4, and int8 with a bitmap) are
   * multiplied by 16-bit fixed-point numbers: of every block of at most 128 columns those are whole
   * multiples of its largest magnitude divided by 32512, so the error of an activation is at most
   * 1/65024 of that. A row with NaN or infinity gives a row of NaN here too. fp8, floats with a
   * bitmap, and codebooks are computed with in F32.
   *
   * @param x F32 or BF16 [..., in]
   * @param bias F32 [out], or null
   * @param y F32 or BF16 [..., out], with as many rows as x
   */
  public static void linear(
      Tensor x, PackedWeights weights, Tensor bias, Activation activation, Tensor y) {
    int code = activation.ordinal();
    NativeCall.callWithWeights(
        x, weights, bias, y, (px, pw, pb, py) -> SinewNative.sn_linear(px, pw, pb, code, py));
  }
}
