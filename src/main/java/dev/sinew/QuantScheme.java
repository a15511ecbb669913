package dev.sinew;

/** The integers that quantized values take, and whether zero lies at the middle of their range. */
public enum QuantScheme {
  /** [-127, 127], scale = absmax / 127. */
  INT8_SYMMETRIC(8, false),
  /** [-128, 127], scale = (max - min) / 255 with an integer zero point. */
  INT8_ASYMMETRIC(8, true),
  /** [-8, 7], scale = absmax / 7.5. */
  INT4_SYMMETRIC(4, false),
  /** [-8, 7], scale = (max - min) / 15 with an integer zero point. */
  INT4_ASYMMETRIC(4, true);

  private final int bits;
  private final boolean asymmetric;

  QuantScheme(int bits, boolean asymmetric) {
    this.bits = bits;
    this.asymmetric = asymmetric;
  }

  public int bits() {
    return bits;
  }

  public boolean isAsymmetric() {
    return asymmetric;
  }

  /** The scheme with this many bits (4 or 8). */
  public static QuantScheme of(int bits, boolean asymmetric) {
    for (QuantScheme scheme : values()) {
      if (scheme.bits == bits && scheme.asymmetric == asymmetric) {
        return scheme;
      }
    }
    throw new IllegalArgumentException("there is no quantization to " + bits + " bits; use 4 or 8");
  }
}
