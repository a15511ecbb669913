package dev.sinew.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sinew.internal.Handle;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.io.TempDir;

/** Runs commands as {@code main} does, with captured output, and checks that none leaks tensors. */
abstract class CommandLineTest {
  @TempDir Path folder;

  private long handles;

  @BeforeEach
  void countHandles() {
    // The shared device is a handle that stays.
    dev.sinew.Device.cpu();
    handles = Handle.live();
  }

  @AfterEach
  void nothingLeaks() {
    assertEquals(handles, Handle.live(), "tensors or devices that were not closed");
  }

  record Result(int status, String out, String err) {
    /** Expects success without a word on standard error. */
    Result ok() {
      assertEquals("", err);
      assertEquals(0, status, out);
      return this;
    }

    /** Expects a status and one sentence that contains {@code parts}. */
    Result failed(int expected, String... parts) {
      assertEquals(expected, status, err);
      assertTrue(err.startsWith("sinew: "), err);
      assertTrue(err.endsWith("\n") && err.indexOf('\n') == err.length() - 1, err);
      assertFalse(err.contains("Exception"), err);
      for (String part : parts) {
        assertTrue(err.contains(part), err + "lacks: " + part);
      }
      return this;
    }

    Map<String, Object> json() {
      return JsonText.object(out);
    }
  }

  /** Runs {@code sinew} without a terminal. */
  static Result run(Object... arguments) {
    return captured(false, arguments);
  }

  static Result runOnTerminal(Object... arguments) {
    return captured(true, arguments);
  }

  private static Result captured(boolean terminal, Object... arguments) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    ByteArrayOutputStream err = new ByteArrayOutputStream();
    int status = run(new Terminal(out, err, terminal, terminal), arguments);
    return new Result(
        status, out.toString(StandardCharsets.UTF_8), err.toString(StandardCharsets.UTF_8));
  }

  static int run(Terminal terminal, Object... arguments) {
    return Main.run(terminal, Stream.of(arguments).map(String::valueOf).toArray(String[]::new));
  }

  static List<String> files(Path folder) throws IOException {
    try (Stream<Path> files = Files.list(folder)) {
      return files.map(file -> file.getFileName().toString()).sorted().toList();
    }
  }

  Path path(String name) {
    return folder.resolve(name);
  }

  /** A stream that fails like a pipe without a reader, or a full disk, after some bytes. */
  static OutputStream failing(int afterBytes, String message) {
    return new OutputStream() {
      private int left = afterBytes;

      @Override
      public void write(int value) throws IOException {
        if (left-- <= 0) {
          throw new IOException(message);
        }
      }
    };
  }
}
