package dev.sinew.nn;

import dev.sinew.Tensor;

/** A module that makes one tensor of another. */
public abstract class Layer extends Module {
  protected Layer() {}

  /**
   * Computes the layer's output. Safe for use by many threads at once, each with its own arena.
   *
   * @param x is not changed
   * @return a tensor of the arena, valid until it is {@linkplain Arena#reset reset}; x itself if
   *     there is nothing to do
   * @throws IllegalArgumentException if x does not have the shape or type that the layer takes
   * @throws IllegalStateException if the weights are not loaded, or closed
   */
  public abstract Tensor forward(Tensor x, Arena arena);
}
