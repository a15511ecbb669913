package dev.sinew.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Where native libraries may be extracted to on a machine that others use too. */
class LibraryCacheTest {
  @TempDir Path temporary;
  private Path home;

  @BeforeEach
  void makeHome() throws IOException {
    home = Files.createDirectory(temporary.toRealPath().resolve("home"));
    mode(home, "rwx------");
  }

  private static void mode(Path folder, String permissions) throws IOException {
    Files.setPosixFilePermissions(folder, PosixFilePermissions.fromString(permissions));
  }

  @Test
  void aFolderOfOnesOwnIsPrivate() throws IOException {
    Path folder = Files.createDirectories(home.resolve("a/b"));
    mode(folder, "rwxr-xr-x");
    assertTrue(LibraryCache.isPrivate(folder, false));
    mode(folder, "rwxrwxr-x");
    assertTrue(LibraryCache.isPrivate(folder, true));
    assertFalse(LibraryCache.isPrivate(folder, false));
    for (String open : new String[] {"rwxrwxrwx", "rwxr-x-w-"}) {
      mode(folder, open);
      assertFalse(LibraryCache.isPrivate(folder, true), open);
      mode(folder, "rwx------");
      // Whoever can write in its parent can put another folder in its place.
      mode(folder.getParent(), open);
      assertFalse(LibraryCache.isPrivate(folder, true), open);
      mode(folder.getParent(), "rwx------");
    }
    assertTrue(LibraryCache.isPrivate(folder, false));
  }

  @Test
  void inStickyFoldersOthersTouchOnlyTheirOwn() throws IOException {
    Path sticky = Files.createDirectory(home.resolve("sticky"));
    Path mine = Files.createDirectory(sticky.resolve("mine"));
    mode(mine, "rwxr-xr-x");
    Files.setAttribute(sticky, "unix:mode", 01777);
    assertTrue(LibraryCache.isPrivate(mine, false));
    assertFalse(LibraryCache.isPrivate(sticky, false), "the cache itself must not be open");
  }

  @Test
  void aFolderOfSomebodyElseIsNotPrivate() throws IOException {
    assumeTrue(
        Files.getAttribute(Path.of("/proc/self"), "unix:uid").equals(0),
        "only root can give folders away");
    Path cache = Files.createDirectories(home.resolve(".javacpp/cache"));
    Files.setAttribute(cache.getParent(), "unix:uid", 12345);
    assertFalse(LibraryCache.isPrivate(cache, true));
    assertFalse(LibraryCache.isUsable(home));
  }

  @Test
  void theHomeIsUsedWhereItCanBe() throws IOException {
    assertTrue(LibraryCache.isUsable(home));
    assertTrue(Files.isDirectory(home.resolve(".javacpp/cache")));
    assertFalse(LibraryCache.isUsable(Path.of("?")), "the home of an unknown user");
    assertFalse(LibraryCache.isUsable(home.resolve("missing")));
    assertFalse(LibraryCache.isUsable(Path.of("/proc")));
    Path file = Files.writeString(home.resolve("file"), "");
    assertFalse(LibraryCache.isUsable(file));
    mode(home, "rwxrwxrwx");
    assertFalse(LibraryCache.isUsable(home));
    Files.delete(home.resolve(".javacpp/cache"));
    Files.delete(home.resolve(".javacpp"));
    Path elsewhere = Files.createDirectory(home.resolve("elsewhere"));
    mode(home, "rwx------");
    Files.createSymbolicLink(home.resolve(".javacpp"), elsewhere);
    assertTrue(LibraryCache.isUsable(home), "a link to another place of one's own");
    assertEquals(1, elsewhere.toFile().list().length);
  }
}
