package dev.sinew.pass;

import dev.sinew.DType;
import dev.sinew.Device;
import dev.sinew.Ops;
import dev.sinew.Tensor;
import dev.sinew.model.BitmapTensor;
import dev.sinew.model.Checkpoint;
import dev.sinew.model.CheckpointException;
import dev.sinew.model.TensorInfo;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

/**
 * Shows {@link BitmapTensor}s as dense tensors.
 *
 * <p>Row offsets lead to the values of any row. Rows longer than a step are also entered in their
 * middle: the ones of their bitmap are counted once, and kept are the counts of whole steps.
 */
final class BitmapDecoder implements EncodedTensor {
  private static final long STEP = 1 << 18; // elements decoded at a time, a multiple of 64

  private final BitmapTensor tensor;
  private final int size;
  private final DType dtype;
  // For each long row that was read: where in the values each of its steps begins.
  private final Map<Long, long[]> steps = new ConcurrentHashMap<>();

  BitmapDecoder(BitmapTensor tensor) {
    this.tensor = tensor;
    this.size = tensor.logical().dtype().bits() / 8;
    // Decoding moves bits, so types that a tensor cannot hold pass as integers of their size.
    this.dtype =
        switch (size) {
          case 1 -> DType.U8;
          case 2 -> DType.I16;
          case 4 -> DType.I32;
          default -> DType.I64;
        };
  }

  @Override
  public TensorInfo logical() {
    return tensor.logical();
  }

  @Override
  public String anchor() {
    return tensor.values().name();
  }

  @Override
  public Set<String> parts() {
    Set<String> names = new HashSet<>();
    tensor.parts().forEach(part -> names.add(part.name()));
    return names;
  }

  /** Rows [row, row + rows) and columns [col, col + cols); a part of a row has but one. */
  private record Part(long row, long rows, long col, long cols) {}

  @Override
  public void read(Checkpoint source, long byteOffset, ByteBuffer target) throws IOException {
    long cols = tensor.logical().cols();
    while (target.hasRemaining()) {
      long first = byteOffset / size;
      long last = (byteOffset + target.remaining() - 1) / size;
      long row = first / cols;
      if (cols <= STEP) {
        long rows = Math.min(last / cols - row + 1, STEP / cols);
        Part part = new Part(row, rows, 0, cols);
        byteOffset += decode(source, part, offsetsOf(source, row, rows), byteOffset, target);
      } else {
        long begin = first % cols / 8 * 8;
        long wanted = last / cols == row ? (last % cols / 8 + 1) * 8 : cols;
        long end = Math.min(Math.min(wanted, cols), (begin / STEP + 1) * STEP);
        Part part = new Part(row, 1, begin, end - begin);
        byteOffset += decode(source, part, offsetsOf(source, part), byteOffset, target);
      }
    }
  }

  // The offsets of whole rows, which are believed only as far as reading the values goes: decoding
  // compares them with the bitmap.
  private long[] offsetsOf(Checkpoint source, long row, long rows) throws IOException {
    ByteBuffer bytes = little(Math.toIntExact((rows + 1) * Long.BYTES));
    source.read(tensor.rowOffsets().name(), row * Long.BYTES, bytes);
    long[] offsets = new long[(int) rows + 1];
    bytes.flip().asLongBuffer().get(offsets);
    long cols = tensor.logical().cols();
    long values = tensor.values().elements();
    for (int i = 0; i <= rows; i++) {
      if (offsets[i] < 0 || offsets[i] > values) {
        throw tensor.damaged(
            source, "row " + (row + i) + " begins at value " + offsets[i] + " of " + values, null);
      }
      if (i > 0 && (offsets[i] < offsets[i - 1] || offsets[i] - offsets[i - 1] > cols)) {
        throw tensor.damaged(
            source,
            "row "
                + (row + i - 1)
                + " of "
                + cols
                + " columns goes from value "
                + offsets[i - 1]
                + " to "
                + offsets[i],
            null);
      }
    }
    return offsets;
  }

  // Where the values of a part of a row begin and end.
  private long[] offsetsOf(Checkpoint source, Part part) throws IOException {
    long[] begins = steps.get(part.row);
    if (begins == null) {
      begins = countSteps(source, part.row);
      steps.put(part.row, begins);
    }
    long step = part.col / STEP;
    long begin = begins[(int) step] + countOnes(source, part.row, step * STEP, part.col);
    long end = begin + countOnes(source, part.row, part.col, part.col + part.cols);
    if (end > begins[(int) step + 1]) {
      throw tensor.damaged(source, "its bitmap has changed while it was read", null);
    }
    return new long[] {begin, end};
  }

  private long[] countSteps(Checkpoint source, long row) throws IOException {
    long[] offsets = offsetsOf(source, row, 1);
    long cols = tensor.logical().cols();
    int count = Math.toIntExact((cols + STEP - 1) / STEP);
    long[] begins = new long[count + 1];
    begins[0] = offsets[0];
    for (int i = 0; i < count; i++) {
      long end = Math.min(cols, (i + 1) * STEP);
      begins[i + 1] = begins[i] + countOnes(source, row, i * STEP, end);
    }
    if (begins[count] != offsets[1]) {
      throw tensor.damaged(
          source,
          "row "
              + row
              + " has "
              + (offsets[1] - offsets[0])
              + " values, but "
              + (begins[count] - begins[0])
              + " ones in its bitmap",
          null);
    }
    return begins;
  }

  // Counts the ones of a row's columns [from, to) of one step; from is a multiple of 8.
  private long countOnes(Checkpoint source, long row, long from, long to) throws IOException {
    ByteBuffer bytes = little((int) ((to + 7) / 8 - from / 8));
    source.read(tensor.bitmap().name(), row * tensor.bytesPerRow() + from / 8, bytes);
    bytes.flip();
    long ones = 0;
    while (bytes.remaining() >= Long.BYTES) {
      ones += Long.bitCount(bytes.getLong());
    }
    while (bytes.hasRemaining()) {
      ones += Integer.bitCount(bytes.get() & 255);
    }
    return ones;
  }

  private static ByteBuffer little(int bytes) {
    return ByteBuffer.allocate(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }

  // Decodes a part and copies what the target wants of it; returns the number of bytes copied.
  private int decode(
      Checkpoint source, Part part, long[] offsets, long byteOffset, ByteBuffer target)
      throws IOException {
    long partBytes = (part.cols + 7) / 8;
    long count = offsets[offsets.length - 1] - offsets[0];
    try (Tensor values = Tensor.allocate(Device.cpu(), dtype, count);
        Tensor bitmap = Tensor.allocate(Device.cpu(), DType.U8, part.rows, partBytes);
        Tensor rowOffsets = Tensor.allocate(Device.cpu(), DType.I64, offsets.length);
        Tensor dense = Tensor.allocate(Device.cpu(), dtype, part.rows, part.cols)) {
      QuantizedDecoder.fill(source, tensor.values(), offsets[0] * size, values);
      long firstByte = part.row * tensor.bytesPerRow() + part.col / 8;
      QuantizedDecoder.fill(source, tensor.bitmap(), firstByte, bitmap);
      ByteBuffer numbers = little(offsets.length * Long.BYTES);
      numbers.asLongBuffer().put(offsets);
      rowOffsets.copyFrom(0, numbers);
      decode(source, values, bitmap, rowOffsets, dense);
      long begin = byteOffset - size * (part.row * tensor.logical().cols() + part.col);
      int wanted = (int) Math.min(target.remaining(), dense.byteSize() - begin);
      dense.copyTo(begin, target.slice().limit(wanted));
      target.position(target.position() + wanted);
      return wanted;
    }
  }

  private void decode(
      Checkpoint source, Tensor values, Tensor bitmap, Tensor rowOffsets, Tensor dense)
      throws CheckpointException {
    try {
      Ops.bitmapDecode(values, bitmap, rowOffsets, dense);
    } catch (IllegalArgumentException e) {
      throw tensor.damaged(source, e.getMessage(), e);
    }
  }
}
