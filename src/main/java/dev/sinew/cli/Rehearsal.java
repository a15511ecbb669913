package dev.sinew.cli;

import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/**
 * Runs the commands on a small model in a temporary folder. The launcher lets the JVM keep the
 * classes that were loaded for it, and starts from those.
 */
final class Rehearsal {
  private static final List<String> COMMANDS =
      List.of(
          "--version",
          "--help",
          "doctor",
          "doctor --json",
          "inspect ./in",
          "inspect ./in --json",
          "optimize ./in ./int8 --prune threshold=0.01 --quantize int8",
          "optimize ./in ./int4 --quantize int4 --granularity group=32 --range mse",
          "optimize ./in ./sparse --prune nm=2:4 --sparse-format bitmap --report ./report",
          "optimize ./in ./clustered --prune sparsity=0.5 --cluster bits=4,iterations=2",
          "convert ./sparse ./dense --dense",
          "compare ./in ./int8",
          "compare ./in ./sparse --json",
          "merge ./in ./in --base ./in -o ./merged --method ties --density 0.5");

  private Rehearsal() {}

  public static void main(String[] arguments) throws IOException {
    Path folder = Files.createTempDirectory("sinew-rehearsal-");
    try {
      new DemoModel(1, 128, 160, 32, 50).write(folder.resolve("in"));
      for (String command : COMMANDS) {
        run(folder, command);
      }
    } finally {
      try (var files = Files.list(folder)) {
        for (Path file : files.toList()) {
          Files.delete(file);
        }
      }
      Files.delete(folder);
    }
  }

  private static void run(Path folder, String command) {
    String[] words = command.split(" ");
    for (int i = 0; i < words.length; i++) {
      words[i] = words[i].startsWith("./") ? folder.resolve(words[i]).toString() : words[i];
    }
    OutputStream nowhere = OutputStream.nullOutputStream();
    if (Main.run(new Terminal(nowhere, nowhere, false, false), words) != Main.OK) {
      throw new IllegalStateException(command);
    }
  }
}
