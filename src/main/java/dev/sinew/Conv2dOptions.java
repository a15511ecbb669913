package dev.sinew;

/**
 * How the windows of {@link Functional#conv2d} lie, with PyTorch's meaning.
 *
 * @param paddingHeight rows of zeros added above and below
 * @param dilationHeight the distance between a window's rows
 * @param groups into how many parts the input and output channels are split
 */
public record Conv2dOptions(
    long strideHeight,
    long strideWidth,
    long paddingHeight,
    long paddingWidth,
    long dilationHeight,
    long dilationWidth,
    long groups) {
  /** Strides and dilations of 1, no padding, one group. */
  public static Conv2dOptions defaults() {
    return new Conv2dOptions(1, 1, 0, 0, 1, 1, 1);
  }

  public Conv2dOptions stride(long stride) {
    return stride(stride, stride);
  }

  public Conv2dOptions stride(long height, long width) {
    return new Conv2dOptions(
        height, width, paddingHeight, paddingWidth, dilationHeight, dilationWidth, groups);
  }

  public Conv2dOptions padding(long padding) {
    return padding(padding, padding);
  }

  public Conv2dOptions padding(long height, long width) {
    return new Conv2dOptions(
        strideHeight, strideWidth, height, width, dilationHeight, dilationWidth, groups);
  }

  public Conv2dOptions dilation(long dilation) {
    return dilation(dilation, dilation);
  }

  public Conv2dOptions dilation(long height, long width) {
    return new Conv2dOptions(
        strideHeight, strideWidth, paddingHeight, paddingWidth, height, width, groups);
  }

  public Conv2dOptions groups(long count) {
    return new Conv2dOptions(
        strideHeight,
        strideWidth,
        paddingHeight,
        paddingWidth,
        dilationHeight,
        dilationWidth,
        count);
  }

  /** The rows of the result for an input of so many; not positive where the kernel does not fit. */
  public long outputHeight(long height, long kernelHeight) {
    return Windows.count(height, kernelHeight, strideHeight, paddingHeight, dilationHeight, false);
  }

  /** The columns of the result for an input of so many. */
  public long outputWidth(long width, long kernelWidth) {
    return Windows.count(width, kernelWidth, strideWidth, paddingWidth, dilationWidth, false);
  }

  long[] window(long kernelHeight, long kernelWidth) {
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
