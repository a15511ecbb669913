package dev.sinew;

/** What quantized values are, and whether zero lies at the middle of their range. */
public enum QuantScheme {
  /** [-127, 127], scale = absmax / 127. */
  INT8_SYMMETRIC(8, false),
  /** [-128, 127], scale = (max - min) / 255 with an integer zero point. */
  INT8_ASYMMETRIC(8, true),
  /** [-8, 7], scale = absmax / 7.5. */
  INT4_SYMMETRIC(4, false),
  /** [-8, 7], scale = (max - min) / 15 with an integer zero point. */
  INT4_ASYMMETRIC(4, true),
  /** {@link DType#F8_E4M3} within [-448, 448], scale = absmax / 448. */
  FP8(8, false);

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

  /** Whether the values are integers rather than 8-bit floats. */
  public boolean isInteger() {
    return this != FP8;
  }

  /** The type that tensors of stored values have; two of 4 bits share a byte. */
  public DType storedType() {
    return !isInteger() ? DType.F8_E4M3 : bits == 8 ? DType.I8 : DType.U8;
  }

  /** The name on the command line: int8, int4 or fp8. */
  public String shortName() {
    return isInteger() ? "int" + bits : "fp8";
  }

  /** The scheme of a {@link #shortName}. */
  public static QuantScheme named(String name, boolean asymmetric) {
    for (QuantScheme scheme : values()) {
      if (scheme.shortName().equals(name) && scheme.asymmetric == asymmetric) {
        return scheme;
      }
    }
    throw new IllegalArgumentException(
        name.equals("fp8")
            ? "fp8 has no zero points; leave out --asymmetric"
            : "'" + name + "' is not a way to quantize; use int8, int4 or fp8");
  }

  /** The integer scheme with this many bits (4 or 8). */
  public static QuantScheme of(int bits, boolean asymmetric) {
    for (QuantScheme scheme : values()) {
      if (scheme.isInteger() && scheme.bits == bits && scheme.asymmetric == asymmetric) {
        return scheme;
      }
    }
    throw new IllegalArgumentException("there is no quantization to " + bits + " bits; use 4 or 8");
  }
}
