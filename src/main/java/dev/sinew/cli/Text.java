package dev.sinew.cli;

import dev.sinew.internal.Messages;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;

/** Numbers and names as people read them, the same in every locale. */
final class Text {
  private static final String[] UNITS = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};

  private Text() {}

  /** A size in decimal units, for example {@code 1.51 MB}. */
  static String bytes(long bytes) {
    double value = bytes;
    int unit = 0;
    while (value >= 999.5 && unit < UNITS.length - 1) {
      value /= 1000;
      unit++;
    }
    if (unit == 0) {
      return bytes + " B";
    }
    return String.format(
        Locale.ROOT,
        value < 10 ? "%.2f %s" : value < 100 ? "%.1f %s" : "%.0f %s",
        value,
        UNITS[unit]);
  }

  /** Bytes in seconds, for example {@code 3.2 GB/s}. */
  static String rate(double bytes, double seconds) {
    return seconds > 0 ? fixed(bytes / seconds / 1e9, 2) + " GB/s" : "-";
  }

  static String count(long number) {
    return String.format(Locale.ROOT, "%,d", number);
  }

  static String fixed(double value, int decimals) {
    return String.format(Locale.ROOT, "%." + decimals + "f", value);
  }

  /** A value of a tensor with up to six significant digits. */
  static String value(double value) {
    if (Double.isNaN(value)) {
      return "-";
    }
    if (value == 0) {
      return "0";
    }
    if (value == Math.rint(value) && Math.abs(value) < 1e6) {
      return Long.toString((long) value);
    }
    return String.format(Locale.ROOT, "%.5g", value);
  }

  /** A signal-to-noise ratio with its unit left out. */
  static String decibels(double value) {
    if (Double.isNaN(value)) {
      return "-";
    }
    return Double.isInfinite(value) ? (value > 0 ? "inf" : "-inf") : fixed(value, 2);
  }

  static String shape(List<Long> shape) {
    return shape.stream().map(String::valueOf).collect(Collectors.joining(", ", "[", "]"));
  }

  /** {@code 1 tensor}, {@code 2 tensors}. */
  static String plural(long count, String noun) {
    return count(count) + " " + noun + (count == 1 ? "" : "s");
  }

  /** A few of the names, and how many more there are. */
  static String some(List<String> names, int most) {
    String shown =
        names.stream().limit(most).map(Messages::printable).collect(Collectors.joining(", "));
    return names.size() <= most ? shown : shown + " and " + (names.size() - most) + " more";
  }

  /** One line that does not end in a full stop, whatever an exception's message looked like. */
  static String sentence(String message) {
    String line = Messages.printable(message.strip().replaceAll("\\s*\\R\\s*", " "));
    return line.endsWith(".") && !line.endsWith("..") ? line.substring(0, line.length() - 1) : line;
  }
}
