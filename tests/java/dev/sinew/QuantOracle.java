package dev.sinew;

import java.util.Arrays;

/**
 * Pruning and quantization in plain Java, one element at a time, written from the text of sinew.h
 * and of the passes' documentation. Values are floats, as the contract converts all types to F32
 * first.
 */
public final class QuantOracle {
  private QuantOracle() {}

  /** {@code out = |x| > threshold ? x : 0}. */
  public static double[] threshold(double[] x, float threshold) {
    return Arrays.stream(x).map(v -> Math.abs((float) v) > threshold ? v : 0.0).toArray();
  }

  /** Prunes the k elements of smallest magnitude, the first of equal ones. */
  public static double[] smallest(double[] x, long k) {
    double[] out = x.clone();
    long[] order = byMagnitude(x);
    for (int i = 0; i < k; i++) {
      out[(int) order[i]] = 0;
    }
    return out;
  }

  /** Indices in the order of magnitudes, and of equal ones by index; the lower 32 bits of each. */
  public static long[] byMagnitude(double[] x) {
    long[] order = new long[x.length];
    for (int i = 0; i < x.length; i++) {
      // The bits of numbers that are not negative are in the order of the numbers.
      order[i] = (long) Float.floatToIntBits(magnitude(x[i])) << 32 | i;
    }
    Arrays.sort(order);
    return order;
  }

  private static float magnitude(double value) {
    return Math.abs((float) value);
  }

  /** N:M along rows; a tail of r elements loses floor(r (m - n) / m). */
  public static double[] nm(double[] x, int rows, int n, int m) {
    double[] out = x.clone();
    int cols = rows == 0 ? 0 : x.length / rows;
    for (int row = 0; row < rows; row++) {
      for (int col = 0; col < cols; col += m) {
        int length = Math.min(m, cols - col);
        int begin = row * cols + col;
        double[] group = Arrays.copyOfRange(x, begin, begin + length);
        double[] kept = smallest(group, (long) length * (m - n) / m);
        System.arraycopy(kept, 0, out, begin, length);
      }
    }
    return out;
  }

  /** How many are zero, of either sign. */
  public static long zeros(double[] x) {
    return Arrays.stream(x).filter(v -> (float) v == 0).count();
  }

  /** Integers, scales and zero points of a matrix, and the values they stand for. */
  public record Quantized(
      int[] integers, float[] scales, int[] zeroPoints, float[] lo, float[] hi, float[] values) {}

  /** The first and the one after the last element of every slice, in order. */
  public static int[][] slices(int rows, int cols, long group, boolean wholeTensor) {
    if (wholeTensor) {
      return new int[][] {{0, rows * cols}};
    }
    int length = group == 0 ? cols : (int) Math.min(group, cols);
    int perRow = (cols + length - 1) / length;
    int[][] slices = new int[rows * perRow][];
    for (int i = 0; i < slices.length; i++) {
      int row = i / perRow * cols;
      int col = i % perRow * length;
      slices[i] = new int[] {row + col, row + Math.min(col + length, cols)};
    }
    return slices;
  }

  /** Quantizes slices of x by the extremes or by percentile. */
  public static Quantized quantize(
      double[] x, int[][] slices, QuantScheme scheme, RangeMethod method, float percentile) {
    float[] lo = new float[slices.length];
    float[] hi = new float[slices.length];
    for (int s = 0; s < slices.length; s++) {
      float[] slice = slice(x, slices[s]);
      float[] range = range(slice, scheme, method, percentile);
      lo[s] = range[0];
      hi[s] = range[1];
    }
    return quantize(x, slices, scheme, lo, hi);
  }

  /** Quantizes slices of x with given ranges. */
  public static Quantized quantize(
      double[] x, int[][] slices, QuantScheme scheme, float[] lo, float[] hi) {
    Quantized result =
        new Quantized(
            new int[x.length],
            new float[slices.length],
            new int[slices.length],
            lo,
            hi,
            new float[x.length]);
    for (int s = 0; s < slices.length; s++) {
      float scale = scale(lo[s], hi[s], scheme);
      int zeroPoint = zeroPoint(lo[s], scale, scheme);
      result.scales[s] = scale;
      result.zeroPoints[s] = zeroPoint;
      for (int i = slices[s][0]; i < slices[s][1]; i++) {
        int q = quantize((float) x[i], scale, zeroPoint, scheme);
        result.integers[i] = q;
        result.values[i] = value(q, scale, zeroPoint, scheme);
      }
    }
    return result;
  }

  private static float[] slice(double[] x, int[] bounds) {
    float[] slice = new float[bounds[1] - bounds[0]];
    for (int i = 0; i < slice.length; i++) {
      slice[i] = (float) x[bounds[0] + i];
    }
    return slice;
  }

  /** MINMAX or PERCENTILE. */
  public static float[] range(
      float[] slice, QuantScheme scheme, RangeMethod method, float percentile) {
    boolean symmetric = !scheme.isAsymmetric();
    float[] sorted = slice.clone();
    if (symmetric) {
      for (int i = 0; i < sorted.length; i++) {
        sorted[i] = Math.abs(sorted[i]);
      }
    }
    Arrays.sort(sorted);
    int n = sorted.length;
    float least = Math.min(0, sorted[0]);
    float most = Math.max(0, sorted[n - 1]);
    if (method == RangeMethod.PERCENTILE) {
      int rank = (int) Math.min(n, Math.max(1, Math.ceil(n * (double) percentile / 100.0)));
      float high = Math.max(0, sorted[rank - 1]);
      float low = Math.min(0, sorted[n - rank]);
      if (symmetric ? high > 0 : high > 0 || low < 0) {
        most = high;
        least = low;
      }
    }
    return symmetric ? new float[] {0.0f - most, most} : new float[] {least, most};
  }

  static float scale(float lo, float hi, QuantScheme scheme) {
    boolean int4 = scheme.bits() == 4;
    double width =
        scheme.isAsymmetric()
            ? ((double) hi - lo) / (int4 ? 15 : 255)
            : Math.max(-(double) lo, hi) / (scheme == QuantScheme.FP8 ? 448 : int4 ? 7.5 : 127);
    if (width == 0) {
      return 1;
    }
    return Math.max((float) width, Float.MIN_VALUE);
  }

  static int least(QuantScheme scheme) {
    return scheme.bits() == 4 ? -8 : scheme.isAsymmetric() ? -128 : -127;
  }

  static int most(QuantScheme scheme) {
    return scheme.bits() == 4 ? 7 : 127;
  }

  static int zeroPoint(float lo, float scale, QuantScheme scheme) {
    if (!scheme.isAsymmetric()) {
      return 0;
    }
    double z = Math.rint(least(scheme) - (double) lo / scale);
    return (int) Math.max(least(scheme), Math.min(most(scheme), z));
  }

  static int quantize(float x, float scale, int zeroPoint, QuantScheme scheme) {
    if (scheme == QuantScheme.FP8) {
      return (byte) float8(x / scale);
    }
    double q = Math.rint(x / scale) + zeroPoint;
    return (int) Math.max(least(scheme), Math.min(most(scheme), q));
  }

  /** What a stored value stands for. */
  static float value(int q, float scale, int zeroPoint, QuantScheme scheme) {
    return (scheme == QuantScheme.FP8 ? float8Value(q & 0xff) : q - zeroPoint) * scale;
  }

  private static float float8Definition(int code) {
    int exponent = code >> 3 & 15;
    int fraction = code & 7;
    double magnitude =
        exponent == 15 && fraction == 7
            ? Double.NaN
            : exponent == 0 ? fraction / 512.0 : (1 + fraction / 8.0) * Math.pow(2, exponent - 7);
    return (float) (code < 128 ? magnitude : -magnitude);
  }

  private static final float[] FLOAT8_VALUES = new float[256];

  static {
    for (int code = 0; code < 256; code++) {
      FLOAT8_VALUES[code] = float8Definition(code);
    }
  }

  /** The number of an E4M3 code; NaN for 0x7f and 0xff. */
  public static float float8Value(int code) {
    return FLOAT8_VALUES[code];
  }

  /** The code of the nearest E4M3 number, the even one of two; 448 is the largest. */
  public static int float8(float x) {
    int nearest = 0;
    double least = Double.POSITIVE_INFINITY;
    double magnitude = Math.min(448, Math.abs(x));
    for (int code = 0; code < 127; code++) {
      double distance = Math.abs(FLOAT8_VALUES[code] - magnitude);
      if (distance < least || (distance == least && code % 2 == 0)) {
        nearest = code;
        least = distance;
      } else if (distance > least) {
        break; // codes are in the order of their numbers
      }
    }
    return nearest | (Float.floatToRawIntBits(x) < 0 ? 128 : 0);
  }

  /** The j-th range that MSE tries, j = 0..60. */
  public static float candidate(float bound, int j) {
    return (float) ((double) bound * (100 - j) / 100.0);
  }

  /** Squared error of a slice under one range. */
  public static double squaredError(float[] slice, float lo, float hi, QuantScheme scheme) {
    float scale = scale(lo, hi, scheme);
    int zeroPoint = zeroPoint(lo, scale, scheme);
    double sum = 0;
    for (float x : slice) {
      float error = x - value(quantize(x, scale, zeroPoint, scheme), scale, zeroPoint, scheme);
      sum += (double) error * error;
    }
    return sum;
  }

  /** Packs int4 rows: q + 8, low nibble first, rows padded with 8. */
  public static byte[] pack(int[] integers, int rows) {
    int cols = rows == 0 ? 0 : integers.length / rows;
    int rowBytes = (cols + 1) / 2;
    byte[] packed = new byte[rows * rowBytes];
    for (int row = 0; row < rows; row++) {
      for (int b = 0; b < rowBytes; b++) {
        int low = integers[row * cols + 2 * b] + 8;
        int high = 2 * b + 1 < cols ? integers[row * cols + 2 * b + 1] + 8 : 8;
        packed[row * rowBytes + b] = (byte) (low | high << 4);
      }
    }
    return packed;
  }

  /** The stored bytes of integers. */
  public static byte[] stored(int[] integers, int rows, QuantScheme scheme) {
    if (scheme.bits() == 4) {
      return pack(integers, rows);
    }
    byte[] bytes = new byte[integers.length];
    for (int i = 0; i < bytes.length; i++) {
      bytes[i] = (byte) integers[i];
    }
    return bytes;
  }

  /** Zero points as bytes. */
  public static byte[] bytes(int[] values) {
    byte[] bytes = new byte[values.length];
    for (int i = 0; i < values.length; i++) {
      bytes[i] = (byte) values[i];
    }
    return bytes;
  }
}
