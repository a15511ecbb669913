package dev.sinew.pass;

import dev.sinew.NotFiniteException;
import java.util.Arrays;

/**
 * The codebook that k-means begins with: as dense as the cube root of the density of the values,
 * which is what the best codebook tends to when it grows (Panter and Dite, Quantization distortion
 * in pulse-count modulation with nonuniform spacing of levels, 1951). docs/numerics.md has the
 * rules.
 *
 * <p>A bin is the upper half of the key of {@link dev.sinew.Ops#valueKeyHistogram}; the lower half
 * of the keys runs over the bin's values.
 */
final class CodebookStart {
  // The bins of negative and positive zeros, and of magnitudes below 2^-133.
  private static final int NEGATIVE_ZERO = 0x7fff;
  private static final int POSITIVE_ZERO = 0x8000;
  private static final int MOST_ROUNDS = 64;
  private static final int INFINITY = 0x7f800000;

  /**
   * The bins that are not empty, ascending.
   *
   * @param numbers which they are
   * @param counts how many values each holds
   */
  record Bins(int[] numbers, long[] counts) {
    /** All bins that a key can have. */
    static final int ALL = 1 << 16;

    /** From the counts of all bins. */
    static Bins of(long[] histogram) {
      int[] numbers = new int[ALL];
      long[] counts = new long[ALL];
      int filled = 0;
      for (int bin = 0; bin < ALL; bin++) {
        if (histogram[bin] > 0) {
          numbers[filled] = bin;
          counts[filled++] = histogram[bin];
        }
      }
      return new Bins(Arrays.copyOf(numbers, filled), Arrays.copyOf(counts, filled));
    }

    /**
     * Of few values, for which a table of all bins would be too large.
     *
     * @throws NotFiniteException if one is NaN or infinite
     */
    static Bins of(float[] values) {
      int[] bins = new int[values.length];
      for (int i = 0; i < values.length; i++) {
        int bits = Float.floatToRawIntBits(values[i]);
        if ((bits & INFINITY) == INFINITY) {
          throw new NotFiniteException("the tensor holds NaN or infinity");
        }
        bins[i] = (bits ^ (bits >> 31 | Integer.MIN_VALUE)) >>> 16;
      }
      Arrays.sort(bins);
      int[] numbers = new int[bins.length];
      long[] counts = new long[bins.length];
      int filled = 0;
      for (int i = 0; i < bins.length; i++) {
        if (i > 0 && bins[i] != bins[i - 1]) {
          filled++;
        }
        numbers[filled] = bins[i];
        counts[filled]++;
      }
      int length = bins.length == 0 ? 0 : filled + 1;
      return new Bins(Arrays.copyOf(numbers, length), Arrays.copyOf(counts, length));
    }
  }

  private final double[] least;
  private final double[] width;
  private final double[] weight;
  private int filled;

  private CodebookStart(int bins) {
    least = new double[bins];
    width = new double[bins];
    weight = new double[bins];
  }

  /**
   * @param entries a power of two
   * @return ascending, with a zero
   */
  static float[] of(Bins bins, int entries) {
    return new CodebookStart(bins.numbers.length).choose(bins, entries);
  }

  /** The value of a key. */
  static float value(int key) {
    return Float.intBitsToFloat(key < 0 ? key ^ Integer.MIN_VALUE : ~key);
  }

  private float[] choose(Bins bins, int entries) {
    long[] counts = new long[bins.numbers.length];
    for (int i = 0; i < counts.length; i++) {
      int bin = bins.numbers[i];
      if (bin != NEGATIVE_ZERO && bin != POSITIVE_ZERO) {
        least[filled] = value(bin << 16);
        width[filled] = value(bin << 16 | 0xffff) - least[filled];
        counts[filled++] = bins.counts[i];
      }
    }
    float[] codebook = new float[entries];
    if (filled > 0) {
      weigh(counts, entries - 1);
      place(codebook);
    }
    return codebook;
  }

  private void weigh(long[] counts, int places) {
    for (int i = 0; i < filled; i++) {
      // So few bins that each gets an entry.
      boolean few = filled <= places;
      weight[i] = few ? 1 : StrictMath.cbrt(width[i] * width[i] * counts[i]);
    }
    // No bin gets more entries than it has values, or one outlier could take them all.
    boolean lowered = filled > places;
    for (int round = 0; lowered && round < MOST_ROUNDS; round++) {
      double step = total() / places;
      lowered = false;
      for (int i = 0; i < filled; i++) {
        double most = counts[i] * step;
        lowered |= weight[i] > most;
        weight[i] = Math.min(weight[i], most);
      }
    }
  }

  private double total() {
    double total = 0;
    for (int i = 0; i < filled; i++) {
      total += weight[i];
    }
    return total;
  }

  // Entry j of the n that are not the zero stands where the weight reaches the share (j + 1/2) / n.
  private void place(float[] codebook) {
    int n = codebook.length - 1;
    double total = total();
    double below = 0;
    int bin = 0;
    int at = 0;
    for (int j = 0; j < n; j++) {
      double target = total * (2 * j + 1) / (2 * n);
      while (bin < filled - 1 && below + weight[bin] <= target) {
        below += weight[bin++];
      }
      double share = Math.max(0, Math.min(1, (target - below) / weight[bin]));
      float entry = (float) (least[bin] + share * width[bin]);
      if (entry > 0 && at == j) {
        at++; // the zero stays before the first positive entry
      }
      codebook[at++] = entry;
    }
  }
}
