package dev.sinew;

/**
 * Element types, named as in the safetensors format.
 *
 * <p>Those with a {@linkplain #isComputable() native code} can be held by a {@link Tensor}; the
 * others are storage types that checkpoints carry through unchanged.
 */
public enum DType {
  F64(64, 0),
  F32(32, 1),
  F16(16, 2),
  BF16(16, 3),
  I64(64, 4),
  I32(32, 5),
  I16(16, 6),
  I8(8, 7),
  U8(8, 8),
  BOOL(8, 9),
  /**
   * 4 exponent and 3 mantissa bits, without infinities (E4M3 of the OCP 8-bit Floating Point
   * Specification): magnitudes from 2^-9 to 448. What quantization to fp8 stores.
   */
  F8_E4M3(8, 10),
  U16(16, -1),
  U32(32, -1),
  U64(64, -1),
  C64(64, -1),
  F8_E5M2(8, -1),
  F8_E8M0(8, -1),
  F8_E4M3FNUZ(8, -1),
  F8_E5M2FNUZ(8, -1),
  F6_E2M3(6, -1),
  F6_E3M2(6, -1),
  F4(4, -1);

  private final int bits;
  private final int code;

  DType(int bits, int code) {
    this.bits = bits;
    this.code = code;
  }

  /** Bits per element; elements of fewer than 8 bits are packed without padding between them. */
  public int bits() {
    return bits;
  }

  /** Whether a {@link Tensor} can hold this type. */
  public boolean isComputable() {
    return code >= 0;
  }

  /** Whether this is F64, F32, F16 or BF16, the types that passes prune and quantize. */
  public boolean isFloating() {
    return this == F64 || this == F32 || this == F16 || this == BF16;
  }

  /**
   * Bytes that {@code elements} elements take.
   *
   * @throws ArithmeticException if the size overflows a long, or is not a whole number of bytes
   */
  public long bytes(long elements) {
    if (bits >= 8) {
      return Math.multiplyExact(elements, (long) (bits / 8));
    }
    long total = Math.multiplyExact(elements, (long) bits);
    if (total % 8 != 0) {
      throw new ArithmeticException(elements + " elements of " + this + " do not fill whole bytes");
    }
    return total / 8;
  }

  int code() {
    if (code < 0) {
      throw new IllegalArgumentException(
          "a tensor cannot hold " + this + "; it is a storage type only");
    }
    return code;
  }
}
