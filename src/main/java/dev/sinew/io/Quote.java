package dev.sinew.io;

/** Puts text that comes from a file into an error message. */
final class Quote {
  private static final int LIMIT = 200;

  private Quote() {}

  /**
   * The text in single quotes, shortened to a readable length; characters that could end the line
   * or steer a terminal are replaced by {@code ?}.
   */
  static String of(String text) {
    return "'" + plain(text) + "'";
  }

  /** As {@link #of} without the quotes. */
  static String plain(String text) {
    StringBuilder safe = new StringBuilder(Math.min(text.length(), LIMIT) + 3);
    for (int i = 0; i < text.length() && i < LIMIT; i++) {
      char c = text.charAt(i);
      boolean steers =
          Character.isISOControl(c)
              || Character.getType(c) == Character.FORMAT
              || c == '\u2028'
              || c == '\u2029';
      safe.append(steers ? '?' : c);
    }
    return text.length() > LIMIT ? safe.append("...").toString() : safe.toString();
  }
}
