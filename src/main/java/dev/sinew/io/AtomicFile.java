package dev.sinew.io;

import dev.sinew.internal.Messages;
import dev.sinew.model.CheckpointException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.ClosedByInterruptException;
import java.nio.channels.ClosedChannelException;
import java.nio.channels.FileChannel;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.BasicFileAttributes;

/**
 * An output file that appears complete or not at all: written under a temporary name in the
 * target's folder, made durable (fsync), and given its final name in one step.
 *
 * <p>The temporary file is deleted by {@link #close} and when the JVM ends, by Ctrl-C or SIGTERM
 * too; nothing but SIGKILL or a loss of power leaves one behind, named {@code
 * .NAME.PID-RANDOM.tmp}. An existing target stays as it is until the commit. A symbolic link counts
 * as existing, and replacing it replaces the link, not what it points to. The new file's
 * permissions follow the umask.
 *
 * <p>{@link #write} may be called by many threads at a time. Interrupting a thread that writes
 * closes the file. Failures are {@link CheckpointException}s of one sentence that names the target.
 */
public final class AtomicFile implements DataFile {
  private final Path target;
  private final boolean overwrite;
  private final TemporaryFiles.Handle temporary;
  private boolean finished;

  /** For tests: writes to a given channel. */
  AtomicFile(Path target, boolean overwrite, TemporaryFiles.Handle temporary) {
    this.target = target;
    this.overwrite = overwrite;
    this.temporary = temporary;
  }

  /**
   * Creates the temporary file.
   *
   * @param overwrite whether a regular file or symbolic link may be replaced at the commit
   * @throws CheckpointException if the target exists and {@code overwrite} is false, is a folder, a
   *     pipe or a device, or if its folder is missing or not writable
   */
  public static AtomicFile create(Path target, boolean overwrite) throws CheckpointException {
    requireReplaceable(target, overwrite);
    Path folder = target.toAbsolutePath().getParent();
    if (!Files.isDirectory(folder)) {
      throw new CheckpointException(
          "cannot create "
              + Messages.quote(target)
              + ": "
              + Messages.quote(folder)
              + (Files.exists(folder)
                  ? " is not a folder"
                  : " does not exist; create that folder first"));
    }
    try {
      return new AtomicFile(
          target, overwrite, TemporaryFiles.create(folder, target.getFileName().toString()));
    } catch (IOException e) {
      throw new CheckpointException(
          "cannot create a file in "
              + Messages.quote(folder)
              + ": "
              + Messages.reason(e)
              + "; choose another place for "
              + Messages.quote(target.getFileName()),
          e);
    }
  }

  /**
   * Refuses an output that is the input itself, under whatever name (links included): a check for
   * callers to make before they create anything. An input that does not exist is not refused.
   *
   * @throws CheckpointException if both are the same file
   */
  public static void requireDifferentFiles(Path in, Path out) throws CheckpointException {
    if (Files.exists(in) && isSameFile(in, out)) {
      throw new CheckpointException(
          "the output "
              + Messages.quote(out)
              + " is the input itself; choose another name for the output");
    }
  }

  /**
   * Whether two names, links and links to folders included, lead to the same file, or would if it
   * existed.
   *
   * @throws CheckpointException if the system does not say
   */
  public static boolean isSameFile(Path a, Path b) throws CheckpointException {
    try {
      return Files.exists(a) && Files.exists(b)
          ? Files.isSameFile(a, b)
          : place(a).equals(place(b));
    } catch (IOException e) {
      throw new CheckpointException(
          "cannot compare "
              + Messages.quote(a)
              + " with "
              + Messages.quote(b)
              + ": "
              + Messages.reason(e),
          e);
    }
  }

  /** Where a file is or would be, links resolved up to its own name. */
  static Path place(Path file) throws IOException {
    Path absolute = file.toAbsolutePath();
    Path folder = absolute.getParent();
    return folder != null && Files.exists(folder)
        ? folder.toRealPath().resolve(absolute.getFileName())
        : absolute.normalize();
  }

  /** The final name. */
  @Override
  public Path target() {
    return target;
  }

  /**
   * The temporary file, for writing; its errors are the system's, unlike those of {@link #write}.
   */
  public FileChannel channel() {
    return temporary.channel();
  }

  /**
   * Writes all remaining bytes of {@code source} at {@code position}.
   *
   * @throws CheckpointException for example when the disk is full
   */
  @Override
  public void write(long position, ByteBuffer source) throws CheckpointException {
    try {
      writeFully(temporary.channel(), position, source);
    } catch (IOException e) {
      throw failure(target, e);
    }
  }

  static void writeFully(FileChannel channel, long position, ByteBuffer source) throws IOException {
    int limit = source.limit();
    try {
      while (source.position() < limit) {
        source.limit((int) Math.min(limit, (long) source.position() + InputFile.HEAP_CHUNK));
        position += channel.write(source, position);
      }
    } finally {
      source.limit(limit);
    }
  }

  /**
   * Makes the file durable and gives it its final name; on failure the temporary file is deleted
   * and the target is as it was.
   *
   * <p>Without {@code overwrite} a target that has appeared since creation is never replaced where
   * the file system has hard links; elsewhere there is a moment between the check and the move.
   *
   * @throws CheckpointException if the target has appeared meanwhile or the system refuses
   * @throws IllegalStateException if this was committed or closed before
   */
  @Override
  public synchronized void commit() throws CheckpointException {
    if (finished) {
      throw new IllegalStateException(Messages.quote(target) + " was committed or closed before");
    }
    try {
      temporary.channel().force(true);
      temporary.channel().close();
      if (overwrite) {
        requireReplaceable(target, true);
        Files.move(temporary.path(), target, StandardCopyOption.ATOMIC_MOVE);
      } else {
        publishNew();
      }
    } catch (CheckpointException e) {
      throw e;
    } catch (IOException e) {
      throw failure(target, e);
    } finally {
      close();
    }
    syncFolder(target.toAbsolutePath().getParent());
  }

  /** Deletes the temporary file unless {@link #commit} has succeeded. Idempotent. */
  @Override
  public synchronized void close() {
    if (!finished) {
      finished = true;
      temporary.close();
    }
  }

  /** A hard link fails where a rename would replace what has appeared under the target's name. */
  private void publishNew() throws IOException {
    try {
      Files.createLink(target, temporary.path());
    } catch (FileAlreadyExistsException e) {
      throw exists(target);
    } catch (FileSystemException | UnsupportedOperationException e) {
      // FAT, some network and some FUSE file systems have no hard links.
      requireReplaceable(target, false);
      Files.move(temporary.path(), target, StandardCopyOption.ATOMIC_MOVE);
    }
  }

  /** Makes the names in a folder durable, as far as the file system can. */
  static void syncFolder(Path path) {
    try (FileChannel folder = FileChannel.open(path, StandardOpenOption.READ)) {
      folder.force(true);
    } catch (IOException | UnsupportedOperationException e) {
      // The file is complete and has its name. Some file systems cannot sync a folder; to call the
      // commit failed for that would be wrong.
    }
  }

  private static void requireReplaceable(Path target, boolean overwrite)
      throws CheckpointException {
    String name = Messages.quote(target);
    if (Files.isDirectory(target)) {
      throw new CheckpointException(name + " is a folder; give the name of a file to write");
    }
    try {
      BasicFileAttributes attributes =
          Files.readAttributes(target, BasicFileAttributes.class, LinkOption.NOFOLLOW_LINKS);
      boolean special =
          attributes.isSymbolicLink()
              // What /dev/stdout leads to may be a file, but the link belongs to the system.
              ? Files.readSymbolicLink(target).startsWith("/proc")
                  || (Files.exists(target) && !Files.isRegularFile(target))
              : !attributes.isRegularFile();
      if (special) {
        throw new CheckpointException(
            name + " is a pipe or a device; give the name of a regular file to write");
      }
      if (!overwrite) {
        throw exists(target);
      }
    } catch (NoSuchFileException e) {
      // Nothing there to replace.
    } catch (CheckpointException e) {
      throw e;
    } catch (IOException e) {
      throw new CheckpointException("cannot create " + name + ": " + Messages.reason(e), e);
    }
  }

  static CheckpointException exists(Path target) {
    return new CheckpointException(
        Messages.quote(target) + " exists already; give --force to replace it");
  }

  /** The sentence about a target that could not be written. */
  static CheckpointException failure(Path target, IOException e) {
    String name = Messages.quote(target);
    if (TemporaryFiles.isShutDown()) {
      return new CheckpointException(name + " was not written: the program is being stopped", e);
    }
    if (e instanceof ClosedByInterruptException) {
      return new CheckpointException("writing " + name + " was interrupted", e);
    }
    if (e instanceof ClosedChannelException) {
      return new CheckpointException(name + " was closed before all of it was written", e);
    }
    String reason = Messages.reason(e);
    String remedy =
        reason.startsWith("No space left")
            ? "; free some space or choose another place"
            : "; the file was not written";
    return new CheckpointException("cannot write " + name + ": " + reason + remedy, e);
  }
}
