package dev.sinew.nn;

import dev.sinew.Functional;
import dev.sinew.Tensor;

/**
 * Batch normalization with the statistics of training: {@code y = (x - mean) / sqrt(variance + eps)
 * * weight + bias} for each channel, the second dimension: [n, channels, ...] stays so. State dict:
 * {@code weight}, {@code bias}, {@code running_mean}, {@code running_var}; {@code
 * num_batches_tracked} is passed over. (BatchNorm1d, 2d and 3d of PyTorch.)
 *
 * <p>Directly after a {@link Linear} or {@link Conv2d} it can be {@linkplain
 * WeightedLayer#fuse(BatchNorm) folded} into it.
 */
public final class BatchNorm extends Layer {
  private final int channels;
  private final double epsilon;
  private final Parameter weight;
  private final Parameter bias;
  private final Parameter mean;
  private final Parameter variance;
  private boolean absorbed;

  /** With PyTorch's epsilon, 1e-5. */
  public BatchNorm(int channels) {
    this(channels, 1e-5);
  }

  public BatchNorm(int channels, double epsilon) {
    this.channels = channels;
    this.epsilon = epsilon;
    this.weight = parameter("weight", channels);
    this.bias = parameter("bias", channels);
    this.mean = parameter("running_mean", channels);
    this.variance = parameter("running_var", channels);
    ignore("num_batches_tracked");
  }

  int channels() {
    return channels;
  }

  /** The layer before computes the norm from now on. */
  void absorb() {
    if (absorbed || isLoaded()) {
      throw new IllegalStateException(
          "the batch norm is fused with another layer already, or loaded");
    }
    absorbed = true;
  }

  boolean isAbsorbed() {
    return absorbed;
  }

  /** Whether all parameters were found. */
  boolean isReady() {
    return weight.isLoaded() && bias.isLoaded() && mean.isLoaded() && variance.isLoaded();
  }

  /** What each channel is multiplied with. */
  float[] factors() {
    float[] scale = weight.value().toFloats();
    float[] of = variance.value().toFloats();
    float[] factors = new float[channels];
    for (int i = 0; i < channels; i++) {
      factors[i] = (float) (scale[i] / Math.sqrt(of[i] + epsilon));
    }
    return factors;
  }

  /** What is added to each channel after that, if {@code added} (or null) was added before. */
  float[] shifts(float[] added) {
    float[] scale = weight.value().toFloats();
    float[] of = variance.value().toFloats();
    float[] center = mean.value().toFloats();
    float[] shifts = bias.value().toFloats();
    for (int i = 0; i < channels; i++) {
      double before = added == null ? 0 : added[i];
      shifts[i] += (before - center[i]) * (scale[i] / Math.sqrt(of[i] + epsilon));
    }
    return shifts;
  }

  void normalize(Tensor x, Tensor y) {
    Functional.batchNorm(
        x, mean.value(), variance.value(), weight.value(), bias.value(), epsilon, y);
  }

  @Override
  public Tensor forward(Tensor x, Arena arena) {
    if (absorbed) {
      return x;
    }
    Tensor y = arena.like(x);
    normalize(x, y);
    return y;
  }

  @Override
  public String toString() {
    return "BatchNorm(" + channels + ")";
  }
}
