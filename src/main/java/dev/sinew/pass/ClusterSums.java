package dev.sinew.pass;

import java.math.BigInteger;
import java.util.Arrays;

/** Exact sums of the values of clusters, and how many there are: what their means follow from. */
final class ClusterSums {
  private static final int DIGITS = 32;
  // The smallest F32 number is 2^-149, and every other a multiple of it.
  private static final int UNIT_EXPONENT = -149;

  private final BigInteger[] sums;
  private final long[] numbers;

  ClusterSums(int clusters) {
    sums = new BigInteger[clusters];
    numbers = new long[clusters];
    Arrays.fill(sums, BigInteger.ZERO);
  }

  /** The elements of the tensors that {@link dev.sinew.Ops#clusterSums} adds to. */
  static long[] lengths(int clusters) {
    return new long[] {(long) clusters * DIGITS, clusters};
  }

  /** Adds what {@link dev.sinew.Ops#clusterSums} has counted. */
  void add(long[] digits, long[] counts) {
    // A number with the highest byte first: the last digit, then the others, which are bytes.
    byte[] bytes = new byte[Long.BYTES + DIGITS - 1];
    for (int k = 0; k < sums.length; k++) {
      long last = digits[k * DIGITS + DIGITS - 1];
      for (int b = 0; b < Long.BYTES; b++) {
        bytes[b] = (byte) (last >> 8 * (Long.BYTES - 1 - b));
      }
      for (int d = 0; d < DIGITS - 1; d++) {
        bytes[bytes.length - 1 - d] = (byte) digits[k * DIGITS + d];
      }
      sums[k] = sums[k].add(new BigInteger(bytes));
      numbers[k] += counts[k];
    }
  }

  /** Adds {@code count} times the finite {@code value}. */
  void add(int cluster, float value, long count) {
    int bits = Float.floatToRawIntBits(value);
    int exponent = bits >> 23 & 0xff;
    int mantissa = bits & 0x7fffff | (exponent > 0 ? 0x800000 : 0);
    BigInteger product = BigInteger.valueOf(bits < 0 ? -mantissa : mantissa);
    product = product.multiply(BigInteger.valueOf(count)).shiftLeft(Math.max(exponent, 1) - 1);
    sums[cluster] = sums[cluster].add(product);
    numbers[cluster] += count;
  }

  /**
   * Moves entries to the means of their clusters: the sum, rounded to F64, divided by the number,
   * rounded to F32. The zero stays, and so does an entry without elements.
   *
   * @return whether any has moved
   */
  boolean moveToMeans(float[] codebook) {
    boolean moved = false;
    for (int k = 0; k < codebook.length; k++) {
      if (numbers[k] > 0 && codebook[k] != 0) {
        float mean = (float) (Math.scalb(sums[k].doubleValue(), UNIT_EXPONENT) / numbers[k]);
        moved |= mean != codebook[k];
        codebook[k] = mean;
      }
    }
    return moved;
  }
}
