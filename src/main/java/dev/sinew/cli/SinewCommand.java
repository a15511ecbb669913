package dev.sinew.cli;

import dev.sinew.internal.Messages;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** What every command has: a terminal, and a way to refuse its arguments. */
abstract class SinewCommand implements Callable<Integer> {
  @Spec private CommandSpec spec;

  Terminal terminal() {
    return ((RootCommand) spec.root().userObject()).terminal;
  }

  /** Wrong usage that depends on more than one argument; {@code message} has no full stop. */
  ParameterException wrongUsage(String message) {
    return new ParameterException(spec.commandLine(), message);
  }

  /** Warns of patterns that match no tensor. */
  void warnOf(List<String> unmatchedPatterns) {
    for (String pattern : unmatchedPatterns) {
      terminal().warning(Messages.printable(pattern) + " matches no tensor");
    }
  }

  /** A display of this command's progress on standard error. */
  ProgressDisplay progress() {
    return new ProgressDisplay(terminal(), spec.name(), System::nanoTime);
  }
}
