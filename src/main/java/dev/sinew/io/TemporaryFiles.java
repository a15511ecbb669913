package dev.sinew.io;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.HashSet;
import java.util.Set;
import java.util.concurrent.ThreadLocalRandom;

/**
 * The temporary files and folders of this JVM, all of which a shutdown hook deletes. Safe for many
 * threads.
 */
final class TemporaryFiles {
  /** What may stand of the target's name in a temporary one: file systems allow 255 bytes. */
  private static final int NAME_LIMIT = 100;

  private static final int ATTEMPTS = 16;

  /** Guards the state below; the hook takes it too, so no file is created after the hook ran. */
  private static final Object LOCK = new Object();

  private static final Set<Path> LIVE = new HashSet<>();
  private static boolean hooked;
  private static boolean shutDown;

  private TemporaryFiles() {}

  /** An open temporary file. */
  record Handle(Path path, FileChannel channel) {
    /** Closes the file and deletes it if it is still there. */
    void close() {
      try {
        channel.close();
      } catch (IOException e) {
        // It is about to be deleted.
      }
      try {
        delete(path);
      } catch (IOException e) {
        // The shutdown hook tries again.
      }
    }
  }

  /** Creates a file that no other process can have named, with the permissions of the umask. */
  static Handle create(Path folder, String name) throws IOException {
    synchronized (LOCK) {
      requireRunning();
      hook();
      for (int attempt = 1; ; attempt++) {
        Path path = folder.resolve(temporaryName(name));
        try {
          FileChannel channel =
              FileChannel.open(path, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE);
          LIVE.add(path);
          return new Handle(path, channel);
        } catch (FileAlreadyExistsException e) {
          if (attempt == ATTEMPTS) {
            throw e;
          }
        }
      }
    }
  }

  /** Creates a folder that no other process can have named, with the permissions of the umask. */
  static Path createFolder(Path parent, String name) throws IOException {
    synchronized (LOCK) {
      requireRunning();
      hook();
      for (int attempt = 1; ; attempt++) {
        Path path = parent.resolve(temporaryName(name));
        try {
          LIVE.add(Files.createDirectory(path));
          return path;
        } catch (FileAlreadyExistsException e) {
          if (attempt == ATTEMPTS) {
            throw e;
          }
        }
      }
    }
  }

  /** Creates a file inside of a temporary folder. */
  static FileChannel createInside(Path file) throws IOException {
    synchronized (LOCK) {
      requireRunning();
      return FileChannel.open(file, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE);
    }
  }

  /** Creates a folder inside of a temporary folder, unless it exists, and those that lead to it. */
  static void createFoldersInside(Path folder) throws IOException {
    synchronized (LOCK) {
      requireRunning();
      Files.createDirectories(folder);
    }
  }

  /**
   * Gives a temporary folder its final name, where nothing may be or, if {@code overwrite}, a
   * folder that is replaced. The shutdown hook waits meanwhile. If the system refuses, what had the
   * name has it again.
   *
   * @return the folder that was replaced, a temporary one now, or null
   * @throws FileAlreadyExistsException if there is something and {@code overwrite} is false
   */
  static Path publish(Path temporary, Path target, boolean overwrite) throws IOException {
    synchronized (LOCK) {
      requireRunning();
      Path old = null;
      if (Files.exists(target, LinkOption.NOFOLLOW_LINKS)) {
        if (!overwrite) {
          throw new FileAlreadyExistsException(target.toString());
        }
        old = target.resolveSibling(temporaryName(target.getFileName().toString()));
        Files.move(target, old, StandardCopyOption.ATOMIC_MOVE);
      }
      try {
        Files.move(temporary, target, StandardCopyOption.ATOMIC_MOVE);
      } catch (IOException | RuntimeException e) {
        if (old != null) {
          Files.move(old, target, StandardCopyOption.ATOMIC_MOVE);
        }
        throw e;
      }
      LIVE.remove(temporary);
      if (old != null) {
        LIVE.add(old);
      }
      return old;
    }
  }

  /** Deletes a file, or a folder with all that is in it. */
  static void delete(Path path) throws IOException {
    synchronized (LOCK) {
      // What cannot be deleted stays on the list, for the shutdown hook to try again.
      deleteTree(path);
      LIVE.remove(path);
    }
  }

  private static void deleteTree(Path path) throws IOException {
    if (!Files.exists(path, LinkOption.NOFOLLOW_LINKS)) {
      return;
    }
    Files.walkFileTree(
        path,
        new SimpleFileVisitor<>() {
          @Override
          public FileVisitResult visitFile(Path file, BasicFileAttributes attributes)
              throws IOException {
            Files.deleteIfExists(file);
            return FileVisitResult.CONTINUE;
          }

          @Override
          public FileVisitResult postVisitDirectory(Path folder, IOException failure)
              throws IOException {
            Files.deleteIfExists(folder);
            return FileVisitResult.CONTINUE;
          }
        });
  }

  private static void requireRunning() throws IOException {
    if (shutDown) {
      throw new IOException("the program is being stopped");
    }
  }

  /** Whether the JVM has begun to end, so that temporary files have been deleted. */
  static boolean isShutDown() {
    synchronized (LOCK) {
      return shutDown;
    }
  }

  private static String temporaryName(String name) {
    StringBuilder safe = new StringBuilder();
    for (int i = 0; i < name.length() && i < NAME_LIMIT; i++) {
      // Only ASCII: other characters take up to three bytes, or cannot be encoded in the C locale.
      char c = name.charAt(i);
      safe.append(c > ' ' && c < 0x7f ? c : '_');
    }
    return String.format(
        ".%s.%d-%08x.tmp",
        safe, ProcessHandle.current().pid(), ThreadLocalRandom.current().nextInt());
  }

  private static void hook() throws IOException {
    if (!hooked) {
      try {
        Runtime.getRuntime().addShutdownHook(new Thread(TemporaryFiles::deleteAll));
      } catch (IllegalStateException e) {
        throw new IOException("the program is being stopped", e);
      }
      hooked = true;
    }
  }

  private static void deleteAll() {
    synchronized (LOCK) {
      shutDown = true;
      for (Path path : LIVE) {
        try {
          deleteTree(path);
        } catch (IOException | RuntimeException e) {
          // Nobody is left to tell, and the other files still have to go.
        }
      }
    }
  }
}
