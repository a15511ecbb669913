package dev.sinew.io;

import static dev.sinew.io.SafeTensorsFiles.assertRefused;
import static dev.sinew.io.SafeTensorsFiles.names;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileSystem;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermission;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

class AtomicFileTest {
  @TempDir Path folder;
  private Path target;

  @BeforeEach
  void target() {
    target = folder.resolve("out.bin");
  }

  private static ByteBuffer text(String text) {
    return ByteBuffer.wrap(text.getBytes(StandardCharsets.UTF_8));
  }

  private static void write(Path target, boolean overwrite, String content) throws IOException {
    try (AtomicFile file = AtomicFile.create(target, overwrite)) {
      file.write(0, text(content));
      file.commit();
    }
  }

  @Test
  void appearsOnlyWithTheCommit() throws IOException {
    try (AtomicFile file = AtomicFile.create(target, false)) {
      assertEquals(target, file.target());
      file.channel().write(text("hel"));
      file.write(3, text("lo"));
      assertFalse(Files.exists(target));
      String name = names(folder).get(0);
      String pid = Long.toString(ProcessHandle.current().pid());
      assertTrue(name.matches("\\.out\\.bin\\." + pid + "-[0-9a-f]{8}\\.tmp"), name);
      file.commit();
      assertEquals(List.of("out.bin"), names(folder));
      assertThrows(IllegalStateException.class, file::commit);
    }
    assertEquals("hello", Files.readString(target));
  }

  @Test
  void replacesOnlyWhenAskedAndOnlyAtTheCommit() throws IOException {
    Files.writeString(target, "old");
    assertRefused(target, "exists already; give --force", () -> AtomicFile.create(target, false));
    try (AtomicFile file = AtomicFile.create(target, true)) {
      file.write(0, text("new"));
      assertEquals("old", Files.readString(target));
    }
    assertEquals("old", Files.readString(target), "closed without a commit");
    write(target, true, "new");
    assertEquals("new", Files.readString(target));
    assertEquals(List.of("out.bin"), names(folder));
  }

  @Test
  void aTargetThatAppearsMeanwhileIsNotLost() throws IOException {
    try (AtomicFile file = AtomicFile.create(target, false)) {
      file.write(0, text("mine"));
      Files.writeString(target, "somebody else's");
      assertRefused(target, "exists already", file::commit);
    }
    assertEquals("somebody else's", Files.readString(target));
    assertEquals(List.of("out.bin"), names(folder));
  }

  @Test
  void aFolderThatAppearsMeanwhileIsNotLost() throws IOException {
    for (boolean overwrite : new boolean[] {false, true}) {
      Path name = folder.resolve("folder-" + overwrite);
      try (AtomicFile file = AtomicFile.create(name, overwrite)) {
        Files.createDirectory(name);
        assertRefused(name, overwrite ? "is a folder" : "exists already", file::commit);
      }
      assertTrue(Files.isDirectory(name));
    }
    assertEquals(List.of("folder-false", "folder-true"), names(folder));
  }

  @Test
  void aSymbolicLinkIsReplacedNotFollowed() throws IOException {
    Path pointedTo = Files.writeString(folder.resolve("data"), "data");
    Path link = Files.createSymbolicLink(folder.resolve("link"), pointedTo);
    Path dangling = Files.createSymbolicLink(folder.resolve("dangling"), folder.resolve("gone"));
    for (Path name : List.of(link, dangling)) {
      assertRefused(name, "exists already", () -> AtomicFile.create(name, false));
      write(name, true, "new");
      assertTrue(Files.isRegularFile(name, LinkOption.NOFOLLOW_LINKS));
      assertEquals("new", Files.readString(name));
    }
    assertEquals("data", Files.readString(pointedTo));
    assertEquals(List.of("dangling", "data", "link"), names(folder));
  }

  @Test
  void refusesWhatIsNoRegularFileEvenWhenOverwriting() throws Exception {
    Path fifo = folder.resolve("fifo");
    assertEquals(0, new ProcessBuilder("mkfifo", fifo.toString()).start().waitFor());
    Path toDevice = Files.createSymbolicLink(folder.resolve("device"), Path.of("/dev/null"));
    Path toOutput = Files.createSymbolicLink(folder.resolve("out"), Path.of("/proc/self/fd/1"));
    for (Path special : List.of(fifo, toDevice, toOutput, Path.of("/dev/null"))) {
      assertRefused(special, "is a pipe or a device", () -> AtomicFile.create(special, true));
      assertRefused(special, "is a pipe or a device", () -> AtomicFile.create(special, false));
    }
    Path linkToFolder = Files.createSymbolicLink(folder.resolve("folder"), folder);
    for (Path directory : List.of(folder, linkToFolder)) {
      assertRefused(directory, "is a folder", () -> AtomicFile.create(directory, true));
    }
    assertEquals(List.of("device", "fifo", "folder", "out"), names(folder));
    // Or JUnit warns about links that lead out of its folder.
    Files.delete(toDevice);
    Files.delete(toOutput);
  }

  @Test
  void refusesPlacesWhereNothingCanBeCreated() throws IOException {
    Path missing = folder.resolve("missing");
    Path inMissing = missing.resolve("out.bin");
    assertRefused(
        inMissing, missing + "' does not exist; create", () -> AtomicFile.create(inMissing, false));
    Path inFile = Files.createFile(folder.resolve("file")).resolve("out.bin");
    assertRefused(inFile, "Not a directory", () -> AtomicFile.create(inFile, false));
    Path inProc = Path.of("/proc/sinew-test.bin");
    assertRefused(
        inProc, "cannot create a file in '/proc'", () -> AtomicFile.create(inProc, false));
    Path longName = folder.resolve("x".repeat(256));
    assertRefused(longName, "File name too long", () -> AtomicFile.create(longName, false));
    assertEquals(List.of("file"), names(folder));
  }

  @Test
  void refusesAFolderWithoutPermission() throws IOException {
    Path readOnly = Files.createDirectory(folder.resolve("read-only"));
    Files.setPosixFilePermissions(readOnly, Set.of(PosixFilePermission.OWNER_READ));
    try {
      assumeTrue(!Files.isWritable(readOnly), "skipped: this user (root) may write everywhere");
      Path file = readOnly.resolve("out.bin");
      assertRefused(file, "Permission denied", () -> AtomicFile.create(file, false));
    } finally {
      Files.setPosixFilePermissions(
          readOnly,
          Set.of(
              PosixFilePermission.OWNER_READ,
              PosixFilePermission.OWNER_WRITE,
              PosixFilePermission.OWNER_EXECUTE));
    }
  }

  @Test
  void theLongestNamesAndOtherAlphabetsWork() throws IOException {
    for (String name : List.of("x".repeat(255), "a b\u00e9\u4e2d", "-", ".hidden")) {
      Path file = folder.resolve(name);
      write(file, false, name);
      assertEquals(name, Files.readString(file));
      Files.delete(file);
    }
    assertEquals(List.of(), names(folder));
  }

  @Test
  void permissionsFollowTheUmask() throws Exception {
    Process shell = new ProcessBuilder("sh", "-c", "umask").start();
    String output = new String(shell.getInputStream().readAllBytes(), StandardCharsets.US_ASCII);
    int expected = 0666 & ~Integer.parseInt(output.strip(), 8);
    write(target, false, "");
    assertEquals(expected, (int) Files.getAttribute(target, "unix:mode") & 0777);
  }

  @Test
  void aFullDiskIsOneSentenceAndLeavesNothing() throws IOException {
    Path temporary = Files.createFile(folder.resolve("temporary"));
    FileChannel full = FileChannel.open(Path.of("/dev/full"), StandardOpenOption.WRITE);
    try (AtomicFile file =
        new AtomicFile(target, false, new TemporaryFiles.Handle(temporary, full))) {
      assertRefused(
          target,
          "cannot write '" + target + "': No space left on device; free some space",
          () -> file.write(0, text("data")));
    }
    assertEquals(List.of(), names(folder));
  }

  /** A zip archive as a file system has no hard links, as FAT and some network file systems. */
  @Test
  void worksWhereThereAreNoHardLinks() throws IOException {
    Path zip = folder.resolve("archive.zip");
    try (FileSystem archive = FileSystems.newFileSystem(zip, Map.of("create", "true"))) {
      Path inside = archive.getPath("/out.bin");
      assertThrows(
          UnsupportedOperationException.class,
          () -> Files.createLink(inside, archive.getPath("/x")));
      write(inside, false, "data");
      assertEquals("data", Files.readString(inside));
      assertEquals(List.of("out.bin"), names(archive.getPath("/")));
      Path taken = archive.getPath("/taken");
      try (AtomicFile file = AtomicFile.create(taken, false)) {
        Files.writeString(taken, "somebody else's");
        assertRefused(taken, "exists already", file::commit);
      }
      assertEquals("somebody else's", Files.readString(taken));
      assertEquals(List.of("out.bin", "taken"), names(archive.getPath("/")));
    }
  }

  @Test
  void anInterruptedThreadStopsTheFile() throws Exception {
    try (AtomicFile file = AtomicFile.create(target, false)) {
      Thread.currentThread().interrupt();
      assertRefused(target, "was interrupted", () -> file.write(0, text("data")));
      assertTrue(Thread.interrupted());
      assertRefused(target, "was closed before", file::commit);
    } finally {
      Thread.interrupted();
    }
    assertEquals(List.of(), names(folder));
  }

  @Test
  void sameFilesAreFoundUnderEveryName() throws IOException {
    Path in = Files.writeString(folder.resolve("in"), "data");
    Path other = Files.writeString(folder.resolve("other"), "data");
    Path link = Files.createSymbolicLink(folder.resolve("link"), in);
    Path hard = Files.createLink(folder.resolve("hard"), in);
    Path dotted = folder.resolve("../" + folder.getFileName() + "/in");
    for (Path same : List.of(in, link, hard, dotted)) {
      assertRefused(same, "is the input itself", () -> AtomicFile.requireDifferentFiles(in, same));
    }
    AtomicFile.requireDifferentFiles(in, other);
    AtomicFile.requireDifferentFiles(in, folder.resolve("new"));
    AtomicFile.requireDifferentFiles(folder.resolve("no input"), folder.resolve("no input"));
  }

  @Test
  void filesThatDoNotExistYetAreTheSameInTheSameFolder() throws IOException {
    Path inner = Files.createDirectory(folder.resolve("inner"));
    Path link = Files.createSymbolicLink(folder.resolve("link"), inner);
    Path file = inner.resolve("new");
    assertTrue(AtomicFile.isSameFile(file, link.resolve("new")));
    assertTrue(AtomicFile.isSameFile(file, link.resolve("../inner/new")));
    assertTrue(AtomicFile.isSameFile(Path.of("new"), Path.of("./new").toAbsolutePath()));
    assertFalse(AtomicFile.isSameFile(file, inner.resolve("new2")));
    assertFalse(AtomicFile.isSameFile(file, folder.resolve("new")));
    Path missing = folder.resolve("missing");
    assertTrue(AtomicFile.isSameFile(missing.resolve("a"), missing.resolve("b/../a")));
    assertFalse(AtomicFile.isSameFile(missing.resolve("a"), missing.resolve("b")));
  }

  @Test
  @Timeout(60)
  void sigtermInMidWriteLeavesNoTemporaryFile() throws Exception {
    Process child = ChildProgram.start("64m", "write", target);
    var output = child.inputReader();
    assertEquals("writing", output.readLine());
    assertEquals(1, names(folder).size());
    child.destroy();
    assertTrue(child.waitFor(30, TimeUnit.SECONDS));
    assertEquals(128 + 15, child.exitValue());
    assertEquals(List.of(), names(folder));
  }

  @Test
  @Timeout(120)
  void filesAreNotCreatedAgainAfterTheShutdownHook() throws Exception {
    for (int attempt = 0; attempt < 5; attempt++) {
      Process child = ChildProgram.start("64m", "create", target);
      var output = child.inputReader();
      assertEquals("creating", output.readLine());
      Thread.sleep(20L * attempt);
      child.destroy();
      assertTrue(child.waitFor(30, TimeUnit.SECONDS));
      assertEquals(128 + 15, child.exitValue(), () -> output.lines().toList().toString());
      assertEquals(List.of(), names(folder), "attempt " + attempt);
    }
  }

  /** A limit on file sizes makes the system refuse in mid-write, as a full disk does. */
  @Test
  @Timeout(60)
  void aSystemThatRefusesInMidWriteIsOneSentenceAndLeavesNothing() throws Exception {
    Process child =
        ChildProgram.start(
            "64m", "write", target, "sh", "-c", "ulimit -f 1000 && exec \"$@\"", "sh");
    List<String> lines = child.inputReader().lines().toList();
    assertEquals(1, child.waitFor());
    assertEquals(
        List.of(
            "writing", "cannot write '" + target + "': File too large; the file was not written"),
        lines);
    assertEquals(List.of(), names(folder));
  }
}
