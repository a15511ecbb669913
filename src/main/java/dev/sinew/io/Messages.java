package dev.sinew.io;

import java.io.IOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileSystemException;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;

/**
 * Puts names into error sentences. Names come from files that anybody may have made, so they are
 * cut to a bounded length, and what could move a terminal's cursor or fake a second line is
 * escaped.
 */
final class Messages {
  private static final int NAME_LIMIT = 120;

  private Messages() {}

  static String path(Path path) {
    return printable(path.toString(), Integer.MAX_VALUE);
  }

  /** The name between quotes. */
  static String quote(String name) {
    return "'" + printable(name, NAME_LIMIT) + "'";
  }

  /** Text from a file, such as a number or a shape, without quotes. */
  static String brief(String text) {
    return printable(text, NAME_LIMIT);
  }

  /** Why the system refused, in a few words. */
  static String reason(IOException e) {
    if (e instanceof NoSuchFileException) {
      return "No such file or directory";
    }
    if (e instanceof AccessDeniedException) {
      return "Permission denied";
    }
    String reason = e instanceof FileSystemException system ? system.getReason() : e.getMessage();
    return reason == null ? e.getClass().getSimpleName() : printable(reason, NAME_LIMIT);
  }

  private static String printable(String text, int limit) {
    StringBuilder out = new StringBuilder(Math.min(text.length(), limit) + 2);
    int i = 0;
    while (i < text.length() && i < limit) {
      int c = text.codePointAt(i);
      i += Character.charCount(c);
      switch (Character.getType(c)) {
        case Character.CONTROL,
            Character.FORMAT,
            Character.LINE_SEPARATOR,
            Character.PARAGRAPH_SEPARATOR,
            Character.SURROGATE ->
            out.append(String.format("\\u%04x", c));
        default -> out.appendCodePoint(c);
      }
    }
    return i < text.length() ? out.append("...").toString() : out.toString();
  }
}
