package dev.sinew.io;

import dev.sinew.internal.Messages;
import dev.sinew.model.CheckpointException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.channels.ClosedByInterruptException;
import java.nio.channels.ClosedChannelException;
import java.nio.channels.FileChannel;
import java.nio.file.AccessDeniedException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.Objects;

/**
 * A regular file opened for positional reads. Nothing is mapped: a file that is truncated under a
 * mapping would kill the JVM. Every failure is a {@link CheckpointException} of one sentence that
 * names the file.
 *
 * <p>Safe for use by many threads. Interrupting a thread that reads closes the file for all, as for
 * every {@link FileChannel}.
 */
final class InputFile implements AutoCloseable {
  /** Bytes per system call into the heap, for the JDK copies through a direct buffer as large. */
  static final int HEAP_CHUNK = 1 << 20;

  /** Enough for the first headers of a tar archive, and to tell text from binary. */
  private static final int START_BYTES = 4096;

  private final Path path;
  private final ChannelPool.Member channel;
  private Object fileKey;
  private long size = -1;

  private InputFile(Path path, ChannelPool pool) {
    this.path = path;
    this.channel = pool.add(this::openChannel);
  }

  /** Opens a file that stays open. */
  static InputFile open(Path path) throws CheckpointException {
    return open(path, new ChannelPool(1));
  }

  /** Opens a file that the pool may close for a while when it is not in use. */
  static InputFile open(Path path, ChannelPool pool) throws CheckpointException {
    InputFile file = new InputFile(path, pool);
    try {
      file.channel.use(open -> null);
      return file;
    } catch (IOException e) {
      throw cannotOpen(path, e);
    }
  }

  /**
   * Folders, pipes and devices are refused before they are opened, because opening a pipe waits for
   * a writer. When the file is opened again, it must be the same one.
   */
  private FileChannel openChannel() throws IOException {
    String cannot = "cannot read " + Messages.quote(path) + ": ";
    BasicFileAttributes attributes = Files.readAttributes(path, BasicFileAttributes.class);
    if (attributes.isDirectory()) {
      throw new CheckpointException(
          cannot + "it is a folder; give the model file in it, such as model.safetensors");
    }
    if (!attributes.isRegularFile()) {
      throw new CheckpointException(
          cannot + "it is a pipe, a socket or a device; give a regular file");
    }
    if (size >= 0 && !Objects.equals(fileKey, attributes.fileKey())) {
      throw new CheckpointException(
          cannot + "it has been replaced by another file; do not change it while it is in use");
    }
    FileChannel opened = FileChannel.open(path, StandardOpenOption.READ);
    if (size < 0) {
      try {
        size = opened.size();
        fileKey = attributes.fileKey();
      } catch (IOException e) {
        opened.close();
        throw e;
      }
    }
    return opened;
  }

  private static CheckpointException cannotOpen(Path path, IOException e) {
    String cannot = "cannot read " + Messages.quote(path) + ": ";
    if (e instanceof CheckpointException sentence) {
      return sentence;
    }
    if (e instanceof NoSuchFileException) {
      return new CheckpointException(cannot + "it does not exist; check its name", e);
    }
    if (e instanceof AccessDeniedException) {
      return new CheckpointException(
          cannot + Messages.reason(e) + "; check who may read it and its folders", e);
    }
    return new CheckpointException(cannot + Messages.reason(e), e);
  }

  Path path() {
    return path;
  }

  /** The size in bytes when the file was opened. */
  long size() {
    return size;
  }

  /** The first bytes, by which formats are recognised; fewer if the file is shorter. */
  byte[] start() throws CheckpointException {
    byte[] start = new byte[(int) Math.min(size, START_BYTES)];
    read(0, ByteBuffer.wrap(start), "the beginning");
    return start;
  }

  /**
   * Reads from {@code position} on until {@code target} is full.
   *
   * @param what the part of the file that is read, for the error message
   * @throws CheckpointException if the file ends before, is closed, or the system cannot read it
   */
  void read(long position, ByteBuffer target, String what) throws CheckpointException {
    int limit = target.limit();
    try {
      channel.use(
          open -> {
            long next = position;
            while (target.position() < limit) {
              if (!target.isDirect()) {
                target.limit((int) Math.min(limit, (long) target.position() + HEAP_CHUNK));
              }
              int count = open.read(target, next);
              if (count < 0) {
                throw new CheckpointException(
                    cannotRead(what)
                        + "the file has become shorter (it ends before byte "
                        + (next + 1)
                        + "); do not change it while it is in use");
              }
              next += count;
            }
            return null;
          });
    } catch (CheckpointException e) {
      throw e;
    } catch (ClosedByInterruptException e) {
      throw new CheckpointException(cannotRead(what) + "the reading thread was interrupted", e);
    } catch (ClosedChannelException e) {
      throw new CheckpointException(cannotRead(what) + "the checkpoint is closed", e);
    } catch (IOException e) {
      throw new CheckpointException(cannotRead(what) + Messages.reason(e), e);
    } finally {
      target.limit(limit);
    }
  }

  private String cannotRead(String what) {
    return "cannot read " + what + " of " + Messages.quote(path) + ": ";
  }

  /** The bytes from {@code begin} to {@code end} as a stream, which reads in large pieces. */
  InputStream stream(long begin, long end, String what) {
    return new InputStream() {
      private long position = begin;

      @Override
      public int read() throws IOException {
        byte[] one = new byte[1];
        return read(one, 0, 1) < 0 ? -1 : one[0] & 0xff;
      }

      @Override
      public int read(byte[] bytes, int offset, int length) throws IOException {
        Objects.checkFromIndexSize(offset, length, bytes.length);
        if (length == 0) {
          return 0;
        }
        int count = (int) Math.min(length, end - position);
        if (count <= 0) {
          return -1;
        }
        InputFile.this.read(position, ByteBuffer.wrap(bytes, offset, count), what);
        position += count;
        return count;
      }
    };
  }

  @Override
  public void close() throws CheckpointException {
    try {
      channel.close();
    } catch (IOException e) {
      throw new CheckpointException(
          "cannot close " + Messages.quote(path) + ": " + Messages.reason(e), e);
    }
  }
}
