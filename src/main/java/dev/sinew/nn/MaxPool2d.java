package dev.sinew.nn;

import dev.sinew.Functional;
import dev.sinew.Pool2dOptions;
import dev.sinew.Tensor;

/** The largest element of each window; shapes as in {@link AvgPool2d}. */
public final class MaxPool2d extends Layer {
  private final Pool2dOptions options;

  /** Square windows side by side. */
  public MaxPool2d(int kernel) {
    this(Pool2dOptions.of(kernel));
  }

  public MaxPool2d(Pool2dOptions options) {
    this.options = options;
  }

  @Override
  public Tensor forward(Tensor x, Arena arena) {
    Tensor y = AvgPool2d.output(x, options, arena, this);
    Functional.maxPool2d(x, options, y);
    return y;
  }

  @Override
  public String toString() {
    return "MaxPool2d(" + options.kernelHeight() + "x" + options.kernelWidth() + ")";
  }
}
