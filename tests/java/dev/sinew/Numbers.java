package dev.sinew;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Random;

/** Values of floating dtypes to and from bytes, by the definition of the formats. */
public final class Numbers {
  private Numbers() {}

  /** The bytes of values, rounded to nearest even, through F32 for the 16-bit types. */
  public static byte[] encode(DType dtype, double... values) {
    ByteBuffer bytes = ByteBuffer.allocate((int) dtype.bytes(values.length));
    bytes.order(ByteOrder.LITTLE_ENDIAN);
    for (double value : values) {
      switch (dtype) {
        case F64 -> bytes.putDouble(value);
        case F32 -> bytes.putFloat((float) value);
        case F16 -> bytes.putShort(narrow((float) value, 10, 15));
        case BF16 -> bytes.putShort(narrow((float) value, 7, 127));
        case I64 -> bytes.putLong((long) value);
        case I32 -> bytes.putInt((int) value);
        case I16 -> bytes.putShort((short) value);
        case I8, U8, BOOL -> bytes.put((byte) value);
        default -> throw new IllegalArgumentException("no encoding of " + dtype);
      }
    }
    return bytes.array();
  }

  /** The values in bytes. */
  public static double[] decode(DType dtype, byte[] data) {
    ByteBuffer bytes = ByteBuffer.wrap(data).order(ByteOrder.LITTLE_ENDIAN);
    double[] values = new double[(int) (data.length / dtype.bytes(1))];
    for (int i = 0; i < values.length; i++) {
      values[i] =
          switch (dtype) {
            case F64 -> bytes.getDouble();
            case F32 -> bytes.getFloat();
            case F16 -> widen(bytes.getShort(), 10, 15);
            case BF16 -> widen(bytes.getShort(), 7, 127);
            case I64 -> bytes.getLong();
            case I32 -> bytes.getInt();
            case I16 -> bytes.getShort();
            case I8 -> bytes.get();
            case U8, BOOL -> bytes.get() & 0xff;
            default -> throw new IllegalArgumentException("no decoding of " + dtype);
          };
    }
    return values;
  }

  // An IEEE format with an explicit mantissa of so many bits: counts the steps of the value's
  // binade.
  private static short narrow(float value, int mantissa, int bias) {
    int sign = Float.floatToRawIntBits(value) < 0 ? 0x8000 : 0;
    int infinity = (2 * bias + 1) << mantissa;
    if (Float.isNaN(value)) {
      return (short) (sign | infinity | 1 << (mantissa - 1));
    }
    double magnitude = Math.abs((double) value);
    int exponent = Math.max(Math.getExponent(magnitude), 1 - bias);
    if (exponent > bias) {
      return (short) (sign | infinity);
    }
    double steps = Math.rint(Math.scalb(magnitude, mantissa - exponent));
    return (short) (sign | Math.min(infinity, ((exponent + bias - 1) << mantissa) + (int) steps));
  }

  private static double widen(short bits, int mantissa, int bias) {
    double sign = bits < 0 ? -1 : 1;
    int exponent = (bits & 0x7fff) >> mantissa;
    int fraction = bits & (1 << mantissa) - 1;
    if (exponent == 2 * bias + 1) {
      return fraction == 0 ? sign * Double.POSITIVE_INFINITY : Double.NaN;
    }
    int leading = exponent == 0 ? 0 : 1 << mantissa;
    return sign
        * Math.scalb((double) (leading + fraction), Math.max(exponent, 1) - bias - mantissa);
  }

  /** A tensor of these values. */
  public static Tensor tensor(Device device, DType dtype, double[] values, long... shape) {
    return ofBytes(device, dtype, encode(dtype, values), shape);
  }

  /** A tensor of these bytes. */
  public static Tensor ofBytes(Device device, DType dtype, byte[] bytes, long... shape) {
    Tensor tensor = Tensor.allocate(device, dtype, shape);
    tensor.copyFrom(0, ByteBuffer.wrap(bytes));
    return tensor;
  }

  /** The values of a tensor of any dtype. */
  public static double[] values(Tensor tensor) {
    return decode(tensor.dtype(), tensor.toBytes());
  }

  /** Values as a tensor of this dtype holds them. */
  public static double[] rounded(DType dtype, double... values) {
    return decode(dtype, encode(dtype, values));
  }

  /** What weights look like, with zeros of both signs, denormals, ties and outliers among them. */
  public static double[] weights(Random random, int count) {
    double[] values = new double[count];
    for (int i = 0; i < count; i++) {
      values[i] =
          switch (random.nextInt(16)) {
            case 0 -> 0.0;
            case 1 -> -0.0;
            case 2, 5, 6 -> 0.5 * (random.nextInt(5) - 2);
            case 3 -> random.nextGaussian() * 1e-41;
            case 4 -> random.nextGaussian() * 20;
            default -> random.nextGaussian() * 0.3;
          };
    }
    return values;
  }
}
