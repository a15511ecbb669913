package dev.sinew.nn;

import dev.sinew.DType;
import dev.sinew.Device;
import dev.sinew.Tensor;
import java.util.Arrays;
import java.util.List;

/** Moves elements between tensors where no arithmetic is needed. */
public final class Layout {
  private static final int PIECE = 1 << 30;

  private Layout() {}

  /** Copies bytes from one tensor to another; by way of the host's memory if it is on a GPU. */
  static void copy(Tensor from, long fromByte, Tensor to, long toByte, long bytes) {
    for (long done = 0; done < bytes; done += PIECE) {
      long at = done;
      int count = (int) Math.min(PIECE, bytes - done);
      if (!from.device().isGpu()) {
        from.withBuffer(fromByte + at, count, source -> to.copyFrom(toByte + at, source));
        continue;
      }
      try (Tensor host = Tensor.allocate(Device.cpu(), DType.U8, count)) {
        host.withBuffer(
            0,
            count,
            buffer -> {
              from.copyTo(fromByte + at, buffer.duplicate());
              to.copyFrom(toByte + at, buffer);
            });
      }
    }
  }

  /**
   * Joins tensors along a dimension, in which alone their shapes may differ.
   *
   * @return a tensor of the arena
   * @throws IllegalArgumentException if there are none, or types or other dimensions differ
   */
  public static Tensor concat(List<Tensor> tensors, int dimension, Arena arena) {
    if (tensors.isEmpty()) {
      throw new IllegalArgumentException("there is nothing to join: the list of tensors is empty");
    }
    Tensor first = tensors.get(0);
    long[] shape = first.shape();
    shape[dimension] = 0;
    for (Tensor tensor : tensors) {
      long[] other = tensor.shape();
      boolean fits = tensor.dtype() == first.dtype() && other.length == shape.length;
      for (int i = 0; fits && i < shape.length; i++) {
        fits = i == dimension || other[i] == shape[i];
      }
      if (!fits) {
        throw new IllegalArgumentException(
            "tensors of "
                + describe(first)
                + " and "
                + describe(tensor)
                + " cannot be joined along dimension "
                + dimension);
      }
      shape[dimension] += other[dimension];
    }
    Tensor joined = arena.allocate(first.dtype(), shape);
    long outer = 1;
    for (int i = 0; i < dimension; i++) {
      outer *= shape[i];
    }
    long at = 0;
    for (long i = 0; i < outer; i++) {
      for (Tensor tensor : tensors) {
        long bytes = tensor.byteSize() / outer;
        copy(tensor, i * bytes, joined, at, bytes);
        at += bytes;
      }
    }
    return joined;
  }

  private static String describe(Tensor tensor) {
    return tensor.dtype() + " " + Arrays.toString(tensor.shape());
  }
}
