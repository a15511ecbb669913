package dev.sinew.examples;

import dev.sinew.Activation;
import dev.sinew.Conv2dOptions;
import dev.sinew.Tensor;
import dev.sinew.nn.ActivationLayer;
import dev.sinew.nn.Arena;
import dev.sinew.nn.BatchNorm;
import dev.sinew.nn.Conv2d;
import dev.sinew.nn.Layer;

/** A convolution without bias, its batch norm and perhaps a ReLU, which run as one. */
final class ConvNorm extends Layer {
  private final Conv2d conv;

  ConvNorm(int in, int out, int kernel, Conv2dOptions options, boolean relu) {
    conv = child("conv", new Conv2d(in, out, kernel, kernel, options, false, Activation.NONE));
    conv.fuse(child("bn", new BatchNorm(out)));
    if (relu) {
      conv.fuse(ActivationLayer.relu());
    }
  }

  @Override
  public Tensor forward(Tensor x, Arena arena) {
    return conv.forward(x, arena);
  }
}
