package dev.sinew.cli;

import dev.sinew.internal.Messages;
import dev.sinew.io.AtomicFile;
import dev.sinew.io.ModelFolder;
import dev.sinew.io.SafeTensors;
import dev.sinew.model.Checkpoint;
import dev.sinew.model.CheckpointException;
import dev.sinew.model.CheckpointPlan;
import dev.sinew.model.CheckpointWriter;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/**
 * The arguments of commands that turn one checkpoint into another: a file into a file, the folder
 * of a model into a folder, or a folder into one file whose name ends with {@code .safetensors}.
 */
final class InputAndOutput {
  private static final String FILE_SUFFIX = ".safetensors";

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

  Path output() {
    return output;
  }

  boolean force() {
    return force;
  }

  /** The folder that the output takes its form from; empty if the output is one file. */
  Optional<ModelFolder> folderToFollow(Checkpoint source) {
    return source instanceof ModelFolder folder && !output.toString().endsWith(FILE_SUFFIX)
        ? Optional.of(folder)
        : Optional.empty();
  }

  /**
   * Starts the output.
   *
   * @param source the input as it was opened, not a view of it
   * @param files see {@link ModelFolder#create}; not used for an output of one file
   */
  CheckpointWriter create(Checkpoint source, CheckpointPlan plan, Map<String, byte[]> files)
      throws CheckpointException {
    Optional<ModelFolder> folder = folderToFollow(source);
    return folder.isPresent()
        ? ModelFolder.create(output, folder.get(), plan, files, force)
        : SafeTensors.create(output, plan, force);
  }

  /**
   * Finds out before any work is done whether the output could be written.
   *
   * @param source the input as it was opened
   * @throws CheckpointException if it is the input or inside of it, exists already without {@code
   *     --force}, or cannot be created
   */
  void requireWritableOutput(Checkpoint source) throws CheckpointException {
    Optional<ModelFolder> folder = folderToFollow(source);
    if (folder.isPresent()) {
      ModelFolder.requireWritable(output, folder.get(), force);
    } else {
      requireOtherThanInput(output);
      requireWritable(output);
    }
  }

  /**
   * @throws CheckpointException if the output is the input itself or inside of it, links included
   */
  void requireOtherOutput(Checkpoint source) throws CheckpointException {
    Optional<ModelFolder> folder = folderToFollow(source);
    if (folder.isPresent()) {
      ModelFolder.requireApart(output, folder.get());
    } else {
      requireOtherThanInput(output);
    }
  }

  /**
   * @throws CheckpointException if this is the input itself, or a file of an input folder, links
   *     included
   */
  void requireOtherThanInput(Path file) throws CheckpointException {
    AtomicFile.requireDifferentFiles(input, file);
    try {
      Path parent = file.toAbsolutePath().getParent();
      if (parent != null
          && Files.isDirectory(input)
          && Files.isDirectory(parent)
          && parent.toRealPath().startsWith(input.toRealPath())) {
        throw new CheckpointException(
            "the output "
                + Messages.quote(file)
                + " lies inside the input; choose another place for the output");
      }
    } catch (CheckpointException e) {
      throw e;
    } catch (IOException e) {
      throw new CheckpointException(
          "cannot find out where " + Messages.quote(file) + " is: " + Messages.reason(e), e);
    }
  }

  /** As {@link #requireWritableOutput}, for another file that the command writes. */
  void requireWritable(Path file) throws CheckpointException {
    // Creating the temporary file, and deleting it again, asks the system itself.
    AtomicFile.create(file, force).close();
  }
}
