package dev.sinew.model;

import java.io.IOException;
import java.nio.ByteBuffer;

/**
 * Writes the tensors announced at creation, in any order and from many threads, to a temporary file
 * that takes the place of the target only with {@link #commit}.
 */
public interface CheckpointWriter extends AutoCloseable {
  /**
   * Writes all remaining bytes of {@code source} to the tensor's data at {@code byteOffset}.
   *
   * @throws IllegalArgumentException if the tensor was not announced or the range lies outside it
   * @throws IOException one sentence that names the file, for example when the disk is full
   */
  void write(String tensor, long byteOffset, ByteBuffer source) throws IOException;

  /**
   * Makes the file durable (fsync) and moves it to its final name in one step.
   *
   * @throws IOException if bytes are missing, the target has appeared meanwhile, or the system
   *     refuses
   */
  void commit() throws IOException;

  /** Deletes the temporary file unless {@link #commit} has succeeded. Idempotent. */
  @Override
  void close();
}
