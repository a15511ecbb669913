package dev.sinew.pass;

import dev.sinew.DType;
import dev.sinew.model.TensorInfo;
import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.List;
import java.util.Random;

/**
 * The sparse form of a tensor as docs/cli.md describes it, element by element and without any of
 * the code under test.
 *
 * @param offsets row offsets
 */
record BitmapOracle(TensorInfo dense, byte[] values, byte[] bitmap, long[] offsets) {
  static BitmapOracle of(TensorInfo dense, byte[] bytes) {
    List<Long> shape = dense.shape();
    int elements = bytes.length * 8 / dense.dtype().bits();
    int size = dense.dtype().bits() / 8;
    int rows = shape.size() < 2 ? 1 : shape.get(0).intValue();
    int cols = rows == 0 ? 0 : elements / rows;
    ByteArrayOutputStream values = new ByteArrayOutputStream();
    byte[] bitmap = new byte[rows * ((cols + 7) / 8)];
    long[] offsets = new long[rows + 1];
    for (int row = 0; row < rows; row++) {
      for (int col = 0; col < cols; col++) {
        int at = (row * cols + col) * size;
        byte[] element = Arrays.copyOfRange(bytes, at, at + size);
        if (!Arrays.equals(element, new byte[size])) {
          values.writeBytes(element);
          bitmap[row * ((cols + 7) / 8) + col / 8] |= (byte) (1 << col % 8);
        }
      }
      offsets[row + 1] = values.size() / size;
    }
    return new BitmapOracle(dense, values.toByteArray(), bitmap, offsets);
  }

  /** Random bits, of which about this share of elements is not zero; -0 and NaN among them. */
  static byte[] elements(Random random, DType dtype, int count, double share) {
    int size = dtype.bits() / 8;
    byte[] bytes = new byte[count * size];
    for (int i = 0; i < count; i++) {
      if (random.nextDouble() < share) {
        byte[] element = new byte[size];
        random.nextBytes(element);
        if (random.nextInt(4) == 0) {
          // -0 in little-endian order
          Arrays.fill(element, (byte) 0);
          element[size - 1] = (byte) 0x80;
        }
        System.arraycopy(element, 0, bytes, i * size, size);
      }
    }
    return bytes;
  }

  long storedBytes() {
    return values.length + bitmap.length + 8L * offsets.length + 8L * dense.shape().size();
  }

  static byte[] bytes(long... numbers) {
    ByteBuffer bytes = ByteBuffer.allocate(8 * numbers.length).order(ByteOrder.LITTLE_ENDIAN);
    bytes.asLongBuffer().put(numbers);
    return bytes.array();
  }

  byte[] offsetBytes() {
    return bytes(offsets);
  }

  byte[] shapeBytes() {
    return bytes(dense.dimensions());
  }

  /** Puts the four stored tensors into a checkpoint. */
  void addTo(MemoryCheckpoint checkpoint) {
    int rows = offsets.length - 1;
    int rowBytes = rows == 0 ? (int) (dense.cols() + 7) / 8 : bitmap.length / rows;
    String name = dense.name();
    int size = dense.dtype().bits() / 8;
    checkpoint.add(TensorInfo.of(name, dense.dtype(), values.length / size), values);
    checkpoint.add(TensorInfo.of(name + "_bitmap", DType.U8, rows, rowBytes), bitmap);
    checkpoint.add(TensorInfo.of(name + "_row_offsets", DType.I64, rows + 1), offsetBytes());
    checkpoint.add(TensorInfo.of(name + "_shape", DType.I64, dense.shape().size()), shapeBytes());
  }
}
