package dev.sinew.pass;

import dev.sinew.DType;
import dev.sinew.Device;
import dev.sinew.Ops;
import dev.sinew.Tensor;
import dev.sinew.model.Checkpoint;
import dev.sinew.model.QuantizedTensor;
import dev.sinew.model.TensorInfo;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.HashSet;
import java.util.Set;

/** Dequantizes {@link QuantizedTensor}s: {@code (q - zero_point) * scale}, in F32. */
record QuantizedDecoder(QuantizedTensor tensor) implements EncodedTensor {
  private static final long PIECE = 1 << 18; // elements dequantized at a time

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
    Set<String> parts = new HashSet<>(Set.of(anchor(), tensor.scale().name()));
    if (tensor.zeroPoint() != null) {
      parts.add(tensor.zeroPoint().name());
    }
    if (tensor.isInt4()) {
      parts.add(anchor() + "_shape");
    }
    return parts;
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
        long unit = group <= PIECE ? group : tensor.isInt4() ? 2 : 1;
        long first = col / unit * unit;
        long end = group <= PIECE ? cols : Math.min(cols, (col / group + 1) * group);
        part = new Part(row, 1, first, Math.min(PIECE / unit * unit, end - first));
      }
      byteOffset += copy(source, part, byteOffset, target);
    }
  }

  // The rows [row, row + rows) and columns [col, col + cols) of a tensor.
  private record Part(long row, long rows, long col, long cols) {}

  // Dequantizes a part and copies what the target wants of it; returns the number of bytes
  // copied.
  private long copy(Checkpoint source, Part part, long byteOffset, ByteBuffer target)
      throws IOException {
    long cols = tensor.logical().cols();
    boolean int4 = tensor.isInt4();
    long rowBytes = int4 ? (cols + 1) / 2 : cols;
    long partBytes = int4 ? (part.cols + 1) / 2 : part.cols;
    boolean shared = tensor.scale().elements() == 1;
    long group = tensor.group() == 0 ? cols : tensor.group();
    long firstScale = shared ? 0 : part.row * ceilDiv(cols, group) + part.col / group;
    long scales = shared ? 1 : part.rows * ceilDiv(part.cols, group);
    try (Tensor q =
            Tensor.allocate(Device.cpu(), int4 ? DType.U8 : DType.I8, part.rows, partBytes);
        Tensor scale = Tensor.allocate(Device.cpu(), DType.F32, scales);
        Tensor zeroPoint =
            tensor.zeroPoint() == null ? null : Tensor.allocate(Device.cpu(), DType.I8, scales);
        Tensor y = Tensor.allocate(Device.cpu(), DType.F32, part.rows, part.cols)) {
      fill(source, tensor.stored(), part.row * rowBytes + (int4 ? part.col / 2 : part.col), q);
      fill(source, tensor.scale(), 4 * firstScale, scale);
      if (zeroPoint != null) {
        fill(source, tensor.zeroPoint(), firstScale, zeroPoint);
      }
      Ops.dequantize(q, scale, zeroPoint, scales == part.rows || shared ? 0 : group, y);
      long begin = byteOffset - 4 * (part.row * cols + part.col);
      int count = (int) Math.min(target.remaining(), y.byteSize() - begin);
      ByteBuffer wanted = target.slice().limit(count);
      y.copyTo(begin, wanted);
      target.position(target.position() + count);
      return count;
    }
  }

  private static long ceilDiv(long a, long b) {
    return a / b + (a % b == 0 ? 0 : 1);
  }

  static void fill(Checkpoint source, TensorInfo info, long byteOffset, Tensor into)
      throws IOException {
    into.withBuffer(
        0,
        Math.toIntExact(into.byteSize()),
        buffer -> source.read(info.name(), byteOffset, buffer));
  }
}
