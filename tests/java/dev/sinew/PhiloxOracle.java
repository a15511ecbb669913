package dev.sinew;

/**
 * Philox4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3"
 * (2011), one counter at a time, and which elements DARE keeps by it.
 */
public final class PhiloxOracle {
  private PhiloxOracle() {}

  /** The four words that belong to a counter of four words and a key of two. */
  static int[] words(int[] counter, int[] key) {
    int[] c = counter.clone();
    int k0 = key[0];
    int k1 = key[1];
    for (int round = 0; round < 10; round++) {
      long a = 0xD2511F53L * Integer.toUnsignedLong(c[0]);
      long b = 0xCD9E8D57L * Integer.toUnsignedLong(c[2]);
      c = new int[] {(int) (b >>> 32) ^ c[1] ^ k0, (int) b, (int) (a >>> 32) ^ c[3] ^ k1, (int) a};
      k0 += 0x9E3779B9;
      k1 += 0xBB67AE85;
    }
    return c;
  }

  /** Whether an element stays, as docs/numerics.md says. */
  public static boolean keeps(long seed, long stream, long element, double density) {
    long counter = 16 * (element / 64) + element % 16;
    int[] words =
        words(
            new int[] {(int) counter, (int) (counter >>> 32), (int) stream, (int) (stream >>> 32)},
            new int[] {(int) seed, (int) (seed >>> 32)});
    long word = Integer.toUnsignedLong(words[(int) (element / 16 % 4)]);
    return word < Math.max(1, Math.rint(density * 0x1p32));
  }
}
