package dev.sinew.nn;

import dev.sinew.Functional;
import dev.sinew.Pool2dOptions;
import dev.sinew.Tensor;
import java.util.Arrays;

/** The mean of each window: [n, channels, height, width] becomes [n, channels, height', width']. */
public final class AvgPool2d extends Layer {
  private final Pool2dOptions options;

  /** Square windows side by side. */
  public AvgPool2d(int kernel) {
    this(Pool2dOptions.of(kernel));
  }

  public AvgPool2d(Pool2dOptions options) {
    this.options = options;
  }

  @Override
  public Tensor forward(Tensor x, Arena arena) {
    Tensor y = output(x, options, arena, this);
    Functional.avgPool2d(x, options, y);
    return y;
  }

  /** A tensor for what a layer that pools makes of x. */
  static Tensor output(Tensor x, Pool2dOptions options, Arena arena, Layer layer) {
    long height = x.rank() == 4 ? options.outputHeight(x.size(2)) : 0;
    long width = x.rank() == 4 ? options.outputWidth(x.size(3)) : 0;
    if (height < 1 || width < 1) {
      throw new IllegalArgumentException(
          layer
              + " takes [n, channels, height, width] of at least its window's size, not "
              + x.dtype()
              + " "
              + Arrays.toString(x.shape()));
    }
    return arena.allocate(x.dtype(), x.size(0), x.size(1), height, width);
  }

  @Override
  public String toString() {
    return "AvgPool2d(" + options.kernelHeight() + "x" + options.kernelWidth() + ")";
  }
}
