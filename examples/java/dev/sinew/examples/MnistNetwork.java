package dev.sinew.examples;

import dev.sinew.Activation;
import dev.sinew.Conv2dOptions;
import dev.sinew.nn.BatchNorm;
import dev.sinew.nn.Conv2d;
import dev.sinew.nn.Flatten;
import dev.sinew.nn.Linear;
import dev.sinew.nn.Sequential;

/** A network that recognises handwritten digits. */
public final class MnistNetwork {
  private MnistNetwork() {}

  /**
   * The network without weights: F32 [n, 1, 28, 28] becomes a score for each digit, [n, 10]. The
   * last batch norm is folded into the layer before it; the first one comes after an activation and
   * cannot be.
   */
  public static Sequential create() {
    return new Sequential()
        .add("conv1", convolution(1, 8))
        .add("conv2", convolution(8, 16))
        .add("conv3", convolution(16, 24))
        .add("norm1", new BatchNorm(24))
        .add("flatten", new Flatten())
        .add("fc1", new Linear(24 * 22 * 22, 32, true, Activation.RELU))
        .add("fc2", new Linear(32, 10))
        .add("norm2", new BatchNorm(10));
  }

  private static Conv2d convolution(int in, int out) {
    return new Conv2d(in, out, 3, 3, Conv2dOptions.defaults(), true, Activation.RELU);
  }
}
