package dev.sinew.cli;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** The arguments that name what is merged, and where to. */
final class MergeFiles extends Destination {
  @Parameters(
      arity = "1..*",
      paramLabel = "MODEL",
      description =
          "The models to merge: safetensors or PyTorch files, or the folders of models. The first"
              + " one's types, metadata, shards and other files are taken over.")
  private List<Path> models;

  @Option(
      names = {"-o", "--output"},
      required = true,
      paramLabel = "OUT",
      description = {
        "The safetensors file to write. If the first MODEL is a folder, OUT is a folder with the"
            + " same shards and other files, unless its name ends with .safetensors."
      })
  private Path output;

  @Option(
      names = "--base",
      paramLabel = "MODEL",
      description =
          "The model that the others were trained from: for the methods that merge what"
              + " training has changed.")
  private Path base;

  @Option(
      names = "--force",
      description = "Replace files that exist, and a folder that is a model's or empty.")
  private boolean force;

  List<Path> models() {
    return models;
  }

  /** The base, or null. */
  Path base() {
    return base;
  }

  @Override
  List<Path> inputs() {
    List<Path> inputs = new ArrayList<>(models);
    if (base != null) {
      inputs.add(base);
    }
    return inputs;
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
