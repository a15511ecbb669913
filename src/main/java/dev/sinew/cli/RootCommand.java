package dev.sinew.cli;

import picocli.CommandLine.Command;
import picocli.CommandLine.IVersionProvider;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.ScopeType;
import picocli.CommandLine.Spec;

/** {@code sinew} without a command; holds what all commands share. */
@Command(
    name = "sinew",
    description =
        "Makes neural network checkpoints smaller: prunes and quantizes them. Also merges them.",
    scope = ScopeType.INHERIT,
    mixinStandardHelpOptions = true,
    versionProvider = RootCommand.Version.class,
    sortOptions = false,
    exitCodeListHeading = "%nExit status:%n",
    exitCodeList = {
      "0:success",
      "1:failure; one sentence on standard error says what, where and what to do",
      "2:wrong usage",
      "130:stopped by Ctrl-C; no partial file is left behind"
    },
    subcommands = {
      OptimizeCommand.class,
      InspectCommand.class,
      CompareCommand.class,
      ConvertCommand.class,
      MergeCommand.class,
      BenchCommand.class,
      DoctorCommand.class,
      DemoCommand.class
    })
final class RootCommand implements Runnable {
  final Terminal terminal;

  @Spec private CommandSpec spec;

  @Option(
      names = "--verbose",
      scope = ScopeType.INHERIT,
      description = "After a failure, print the stack trace too.")
  boolean verbose;

  RootCommand(Terminal terminal) {
    this.terminal = terminal;
  }

  @Override
  public void run() {
    throw new ParameterException(
        spec.commandLine(),
        "give a command: " + String.join(", ", spec.commandLine().getSubcommands().keySet()));
  }

  /** The version in the jar's manifest. */
  static final class Version implements IVersionProvider {
    @Override
    public String[] getVersion() {
      return new String[] {"sinew " + text()};
    }

    /** The version, or {@code development} when the classes do not come from a jar. */
    static String text() {
      String version = RootCommand.class.getPackage().getImplementationVersion();
      return version == null ? "development" : version;
    }
  }
}
