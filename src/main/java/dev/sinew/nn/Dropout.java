package dev.sinew.nn;

import dev.sinew.Tensor;

/**
 * Returns what it is given: units are dropped in training only. It is there because state dicts
 * count the layers of a {@link Sequential}, this one included.
 */
public final class Dropout extends Layer {
  @Override
  public Tensor forward(Tensor x, Arena arena) {
    return x;
  }

  @Override
  public String toString() {
    return "Dropout()";
  }
}
