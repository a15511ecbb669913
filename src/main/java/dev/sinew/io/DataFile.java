package dev.sinew.io;

import dev.sinew.model.CheckpointException;
import java.io.IOException;
import java.io.OutputStream;
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

  /** A stream that writes the file from its beginning on; closing it leaves the file open. */
  default OutputStream stream() {
    return new OutputStream() {
      private long position;

      @Override
      public void write(int value) throws IOException {
        write(new byte[] {(byte) value}, 0, 1);
      }

      @Override
      public void write(byte[] bytes, int offset, int length) throws IOException {
        DataFile.this.write(position, ByteBuffer.wrap(bytes, offset, length));
        position += length;
      }
    };
  }

  /** Gives the file up unless {@link #commit} has succeeded. Idempotent. */
  @Override
  void close();
}
