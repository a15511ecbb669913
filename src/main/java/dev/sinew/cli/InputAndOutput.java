package dev.sinew.cli;

import java.nio.file.Path;
import java.util.List;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** The arguments of commands that turn one checkpoint into another. */
final class InputAndOutput extends Destination {
  @Parameters(
      index = "0",
      paramLabel = "IN",
      description =
          "The checkpoint to read: a safetensors or PyTorch file, or the folder of a model.")
  private Path input;

  @Parameters(
      index = "1",
      paramLabel = "OUT",
      description = {
        "The safetensors file to write. If IN is a folder, OUT is a folder with the same shards and"
            + " other files, unless its name ends with .safetensors."
      })
  private Path output;

  @Option(
      names = "--force",
      description = "Replace files that exist, and a folder that is a model's or empty.")
  private boolean force;

  Path input() {
    return input;
  }

  @Override
  List<Path> inputs() {
    return List.of(input);
  }

  @Override
  Path output() {
    return output;
  }

  @Override
  boolean force() {
    return force;
  }
}
