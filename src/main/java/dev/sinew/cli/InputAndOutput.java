package dev.sinew.cli;

import dev.sinew.io.AtomicFile;
import dev.sinew.model.CheckpointException;
import java.nio.file.Path;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** The arguments of commands that turn one file into another. */
final class InputAndOutput {
  @Parameters(
      index = "0",
      paramLabel = "IN",
      description = "The checkpoint to read, safetensors or PyTorch.")
  private Path input;

  @Parameters(index = "1", paramLabel = "OUT", description = "The safetensors file to write.")
  private Path output;

  @Option(names = "--force", description = "Replace files that exist.")
  private boolean force;

  Path input() {
    return input;
  }

  Path output() {
    return output;
  }

  boolean force() {
    return force;
  }

  /**
   * Finds out before any work is done whether the output could be written.
   *
   * @throws CheckpointException if it is the input, exists already without {@code --force}, or
   *     cannot be created
   */
  void requireWritableOutput() throws CheckpointException {
    requireOtherOutput();
    requireWritable(output);
  }

  /**
   * @throws CheckpointException if the output is the input itself, links included
   */
  void requireOtherOutput() throws CheckpointException {
    requireOtherThanInput(output);
  }

  /**
   * @throws CheckpointException if this is the input itself, links included
   */
  void requireOtherThanInput(Path file) throws CheckpointException {
    AtomicFile.requireDifferentFiles(input, file);
  }

  /** As {@link #requireWritableOutput}, for another file that the command writes. */
  void requireWritable(Path file) throws CheckpointException {
    // Creating the temporary file, and deleting it again, asks the system itself.
    AtomicFile.create(file, force).close();
  }
}
