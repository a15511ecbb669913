package dev.sinew.nn;

import dev.sinew.Activation;
import dev.sinew.DType;
import dev.sinew.Functional;
import dev.sinew.PackedWeights;
import dev.sinew.Scope;
import dev.sinew.Tensor;
import dev.sinew.internal.Messages;
import java.io.IOException;
import java.util.Arrays;

/**
 * A layer that multiplies by weights and adds a bias. What follows it directly, a batch norm and an
 * activation, can be fused with it: the norm is folded into weights and bias when they are loaded,
 * so that it costs nothing.
 */
abstract class WeightedLayer extends Layer {
  private final int out;
  private final Weight weight;
  private final Parameter bias;
  private Activation activation;
  private BatchNorm norm;
  // Of a norm that is folded into the weights, instead of the layer's own.
  private volatile Tensor foldedBias;

  /**
   * @param shape of the weights, [out, ...]
   */
  WeightedLayer(boolean biased, Activation activation, long... shape) {
    this.out = (int) shape[0];
    this.activation = activation;
    this.weight = weight("weight", shape);
    this.bias = biased ? parameter("bias", out) : null;
  }

  /**
   * Takes over a batch norm that follows this layer directly, and whose {@link BatchNorm#forward}
   * does nothing from then on. {@link Sequential} does it by itself.
   *
   * @return the norm
   * @throws IllegalArgumentException if the layer has an activation, which comes before the norm,
   *     or another number of channels
   * @throws IllegalStateException if it has a norm already or is loaded
   */
  public BatchNorm fuse(BatchNorm following) {
    requireChangeable(norm == null);
    if (activation != Activation.NONE || following.channels() != out) {
      throw new IllegalArgumentException(
          "a batch norm of "
              + following.channels()
              + " channels cannot be folded into a layer of "
              + out
              + " channels and activation "
              + activation);
    }
    following.absorb();
    norm = following;
    return following;
  }

  /**
   * Takes over an activation that follows this layer, or the norm it has taken over, directly, and
   * whose {@link ActivationLayer#forward} does nothing from then on. {@link Sequential} does it by
   * itself.
   *
   * @return the activation
   * @throws IllegalStateException if it has an activation already or is loaded
   */
  public ActivationLayer fuse(ActivationLayer following) {
    requireChangeable(activation == Activation.NONE);
    following.absorb();
    activation = following.activation();
    return following;
  }

  /** Whether a norm can still follow. */
  final boolean canFuse() {
    return norm == null && activation == Activation.NONE;
  }

  final boolean hasActivation() {
    return activation != Activation.NONE;
  }

  private void requireChangeable(boolean free) {
    if (!free || isLoaded()) {
      throw new IllegalStateException(
          "nothing more can be fused with this layer; do it once, before loading");
    }
  }

  @Override
  void loadWeights(StateDict dict, LoadOptions options) throws IOException {
    if (norm == null || !norm.isReady() || !weight.takesFactors(dict)) {
      super.loadWeights(dict, options);
      return;
    }
    float[] factors = norm.factors();
    float[] shifts = norm.shifts(bias == null ? null : bias.value().toFloats());
    try (Scope scope = new Scope()) {
      foldedBias = scope.keep(options.onDevice(scope.add(Tensor.of(shifts, out)), scope));
    }
    weight.pack(dict, options, factors);
  }

  /** Computes {@code y = activation(weights x + bias)}, and a norm that could not be folded. */
  final Tensor run(Tensor x, Tensor y) {
    PackedWeights packed = weight.packed();
    Tensor folded = foldedBias;
    boolean normed = norm != null && folded == null;
    Tensor added = folded != null || bias == null ? folded : bias.value();
    compute(x, packed, added, normed ? Activation.NONE : activation, y);
    if (normed) {
      norm.normalize(y, y);
      if (activation != Activation.NONE) {
        Functional.activation(y, activation, y);
      }
    }
    return y;
  }

  abstract void compute(
      Tensor x, PackedWeights weights, Tensor added, Activation activation, Tensor y);

  // What layers say of inputs that they do not take.
  final IllegalArgumentException misfit(Tensor x, String wanted) {
    return new IllegalArgumentException(
        Messages.brief(toString())
            + " takes "
            + wanted
            + ", not "
            + x.dtype()
            + " "
            + Arrays.toString(x.shape()));
  }

  static boolean isActivationType(DType dtype) {
    return dtype == DType.F32 || dtype == DType.BF16;
  }

  @Override
  long ownBytes() {
    Tensor folded = foldedBias;
    return super.ownBytes() + (folded == null ? 0 : folded.byteSize());
  }

  @Override
  public void close() {
    try {
      super.close();
    } finally {
      Tensor folded = foldedBias;
      if (folded != null) {
        folded.close();
      }
    }
  }
}
