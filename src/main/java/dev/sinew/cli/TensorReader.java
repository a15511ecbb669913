package dev.sinew.cli;

import dev.sinew.DType;
import dev.sinew.Device;
import dev.sinew.Tensor;
import dev.sinew.model.Checkpoint;
import dev.sinew.model.TensorInfo;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * Reads tensors in pieces through one buffer, so that memory does not grow with the model. For one
 * thread.
 */
final class TensorReader {
  /** Elements of a piece: 8 MiB of the widest type, and whole bytes of the narrowest. */
  static final int PIECE = 1 << 20;

  private final ByteBuffer buffer =
      ByteBuffer.allocateDirect(PIECE * 8).order(ByteOrder.LITTLE_ENDIAN);

  /** What is done with each piece. */
  interface Use {
    void accept(ByteBuffer piece) throws IOException;
  }

  /** All pieces of a tensor in order; none if it has no elements. */
  void forEach(Checkpoint checkpoint, TensorInfo tensor, Use use) throws IOException {
    for (long first = 0; first < tensor.elements(); first += PIECE) {
      use.accept(read(checkpoint, tensor, first));
    }
  }

  /**
   * The piece from element {@code first} on, a multiple of {@link #PIECE}. Valid until the next
   * read.
   */
  ByteBuffer read(Checkpoint checkpoint, TensorInfo tensor, long first) throws IOException {
    long count = Math.min(PIECE, tensor.elements() - first);
    ByteBuffer piece = buffer.clear().limit((int) tensor.dtype().bytes(count));
    checkpoint.read(tensor.name(), tensor.dtype().bytes(first), piece);
    return buffer.flip();
  }

  /** A tensor of rank 1 over a piece. */
  static Tensor wrap(ByteBuffer piece, DType dtype) {
    return Tensor.wrap(Device.cpu(), piece, dtype, piece.remaining() * 8L / dtype.bits());
  }
}
