package dev.sinew.io;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;

/**
 * Where the members of a JSON object stand in its text, so that some can be taken out while all
 * other characters stay.
 */
final class JsonMembers {
  private final String text;
  private final List<String> names;
  private final List<Integer> begins;
  private final List<Integer> ends;

  private JsonMembers(String text, List<String> names, List<Integer> begins, List<Integer> ends) {
    this.text = text;
    this.names = names;
    this.begins = begins;
    this.ends = ends;
  }

  /**
   * Finds the members of the outermost object.
   *
   * @param text valid JSON, an object
   * @param names of its members in their order, as a parser has read them
   */
  static JsonMembers of(String text, List<String> names) {
    List<Integer> begins = new ArrayList<>();
    List<Integer> ends = new ArrayList<>();
    int depth = 0;
    boolean inString = false;
    int begin = -1;
    int last = -1;
    for (int i = 0; i < text.length(); i++) {
      char c = text.charAt(i);
      if (inString) {
        if (c == '\\') {
          i++;
        } else if (c == '"') {
          inString = false;
        }
        last = i;
        continue;
      }
      if (depth == 1 && begin >= 0 && (c == ',' || c == '}')) {
        begins.add(begin);
        ends.add(last + 1);
        begin = -1;
      }
      switch (c) {
        case '{', '[' -> depth++;
        case '}', ']' -> depth--;
        case '"' -> {
          inString = true;
          if (depth == 1 && begin < 0) {
            begin = i;
          }
        }
        default -> {}
      }
      if (!Character.isWhitespace(c)) {
        last = i;
      }
    }
    if (begins.size() != names.size()) {
      throw new IllegalArgumentException(
          "an object of " + names.size() + " members seems to have " + begins.size());
    }
    return new JsonMembers(text, names, begins, ends);
  }

  /** The text without these members and the commas that they do not need any more. */
  String without(Set<String> unwanted) {
    StringBuilder out = new StringBuilder();
    int copied = 0;
    boolean kept = false;
    for (int i = 0; i < names.size(); i++) {
      if (!unwanted.contains(names.get(i))) {
        kept = true;
        continue;
      }
      // With the comma before it, or with the one behind it if nothing stays before.
      int from = kept ? ends.get(i - 1) : begins.get(i);
      boolean last = i == names.size() - 1;
      int to = kept ? ends.get(i) : last ? ends.get(i) : begins.get(i + 1);
      from = Math.max(from, copied);
      out.append(text, copied, from);
      copied = to;
    }
    return out.append(text, copied, text.length()).toString();
  }
}
