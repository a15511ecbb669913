package dev.sinew.cli;

import dev.sinew.io.ModelFiles;
import java.io.PrintWriter;
import java.util.List;

/** What commands print about the files of a model folder besides its weights. */
final class FolderSummary {
  private static final int NAMES_SHOWN = 6;

  private FolderSummary() {}

  static void print(PrintWriter out, ModelFiles files) {
    print(out, "other files copied", files.copied());
    print(out, "not copied, as they hold the old weights", files.leftOut());
  }

  private static void print(PrintWriter out, String what, List<String> names) {
    if (!names.isEmpty()) {
      out.printf("%s (%s): %s%n", what, names.size(), Text.some(names, NAMES_SHOWN));
    }
  }
}
