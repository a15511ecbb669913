package dev.sinew.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sinew.NotFiniteException;
import dev.sinew.model.CheckpointException;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.AccessDeniedException;
import java.nio.file.NoSuchFileException;
import java.util.concurrent.ExecutionException;
import org.junit.jupiter.api.Test;

class FailureTest {
  private static String report(Throwable error, boolean verbose) {
    ByteArrayOutputStream err = new ByteArrayOutputStream();
    Terminal terminal = new Terminal(new ByteArrayOutputStream(), err, false, false);
    assertEquals(Main.FAILURE, Failure.report(terminal, error, verbose));
    return err.toString(StandardCharsets.UTF_8);
  }

  @Test
  void everythingIsOneSentence() {
    assertEquals(
        "sinew: model.pt is damaged\n",
        report(new CheckpointException("model.pt is damaged."), false));
    assertEquals(
        "sinew: 'a.bin': Permission denied\n",
        report(new UncheckedIOException(new AccessDeniedException("a.bin")), false));
    assertEquals(
        "sinew: 'a.bin': No such file or directory\n",
        report(new NoSuchFileException("a.bin"), false));
    assertEquals(
        "sinew: tensor 'w' holds NaN\n",
        report(new NotFiniteException("tensor 'w' holds NaN"), false));
    assertEquals(
        "sinew: interrupted before the work was done\n",
        report(new ExecutionException(new InterruptedException()), false));
    assertEquals("sinew: one two\n", report(new IOException("one\n   two"), false));
    // A name from a file must not reach the terminal's control.
    assertEquals(
        "sinew: bad \\u001b[2J name\n", report(new CheckpointException("bad \033[2J name"), false));
  }

  @Test
  void errorsOfTheJvmAreSentencesToo() {
    assertTrue(
        report(new OutOfMemoryError("Java heap space"), false).contains("SINEW_JAVA_OPTS=-Xmx2g"));
    assertEquals(
        "sinew: not enough memory: 5 bytes are not there\n",
        report(new OutOfMemoryError("5 bytes are not there"), false));
    assertEquals(
        "sinew: the input is nested too deeply to be read\n",
        report(new StackOverflowError(), false));
    assertEquals(
        "sinew: no library; 'sinew doctor' tells more\n",
        report(new UnsatisfiedLinkError("no library."), false));
    String defect = report(new NullPointerException(), false);
    assertTrue(defect.contains("NullPointerException") && defect.contains("--verbose"), defect);
    assertEquals(1, defect.lines().count());
  }

  @Test
  void verbosePrintsTheTrace() {
    assertTrue(report(new NullPointerException(), true).contains("\tat dev.sinew.cli.FailureTest"));
  }
}
