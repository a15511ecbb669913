package dev.sinew.cli;

import java.util.function.IntSupplier;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** {@code --threads}, for commands that compute. */
final class ThreadsOption {
  /** What a device takes at most. */
  private static final int MOST = 4096;

  @Spec(Spec.Target.MIXEE)
  private CommandSpec command;

  private Integer threads;

  @Option(
      names = "--threads",
      paramLabel = "N",
      description = "Threads that compute; by default one for each processor that may be used.")
  private void setThreads(int threads) {
    if (threads < 1 || threads > MOST) {
      throw new ParameterException(
          command.commandLine(), "--threads takes a number from 1 to " + MOST + ", not " + threads);
    }
    this.threads = threads;
  }

  int countOr(IntSupplier otherwise) {
    return threads != null ? threads : otherwise.getAsInt();
  }
}
