package dev.sinew.cli;

import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.OutputStreamWriter;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * Standard output and standard error, in UTF-8, and whether a person is looking at them.
 *
 * <p>Safe for use by many threads, as {@link PrintWriter} is.
 */
final class Terminal {
  private final Watched watchedOut;
  private final PrintWriter out;
  private final PrintWriter err;
  private final boolean outIsTerminal;
  private final boolean errIsTerminal;
  private volatile boolean barVisible;

  Terminal(OutputStream out, OutputStream err, boolean outIsTerminal, boolean errIsTerminal) {
    this.watchedOut = new Watched(out);
    this.out = writer(watchedOut);
    this.err = writer(err);
    this.outIsTerminal = outIsTerminal;
    this.errIsTerminal = errIsTerminal;
  }

  /** This process's own. */
  static Terminal system() {
    return new Terminal(
        new FileOutputStream(FileDescriptor.out),
        new FileOutputStream(FileDescriptor.err),
        isTerminal(1),
        isTerminal(2));
  }

  private static PrintWriter writer(OutputStream stream) {
    return new PrintWriter(new OutputStreamWriter(stream, StandardCharsets.UTF_8), false);
  }

  // System.console() tells about standard input as well, and from Java 22 on nothing at all.
  private static boolean isTerminal(int descriptor) {
    try {
      String target = Files.readSymbolicLink(Path.of("/proc/self/fd/" + descriptor)).toString();
      return target.startsWith("/dev/pts/") || target.startsWith("/dev/tty");
    } catch (IOException | RuntimeException e) {
      return false;
    }
  }

  PrintWriter out() {
    return out;
  }

  PrintWriter err() {
    return err;
  }

  boolean outIsTerminal() {
    return outIsTerminal;
  }

  boolean errIsTerminal() {
    return errIsTerminal;
  }

  /** Prints one sentence for the user on standard error. */
  void error(String sentence) {
    out.flush();
    err.println("sinew: " + sentence);
    err.flush();
  }

  /** Prints one sentence on standard error about what is no failure, but hardly meant. */
  void warning(String sentence) {
    error("warning: " + sentence);
  }

  /** Draws over the line that the cursor is in; an empty bar takes it away. */
  void bar(String text, int columns) {
    barVisible = !text.isEmpty();
    err.print("\r" + text + " ".repeat(columns - text.length()) + (barVisible ? "" : "\r"));
    err.flush();
  }

  /** Leaves a bar that Ctrl-C has cut short where it is, and the shell's prompt below it. */
  void endBar() {
    if (barVisible) {
      err.println();
      err.flush();
    }
  }

  /**
   * Sends what was printed on its way, and ends the command if nobody can receive it, so that
   * {@code sinew inspect FILE | head} does not read on.
   *
   * @throws OutputFailedException if standard output is closed or full
   */
  void flush() {
    out.flush();
    if (watchedOut.failure != null) {
      throw new OutputFailedException(watchedOut.failure);
    }
  }

  /** Flushes at the end; a status of 0 becomes 1 if the output was lost for want of space. */
  int finish(int status) {
    out.flush();
    err.flush();
    if (watchedOut.failure == null || status != Main.OK) {
      return status;
    }
    return Failure.report(this, new OutputFailedException(watchedOut.failure), false);
  }

  /** Standard output does not take any more. */
  static final class OutputFailedException extends RuntimeException {
    private static final long serialVersionUID = 1;

    OutputFailedException(IOException cause) {
      super(cause);
    }

    /** Whether the reader of a pipe has gone, which is no failure: it has what it wanted. */
    boolean isClosedPipe() {
      String message = getCause().getMessage();
      return message != null && message.contains("Broken pipe");
    }
  }

  /** Remembers the first failure, which PrintWriter would only count. */
  private static final class Watched extends OutputStream {
    private final OutputStream stream;
    volatile IOException failure;

    Watched(OutputStream stream) {
      this.stream = stream;
    }

    @Override
    public void write(int value) throws IOException {
      write(new byte[] {(byte) value}, 0, 1);
    }

    @Override
    public void write(byte[] bytes, int offset, int length) throws IOException {
      try {
        stream.write(bytes, offset, length);
      } catch (IOException e) {
        failure = failure == null ? e : failure;
        throw e;
      }
    }

    @Override
    public void flush() throws IOException {
      stream.flush();
    }
  }
}
