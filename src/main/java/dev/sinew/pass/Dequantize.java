package dev.sinew.pass;

import dev.sinew.DType;
import dev.sinew.Device;
import dev.sinew.Ops;
import dev.sinew.Tensor;
import dev.sinew.internal.Messages;
import dev.sinew.model.Checkpoint;
import dev.sinew.model.QuantizedTensor;
import dev.sinew.model.TensorInfo;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.Collections;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/** Gives quantized tensors back as real numbers: {@code (q - zero_point) * scale}. */
public final class Dequantize {
  private static final long PIECE = 1 << 18; // elements dequantized at a time

  private Dequantize() {}

  /**
   * A view of a checkpoint in which quantized tensors are F32 under their plain names, dequantized
   * while they are read, and their scales, zero points and shapes are hidden. A checkpoint without
   * quantized tensors looks as it is.
   *
   * <p>Closing the view closes the checkpoint.
   *
   * @throws IOException if quantized tensors do not fit together
   */
  public static Checkpoint view(Checkpoint checkpoint) throws IOException {
    Map<String, QuantizedTensor> quantized = QuantizedTensor.find(checkpoint);
    return quantized.isEmpty() ? checkpoint : new View(checkpoint, quantized);
  }

  /**
   * Dequantizes a tensor in memory; see {@link Ops#dequantize}.
   *
   * @param group elements of a row that share a scale; 0 for whole rows or the whole tensor
   */
  public static void apply(Tensor q, Tensor scale, Tensor zeroPoint, long group, Tensor y) {
    Ops.dequantize(q, scale, zeroPoint, group, y);
  }

  private static final class View implements Checkpoint {
    private final Checkpoint source;
    private final Map<String, QuantizedTensor> quantized;
    private final Map<String, TensorInfo> tensors;
    private final Device device = Device.cpu();

    View(Checkpoint source, Map<String, QuantizedTensor> quantized) {
      this.source = source;
      this.quantized = quantized;
      Set<String> hidden = new HashSet<>();
      for (QuantizedTensor tensor : quantized.values()) {
        hidden.add(tensor.scale().name());
        if (tensor.zeroPoint() != null) {
          hidden.add(tensor.zeroPoint().name());
        }
        if (tensor.isInt4()) {
          hidden.add(tensor.stored().name() + "_shape");
        }
      }
      Map<String, TensorInfo> visible = new LinkedHashMap<>();
      source
          .tensors()
          .forEach(
              (name, info) -> {
                if (!hidden.contains(name)) {
                  QuantizedTensor tensor = quantized.get(name);
                  visible.put(name, tensor == null ? info : tensor.logical());
                }
              });
      tensors = Collections.unmodifiableMap(visible);
    }

    @Override
    public Path path() {
      return source.path();
    }

    @Override
    public String format() {
      return source.format();
    }

    @Override
    public Map<String, TensorInfo> tensors() {
      return tensors;
    }

    @Override
    public Map<String, String> metadata() {
      return source.metadata();
    }

    @Override
    public Optional<FileRegion> region(String tensor) {
      requireVisible(tensor);
      return quantized.containsKey(tensor) ? Optional.empty() : source.region(tensor);
    }

    private void requireVisible(String name) {
      if (!tensors.containsKey(name)) {
        throw new IllegalArgumentException(
            Messages.quote(path()) + " has no tensor " + Messages.quote(name));
      }
    }

    @Override
    public void read(String name, long byteOffset, ByteBuffer target) throws IOException {
      requireVisible(name);
      QuantizedTensor tensor = quantized.get(name);
      if (tensor == null) {
        source.read(name, byteOffset, target);
        return;
      }
      TensorInfo logical = tensor.logical();
      if (byteOffset < 0 || byteOffset > logical.bytes() - target.remaining()) {
        throw new IllegalArgumentException(
            "bytes from " + byteOffset + " on lie outside tensor " + Messages.quote(name));
      }
      long cols = logical.cols();
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
        byteOffset += copy(tensor, part, byteOffset, target);
      }
    }

    // The rows [row, row + rows) and columns [col, col + cols) of a tensor.
    private record Part(long row, long rows, long col, long cols) {}

    // Dequantizes a part and copies what the target wants of it; returns the number of bytes
    // copied.
    private long copy(QuantizedTensor tensor, Part part, long byteOffset, ByteBuffer target)
        throws IOException {
      long cols = tensor.logical().cols();
      boolean int4 = tensor.isInt4();
      long rowBytes = int4 ? (cols + 1) / 2 : cols;
      long partBytes = int4 ? (part.cols + 1) / 2 : part.cols;
      boolean shared = tensor.scale().elements() == 1;
      long group = tensor.group() == 0 ? cols : tensor.group();
      long firstScale = shared ? 0 : part.row * ceilDiv(cols, group) + part.col / group;
      long scales = shared ? 1 : part.rows * ceilDiv(part.cols, group);
      try (Tensor q = Tensor.allocate(device, int4 ? DType.U8 : DType.I8, part.rows, partBytes);
          Tensor scale = Tensor.allocate(device, DType.F32, scales);
          Tensor zeroPoint =
              tensor.zeroPoint() == null ? null : Tensor.allocate(device, DType.I8, scales);
          Tensor y = Tensor.allocate(device, DType.F32, part.rows, part.cols)) {
        fill(tensor.stored(), part.row * rowBytes + (int4 ? part.col / 2 : part.col), q);
        fill(tensor.scale(), 4 * firstScale, scale);
        if (zeroPoint != null) {
          fill(tensor.zeroPoint(), firstScale, zeroPoint);
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

    private void fill(TensorInfo info, long byteOffset, Tensor into) throws IOException {
      into.withBuffer(
          0,
          Math.toIntExact(into.byteSize()),
          buffer -> source.read(info.name(), byteOffset, buffer));
    }

    @Override
    public void close() throws IOException {
      source.close();
    }
  }
}
