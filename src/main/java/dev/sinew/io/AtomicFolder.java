package dev.sinew.io;

import dev.sinew.internal.Messages;
import dev.sinew.model.CheckpointException;
import java.io.IOException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;

/**
 * The folder of a model that appears complete or not at all, as {@link AtomicFile} does for a file:
 * filled under a temporary name beside the target and renamed.
 */
final class AtomicFolder implements AutoCloseable {
  /** Hidden files that belong to a model in a repository; any others belong to somebody. */
  private static final Set<String> HARMLESS_HIDDEN = Set.of(".gitattributes", ".cache");

  private final Path target;
  private final boolean overwrite;
  private final Path temporary;
  private boolean finished;

  private AtomicFolder(Path target, boolean overwrite, Path temporary) {
    this.target = target;
    this.overwrite = overwrite;
    this.temporary = temporary;
  }

  /**
   * Creates the temporary folder.
   *
   * @param overwrite whether a folder may be replaced that is empty or looks like a model's
   * @throws CheckpointException if the target exists and may not be replaced, or if nothing can be
   *     created beside it
   */
  static AtomicFolder create(Path target, boolean overwrite) throws CheckpointException {
    Path absolute = target.toAbsolutePath();
    Path parent = absolute.getParent();
    if (parent == null || !Files.isDirectory(parent)) {
      throw new CheckpointException(
          "cannot create "
              + Messages.quote(target)
              + ": "
              + (parent == null
                  ? "it has no name"
                  : Messages.quote(parent)
                      + (Files.exists(parent)
                          ? " is not a folder"
                          : " does not exist; create that folder first")));
    }
    requireReplaceable(target, overwrite);
    try {
      String name = absolute.getFileName().toString();
      return new AtomicFolder(target, overwrite, TemporaryFiles.createFolder(parent, name));
    } catch (IOException e) {
      throw new CheckpointException(
          "cannot create a folder in "
              + Messages.quote(parent)
              + ": "
              + Messages.reason(e)
              + "; choose another place for "
              + Messages.quote(absolute.getFileName()),
          e);
    }
  }

  /**
   * Refuses an output that lies inside the input, contains it or is it, links included.
   *
   * @param source links resolved
   */
  static void requireApart(Path source, Path target) throws CheckpointException {
    Path place;
    try {
      place = Files.exists(target) ? target.toRealPath() : AtomicFile.place(target);
    } catch (IOException e) {
      throw new CheckpointException(
          "cannot find out where " + Messages.quote(target) + " is: " + Messages.reason(e), e);
    }
    String how =
        place.equals(source)
            ? " is the input itself"
            : place.startsWith(source)
                ? " lies inside the input"
                : source.startsWith(place) ? " contains the input" : null;
    if (how != null) {
      throw new CheckpointException(
          "the output " + Messages.quote(target) + how + "; choose another place for the output");
    }
  }

  private static void requireReplaceable(Path target, boolean overwrite)
      throws CheckpointException {
    if (!isThere(target)) {
      return;
    }
    if (Files.isRegularFile(target)) {
      throw new CheckpointException(
          Messages.quote(target)
              + " is a file, but the input is a folder; give the name of a folder to write, or one"
              + " that ends with .safetensors to write a single file");
    }
    if (!overwrite) {
      throw AtomicFile.exists(target);
    }
    String why = reasonToKeep(target);
    if (why != null) {
      throw new CheckpointException(
          Messages.quote(target)
              + " is not replaced, even with --force: "
              + why
              + "; choose another name, or delete it yourself");
    }
  }

  // Not Files.exists, for which a name that cannot be is one that does not exist.
  private static boolean isThere(Path target) throws CheckpointException {
    try {
      Files.readAttributes(target, BasicFileAttributes.class, LinkOption.NOFOLLOW_LINKS);
      return true;
    } catch (NoSuchFileException e) {
      return false;
    } catch (IOException e) {
      throw new CheckpointException(
          "cannot create " + Messages.quote(target) + ": " + Messages.reason(e), e);
    }
  }

  private static String reasonToKeep(Path target) throws CheckpointException {
    if (!Files.isDirectory(target, LinkOption.NOFOLLOW_LINKS)) {
      return Files.isSymbolicLink(target) ? "it is a symbolic link" : "it is not a folder";
    }
    try (Stream<Path> entries = Files.list(target)) {
      Path real = target.toRealPath();
      for (String property : List.of("user.home", "user.dir")) {
        Path used = Path.of(System.getProperty(property, "/")).toAbsolutePath().normalize();
        if ((Files.exists(used) ? used.toRealPath() : used).startsWith(real)) {
          return "it holds the home folder or the one that the program runs in";
        }
      }
      List<Path> found = entries.toList();
      for (Path entry : found) {
        String name = entry.getFileName().toString();
        if (name.startsWith(".") && !HARMLESS_HIDDEN.contains(name)) {
          return "it holds " + Messages.quote(name) + ", which belongs to no model";
        }
      }
      return found.isEmpty() || ModelFiles.findWeights(real) != null
          ? null
          : "it is neither empty nor the folder of a model (it has none of "
              + String.join(", ", ModelFiles.WEIGHTS)
              + ")";
    } catch (IOException e) {
      throw new CheckpointException(
          "cannot look into " + Messages.quote(target) + ": " + Messages.reason(e), e);
    }
  }

  /** The final name. */
  Path target() {
    return target;
  }

  /** The temporary folder. */
  Path path() {
    return temporary;
  }

  /**
   * Gives the folder, whose content has been made durable, its final name. On failure the temporary
   * folder is deleted and the target is as it was.
   *
   * @throws CheckpointException if the target has appeared meanwhile or the system refuses
   */
  synchronized void commit() throws CheckpointException {
    if (finished) {
      throw new IllegalStateException(Messages.quote(target) + " was committed or closed before");
    }
    Path old;
    try {
      AtomicFile.syncFolder(temporary);
      requireReplaceable(target, overwrite);
      old = TemporaryFiles.publish(temporary, target, overwrite);
      finished = true;
    } catch (CheckpointException e) {
      throw e;
    } catch (FileAlreadyExistsException e) {
      throw AtomicFile.exists(target);
    } catch (IOException e) {
      throw AtomicFile.failure(target, e);
    } finally {
      close();
    }
    AtomicFile.syncFolder(target.toAbsolutePath().getParent());
    if (old != null) {
      deleteReplaced(old);
    }
  }

  private void deleteReplaced(Path old) throws CheckpointException {
    try {
      TemporaryFiles.delete(old);
    } catch (IOException e) {
      throw new CheckpointException(
          Messages.quote(target)
              + " is complete, but the folder that it has replaced is still there: "
              + Messages.quote(old)
              + " cannot be deleted ("
              + Messages.reason(e)
              + "); delete it yourself",
          e);
    }
  }

  /** Deletes the temporary folder unless {@link #commit} has succeeded. Idempotent. */
  @Override
  public synchronized void close() {
    if (!finished) {
      finished = true;
      try {
        TemporaryFiles.delete(temporary);
      } catch (IOException e) {
        // The shutdown hook tries again.
      }
    }
  }
}
