package dev.sinew.io;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.HashSet;
import java.util.Set;
import java.util.concurrent.ThreadLocalRandom;

/** The temporary files of this JVM, all of which a shutdown hook deletes. Safe for many threads. */
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
      delete(path);
    }
  }

  /** Creates a file that no other process can have named, with the permissions of the umask. */
  static Handle create(Path folder, String name) throws IOException {
    synchronized (LOCK) {
      if (shutDown) {
        throw new IOException("the program is being stopped");
      }
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

  private static void delete(Path path) {
    synchronized (LOCK) {
      try {
        Files.deleteIfExists(path);
        LIVE.remove(path);
      } catch (IOException e) {
        // It stays on the list, for the shutdown hook to try again.
      }
    }
  }

  private static void deleteAll() {
    synchronized (LOCK) {
      shutDown = true;
      for (Path path : LIVE) {
        try {
          Files.deleteIfExists(path);
        } catch (IOException | RuntimeException e) {
          // Nobody is left to tell, and the other files still have to go.
        }
      }
    }
  }
}
