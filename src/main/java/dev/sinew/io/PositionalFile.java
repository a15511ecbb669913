package dev.sinew.io;

import dev.sinew.model.CheckpointException;
import java.io.Closeable;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.ClosedByInterruptException;
import java.nio.channels.ClosedChannelException;
import java.nio.channels.FileChannel;
import java.nio.file.AccessDeniedException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/**
 * A file read at explicit positions. Nothing is mapped: a file that is truncated under a mapping
 * would kill the JVM. Safe for use by many threads.
 */
final class PositionalFile implements Closeable {
  /** Reads into heap buffers go through a direct buffer that the JDK keeps for each thread. */
  private static final int HEAP_CHUNK = 1 << 20;

  private final Path path;
  private final FileChannel channel;
  private final long size;

  private PositionalFile(Path path, FileChannel channel, long size) {
    this.path = path;
    this.channel = channel;
    this.size = size;
  }

  /**
   * Opens a regular file.
   *
   * @throws CheckpointException if it does not exist, is not a regular file or cannot be opened
   */
  static PositionalFile open(Path path) throws IOException {
    String name = Quote.of(path.toString());
    // Opening a FIFO would wait for a writer.
    if (Files.exists(path) && !Files.isRegularFile(path)) {
      throw new CheckpointException(
          "cannot read " + name + ": it is not a regular file; name a checkpoint file");
    }
    try {
      FileChannel channel = FileChannel.open(path, StandardOpenOption.READ);
      try {
        return new PositionalFile(path, channel, channel.size());
      } catch (IOException e) {
        channel.close();
        throw e;
      }
    } catch (NoSuchFileException e) {
      throw new CheckpointException(
          "cannot read " + name + ": there is no such file; check the path", e);
    } catch (AccessDeniedException e) {
      throw new CheckpointException(
          "cannot read " + name + ": access is denied; check the permissions", e);
    } catch (IOException e) {
      throw new CheckpointException(
          "cannot read " + name + ": " + Quote.plain(String.valueOf(e.getMessage())), e);
    }
  }

  Path path() {
    return path;
  }

  /** The size when the file was opened. */
  long size() {
    return size;
  }

  /**
   * Reads from {@code position} on until {@code target} is full.
   *
   * @param what what is read, in words, for error messages
   * @throws CheckpointException if the file ends before, is closed, or the system cannot read it
   */
  void read(long position, ByteBuffer target, String what) throws CheckpointException {
    int limit = target.limit();
    try {
      while (target.position() < limit) {
        if (!target.isDirect()) {
          target.limit((int) Math.min(limit, (long) target.position() + HEAP_CHUNK));
        }
        int count = channel.read(target, position);
        if (count < 0) {
          throw new CheckpointException(
              failure(what)
                  + "the file has become shorter while it was in use (it ends before byte "
                  + (position + 1)
                  + "); wait until nothing writes to it and try again");
        }
        position += count;
      }
    } catch (ClosedByInterruptException e) {
      throw new CheckpointException(failure(what) + "the reading thread was interrupted", e);
    } catch (ClosedChannelException e) {
      throw new CheckpointException(failure(what) + "the checkpoint is closed", e);
    } catch (CheckpointException e) {
      throw e;
    } catch (IOException e) {
      throw new CheckpointException(failure(what) + Quote.plain(String.valueOf(e.getMessage())), e);
    } finally {
      target.limit(limit);
    }
  }

  private String failure(String what) {
    return "cannot read " + what + " of " + Quote.of(path.toString()) + ": ";
  }

  @Override
  public void close() throws IOException {
    channel.close();
  }
}
