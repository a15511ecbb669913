package dev.sinew;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sinew.internal.NativeLibrary;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** How the native library is found, in JVMs of their own because it is loaded once in each. */
class NativeLibraryTest {
  /** Prints where the library is, twice, or why it is not. */
  static final class Load {
    public static void main(String[] arguments) {
      for (int i = 0; i < 2; i++) {
        try {
          System.out.println(Device.cpu().threads() > 0 ? NativeLibrary.location() : "");
        } catch (Throwable e) {
          System.out.println(e.getClass().getSimpleName() + ": " + e.getMessage());
        }
      }
    }
  }

  private static Path built;
  @TempDir Path folder;

  @BeforeAll
  static void findBuiltLibraries() {
    built = Path.of(NativeLibrary.location()).getParent();
  }

  /** What both attempts of a JVM with these options print. */
  private static String load(String... options) throws Exception {
    ChildJvm.Result result = ChildJvm.run(Load.class, List.of(options));
    assertEquals(0, result.exit(), result.output());
    // The JVM itself warns about files that are no libraries.
    String[] lines =
        result
            .output()
            .lines()
            .filter(line -> line.matches("(/|UnsatisfiedLinkError).*"))
            .toArray(String[]::new);
    assertEquals(2, lines.length, result.output());
    assertEquals(lines[0], lines[1], "the second attempt tells less");
    return lines[0];
  }

  @Test
  void fromTheClassPath() throws Exception {
    assertTrue(load().endsWith("libsinew.so"));
  }

  @Test
  void fromAFolder() throws Exception {
    for (String name : List.of("libsinew.so", "libjniSinewNative.so")) {
      Files.copy(built.resolve(name), folder.resolve(name));
    }
    assertEquals(folder.resolve("libsinew.so").toString(), load("-Dsinew.library.path=" + folder));
  }

  @Test
  void fromAFolderThatDoesNotHoldIt() throws Exception {
    Files.copy(built.resolve("libsinew.so"), folder.resolve("libsinew.so"));
    String message = load("-Dsinew.library.path=" + folder);
    assertTrue(message.startsWith("UnsatisfiedLinkError: sinew.library.path names "), message);
    assertTrue(message.contains(folder + "'"), message);
    assertTrue(message.contains("libjniSinewNative.so"), message);
  }

  @Test
  void filesThatAreNoLibraries() throws Exception {
    for (String name : List.of("libsinew.so", "libjniSinewNative.so")) {
      Files.writeString(folder.resolve(name), "no library");
    }
    String message = load("-Dsinew.library.path=" + folder);
    assertTrue(message.startsWith("UnsatisfiedLinkError: "), message);
    assertTrue(message.contains(folder.toString()), message);
  }

  @Test
  void aPlatformWithoutNativeCode() throws Exception {
    String message = load("-Dos.arch=aarch64");
    assertTrue(message.contains("linux-x86_64 only, and this is linux-aarch64"), message);
  }
}
