package dev.sinew;

import java.util.ArrayList;
import java.util.List;

/**
 * Frees the tensors and packed weights registered with it when it is closed.
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
  // Tensors and PackedWeights.
  private final List<Object> resources = new ArrayList<>();
  private boolean closed;

  /**
   * Registers a tensor and returns it.
   *
   * @throws IllegalStateException if the scope is closed
   */
  public Tensor add(Tensor tensor) {
    requireOpen();
    resources.add(tensor);
    return tensor;
  }

  /**
   * Registers packed weights and returns them.
   *
   * @throws IllegalStateException if the scope is closed
   */
  public PackedWeights add(PackedWeights weights) {
    requireOpen();
    resources.add(weights);
    return weights;
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
    if (!resources.removeIf(other -> other == tensor)) {
      throw new IllegalArgumentException("the tensor is not in this scope");
    }
    return tensor;
  }

  /**
   * Takes packed weights out of the scope, so that they stay open, and returns them.
   *
   * @throws IllegalArgumentException if they are not in this scope
   */
  public PackedWeights keep(PackedWeights weights) {
    if (!resources.removeIf(other -> other == weights)) {
      throw new IllegalArgumentException("the packed weights are not in this scope");
    }
    return weights;
  }

  /**
   * Closes all that is still in the scope, the newest first; the first failure is thrown after all
   * were tried.
   */
  @Override
  public void close() {
    closed = true;
    RuntimeException failure = null;
    for (int i = resources.size() - 1; i >= 0; i--) {
      try {
        close(resources.get(i));
      } catch (RuntimeException e) {
        if (failure == null) {
          failure = e;
        } else {
          failure.addSuppressed(e);
        }
      }
    }
    resources.clear();
    if (failure != null) {
      throw failure;
    }
  }

  private static void close(Object resource) {
    if (resource instanceof Tensor tensor) {
      tensor.close();
    } else if (resource != null) {
      ((PackedWeights) resource).close();
    }
  }
}
