package dev.sinew.model;

import dev.sinew.DType;
import dev.sinew.internal.Messages;
import java.util.List;
import java.util.Objects;

/**
 * Name, element type and shape of one tensor of a checkpoint.
 *
 * <p>The shape may be empty (a scalar) and may contain zeros (no elements). The number of elements
 * and of bytes is known to fit a long.
 */
public record TensorInfo(String name, DType dtype, List<Long> shape) {
  /**
   * @throws IllegalArgumentException if a dimension is negative or the size overflows a long; the
   *     sentence names the tensor
   */
  public TensorInfo {
    Objects.requireNonNull(name, "name");
    Objects.requireNonNull(dtype, "dtype");
    shape = List.copyOf(shape);
    long elements = 1;
    boolean empty = false;
    try {
      for (long size : shape) {
        if (size < 0) {
          throw new IllegalArgumentException(
              "tensor " + Messages.quote(name) + " has the negative dimension " + size);
        }
        empty |= size == 0;
        elements = size == 0 ? elements : Math.multiplyExact(elements, size);
      }
      dtype.bytes(empty ? 0 : elements);
    } catch (ArithmeticException e) {
      throw new IllegalArgumentException(
          "tensor "
              + Messages.quote(name)
              + " of shape "
              + Messages.brief(shape.toString())
              + " and type "
              + dtype
              + " has no valid size in bytes",
          e);
    }
  }

  /** A tensor description with the shape given as numbers. */
  public static TensorInfo of(String name, DType dtype, long... shape) {
    return new TensorInfo(name, dtype, java.util.Arrays.stream(shape).boxed().toList());
  }

  /** The number of elements; 1 for a scalar. */
  public long elements() {
    long elements = 1;
    for (long size : shape) {
      elements *= size;
    }
    return elements;
  }

  /** The size of the data in bytes. */
  public long bytes() {
    return dtype.bytes(elements());
  }

  /**
   * Checks a part of the data, for those who read or write it.
   *
   * @throws IllegalArgumentException unless {@code count} bytes from {@code byteOffset} on lie
   *     within this tensor
   */
  public void requireRange(long byteOffset, int count) {
    if (byteOffset < 0 || byteOffset > bytes() - count) {
      throw new IllegalArgumentException(
          count
              + " bytes from "
              + byteOffset
              + " on lie outside tensor "
              + Messages.quote(name)
              + " of "
              + bytes()
              + " bytes");
    }
  }

  /**
   * The rows of the matrix [rows, cols] that passes see: the first dimension, or 1 for tensors of
   * rank 0 and 1.
   */
  public long rows() {
    return shape.size() < 2 ? 1 : shape.get(0);
  }

  /**
   * The flattened other dimensions of the matrix [rows, cols]; for tensors without elements it may
   * be 0.
   */
  public long cols() {
    long cols = 1;
    for (int i = shape.size() < 2 ? 0 : 1; i < shape.size(); i++) {
      cols *= shape.get(i);
    }
    return cols;
  }

  /** The shape as an array. */
  public long[] dimensions() {
    return shape.stream().mapToLong(Long::longValue).toArray();
  }
}
