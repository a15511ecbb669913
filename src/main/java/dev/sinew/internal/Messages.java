package dev.sinew.internal;

import java.io.IOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileSystemException;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;

/**
 * Puts names into sentences for the user. Names come from files that anybody may have made, so what
 * could move a terminal's cursor, hide text or fake a second line is escaped, and names in errors
 * are cut to a bounded length.
 *
 * <p>The style of an exception's message: one sentence without a full stop at its end, with the
 * names of files and tensors in single quotes.
 */
public final class Messages {
  private static final int NAME_LIMIT = 120;
  private static final String TOO_LONG = "File name too long";

  private Messages() {}

  /** A file or folder between single quotes, in full: the operating system limits its length. */
  public static String quote(Path path) {
    return "'" + printable(path.toString()) + "'";
  }

  /** A name from a file between single quotes, shortened. */
  public static String quote(String name) {
    return "'" + brief(name) + "'";
  }

  /** Text from a file, such as a number or a shape, shortened and without quotes. */
  public static String brief(String text) {
    return printable(text, NAME_LIMIT);
  }

  /** The whole text on one line, with what is not to reach a terminal as {@code \}{@code uXXXX}. */
  public static String printable(String text) {
    return printable(text, Integer.MAX_VALUE);
  }

  /** Why the system refused, in a few words. */
  public static String reason(IOException e) {
    if (e instanceof NoSuchFileException) {
      return "No such file or directory";
    }
    if (e instanceof AccessDeniedException) {
      return "Permission denied";
    }
    String reason = e instanceof FileSystemException system ? system.getReason() : e.getMessage();
    if (TOO_LONG.equals(reason)) {
      return TOO_LONG + " (a name has at most 255 bytes, and 4095 with its folders)";
    }
    return reason == null ? e.getClass().getSimpleName() : brief(reason);
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
