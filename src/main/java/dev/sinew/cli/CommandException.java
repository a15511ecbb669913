package dev.sinew.cli;

/** A failure that a command has found itself; the message is one sentence for the user. */
final class CommandException extends Exception {
  private static final long serialVersionUID = 1;

  CommandException(String message) {
    super(message);
  }
}
