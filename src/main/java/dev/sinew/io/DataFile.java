package dev.sinew.io;

import dev.sinew.model.CheckpointException;
import java.nio.ByteBuffer;
import java.nio.file.Path;

/** A file that is written by position, from many threads if need be, and counts once committed. */
interface DataFile extends AutoCloseable {
  /** The final name, for messages. */
  Path target();

  /**
   * Writes all remaining bytes of {@code source} at {@code position}.
   *
   * @throws CheckpointException for example when the disk is full
   */
  void write(long position, ByteBuffer source) throws CheckpointException;

  /**
   * Makes the file durable.
   *
   * @throws CheckpointException if the system refuses
   */
  void commit() throws CheckpointException;

  /** Gives the file up unless {@link #commit} has succeeded. Idempotent. */
  @Override
  void close();
}
