package dev.sinew.nn;

import dev.sinew.Functional;
import dev.sinew.Tensor;

/**
 * {@code y = x / sqrt(mean of x^2 + eps) * weight} over the last dimension (Zhang and Sennrich,
 * 2019). State dict: {@code weight} [size].
 */
public final class RmsNorm extends Layer {
  private final int size;
  private final double epsilon;
  private final Parameter weight;

  public RmsNorm(int size, double epsilon) {
    this.size = size;
    this.epsilon = epsilon;
    this.weight = parameter("weight", size);
  }

  @Override
  public Tensor forward(Tensor x, Arena arena) {
    Tensor y = arena.like(x);
    Functional.rmsNorm(x, weight.value(), epsilon, y);
    return y;
  }

  @Override
  public String toString() {
    return "RmsNorm(" + size + ")";
  }
}
