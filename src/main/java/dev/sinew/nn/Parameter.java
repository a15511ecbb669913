package dev.sinew.nn;

import dev.sinew.DType;
import dev.sinew.Ops;
import dev.sinew.Scope;
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
    try (Scope scope = new Scope()) {
      Tensor read = scope.add(dict.read(stored, options.host()));
      if (read.dtype() != DType.F32) {
        Tensor converted = scope.allocate(options.host(), DType.F32, read.shape());
        Ops.convert(read, converted);
        read = converted;
      }
      value = scope.keep(options.onDevice(read, scope));
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
