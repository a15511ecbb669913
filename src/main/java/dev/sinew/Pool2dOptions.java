package dev.sinew;

/**
 * The windows of {@link Functional#maxPool2d} and {@link Functional#avgPool2d}, with PyTorch's
 * meaning.
 *
 * @param paddingHeight rows added above and below, at most half of the kernel's; they never win a
 *     maximum
 * @param dilationHeight the distance between a window's rows; 1 for means
 * @param ceilMode whether a last window that is only partly inside counts
 * @param includePadding whether padding counts as zeros in a mean, or not at all
 */
public record Pool2dOptions(
    long kernelHeight,
    long kernelWidth,
    long strideHeight,
    long strideWidth,
    long paddingHeight,
    long paddingWidth,
    long dilationHeight,
    long dilationWidth,
    boolean ceilMode,
    boolean includePadding) {
  /** Square windows side by side, without padding. */
  public static Pool2dOptions of(long kernel) {
    return of(kernel, kernel);
  }

  /** Windows side by side, without padding. */
  public static Pool2dOptions of(long height, long width) {
    return new Pool2dOptions(height, width, height, width, 0, 0, 1, 1, false, true);
  }

  public Pool2dOptions stride(long stride) {
    return stride(stride, stride);
  }

  public Pool2dOptions stride(long height, long width) {
    return new Pool2dOptions(
        kernelHeight,
        kernelWidth,
        height,
        width,
        paddingHeight,
        paddingWidth,
        dilationHeight,
        dilationWidth,
        ceilMode,
        includePadding);
  }

  public Pool2dOptions padding(long padding) {
    return padding(padding, padding);
  }

  public Pool2dOptions padding(long height, long width) {
    return new Pool2dOptions(
        kernelHeight,
        kernelWidth,
        strideHeight,
        strideWidth,
        height,
        width,
        dilationHeight,
        dilationWidth,
        ceilMode,
        includePadding);
  }

  public Pool2dOptions dilation(long dilation) {
    return new Pool2dOptions(
        kernelHeight,
        kernelWidth,
        strideHeight,
        strideWidth,
        paddingHeight,
        paddingWidth,
        dilation,
        dilation,
        ceilMode,
        includePadding);
  }

  public Pool2dOptions ceilMode(boolean on) {
    return new Pool2dOptions(
        kernelHeight,
        kernelWidth,
        strideHeight,
        strideWidth,
        paddingHeight,
        paddingWidth,
        dilationHeight,
        dilationWidth,
        on,
        includePadding);
  }

  public Pool2dOptions includePadding(boolean on) {
    return new Pool2dOptions(
        kernelHeight,
        kernelWidth,
        strideHeight,
        strideWidth,
        paddingHeight,
        paddingWidth,
        dilationHeight,
        dilationWidth,
        ceilMode,
        on);
  }

  /**
   * The rows that an input of so many has after pooling; not positive where the kernel does not
   * fit.
   */
  public long outputHeight(long height) {
    return Windows.count(
        height, kernelHeight, strideHeight, paddingHeight, dilationHeight, ceilMode);
  }

  /** The columns that an input of so many has after pooling. */
  public long outputWidth(long width) {
    return Windows.count(width, kernelWidth, strideWidth, paddingWidth, dilationWidth, ceilMode);
  }

  long[] window() {
    return new long[] {
      kernelHeight,
      kernelWidth,
      strideHeight,
      strideWidth,
      paddingHeight,
      paddingWidth,
      dilationHeight,
      dilationWidth
    };
  }
}
