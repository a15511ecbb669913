package dev.sinew.cli;

import java.util.concurrent.Callable;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.ParentCommand;
import picocli.CommandLine.Spec;

/** What every command has: a terminal, and a way to refuse its arguments. */
abstract class SinewCommand implements Callable<Integer> {
  @ParentCommand private RootCommand root;

  @Spec private CommandSpec spec;

  Terminal terminal() {
    return root.terminal;
  }

  /** Wrong usage that depends on more than one argument; {@code message} has no full stop. */
  ParameterException wrongUsage(String message) {
    return new ParameterException(spec.commandLine(), message);
  }

  /** A display of this command's progress on standard error. */
  ProgressDisplay progress() {
    return new ProgressDisplay(terminal(), spec.name(), System::nanoTime);
  }
}
