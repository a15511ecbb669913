package dev.sinew.nn;

import dev.sinew.Functional;
import dev.sinew.Tensor;
import java.io.IOException;

/**
 * Rotary position embedding (Su et al., "RoFormer", 2021): pairs of a head's elements are rotated
 * by an angle that grows with the token's position. It has no weights; all attention layers of a
 * network share one. Close it, or make it a child of the network, which then takes it along to its
 * device.
 */
public final class RotaryEmbedding extends Module {
  private final int positions;
  private final boolean interleaved;
  private volatile Tensor cosine;
  private volatile Tensor sine;

  /**
   * Llama's: pair i of d / 2 turns by {@code position theta^(-2 i / d)}, and consists of elements i
   * and i + d / 2.
   *
   * @param size of a head, even
   * @param positions how many there can be
   */
  public RotaryEmbedding(int size, int positions, double theta) {
    this(frequencies(size, theta), positions, false);
  }

  /**
   * @param frequencies the angle of each pair for each step of position; elements of a head beyond
   *     the pairs are not rotated
   * @param interleaved whether pairs are neighbours, as in GPT-J, rather than halves apart
   */
  public RotaryEmbedding(double[] frequencies, int positions, boolean interleaved) {
    this.positions = positions;
    this.interleaved = interleaved;
    float[] cosines = new float[Math.multiplyExact(positions, frequencies.length)];
    float[] sines = new float[cosines.length];
    for (int i = 0; i < cosines.length; i++) {
      double angle = i / frequencies.length * frequencies[i % frequencies.length];
      cosines[i] = (float) Math.cos(angle);
      sines[i] = (float) Math.sin(angle);
    }
    cosine = Tensor.of(cosines, positions, frequencies.length);
    sine = Tensor.of(sines, positions, frequencies.length);
    ignore("inv_freq");
  }

  private static double[] frequencies(int size, double theta) {
    if (size < 2 || size % 2 != 0) {
      throw new IllegalArgumentException(
          "elements of a head are rotated in pairs, so their number cannot be " + size);
    }
    double[] frequencies = new double[size / 2];
    for (int i = 0; i < frequencies.length; i++) {
      frequencies[i] = Math.pow(theta, -2.0 * i / size);
    }
    return frequencies;
  }

  @Override
  void loadWeights(StateDict dict, LoadOptions options) throws IOException {
    super.loadWeights(dict, options);
    cosine = moved(cosine, options);
    sine = moved(sine, options);
  }

  private static Tensor moved(Tensor table, LoadOptions options) {
    if (table.device().equals(options.device()) || !options.device().isGpu()) {
      return table;
    }
    try (table) {
      return table.to(options.device());
    }
  }

  /**
   * Rotates in place.
   *
   * @param x [..., tokens, heads, size]
   * @param position of the first token
   * @throws IllegalArgumentException if there are more positions than it was made for
   */
  public void rotate(Tensor x, long position) {
    Functional.rotaryEmbedding(x, cosine, sine, position, interleaved, x);
  }

  /** How many positions there can be. */
  public int positions() {
    return positions;
  }

  @Override
  long ownBytes() {
    return super.ownBytes() + cosine.byteSize() + sine.byteSize();
  }

  @Override
  public void close() {
    cosine.close();
    sine.close();
    super.close();
  }

  @Override
  public String toString() {
    return "RotaryEmbedding(" + positions + ")";
  }
}
