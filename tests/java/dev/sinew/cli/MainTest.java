package dev.sinew.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.sinew.internal.NativeLibrary;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class MainTest extends CommandLineTest {
  @ParameterizedTest
  @ValueSource(
      strings = {"optimize", "inspect", "compare", "convert", "merge", "bench", "doctor", "demo"})
  void everyCommandHasHelpVersionAndVerbose(String command) {
    String help = run(command, "--help").ok().out();
    assertTrue(help.startsWith("Usage: sinew " + command), help);
    assertTrue(help.contains("--verbose"), help);
    assertTrue(help.contains("Exit status"), help);
    assertTrue(run(command, "--version").ok().out().startsWith("sinew "));
    assertTrue(run("--help").ok().out().contains(command));
  }

  @Test
  void versionIsOneLine() {
    assertEquals(1, run("--version").ok().out().lines().count());
  }

  @Test
  void wrongUsageIsOneSentenceAndStatus2() {
    run().failed(2, "give a command: optimize, inspect", "'sinew --help'");
    run("optimise").failed(2, "unknown command 'optimise'", "did you mean 'optimize'?");
    run("frobnicate").failed(2, "unknown command 'frobnicate'");
    run("--frobnicate").failed(2, "unknown option '--frobnicate'");
    run("inspect").failed(2, "FILE", "'sinew inspect --help'");
    run("inspect", "a", "b").failed(2, "unexpected argument 'b'");
    run("inspect", "a", "--jsn").failed(2, "unknown option '--jsn'", "did you mean '--json'?");
    run("compare", "a").failed(2, "'B'");
    run("convert", "a").failed(2, "'OUT'");
    run("bench", "--mib", "0").failed(2, "--mib", "not 0");
    run("bench", "--mib", "many").failed(2, "--mib", "many");
    run("bench", "--threads", "0").failed(2, "--threads", "from 1 to 4096");
    run("demo", "--threads", "-3").failed(2, "--threads", "not -3");
    assertEquals(
        "sinew: --threads: 'many' is not an int; see 'sinew bench --help'\n",
        run("bench", "--threads", "many").failed(2).err());
    assertEquals(
        "sinew: missing required parameter: 'B'; see 'sinew compare --help'\n",
        run("compare", "a").failed(2).err());
  }

  @Test
  void aFileMayBeginWithAnAt() throws IOException {
    Path file = TestCheckpoint.model().write(path("@model"));
    run("inspect", file).ok();
    run("inspect", "@nothing").failed(1, "@nothing");
  }

  @Test
  void aNameThatLooksLikeAnOptionIsOne() throws IOException {
    run("inspect", "-model").failed(2, "unknown option '-model'", "'./-model'");
    run("convert", "-a\u001b[31m", "b").failed(2, "unknown option '-a\\u001b[31m'");
    assertEquals(
        "sinew: unknown option '--jsn'; see 'sinew inspect --help'\n",
        run("inspect", "--jsn").failed(2).err());
    run("inspect", "--", "-model").failed(1, "'-model'");
  }

  @Test
  void aNameThatIsEmptyIsWrongUsage() throws IOException {
    Path file = TestCheckpoint.model().write(path("model"));
    run("inspect", "").failed(2, "the name of a file is empty", "'sinew inspect --help'");
    run("convert", file, "").failed(2, "is empty");
    run("optimize", file, path("o"), "--quantize", "int8", "--report", "")
        .failed(2, "--report: the name of a file is empty");
    assertEquals(List.of("model"), files(folder));
  }

  @Test
  void aNameThatJavaCannotReadIsSaidToBeOne() throws IOException {
    // Java decodes bytes of the command line that are not in the locale's encoding so.
    run("inspect", folder + "/m\ufffdl").failed(2, "encoding of file names", "rename");
    Path file = TestCheckpoint.model().write(path("model"));
    run("convert", file, folder + "/o\ufffd").failed(2, "o\ufffd", "encoding");
    assertEquals(List.of("model"), files(folder));
    assumeTrue(NativeLibrary.FILE_NAMES.equals(StandardCharsets.UTF_8));
    run("inspect", Files.copy(file, path("m\ufffd"))).ok();
  }

  @Test
  void verboseAddsTheStackTrace() {
    Result quiet = run("inspect", path("missing")).failed(1, "missing");
    Result verbose = run("inspect", "--verbose", path("missing"));
    assertEquals(1, verbose.status());
    assertTrue(verbose.err().startsWith(quiet.err()), verbose.err());
    assertTrue(verbose.err().contains("\tat dev.sinew."), verbose.err());
    assertTrue(run("--verbose", "inspect", path("missing")).err().contains("\tat dev.sinew."));
  }

  @Test
  void aReaderThatHasGoneIsNoFailure() throws IOException {
    TestCheckpoint many = new TestCheckpoint();
    for (int i = 0; i < 500; i++) {
      many.floats("layer." + i + ".weight", TestCheckpoint.weights(i, 6), 2, 3);
    }
    Path file = many.write(path("many"));
    for (String[] command :
        new String[][] {
          {"inspect", file.toString()},
          {"inspect", "--json", file.toString()},
          {"compare", file.toString(), file.toString()},
          {"--help"}
        }) {
      ByteArrayOutputStream err = new ByteArrayOutputStream();
      OutputStream closed = failing(80, "Broken pipe");
      assertEquals(0, run(new Terminal(closed, err, false, false), (Object[]) command));
      assertEquals("", err.toString(StandardCharsets.UTF_8));

      OutputStream full = failing(80, "No space left on device");
      assertEquals(1, run(new Terminal(full, err, false, false), (Object[]) command));
      assertEquals(
          "sinew: cannot write to standard output: No space left on device\n",
          err.toString(StandardCharsets.UTF_8));
    }
  }
}
