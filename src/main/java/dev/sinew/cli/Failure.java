package dev.sinew.cli;

import dev.sinew.DeviceLostException;
import dev.sinew.NotFiniteException;
import dev.sinew.collective.RankFailedException;
import dev.sinew.internal.Messages;
import dev.sinew.model.CheckpointException;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.io.UncheckedIOException;
import java.nio.channels.ClosedByInterruptException;
import java.nio.file.FileSystemException;
import java.util.concurrent.ExecutionException;

/** Turns whatever a command threw into one sentence and an exit status. */
final class Failure {
  private Failure() {}

  /** Prints the sentence, and the stack trace if wanted; returns the exit status. */
  static int report(Terminal terminal, Throwable error, boolean verbose) {
    if (isShuttingDown()) {
      // Ctrl-C took a file away from a thread that was writing it; the JVM ends with 130 by itself.
      return Main.FAILURE;
    }
    if (error instanceof Terminal.OutputFailedException output && output.isClosedPipe()) {
      return Main.OK;
    }
    terminal.error(Text.sentence(sentence(error)));
    if (verbose) {
      error.printStackTrace(terminal.err());
      terminal.err().flush();
    }
    return Main.FAILURE;
  }

  static String sentence(Throwable error) {
    Throwable cause = unwrap(error);
    String message = cause.getMessage();
    if (cause instanceof CheckpointException || cause instanceof CommandException) {
      return message;
    }
    if (cause instanceof Terminal.OutputFailedException) {
      return "cannot write to standard output: " + reason((IOException) cause.getCause());
    }
    if (cause instanceof OutOfMemoryError) {
      // The JVM's own messages begin with what ran out; those of the native code are sentences.
      return message == null || message.startsWith("Java heap") || message.startsWith("GC overhead")
          ? "not enough memory for Java objects; allow more with SINEW_JAVA_OPTS=-Xmx2g"
          : "not enough memory: " + message;
    }
    if (cause instanceof StackOverflowError) {
      return "the input is nested too deeply to be read";
    }
    if (cause instanceof InterruptedException
        || cause instanceof InterruptedIOException
        || cause instanceof ClosedByInterruptException) {
      return "interrupted before the work was done";
    }
    if (cause instanceof LinkageError) {
      return Text.sentence(String.valueOf(message)) + "; 'sinew doctor' tells more";
    }
    if (cause instanceof IOException failure) {
      return reason(failure);
    }
    if (cause instanceof NotFiniteException
        || cause instanceof IllegalArgumentException
        || cause instanceof UnsupportedOperationException
        || cause instanceof RankFailedException
        || cause instanceof DeviceLostException) {
      return message != null ? message : unexpected(cause);
    }
    return unexpected(cause);
  }

  private static Throwable unwrap(Throwable error) {
    Throwable cause = error;
    while ((cause instanceof UncheckedIOException
            || cause instanceof ExecutionException
            || cause instanceof ExceptionInInitializerError)
        && cause.getCause() != null) {
      cause = cause.getCause();
    }
    return cause;
  }

  private static String unexpected(Throwable cause) {
    return "unexpected "
        + cause.getClass().getSimpleName()
        + (cause.getMessage() == null ? "" : " (" + cause.getMessage() + ")")
        + "; this is a defect of Sinew: please report it with what --verbose prints";
  }

  /** What the system said, with the file where the exception knows it. */
  private static String reason(IOException e) {
    if (e instanceof FileSystemException system) {
      return "'" + system.getFile() + "': " + Messages.reason(e);
    }
    return e.getMessage() != null ? e.getMessage() : Messages.reason(e);
  }

  private static boolean isShuttingDown() {
    Thread hook = new Thread(() -> {});
    try {
      Runtime.getRuntime().addShutdownHook(hook);
      Runtime.getRuntime().removeShutdownHook(hook);
      return false;
    } catch (IllegalStateException e) {
      return true;
    }
  }
}
