package dev.sinew;

import java.util.ArrayList;
import java.util.List;

/**
 * Frees the tensors registered with it when it is closed.
 *
 * <pre>{@code
 * try (Scope scope = new Scope()) {
 *   Tensor x = scope.add(Tensor.of(new float[] {1, 2, 3}, 3));
 *   ...
 *   return scope.keep(y); // y outlives the scope
 * }
 * }</pre>
 *
 * <p>Not safe for use by several threads at once.
 */
public final class Scope implements AutoCloseable {
  private final List<Tensor> tensors = new ArrayList<>();
  private boolean closed;

  /**
   * Registers a tensor and returns it.
   *
   * @throws IllegalStateException if the scope is closed
   */
  public Tensor add(Tensor tensor) {
    requireOpen();
    tensors.add(tensor);
    return tensor;
  }

  /** A new zeroed tensor in this scope; see {@link Tensor#allocate}. */
  public Tensor allocate(Device device, DType dtype, long... shape) {
    requireOpen();
    return add(Tensor.allocate(device, dtype, shape));
  }

  private void requireOpen() {
    if (closed) {
      throw new IllegalStateException("the scope is closed");
    }
  }

  /**
   * Takes a tensor out of the scope, so that it stays open, and returns it.
   *
   * @throws IllegalArgumentException if it is not in this scope
   */
  public Tensor keep(Tensor tensor) {
    if (!tensors.removeIf(other -> other == tensor)) {
      throw new IllegalArgumentException("the tensor is not in this scope");
    }
    return tensor;
  }

  /**
   * Closes all tensors still in the scope, the newest first; the first failure is thrown after all
   * were tried.
   */
  @Override
  public void close() {
    closed = true;
    RuntimeException failure = null;
    for (int i = tensors.size() - 1; i >= 0; i--) {
      try {
        tensors.get(i).close();
      } catch (RuntimeException e) {
        if (failure == null) {
          failure = e;
        } else {
          failure.addSuppressed(e);
        }
      }
    }
    tensors.clear();
    if (failure != null) {
      throw failure;
    }
  }
}
