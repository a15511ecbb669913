package dev.sinew.cli;

import dev.sinew.QuantScheme;
import dev.sinew.RangeMethod;
import dev.sinew.cli.BenchKernel.WrongAnswer;
import java.util.Arrays;
import java.util.function.LongFunction;

/**
 * The operations of {@code bench} in plain Java, by their definitions in docs/numerics.md and
 * without any of the native code.
 */
final class BenchReference {
  private BenchReference() {}

  static float[] pruneThreshold(float[] x, float threshold) {
    float[] y = x.clone();
    for (int i = 0; i < y.length; i++) {
      y[i] = Math.abs(y[i]) > threshold ? y[i] : 0;
    }
    return y;
  }

  static float[] pruneBelow(float[] x, float threshold) {
    float[] y = x.clone();
    for (int i = 0; i < y.length; i++) {
      y[i] = Math.abs(y[i]) < threshold ? 0 : y[i];
    }
    return y;
  }

  /** Keeps the n largest of every m; of equal ones the first go. */
  static float[] pruneNM(float[] x, int n, int m) {
    float[] y = x.clone();
    for (int start = 0; start < x.length; start += m) {
      int length = Math.min(m, x.length - start);
      Integer[] order = new Integer[length];
      for (int i = 0; i < length; i++) {
        order[i] = start + i;
      }
      Arrays.sort(order, (i, j) -> Float.compare(Math.abs(x[i]), Math.abs(x[j])));
      for (int i = 0; i < length * (m - n) / m; i++) {
        y[order[i]] = 0;
      }
    }
    return y;
  }

  static float absMax(float[] x, int from, int to) {
    float most = 0;
    for (int i = from; i < to; i++) {
      most = Math.max(most, Math.abs(x[i]));
    }
    return most;
  }

  /** Symmetric quantization of one value with the scale as it is stored. */
  static float quantize(float x, float scale, QuantScheme scheme) {
    if (!scheme.isInteger()) {
      return roundToFloat8(x / scale);
    }
    int lowest = scheme.bits() == 8 ? -127 : -8;
    int highest = scheme.bits() == 8 ? 127 : 7;
    return (int) Math.max(lowest, Math.min(highest, Math.rint(x / scale)));
  }

  /** The number that an E4M3 byte stands for; none is NaN here. */
  static float float8(byte code) {
    int exponent = code >> 3 & 15;
    int fraction = code & 7;
    float magnitude =
        exponent == 0 ? Math.scalb((float) fraction, -9) : Math.scalb(8f + fraction, exponent - 10);
    return code < 0 ? -magnitude : magnitude;
  }

  // The nearest number of E4M3, ties to even.
  private static float roundToFloat8(float x) {
    int exponent = Math.max(Math.getExponent(x), -6);
    double steps = Math.rint(Math.scalb((double) x, 3 - exponent));
    return (float) Math.max(-448, Math.min(448, Math.scalb(steps, exponent - 3)));
  }

  /** Nearest BF16 values, ties to even, of finite ones. */
  static float[] roundToBf16(float[] x) {
    float[] y = new float[x.length];
    for (int i = 0; i < y.length; i++) {
      int bits = Float.floatToRawIntBits(x[i]);
      y[i] = Float.intBitsToFloat(bits + 0x7fff + (bits >>> 16 & 1) & 0xffff0000);
    }
    return y;
  }

  /** The elements that are not zero, in order. */
  static float[] nonzeros(float[] row) {
    float[] found = new float[row.length];
    int count = 0;
    for (float value : row) {
      if (value != 0) {
        found[count++] = value;
      }
    }
    return Arrays.copyOf(found, count);
  }

  static void requireSame(String kernel, long row, float[] expected, float[] found)
      throws WrongAnswer {
    for (int i = 0; i < expected.length; i++) {
      // Compared as numbers: nothing here depends on the sign of a zero.
      if (expected[i] != found[i]) {
        throw wrong(kernel + " at row " + row + ", column " + i, expected[i], found[i]);
      }
    }
  }

  /** Whether {@code found} is the end of the symmetric int8 range of a row. */
  static void requireRange(
      String kernel, long row, RangeMethod method, float percentile, float[] x, float found)
      throws WrongAnswer {
    float[] magnitudes = new float[x.length];
    for (int i = 0; i < x.length; i++) {
      magnitudes[i] = Math.abs(x[i]);
    }
    Arrays.sort(magnitudes);
    float absMax = magnitudes[x.length - 1];
    switch (method) {
      case MINMAX -> require(kernel, row, absMax, found);
      case PERCENTILE -> {
        int rank = (int) Math.ceil(percentile / 100.0 * x.length);
        require(kernel, row, magnitudes[Math.max(1, rank) - 1], found);
      }
      case MSE -> {
        double best = Double.POSITIVE_INFINITY;
        for (int j = 0; j <= 60; j++) {
          best = Math.min(best, squaredError(x, (float) (absMax * (1 - j / 100.0))));
        }
        // Errors may be summed in another order here, so another range may win by a hair.
        if (squaredError(x, found) > best * (1 + 1e-9)) {
          throw wrong(kernel + " at row " + row + ", squared error", best, squaredError(x, found));
        }
      }
    }
  }

  private static double squaredError(float[] x, float range) {
    float scale = (float) (range / 127.0);
    double sum = 0;
    for (float value : x) {
      double error = (double) value - quantize(value, scale, QuantScheme.INT8_SYMMETRIC) * scale;
      sum += error * error;
    }
    return sum;
  }

  static void requireHistogram(long rows, LongFunction<float[]> x, long[] found)
      throws WrongAnswer {
    long[] expected = new long[found.length];
    for (long row = 0; row < rows; row++) {
      for (float value : x.apply(row)) {
        expected[(Float.floatToRawIntBits(value) & 0x7fffffff) >>> 16]++;
      }
    }
    int bin = Arrays.mismatch(expected, found);
    if (bin >= 0) {
      throw wrong("magnitude histogram in bin " + bin, expected[bin], found[bin]);
    }
  }

  /** Of {@code found} min, max, absmax, sum and zeros count. */
  static void requireStatistics(long rows, LongFunction<float[]> x, double[] found)
      throws WrongAnswer {
    double[] expected = {Double.MAX_VALUE, -Double.MAX_VALUE, 0, 0, 0};
    double magnitudes = 0;
    for (long row = 0; row < rows; row++) {
      for (float value : x.apply(row)) {
        expected[0] = Math.min(expected[0], value);
        expected[1] = Math.max(expected[1], value);
        expected[2] = Math.max(expected[2], Math.abs(value));
        expected[3] += value;
        expected[4] += value == 0 ? 1 : 0;
        magnitudes += Math.abs(value);
      }
    }
    for (int i = 0; i < expected.length; i++) {
      requireNear("statistics[" + i + "]", expected[i], found[i], i == 3 ? magnitudes : 0);
    }
  }

  static void requireComparison(
      long rows, LongFunction<float[]> a, LongFunction<float[]> b, double[] found)
      throws WrongAnswer {
    double[] expected = new double[5];
    for (long row = 0; row < rows; row++) {
      float[] rowA = a.apply(row);
      float[] rowB = b.apply(row);
      for (int i = 0; i < rowA.length; i++) {
        double error = (double) rowA[i] - rowB[i];
        expected[0] = Math.max(expected[0], Math.abs(error));
        expected[1] += error * error;
        expected[2] += (double) rowA[i] * rowA[i];
        expected[3] += (double) rowB[i] * rowB[i];
        expected[4] += (double) rowA[i] * rowB[i];
      }
    }
    for (int i = 0; i < expected.length; i++) {
      requireNear("compare[" + i + "]", expected[i], found[i], i == 0 ? 0 : expected[i]);
    }
  }

  /** {@code terms} is the sum of magnitudes that were added in some order. */
  private static void requireNear(String what, double expected, double found, double terms)
      throws WrongAnswer {
    if (!(Math.abs(expected - found) <= 1e-9 * terms)) {
      throw wrong(what, expected, found);
    }
  }

  private static void require(String kernel, long row, float expected, float found)
      throws WrongAnswer {
    if (expected != found) {
      throw wrong(kernel + " at row " + row, expected, found);
    }
  }

  private static WrongAnswer wrong(String where, Object expected, Object found) {
    return new WrongAnswer(where + " is " + found + " instead of " + expected);
  }
}
