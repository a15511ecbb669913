package dev.sinew.cli;

import java.util.List;
import picocli.CommandLine;
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
    })
final class RootCommand implements Runnable {
  /** In the order of the help. */
  private static final List<String> COMMANDS =
      List.of("optimize", "inspect", "compare", "convert", "merge", "bench", "doctor", "demo");

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

  /**
   * The command line, with the one command that the arguments name, or with all if they name none:
   * to find out the options of a command takes longer than most commands do.
   */
  CommandLine commandLine(String... arguments) {
    CommandLine line = new CommandLine(this);
    List<String> named = COMMANDS;
    for (String argument : arguments) {
      // What all commands share takes no values, so the first other word is the command.
      if (!argument.startsWith("-")) {
        named = COMMANDS.contains(argument) ? List.of(argument) : COMMANDS;
        break;
      }
    }
    for (String name : named) {
      line.addSubcommand(name, command(name));
    }
    return line;
  }

  private static SinewCommand command(String name) {
    return switch (name) {
      case "optimize" -> new OptimizeCommand();
      case "inspect" -> new InspectCommand();
      case "compare" -> new CompareCommand();
      case "convert" -> new ConvertCommand();
      case "merge" -> new MergeCommand();
      case "bench" -> new BenchCommand();
      case "doctor" -> new DoctorCommand();
      case "demo" -> new DemoCommand();
      default -> throw new IllegalArgumentException(name);
    };
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
