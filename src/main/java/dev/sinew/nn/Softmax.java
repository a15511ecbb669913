package dev.sinew.nn;

import dev.sinew.Functional;
import dev.sinew.Tensor;

/** {@code exp(x) / sum exp(x)} over the last dimension. */
public final class Softmax extends Layer {
  @Override
  public Tensor forward(Tensor x, Arena arena) {
    Tensor y = arena.like(x);
    Functional.softmax(x, y);
    return y;
  }

  @Override
  public String toString() {
    return "Softmax()";
  }
}
