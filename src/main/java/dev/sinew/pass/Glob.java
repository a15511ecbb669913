package dev.sinew.pass;

import java.util.Collection;
import java.util.List;

/**
 * Patterns over tensor names: {@code *} stands for any characters, dots included, and {@code ?} for
 * one.
 */
final class Glob {
  private Glob() {}

  /** Those patterns that match none of the names, each behind the option that it was given with. */
  static List<String> unmatched(String option, List<String> patterns, Collection<String> names) {
    return patterns.stream()
        .distinct()
        .filter(pattern -> names.stream().noneMatch(name -> matches(pattern, name)))
        .map(pattern -> option + " " + pattern)
        .toList();
  }

  /**
   * Whether the whole name matches. Takes time proportional to the product of the lengths, whatever
   * the pattern.
   */
  static boolean matches(String pattern, String name) {
    int p = 0;
    int n = 0;
    int star = -1;
    int resume = 0;
    while (n < name.length()) {
      if (p < pattern.length() && pattern.charAt(p) == '*') {
        star = p++;
        resume = n;
      } else if (p < pattern.length()
          && (pattern.charAt(p) == '?' || pattern.charAt(p) == name.charAt(n))) {
        p++;
        n++;
      } else if (star >= 0) {
        // The last star takes one character more.
        p = star + 1;
        n = ++resume;
      } else {
        return false;
      }
    }
    while (p < pattern.length() && pattern.charAt(p) == '*') {
      p++;
    }
    return p == pattern.length();
  }
}
