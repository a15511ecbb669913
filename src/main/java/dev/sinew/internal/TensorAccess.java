package dev.sinew.internal;

import dev.sinew.Tensor;

/**
 * Lets other packages of the library keep a tensor and its device open during a native call of
 * their own, without making that everybody's.
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
   * Keeps the tensor and its device open until {@link #release}.
   *
   * @throws IllegalStateException if one of them is closed
   */
  public abstract sn_tensor acquire(Tensor tensor);

  public abstract void release(Tensor tensor);
}
