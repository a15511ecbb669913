package dev.sinew.pass;

import java.math.BigDecimal;
import java.math.BigInteger;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.TreeMap;

/** K-means as docs/numerics.md words it, value by value, in exact decimal arithmetic. */
final class ClusterOracle {
  private ClusterOracle() {}

  /** A codebook and the index of each value. */
  record Clustered(float[] codebook, int[] indices) {}

  static Clustered cluster(float[] x, int bits, int iterations) {
    float[] codebook = start(x, 1 << bits);
    for (int i = 0; i < iterations; i++) {
      float[] next = means(x, assign(x, codebook), codebook);
      if (Arrays.equals(next, codebook)) {
        break;
      }
      codebook = next;
    }
    return new Clustered(codebook, assign(x, codebook));
  }

  /** The nearest entry, of equally near ones the first. */
  static int nearest(float x, float[] codebook) {
    int best = 0;
    for (int k = 1; k < codebook.length; k++) {
      if (isNearer(x, codebook[k], codebook[best])) {
        best = k;
      }
    }
    return best;
  }

  private static boolean isNearer(float x, float a, float b) {
    double toA = Math.abs((double) x - a);
    double toB = Math.abs((double) x - b);
    // Rounding keeps the order of what it does not make equal.
    return toA != toB ? toA < toB : distance(x, a).compareTo(distance(x, b)) < 0;
  }

  private static BigDecimal distance(float a, float b) {
    return new BigDecimal(a).subtract(new BigDecimal(b)).abs();
  }

  private static int[] assign(float[] x, float[] codebook) {
    // Trying all would take minutes: the oracle looks among the entries around the value only.
    int[] indices = new int[x.length];
    for (int i = 0; i < x.length; i++) {
      int at = Arrays.binarySearch(codebook, x[i] + 0.0f);
      int near = at < 0 ? -at - 1 : at;
      int best = -1;
      for (int k = Math.max(0, near - 1); k <= Math.min(codebook.length - 1, near); k++) {
        best = best < 0 || isNearer(x[i], codebook[k], codebook[best]) ? k : best;
      }
      while (best > 0 && codebook[best - 1] == codebook[best]) {
        best--;
      }
      indices[i] = best;
    }
    return indices;
  }

  private static float[] means(float[] x, int[] indices, float[] codebook) {
    BigInteger[] sums = new BigInteger[codebook.length];
    long[] counts = new long[codebook.length];
    Arrays.fill(sums, BigInteger.ZERO);
    for (int i = 0; i < x.length; i++) {
      sums[indices[i]] = sums[indices[i]].add(units(x[i]));
      counts[indices[i]]++;
    }
    float[] means = codebook.clone();
    for (int k = 0; k < codebook.length; k++) {
      if (codebook[k] != 0 && counts[k] > 0) {
        means[k] = (float) (Math.scalb(sums[k].doubleValue(), -149) / counts[k]);
      }
    }
    return means;
  }

  // A float as a whole multiple of the smallest one, 2^-149.
  private static BigInteger units(float x) {
    int exponent = Math.max(Math.getExponent(x), Float.MIN_EXPONENT);
    long mantissa = (long) Math.scalb((double) x, 23 - exponent);
    return BigInteger.valueOf(mantissa).shiftLeft(exponent - Float.MIN_EXPONENT);
  }

  /** One part of the number line: the floats whose upper 16 bits are the same. */
  private record Bin(double from, double to, long count) {}

  static float[] start(float[] x, int entries) {
    TreeMap<Double, Bin> bins = new TreeMap<>();
    for (float v : x) {
      int bits = Float.floatToRawIntBits(v);
      double near = Float.intBitsToFloat(bits & 0xffff0000);
      double far = Float.intBitsToFloat(bits | 0xffff);
      if (near != 0) {
        double from = Math.min(near, far);
        bins.merge(
            from,
            new Bin(from, Math.max(near, far), 1),
            (a, b) -> new Bin(a.from, a.to, a.count + 1));
      }
    }
    List<Bin> all = new ArrayList<>(bins.values());
    int n = entries - 1;
    double[] weights = new double[all.size()];
    for (int i = 0; i < weights.length; i++) {
      Bin bin = all.get(i);
      double width = bin.to - bin.from;
      weights[i] = weights.length <= n ? 1 : StrictMath.cbrt(width * width * bin.count);
    }
    for (int round = 0; weights.length > n && round < 64; round++) {
      double step = Arrays.stream(weights).sequential().reduce(0, Double::sum) / n;
      double[] capped = weights.clone();
      Arrays.setAll(capped, i -> Math.min(weights[i], all.get(i).count * step));
      if (Arrays.equals(capped, weights)) {
        break;
      }
      System.arraycopy(capped, 0, weights, 0, weights.length);
    }
    List<Float> codebook = new ArrayList<>(List.of(0f));
    double total = Arrays.stream(weights).sequential().reduce(0, Double::sum);
    for (int j = 0; j < n; j++) {
      if (weights.length == 0) {
        codebook.add(0f);
        continue;
      }
      double target = total * (2 * j + 1) / (2 * n);
      double before = 0;
      int i = 0;
      while (i + 1 < weights.length && before + weights[i] <= target) {
        before += weights[i];
        i++;
      }
      double share = Math.min(Math.max((target - before) / weights[i], 0), 1);
      codebook.add((float) (all.get(i).from + share * (all.get(i).to - all.get(i).from)));
    }
    codebook.sort(null);
    float[] result = new float[entries];
    for (int k = 0; k < entries; k++) {
      result[k] = codebook.get(k);
    }
    return result;
  }

  /** Rows of packed indices. */
  static byte[] pack(int[] indices, int rows, int bits) {
    int cols = indices.length / rows;
    int width = (cols * bits + 7) / 8;
    byte[] packed = new byte[rows * width];
    for (int i = 0; i < indices.length; i++) {
      for (int b = 0; b < bits; b++) {
        int at = i / cols * width * 8 + i % cols * bits + b;
        packed[at / 8] |= (byte) ((indices[i] >> b & 1) << at % 8);
      }
    }
    return packed;
  }
}
