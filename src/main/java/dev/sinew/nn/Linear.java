package dev.sinew.nn;

import dev.sinew.Activation;
import dev.sinew.Functional;
import dev.sinew.PackedWeights;
import dev.sinew.Tensor;

/**
 * {@code y = activation(x W^T + b)} over the last dimension: [..., in] becomes [..., out]. State
 * dict: {@code weight} [out, in], {@code bias} [out].
 *
 * <p>x is F32 or BF16, and y has its type.
 */
public final class Linear extends WeightedLayer {
  private final int in;
  private final int out;

  /** With a bias and no activation. */
  public Linear(int in, int out) {
    this(in, out, true);
  }

  public Linear(int in, int out, boolean bias) {
    this(in, out, bias, Activation.NONE);
  }

  public Linear(int in, int out, boolean bias, Activation activation) {
    super(bias, activation, out, in);
    this.in = in;
    this.out = out;
  }

  @Override
  public Tensor forward(Tensor x, Arena arena) {
    if (x.rank() < 1 || x.size(-1) != in || !isActivationType(x.dtype())) {
      throw misfit(x, "F32 or BF16 [..., " + in + "]");
    }
    Tensor y;
    if (x.rank() == 2) {
      y = arena.allocate(x.dtype(), x.size(0), out);
    } else {
      long[] shape = x.shape();
      shape[shape.length - 1] = out;
      y = arena.allocate(x.dtype(), shape);
    }
    return run(x, y);
  }

  @Override
  void compute(Tensor x, PackedWeights weights, Tensor added, Activation activation, Tensor y) {
    Functional.linear(x, weights, added, activation, y);
  }

  @Override
  public String toString() {
    return "Linear(" + in + ", " + out + ")";
  }
}
