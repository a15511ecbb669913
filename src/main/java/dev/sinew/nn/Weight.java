package dev.sinew.nn;

import dev.sinew.PackedWeights;
import java.io.IOException;

/**
 * The weights of a linear layer or convolution, packed for the processor in the type that they are
 * stored in: integers stay integers.
 */
public final class Weight extends Slot {
  private volatile PackedWeights packed;

  Weight(long... shape) {
    super(shape);
  }

  /**
   * The packed weights, which must not be closed.
   *
   * @throws IllegalStateException if they are not loaded
   */
  public PackedWeights packed() {
    PackedWeights weights = packed;
    if (weights == null) {
      throw notLoaded();
    }
    return weights;
  }

  @Override
  void pack(StateDict dict, LoadOptions options) throws IOException {
    pack(dict, options, null);
  }

  /**
   * Reads and packs them.
   *
   * @param factors what to multiply each row with, or null
   */
  void pack(StateDict dict, LoadOptions options, float[] factors) throws IOException {
    if (isIn(dict)) {
      packed = dict.pack(name(), options, factors);
    }
  }

  /** Whether {@link #pack} can multiply rows with factors. */
  boolean takesFactors(StateDict dict) {
    return isIn(dict) && dict.takesFactors(name());
  }

  private boolean isIn(StateDict dict) {
    return dict.shape(name()) != null;
  }

  @Override
  long bytes() {
    PackedWeights weights = packed;
    return weights == null ? 0 : weights.byteSize();
  }

  @Override
  void close() {
    PackedWeights weights = packed;
    if (weights != null) {
      weights.close();
    }
  }
}
