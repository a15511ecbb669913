package dev.sinew.nn;

import dev.sinew.Activation;
import dev.sinew.Conv2dOptions;
import dev.sinew.Functional;
import dev.sinew.PackedWeights;
import dev.sinew.Tensor;

/**
 * Two-dimensional convolution (cross-correlation, as everywhere): [n, in, height, width] becomes
 * [n, out, height', width'] with {@code height' = floor((height + 2 padding - dilation (kernel - 1)
 * - 1) / stride) + 1}. State dict: {@code weight} [out, in / groups, kernel, kernel], {@code bias}
 * [out].
 *
 * <p>x is F32 or BF16, and y has its type. int8 weights take inputs that are quantized image by
 * image, see {@link LoadOptions.Int8}.
 */
public final class Conv2d extends WeightedLayer {
  private final int in;
  private final int out;
  private final int kernelHeight;
  private final int kernelWidth;
  private final Conv2dOptions options;

  /** A square kernel, stride 1, no padding, a bias. */
  public Conv2d(int in, int out, int kernel) {
    this(in, out, kernel, Conv2dOptions.defaults());
  }

  public Conv2d(int in, int out, int kernel, Conv2dOptions options) {
    this(in, out, kernel, kernel, options, true, Activation.NONE);
  }

  /**
   * @throws IllegalArgumentException if in or out is not a multiple of the number of groups
   */
  public Conv2d(
      int in,
      int out,
      int kernelHeight,
      int kernelWidth,
      Conv2dOptions options,
      boolean bias,
      Activation activation) {
    super(bias, activation, out, perGroup(in, out, options.groups()), kernelHeight, kernelWidth);
    this.in = in;
    this.out = out;
    this.kernelHeight = kernelHeight;
    this.kernelWidth = kernelWidth;
    this.options = options;
  }

  private static long perGroup(int in, int out, long groups) {
    if (groups < 1 || in % groups != 0 || out % groups != 0) {
      throw new IllegalArgumentException(
          groups + " groups do not divide " + in + " input and " + out + " output channels");
    }
    return in / groups;
  }

  @Override
  public Tensor forward(Tensor x, Arena arena) {
    if (x.rank() != 4 || x.size(1) != in || !isActivationType(x.dtype())) {
      throw misfit(x, "F32 or BF16 [n, " + in + ", height, width]");
    }
    long height = options.outputHeight(x.size(2), kernelHeight);
    long width = options.outputWidth(x.size(3), kernelWidth);
    if (height < 1 || width < 1) {
      throw misfit(x, "images at least as large as its kernel");
    }
    return run(x, arena.allocate(x.dtype(), x.size(0), out, height, width));
  }

  @Override
  void compute(Tensor x, PackedWeights weights, Tensor added, Activation activation, Tensor y) {
    Functional.conv2d(x, weights, kernelHeight, kernelWidth, added, options, activation, y);
  }

  @Override
  public String toString() {
    return "Conv2d(" + in + ", " + out + ", " + kernelHeight + "x" + kernelWidth + ")";
  }
}
