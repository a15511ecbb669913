package dev.sinew.internal;

import dev.sinew.DType;
import dev.sinew.Tensor;

/**
 * Lets other packages of the library keep a tensor open during a native call of their own, without
 * making that everybody's. Its device may be closed meanwhile, so such a call does not use the
 * device's threads.
 */
public abstract class TensorAccess {
  private static volatile TensorAccess access;

  /** Called by the initializer of {@link Tensor}, so whoever has a tensor has access. */
  public static void provide(TensorAccess provided) {
    access = provided;
  }

  public static TensorAccess get() {
    return access;
  }

  /**
   * Keeps the tensor open until {@link #release}.
   *
   * @throws IllegalStateException if it is closed
   */
  public abstract sn_tensor acquire(Tensor tensor);

  public abstract void release(Tensor tensor);

  /** How the native library numbers a type that a tensor can have. */
  public abstract int code(DType dtype);
}
