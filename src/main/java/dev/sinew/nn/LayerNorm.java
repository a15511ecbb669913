package dev.sinew.nn;

import dev.sinew.Functional;
import dev.sinew.Tensor;

/**
 * {@code y = (x - mean) / sqrt(variance + eps) * weight + bias} over the last dimension. State
 * dict: {@code weight} [size], {@code bias} [size].
 */
public final class LayerNorm extends Layer {
  private final int size;
  private final double epsilon;
  private final Parameter weight;
  private final Parameter bias;

  /** With a bias, and PyTorch's epsilon, 1e-5. */
  public LayerNorm(int size) {
    this(size, 1e-5, true);
  }

  public LayerNorm(int size, double epsilon, boolean biased) {
    this.size = size;
    this.epsilon = epsilon;
    this.weight = parameter("weight", size);
    this.bias = biased ? parameter("bias", size) : null;
  }

  @Override
  public Tensor forward(Tensor x, Arena arena) {
    Tensor y = arena.like(x);
    Functional.layerNorm(x, weight.value(), bias == null ? null : bias.value(), epsilon, y);
    return y;
  }

  @Override
  public String toString() {
    return "LayerNorm(" + size + ")";
  }
}
