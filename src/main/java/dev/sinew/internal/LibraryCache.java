package dev.sinew.internal;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.Arrays;
import org.bytedeco.javacpp.Loader;

/**
 * The folder that JavaCPP extracts native libraries to. Who can write there can run code as this
 * user, so it is one that nobody else can change: {@code ~/.javacpp/cache}, or a new folder that
 * goes when the JVM ends. JavaCPP itself would turn to {@code /tmp/.javacpp-USER}, a name that
 * others on the machine can take first.
 */
final class LibraryCache {
  private static final String PROPERTY = "org.bytedeco.javacpp.cachedir";
  private static final String OLD_PROPERTY = "org.bytedeco.javacpp.cacheDir";
  private static final System.Logger LOGGER = System.getLogger("dev.sinew");
  private static final int OTHERS_MAY_WRITE = 0002;
  private static final int GROUP_MAY_WRITE = 0020;
  private static final int STICKY = 01000;

  private LibraryCache() {}

  /**
   * Chooses the folder before JavaCPP does. One that the user has named is taken as it is.
   *
   * @throws IOException one sentence, if no folder can be created or if other users can change the
   *     one that JavaCPP uses already
   */
  static void choose() throws IOException {
    if (System.getProperty(PROPERTY) != null || System.getProperty(OLD_PROPERTY) != null) {
      return;
    }
    Path home = Path.of(System.getProperty("user.home", ""));
    if (!isUsable(home)) {
      Path folder = Files.createTempDirectory("sinew-native-");
      Runtime.getRuntime().addShutdownHook(new Thread(() -> delete(folder)));
      System.setProperty(PROPERTY, folder.toString());
    }
    Path used = Loader.getCacheDir().toPath();
    if (!isPrivate(used, used.startsWith(home))) {
      throw new IOException(
          "JavaCPP is in use already and keeps native libraries in '"
              + Messages.printable(used.toString())
              + "', which other users can change; name another folder with -D"
              + PROPERTY
              + "=DIR");
    }
  }

  /** Whether the cache below this home can be written by this user, and by nobody else. */
  static boolean isUsable(Path home) {
    // Java calls the home of a user whom the system does not know "?".
    if (!home.isAbsolute() || !Files.isDirectory(home)) {
      return false;
    }
    try {
      Path cache = Files.createDirectories(home.resolve(".javacpp/cache")).toRealPath();
      return Files.isWritable(cache) && Files.isExecutable(cache) && isPrivate(cache, true);
    } catch (IOException | RuntimeException e) {
      return false;
    }
  }

  /**
   * Whether only this user and root can change what is in a folder, or what its name leads to.
   *
   * @param folder absolute, without links
   * @param withGroup whether a group may write too: that of a user's files is often the user's own
   */
  static boolean isPrivate(Path folder, boolean withGroup) throws IOException {
    Object user = Files.getAttribute(Path.of("/proc/self"), "unix:uid");
    for (Path part = folder; part != null; part = part.getParent()) {
      Object owner = Files.getAttribute(part, "unix:uid", LinkOption.NOFOLLOW_LINKS);
      int mode = (int) Files.getAttribute(part, "unix:mode", LinkOption.NOFOLLOW_LINKS);
      boolean open = (mode & (OTHERS_MAY_WRITE | (withGroup ? 0 : GROUP_MAY_WRITE))) != 0;
      // In a sticky folder, as /tmp is, others can add names but not take over ours.
      boolean sticky = (mode & STICKY) != 0 && !part.equals(folder);
      if (!owner.equals(user) && !owner.equals(0) || open && !sticky) {
        return false;
      }
    }
    return true;
  }

  /**
   * Makes sure that the cache holds what the jar holds. JavaCPP goes by size and date, which two
   * builds can share, and would load the older one.
   *
   * @param resources the libraries
   */
  static void refresh(String... resources) {
    for (String resource : resources) {
      try {
        java.io.File cached = Loader.cacheResource(NativeLibrary.class, resource);
        // A class folder, not a jar, is used in place.
        if (cached == null || !cached.toPath().startsWith(Loader.getCacheDir().toPath())) {
          continue;
        }
        try (InputStream packed = NativeLibrary.class.getResourceAsStream(resource)) {
          if (!Arrays.equals(packed.readAllBytes(), Files.readAllBytes(cached.toPath()))) {
            // Deleting leaves the file to processes that have it mapped; overwriting would not.
            Files.delete(cached.toPath());
            Loader.cacheResource(NativeLibrary.class, resource);
          }
        }
      } catch (IOException e) {
        // Loading fails next, and says why, or works from a folder outside the cache.
        LOGGER.log(System.Logger.Level.DEBUG, "cannot check the cache of native libraries", e);
      }
    }
  }

  private static void delete(Path folder) {
    try {
      Files.walkFileTree(
          folder,
          new SimpleFileVisitor<>() {
            @Override
            public FileVisitResult visitFile(Path file, BasicFileAttributes attributes)
                throws IOException {
              Files.delete(file);
              return FileVisitResult.CONTINUE;
            }

            @Override
            public FileVisitResult postVisitDirectory(Path visited, IOException failure)
                throws IOException {
              Files.delete(visited);
              return FileVisitResult.CONTINUE;
            }
          });
    } catch (IOException e) {
      // It lies in the folder for temporary files.
    }
  }
}
