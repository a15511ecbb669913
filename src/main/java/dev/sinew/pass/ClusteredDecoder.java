package dev.sinew.pass;

import dev.sinew.DType;
import dev.sinew.Device;
import dev.sinew.Ops;
import dev.sinew.Tensor;
import dev.sinew.model.Checkpoint;
import dev.sinew.model.ClusteredTensor;
import dev.sinew.model.TensorInfo;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.Set;

/** Decodes {@link ClusteredTensor}s: each index gives way to its codebook's entry. */
record ClusteredDecoder(ClusteredTensor tensor) implements EncodedTensor {
  private static final long PIECE = 1 << 18; // elements decoded at a time

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
    return Set.of(anchor(), tensor.codebook().name(), anchor() + "_shape");
  }

  @Override
  public void read(Checkpoint source, long byteOffset, ByteBuffer target) throws IOException {
    long cols = tensor.logical().cols();
    while (target.hasRemaining()) {
      long element = byteOffset / 4;
      long row = element / cols;
      long rows = 1;
      long col = 0;
      long count = cols;
      if (cols <= PIECE) {
        long last = (byteOffset + target.remaining() - 1) / 4 / cols;
        long groupEnd = (row / tensor.rowsPerGroup() + 1) * tensor.rowsPerGroup();
        rows = Math.min(Math.min(last + 1, groupEnd) - row, PIECE / cols);
      } else {
        // Parts of long rows begin where a byte does.
        col = element % cols / 8 * 8;
        count = Math.min(PIECE, cols - col);
      }
      byteOffset += copy(source, row, rows, col, count, byteOffset, target);
    }
  }

  // Decodes rows and columns of one group and copies what the target wants of them; returns the
  // number of bytes copied.
  private long copy(
      Checkpoint source,
      long row,
      long rows,
      long col,
      long cols,
      long byteOffset,
      ByteBuffer target)
      throws IOException {
    long entries = tensor.codebook().shape().get(1);
    long group = row / tensor.rowsPerGroup();
    long width = ClusteredTensor.packedBytes(cols, tensor.bits());
    try (Tensor q = Tensor.allocate(Device.cpu(), DType.U8, rows, width);
        Tensor codebook = Tensor.allocate(Device.cpu(), DType.F32, entries);
        Tensor y = Tensor.allocate(Device.cpu(), DType.F32, rows, cols)) {
      long first = row * tensor.rowBytes() + col / 8 * tensor.bits();
      QuantizedDecoder.fill(source, tensor.stored(), first, q);
      QuantizedDecoder.fill(source, tensor.codebook(), 4 * group * entries, codebook);
      Ops.clusterDecode(q, codebook, y);
      long begin = byteOffset - 4 * (row * tensor.logical().cols() + col);
      int count = (int) Math.min(target.remaining(), y.byteSize() - begin);
      ByteBuffer wanted = target.slice().limit(count);
      y.copyTo(begin, wanted);
      target.position(target.position() + count);
      return count;
    }
  }
}
