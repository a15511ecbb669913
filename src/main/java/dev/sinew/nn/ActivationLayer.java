package dev.sinew.nn;

import dev.sinew.Activation;
import dev.sinew.Functional;
import dev.sinew.Tensor;
import java.util.Objects;

/**
 * An activation as a layer of its own, of any shape. Directly after a {@link Linear}, a {@link
 * Conv2d}, or a norm that is folded into one, it can be {@linkplain
 * WeightedLayer#fuse(ActivationLayer) fused} with it.
 */
public final class ActivationLayer extends Layer {
  private final Activation activation;
  private boolean absorbed;

  public ActivationLayer(Activation activation) {
    this.activation = Objects.requireNonNull(activation, "activation");
  }

  /** max(x, 0). */
  public static ActivationLayer relu() {
    return new ActivationLayer(Activation.RELU);
  }

  Activation activation() {
    return activation;
  }

  /** The layer before computes the activation from now on. */
  void absorb() {
    if (absorbed) {
      throw new IllegalStateException("the activation is fused with another layer already");
    }
    absorbed = true;
  }

  boolean isAbsorbed() {
    return absorbed;
  }

  @Override
  public Tensor forward(Tensor x, Arena arena) {
    if (absorbed || activation == Activation.NONE) {
      return x;
    }
    Tensor y = arena.like(x);
    Functional.activation(x, activation, y);
    return y;
  }

  @Override
  public String toString() {
    return "ActivationLayer(" + activation + ")";
  }
}
