package dev.sinew.nn;

import dev.sinew.DType;
import dev.sinew.Device;
import dev.sinew.Tensor;

/**
 * The keys and values of the tokens that an {@link Attention} has seen so far in one conversation,
 * so that each call computes only new ones. Of a fixed capacity: nothing is allocated while it
 * fills. For one thread at a time, and for one attention layer.
 */
public final class KeyValueCache implements AutoCloseable {
  private final Tensor keys;
  private final Tensor values;
  private long length;

  KeyValueCache(Device device, DType dtype, long batch, long heads, long capacity, long size) {
    keys = Tensor.allocate(device, dtype, batch, heads, capacity, size);
    values = Tensor.allocate(device, dtype, batch, heads, capacity, size);
  }

  /** The number of tokens it holds. */
  public long length() {
    return length;
  }

  /** The number of tokens it has room for. */
  public long capacity() {
    return keys.size(2);
  }

  /**
   * Forgets all tokens but the first ones: all of them for a new conversation, or those that are to
   * be replaced.
   *
   * @throws IllegalArgumentException if there are fewer
   */
  public void truncate(long tokens) {
    if (tokens < 0 || tokens > length) {
      throw new IllegalArgumentException(
          "a cache of " + length + " tokens cannot keep the first " + tokens);
    }
    length = tokens;
  }

  Tensor keys() {
    return keys;
  }

  Tensor values() {
    return values;
  }

  void advance(long tokens) {
    length += tokens;
  }

  @Override
  public void close() {
    keys.close();
    values.close();
  }
}
