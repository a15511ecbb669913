package dev.sinew.model;

import dev.sinew.DType;
import dev.sinew.internal.Messages;
import java.io.IOException;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * A tensor that a checkpoint stores as its non-zero elements and a bitmap of where they are,
 * without loss: an element is zero when all of its bits are, so -0 is among the values.
 *
 * <p>A tensor {@code T}, seen as the matrix [rows, cols] (see {@link TensorInfo#rows}), is four
 * stored tensors:
 *
 * @param logical name, type and shape of the dense tensor
 * @param values {@code T}: the non-zero elements in row-major order, of the dense tensor's type,
 *     one dimension
 * @param bitmap {@code T_bitmap}: U8 [rows, ceil(cols / 8)]; bit i (1 &lt;&lt; i) of byte b of a
 *     row is set where column 8 b + i is not zero, and bits beyond the last column are not set
 * @param rowOffsets {@code T_row_offsets}: I64 [rows + 1]; where in the values each row begins, the
 *     last one the number of values
 * @param shape {@code T_shape}: I64 [rank]; the dense tensor's shape
 */
public record BitmapTensor(
    TensorInfo logical,
    TensorInfo values,
    TensorInfo bitmap,
    TensorInfo rowOffsets,
    TensorInfo shape) {
  /**
   * The form in which a tensor with so many non-zero elements is stored.
   *
   * @throws IllegalArgumentException if its elements are not whole bytes
   */
  public static BitmapTensor of(TensorInfo dense, long values) {
    if (dense.dtype().bits() % 8 != 0) {
      throw new IllegalArgumentException(
          "tensor "
              + Messages.quote(dense.name())
              + " of type "
              + dense.dtype()
              + " cannot be stored with a bitmap, since its elements are not whole bytes");
    }
    String name = dense.name();
    return new BitmapTensor(
        dense,
        TensorInfo.of(name, dense.dtype(), values),
        TensorInfo.of(name + "_bitmap", DType.U8, dense.rows(), bytesPerRow(dense)),
        TensorInfo.of(name + "_row_offsets", DType.I64, dense.rows() + 1),
        TensorInfo.of(name + "_shape", DType.I64, dense.shape().size()));
  }

  private static long bytesPerRow(TensorInfo dense) {
    long cols = dense.cols();
    return cols / 8 + (cols % 8 == 0 ? 0 : 1);
  }

  /** Bytes of a row in the bitmap: ceil(cols / 8). */
  public long bytesPerRow() {
    return bytesPerRow(logical);
  }

  /** The stored tensors, the values first. */
  public List<TensorInfo> parts() {
    return List.of(values, bitmap, rowOffsets, shape);
  }

  /** The size of all parts. */
  public long storedBytes() {
    return parts().stream().mapToLong(TensorInfo::bytes).sum();
  }

  /**
   * Finds the tensors that are stored with a bitmap, by the names of their parts. That the parts
   * fit together is checked, except for the bitmap's bits and the row offsets between the first and
   * the last one, which whoever decodes them checks.
   *
   * @throws IOException if tensors stand side by side as if they were such parts but do not fit
   */
  public static Map<String, BitmapTensor> find(Checkpoint checkpoint) throws IOException {
    Map<String, BitmapTensor> found = new LinkedHashMap<>();
    Map<String, TensorInfo> tensors = checkpoint.tensors();
    for (TensorInfo values : tensors.values()) {
      String name = values.name();
      TensorInfo bitmap = tensors.get(name + "_bitmap");
      TensorInfo rowOffsets = tensors.get(name + "_row_offsets");
      TensorInfo shape = tensors.get(name + "_shape");
      if (isOf(bitmap, DType.U8) && isOf(rowOffsets, DType.I64) && isOf(shape, DType.I64)) {
        found.put(name, describe(checkpoint, values, bitmap, rowOffsets, shape));
      }
    }
    return found;
  }

  private static boolean isOf(TensorInfo tensor, DType dtype) {
    return tensor != null && tensor.dtype() == dtype;
  }

  private static BitmapTensor describe(
      Checkpoint checkpoint,
      TensorInfo values,
      TensorInfo bitmap,
      TensorInfo rowOffsets,
      TensorInfo shape)
      throws IOException {
    if (values.shape().size() != 1) {
      throw damaged(checkpoint, values, "its values are not a list, but " + values.shape(), null);
    }
    Optional<List<Long>> dimensions = StoredShape.read(checkpoint, shape);
    if (dimensions.isEmpty()) {
      throw damaged(checkpoint, values, "its shape is not a list of at most 64 numbers", null);
    }
    BitmapTensor expected;
    try {
      TensorInfo dense = new TensorInfo(values.name(), values.dtype(), dimensions.get());
      expected = of(dense, values.elements());
    } catch (IllegalArgumentException e) {
      throw damaged(
          checkpoint, values, "its shape " + dimensions.get() + " is impossible for its type", e);
    }
    TensorInfo dense = expected.logical;
    if (values.elements() > dense.elements()) {
      throw damaged(
          checkpoint,
          values,
          "it has " + values.elements() + " values for " + dense.elements() + " elements",
          null);
    }
    requireShape(checkpoint, bitmap, expected.bitmap, dense);
    requireShape(checkpoint, rowOffsets, expected.rowOffsets, dense);
    long first = StoredShape.readNumbers(checkpoint, rowOffsets, 0, 1).get(0);
    long last = StoredShape.readNumbers(checkpoint, rowOffsets, dense.rows(), 1).get(0);
    if (first != 0 || last != values.elements()) {
      throw damaged(
          checkpoint,
          values,
          "its row offsets go from "
              + first
              + " to "
              + last
              + " instead of from 0 to "
              + values.elements(),
          null);
    }
    return expected;
  }

  private static void requireShape(
      Checkpoint checkpoint, TensorInfo found, TensorInfo expected, TensorInfo dense)
      throws CheckpointException {
    if (!found.shape().equals(expected.shape())) {
      throw damaged(
          checkpoint,
          dense,
          Messages.quote(found.name())
              + " has the shape "
              + found.shape()
              + " instead of "
              + expected.shape(),
          null);
    }
  }

  /**
   * What to say when the parts turn out not to fit together.
   *
   * @param cause may be null
   */
  public CheckpointException damaged(Checkpoint checkpoint, String why, Throwable cause) {
    return damaged(checkpoint, values, why, cause);
  }

  private static CheckpointException damaged(
      Checkpoint checkpoint, TensorInfo tensor, String why, Throwable cause) {
    return new CheckpointException(
        Messages.quote(checkpoint.path())
            + " cannot be decoded: tensor "
            + Messages.quote(tensor.name())
            + " looks stored with a bitmap, but "
            + why
            + "; write it again with 'sinew optimize'",
        cause);
  }
}
