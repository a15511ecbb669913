package dev.sinew;

/** How many windows fit in a dimension. */
final class Windows {
  private Windows() {}

  /** The number of windows, or one that is not positive where none fits. */
  static long count(
      long size, long kernel, long stride, long padding, long dilation, boolean ceilMode) {
    long rest = size + 2 * padding - dilation * (kernel - 1) - 1;
    if (rest < 0) {
      return 0;
    }
    long count = rest / stride + 1;
    // A window that would begin in the padding behind the input is none.
    return ceilMode && rest % stride != 0 && count * stride < size + padding ? count + 1 : count;
  }
}
