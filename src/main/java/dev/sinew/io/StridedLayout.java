package dev.sinew.io;

import java.util.Arrays;

/**
 * Where the elements of a tensor lie in its storage: element (i0, i1, ...) at {@code offset + i0 *
 * stride0 + i1 * stride1 + ...}, in elements. Dimensions of size 1 are left out and neighbours that
 * continue each other are joined, so a contiguous tensor has at most one dimension, of stride 1.
 */
final class StridedLayout {
  private final int elementBytes;
  private final long elements;
  private final long offset;
  private final long[] sizes;
  private final long[] strides;

  private StridedLayout(
      int elementBytes, long elements, long offset, long[] sizes, long[] strides) {
    this.elementBytes = elementBytes;
    this.elements = elements;
    this.offset = offset;
    this.sizes = sizes;
    this.strides = strides;
  }

  /**
   * The layout of a tensor, checked to lie within its storage.
   *
   * @param size its dimensions, none negative, their product known to fit a long
   * @throws IllegalArgumentException if it does not; the message is the end of a sentence that
   *     begins with the tensor
   */
  static StridedLayout of(
      int elementBytes, long offset, long[] size, long[] stride, long storageBytes) {
    long elements = 1;
    for (int i = 0; i < size.length; i++) {
      if (stride[i] < 0) {
        throw new IllegalArgumentException("has the negative stride " + stride[i]);
      }
      elements *= size[i];
    }
    if (offset < 0) {
      throw new IllegalArgumentException("begins at the negative offset " + offset);
    }
    if (elements == 0) {
      return new StridedLayout(elementBytes, 0, 0, new long[0], new long[0]);
    }
    long available = storageBytes / elementBytes;
    if (!fits(offset, size, stride, available)) {
      throw new IllegalArgumentException(
          "reaches beyond its storage of "
              + available
              + " elements (offset "
              + offset
              + ", shape "
              + Arrays.toString(size)
              + ", strides "
              + Arrays.toString(stride)
              + ")");
    }
    return joined(elementBytes, elements, offset, size, stride);
  }

  private static boolean fits(long offset, long[] size, long[] stride, long available) {
    // Dividing what is left forms no product that could overflow.
    long left = available - 1 - offset;
    for (int i = 0; i < size.length; i++) {
      if (size[i] > 1) {
        if (stride[i] > left / (size[i] - 1)) {
          return false;
        }
        left -= stride[i] * (size[i] - 1);
      }
    }
    return left >= 0;
  }

  private static StridedLayout joined(
      int elementBytes, long elements, long offset, long[] size, long[] stride) {
    long[] sizes = new long[size.length];
    long[] strides = new long[size.length];
    int rank = 0;
    for (int i = 0; i < size.length; i++) {
      if (size[i] == 1) {
        continue;
      }
      // Division, because size * stride may not fit a long.
      if (rank > 0
          && strides[rank - 1] % size[i] == 0
          && strides[rank - 1] / size[i] == stride[i]) {
        sizes[rank - 1] *= size[i];
        strides[rank - 1] = stride[i];
      } else {
        sizes[rank] = size[i];
        strides[rank] = stride[i];
        rank++;
      }
    }
    return new StridedLayout(
        elementBytes, elements, offset, Arrays.copyOf(sizes, rank), Arrays.copyOf(strides, rank));
  }

  int elementBytes() {
    return elementBytes;
  }

  long elements() {
    return elements;
  }

  /** The first element's place in the storage. */
  long offset() {
    return offset;
  }

  int rank() {
    return sizes.length;
  }

  long size(int dimension) {
    return sizes[dimension];
  }

  long stride(int dimension) {
    return strides[dimension];
  }

  /** Whether the elements follow each other in the storage, in row-major order. */
  boolean isContiguous() {
    return rank() == 0 || (rank() == 1 && strides[0] == 1);
  }
}
