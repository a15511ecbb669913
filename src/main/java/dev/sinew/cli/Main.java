package dev.sinew.cli;

import dev.sinew.internal.Messages;
import java.nio.file.Path;
import java.util.Optional;
import picocli.CommandLine;
import picocli.CommandLine.Help;
import picocli.CommandLine.MissingParameterException;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.TypeConversionException;
import picocli.CommandLine.UnmatchedArgumentException;

/** The command line, {@code sinew}. */
public final class Main {
  /** Everything went well. */
  static final int OK = 0;

  /** The command failed, or {@code compare} found different tensors. */
  static final int FAILURE = 1;

  /** The command line itself is wrong. */
  static final int USAGE = 2;

  private Main() {}

  public static void main(String[] arguments) {
    Terminal terminal = Terminal.system();
    Runtime.getRuntime().addShutdownHook(new Thread(terminal::endBar));
    int status = run(terminal, arguments);
    if (status != OK) {
      System.exit(status);
    }
  }

  /**
   * Runs one command and returns its exit status. Never throws, and never ends the JVM.
   *
   * @param terminal where output goes
   */
  static int run(Terminal terminal, String... arguments) {
    RootCommand root = new RootCommand(terminal);
    int status;
    try {
      status = commandLine(root, terminal, arguments).execute(arguments);
    } catch (Throwable error) {
      // picocli hands exceptions to the handler below, but not errors.
      status = Failure.report(terminal, error, root.verbose);
    }
    return terminal.finish(status);
  }

  private static CommandLine commandLine(RootCommand root, Terminal terminal, String[] given) {
    return root.commandLine(given)
        .setOut(terminal.out())
        .setErr(terminal.err())
        .setColorScheme(Help.defaultColorScheme(Help.Ansi.OFF))
        .registerConverter(Path.class, FileName::parse)
        // A checkpoint may well be called '@model'.
        .setExpandAtFiles(false)
        .setParameterExceptionHandler((error, arguments) -> wrongUsage(terminal, error))
        .setExecutionExceptionHandler(
            (error, command, parsed) -> Failure.report(terminal, error, root.verbose));
  }

  private static int wrongUsage(Terminal terminal, ParameterException error) {
    String command = error.getCommandLine().getCommandSpec().qualifiedName();
    terminal.error(Text.sentence(explain(error)) + "; see '" + command + " --help'");
    return USAGE;
  }

  private static String explain(ParameterException error) {
    if (error instanceof UnmatchedArgumentException unmatched
        && !unmatched.getUnmatched().isEmpty()) {
      String argument = "'" + unmatched.getUnmatched().get(0) + "'";
      String what =
          unmatched.isUnknownOption()
              ? "unknown option " + argument
              : error.getCommandLine().getParent() == null
                  ? "unknown command " + argument
                  : "unexpected argument " + argument;
      return unmatched.getSuggestions().isEmpty()
          ? what
          : what + "; did you mean '" + unmatched.getSuggestions().get(0) + "'?";
    }
    if (error instanceof MissingParameterException) {
      // A mistyped option, or a file's name that looks like one, is why something else is missing.
      Optional<String> option =
          error.getCommandLine().getUnmatchedArguments().stream()
              .filter(argument -> argument.startsWith("-"))
              .findFirst();
      if (option.isPresent()) {
        String name = Messages.printable(option.get());
        return "unknown option '"
            + name
            + (name.startsWith("--") ? "'" : "'; the name of a file is written './" + name + "'");
      }
    }
    String message = error.getMessage();
    if (error.getCause() instanceof TypeConversionException wrong) {
      message =
          error.getArgSpec() instanceof OptionSpec option
              ? option.longestName() + ": " + wrong.getMessage()
              : wrong.getMessage();
    }
    return message.startsWith("Missing ") ? "m" + message.substring(1) : message;
  }
}
