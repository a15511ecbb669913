package dev.sinew.model;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** Shapes that stand in a checkpoint as tensors of their own: I64, one element a dimension. */
final class StoredShape {
  private static final int MOST_DIMENSIONS = 64;

  private StoredShape() {}

  /** Reads a shape; empty if the tensor is not a list of at most 64 numbers. */
  static Optional<List<Long>> read(Checkpoint checkpoint, TensorInfo shape) throws IOException {
    if (shape.shape().size() != 1 || shape.elements() > MOST_DIMENSIONS) {
      return Optional.empty();
    }
    return Optional.of(readNumbers(checkpoint, shape, 0, (int) shape.elements()));
  }

  /** Reads some elements of an I64 tensor. */
  static List<Long> readNumbers(Checkpoint checkpoint, TensorInfo tensor, long first, int count)
      throws IOException {
    ByteBuffer bytes = ByteBuffer.allocate(count * Long.BYTES).order(ByteOrder.LITTLE_ENDIAN);
    checkpoint.read(tensor.name(), first * Long.BYTES, bytes);
    bytes.flip();
    List<Long> numbers = new ArrayList<>();
    while (bytes.hasRemaining()) {
      numbers.add(bytes.getLong());
    }
    return numbers;
  }
}
