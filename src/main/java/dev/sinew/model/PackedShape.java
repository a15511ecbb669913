package dev.sinew.model;

import dev.sinew.DType;
import dev.sinew.internal.Messages;
import java.io.IOException;
import java.util.List;
import java.util.Optional;

/** What quantized and clustered tensors have in common: shapes beside packed bits, errors. */
final class PackedShape {
  private PackedShape() {}

  /** The bytes of a row of {@code cols} elements of {@code bits} bits each, at most 8. */
  static long packedBytes(long cols, int bits) {
    return cols / 8 * bits + (cols % 8 * bits + 7) / 8;
  }

  /**
   * The real tensor that is stored as rows of packed bits, as F32.
   *
   * @param shape I64, its dimensions
   * @throws CheckpointException if they are impossible or do not fit the bytes
   */
  static TensorInfo read(Checkpoint checkpoint, TensorInfo stored, TensorInfo shape, int bits)
      throws IOException {
    Optional<List<Long>> stated = StoredShape.read(checkpoint, shape);
    if (stated.isEmpty()) {
      throw damaged(checkpoint, stored, "its shape is not a list of at most 64 numbers");
    }
    List<Long> dimensions = stated.get();
    TensorInfo logical;
    try {
      logical = new TensorInfo(stored.name(), DType.F32, dimensions);
    } catch (IllegalArgumentException e) {
      throw damaged(checkpoint, stored, "its shape " + dimensions + " is impossible");
    }
    long packed = packedBytes(logical.cols(), bits);
    if (logical.elements() > 0 && packed != 0 && logical.rows() > Long.MAX_VALUE / packed
        || (logical.elements() == 0 ? 0 : logical.rows() * packed) != stored.elements()) {
      throw damaged(
          checkpoint,
          stored,
          "its shape " + dimensions + " does not fit its " + stored.elements() + " bytes");
    }
    return logical;
  }

  static CheckpointException damaged(Checkpoint checkpoint, TensorInfo tensor, String why) {
    return new CheckpointException(
        Messages.quote(checkpoint.path())
            + " cannot be dequantized: tensor "
            + Messages.quote(tensor.name())
            + " looks quantized, but "
            + why
            + "; write it again with 'sinew optimize'");
  }
}
