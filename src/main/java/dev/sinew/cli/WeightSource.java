package dev.sinew.cli;

/**
 * Random numbers for made-up weights, the same on every machine: SplitMix64 (Steele, Lea and Flood,
 * 2014). Not safe for use by several threads.
 */
final class WeightSource {
  private static final double UNIT = 0x1p-53;

  private long state;

  WeightSource(long seed) {
    state = seed;
  }

  private long next() {
    state += 0x9e3779b97f4a7c15L;
    long z = state;
    z = (z ^ z >>> 30) * 0xbf58476d1ce4e5b9L;
    z = (z ^ z >>> 27) * 0x94d049bb133111ebL;
    return z ^ z >>> 31;
  }

  /** Uniform in [0, 1). */
  double nextUniform() {
    return (next() >>> 11) * UNIT;
  }

  /**
   * About normal with mean 0 and variance 1: the sum of four 16-bit uniform numbers, which is cheap
   * and has no tails.
   */
  float nextUnit() {
    long bits = next();
    long sum = (bits & 0xffff) + (bits >>> 16 & 0xffff) + (bits >>> 32 & 0xffff) + (bits >>> 48);
    // Of one term the variance is 65536^2 / 12; of four a third of 65536^2.
    return (float) ((sum - 2 * 65535.0) * (1.7320508075688772 / 65536));
  }

  /** A number below {@code bound}. */
  int nextInt(int bound) {
    return (int) (nextUniform() * bound);
  }
}
