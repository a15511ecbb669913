package dev.sinew.nn;

import dev.sinew.Tensor;

/** Joins all dimensions but the first: [n, ...] becomes [n, product]. */
public final class Flatten extends Layer {
  @Override
  public Tensor forward(Tensor x, Arena arena) {
    if (x.rank() < 1) {
      throw new IllegalArgumentException("a scalar has no dimensions to join");
    }
    long product = 1;
    for (int i = 1; i < x.rank(); i++) {
      product *= x.size(i);
    }
    return x.rank() == 2 ? x : arena.reshape(x, x.size(0), product);
  }

  @Override
  public String toString() {
    return "Flatten()";
  }
}
