package dev.sinew.pass;

import dev.sinew.Ops;

/** Linear merges, and task arithmetic where there is a base. */
record WeightedSum(float[] coefficients) implements TensorMerge {
  @Override
  public void apply(MergeTile tile) {
    Ops.weightedSum(tile.models(), coefficients, tile.base(), tile.out());
  }
}
