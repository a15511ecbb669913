package dev.sinew.pass;

import dev.sinew.DType;
import dev.sinew.Device;
import dev.sinew.Ops;
import dev.sinew.Scope;
import dev.sinew.Tensor;
import dev.sinew.model.Checkpoint;
import dev.sinew.model.QuantizedTensor;
import dev.sinew.model.QuantizedTensor.Encoding;
import dev.sinew.model.TensorInfo;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Set;

/** Dequantizes {@link QuantizedTensor}s: {@code (q - zero_point) * scale}, in F32. */
record QuantizedDecoder(QuantizedTensor tensor) implements EncodedTensor {
  private static final long PIECE = 1 << 18; // elements dequantized at a time
  private static final long READ = 1 << 30; // bytes read at a time

  @Override
  public TensorInfo logical() {
    return tensor.logical();
  }

  @Override
  public String anchor() {
    return tensor.stored().name();
  }

  @Override
  public Set<String> parts() {
    return tensor.parts();
  }

  @Override
  public void read(Checkpoint source, long byteOffset, ByteBuffer target) throws IOException {
    long cols = tensor.logical().cols();
    while (target.hasRemaining()) {
      long element = byteOffset / 4;
      long row = element / cols;
      long col = element % cols;
      Part part;
      if (cols <= PIECE) {
        long last = (byteOffset + target.remaining() - 1) / 4 / cols;
        part = new Part(row, Math.min(last - row + 1, PIECE / cols), 0, cols);
      } else {
        // Parts of long rows hold whole groups, or lie in one group, and begin where a byte does.
        long group = tensor.group() == 0 ? cols : tensor.group();
        long unit = group <= PIECE ? group : bits() == 4 ? 2 : 1;
        long first = col / unit * unit;
        long end = group <= PIECE ? cols : Math.min(cols, (col / group + 1) * group);
        part = new Part(row, 1, first, Math.min(PIECE / unit * unit, end - first));
      }
      byteOffset += copy(source, part, byteOffset, target);
    }
  }

  /** All values, scales and zero points, as {@link Ops#dequantize} takes them; in the scope. */
  QuantizedParts parts(Checkpoint source, Scope scope) throws IOException {
    Part all = new Part(0, tensor.logical().rows(), 0, tensor.logical().cols());
    long count = tensor.scale().elements();
    return new QuantizedParts(
        values(source, all, scope),
        scales(source, 0, count, scope),
        zeroPoints(source, all, 0, count, scope),
        tensor.group());
  }

  private int bits() {
    return tensor.encoding().bits();
  }

  // The rows [row, row + rows) and columns [col, col + cols) of a tensor.
  private record Part(long row, long rows, long col, long cols) {}

  // Dequantizes a part and copies what the target wants of it; returns the number of bytes
  // copied.
  private long copy(Checkpoint source, Part part, long byteOffset, ByteBuffer target)
      throws IOException {
    long cols = tensor.logical().cols();
    boolean shared = tensor.scale().elements() == 1;
    long group = tensor.group() == 0 ? cols : tensor.group();
    long perRow = ceilDiv(cols, group);
    long firstScale = shared ? 0 : part.row * perRow + part.col / group;
    long scales = shared ? 1 : part.rows * ceilDiv(part.cols, group);
    try (Scope scope = new Scope()) {
      Tensor q = values(source, part, scope);
      Tensor scale = scales(source, firstScale, scales, scope);
      Tensor zeroPoint = zeroPoints(source, part, firstScale, scales, scope);
      Tensor y = scope.allocate(Device.cpu(), DType.F32, part.rows, part.cols);
      Ops.dequantize(q, scale, zeroPoint, scales == part.rows || shared ? 0 : group, y);
      long begin = byteOffset - 4 * (part.row * cols + part.col);
      int count = (int) Math.min(target.remaining(), y.byteSize() - begin);
      ByteBuffer wanted = target.slice().limit(count);
      y.copyTo(begin, wanted);
      target.position(target.position() + count);
      return count;
    }
  }

  // The values as Ops.dequantize takes them.
  private Tensor values(Checkpoint source, Part part, Scope scope) throws IOException {
    Encoding encoding = tensor.encoding();
    DType type = encoding == Encoding.FP8 ? DType.F8_E4M3 : bits() == 4 ? DType.U8 : DType.I8;
    long rowBytes = encoding.rowBytes(tensor.logical().cols());
    long partBytes = bits() == 4 ? (part.cols + 1) / 2 : part.cols;
    long first = part.row * rowBytes + (bits() == 4 ? part.col / 2 : part.col);
    Tensor q = scope.allocate(Device.cpu(), type, part.rows, partBytes);
    if (part.rows == 1 || partBytes == rowBytes) {
      fill(source, tensor.stored(), first, q);
    } else {
      // Rows of words, read together and then put together without what fills the last word.
      Tensor words = scope.allocate(Device.cpu(), DType.U8, part.rows, rowBytes);
      fill(source, tensor.stored(), first, words);
      for (long row = 0; row < part.rows; row++) {
        long to = row * partBytes;
        words.withBuffer(row * rowBytes, (int) partBytes, from -> q.copyFrom(to, from));
      }
    }
    if (encoding == Encoding.PACKED_INT8) {
      // q + 128 and q differ in the upper bit.
      for (long done = 0; done < q.byteSize(); done += READ) {
        q.withBuffer(
            done,
            (int) Math.min(READ, q.byteSize() - done),
            bytes -> {
              for (int i = 0; i < bytes.limit(); i++) {
                bytes.put(i, (byte) (bytes.get(i) ^ 0x80));
              }
            });
      }
    }
    return q;
  }

  private Tensor scales(Checkpoint source, long first, long count, Scope scope) throws IOException {
    DType type = tensor.scale().dtype();
    Tensor stored = scope.allocate(Device.cpu(), type, count);
    fill(source, tensor.scale(), type.bytes(first), stored);
    if (type == DType.F32) {
      return stored;
    }
    Tensor scale = scope.allocate(Device.cpu(), DType.F32, count);
    Ops.convert(stored, scale);
    return scale;
  }

  private Tensor zeroPoints(Checkpoint source, Part part, long first, long count, Scope scope)
      throws IOException {
    TensorInfo stored = tensor.zeroPoint();
    if (stored == null) {
      return null;
    }
    Tensor zeroPoint = scope.allocate(Device.cpu(), DType.I8, count);
    if (stored.dtype() == DType.I8) {
      fill(source, stored, first, zeroPoint);
      return zeroPoint;
    }
    // Words of 32 / bits rows, as many in each row of words as there are slices in a row.
    int perWord = 32 / bits();
    long perRow = stored.cols();
    long firstWord = part.row / perWord;
    long wordRows = (part.row + part.rows - 1) / perWord - firstWord + 1;
    ByteBuffer words =
        ByteBuffer.allocate(Math.toIntExact(4 * wordRows * perRow)).order(ByteOrder.LITTLE_ENDIAN);
    source.read(stored.name(), 4 * firstWord * perRow, words);
    int slices = (int) (count / part.rows);
    int skipped = (int) (first % perRow);
    byte[] unpacked = new byte[(int) count];
    for (int i = 0; i < unpacked.length; i++) {
      long row = part.row + i / slices;
      int word =
          words.getInt((int) (4 * ((row / perWord - firstWord) * perRow + skipped + i % slices)));
      int value = word >>> (int) (row % perWord) * bits() & (1 << bits()) - 1;
      unpacked[i] = (byte) (value - (1 << bits() - 1));
    }
    zeroPoint.copyFrom(0, ByteBuffer.wrap(unpacked));
    return zeroPoint;
  }

  private static long ceilDiv(long a, long b) {
    return a / b + (a % b == 0 ? 0 : 1);
  }

  static void fill(Checkpoint source, TensorInfo info, long byteOffset, Tensor into)
      throws IOException {
    for (long done = 0; done < into.byteSize(); done += READ) {
      long at = done;
      into.withBuffer(
          at,
          (int) Math.min(READ, into.byteSize() - at),
          buffer -> source.read(info.name(), byteOffset + at, buffer));
    }
  }
}
