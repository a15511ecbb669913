package dev.sinew.nn;

import dev.sinew.DType;
import dev.sinew.Ops;
import dev.sinew.Tensor;
import java.io.IOException;

/** A tensor of a module that is kept as it is, in F32: a bias, the scale of a norm. */
public final class Parameter extends Slot {
  private volatile Tensor value;

  Parameter(long... shape) {
    super(shape);
  }

  /**
   * The tensor, which must be neither changed nor closed.
   *
   * @throws IllegalStateException if it is not loaded
   */
  public Tensor value() {
    Tensor tensor = value;
    if (tensor == null) {
      throw notLoaded();
    }
    return tensor;
  }

  /** Whether it is there. */
  boolean isLoaded() {
    return value != null;
  }

  void read(StateDict dict, String stored, LoadOptions options) throws IOException {
    Tensor read = dict.read(stored, options.device());
    if (read.dtype() == DType.F32) {
      value = read;
      return;
    }
    try (read) {
      Tensor converted = Tensor.allocate(options.device(), DType.F32, read.shape());
      value = converted;
      Ops.convert(read, converted);
    }
  }

  @Override
  long bytes() {
    Tensor tensor = value;
    return tensor == null ? 0 : tensor.byteSize();
  }

  @Override
  void close() {
    Tensor tensor = value;
    if (tensor != null) {
      tensor.close();
    }
  }
}
