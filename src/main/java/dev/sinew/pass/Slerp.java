package dev.sinew.pass;

import dev.sinew.DType;
import dev.sinew.Ops;
import dev.sinew.Tensor;

/**
 * Spherical linear interpolation (Shoemake, "Animating rotation with quaternion curves", 1985)
 * between two tensors as vectors. The angle is found in a sweep of its own, unless one tile is the
 * tensor.
 */
final class Slerp implements TensorMerge {
  /** Above this cosine a straight line is as good, and dividing by the sine is not. */
  static final double NEARLY_PARALLEL = 0.9995;

  private final Merge merge;
  private final boolean oneTile;
  private final Turns turns = new Turns();
  // Of the squares of the first, of the second, and of products.
  private final double[] sums = new double[3];
  private float[] coefficients;

  Slerp(Merge merge, MergeTensor tensor) {
    this.merge = merge;
    this.oneTile = tensor.tiles() <= 1;
  }

  @Override
  public int sweeps() {
    return oneTile ? 0 : 1;
  }

  @Override
  public void observe(int sweep, MergeTile tile) {
    double[] products = products(tile);
    turns.await(tile.index());
    fold(products);
    turns.end();
  }

  private static double[] products(MergeTile tile) {
    Tensor a = tile.models().get(0);
    long blocks = (a.elements() + MergeTensor.BLOCK - 1) / MergeTensor.BLOCK;
    Tensor products = tile.scratch("products", DType.F64, blocks, 3);
    Ops.blockProducts(a, tile.models().get(1), products);
    return products.toDoubles();
  }

  private void fold(double[] products) {
    for (int i = 0; i < products.length; i++) {
      sums[i % 3] += products[i];
    }
  }

  @Override
  public void finishSweep(int sweep) {
    coefficients = coefficients();
  }

  @Override
  public void apply(MergeTile tile) {
    if (oneTile) {
      fold(products(tile));
      coefficients = coefficients();
    }
    Ops.weightedSum(tile.models(), coefficients, null, tile.out());
  }

  private float[] coefficients() {
    double lengths = Math.sqrt(sums[0]) * Math.sqrt(sums[1]);
    double cosine = sums[2] / lengths;
    if (lengths == 0 || Math.abs(cosine) > NEARLY_PARALLEL) {
      return merge.coefficients(2);
    }
    // Not Math's functions, whose last bit depends on the machine.
    double angle = StrictMath.acos(cosine);
    double sine = StrictMath.sin(angle);
    return new float[] {
      (float) (StrictMath.sin((1 - merge.t()) * angle) / sine),
      (float) (StrictMath.sin(merge.t() * angle) / sine)
    };
  }

  @Override
  public void abort() {
    turns.abort();
  }
}
