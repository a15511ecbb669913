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
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * Where a command writes a checkpoint made of others: a file becomes a file, and the folder of a
 * model a folder, or one file whose name ends with {@code .safetensors}.
 */
abstract class Destination {
  private static final String FILE_SUFFIX = ".safetensors";

  /** What is read; the first gives the output its form. */
  abstract List<Path> inputs();

  abstract Path output();

  /** Whether what exists may be replaced. */
  abstract boolean force();

  /** The folder that the output takes its form from; empty if the output is one file. */
  Optional<ModelFolder> folderToFollow(Checkpoint source) {
    return source instanceof ModelFolder folder && !output().toString().endsWith(FILE_SUFFIX)
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
        ? ModelFolder.create(output(), folder.get(), plan, files, force())
        : SafeTensors.create(output(), plan, force());
  }

  /**
   * Finds out before any work is done whether the output could be written.
   *
   * @param sources the inputs as they were opened
   * @throws CheckpointException if it is an input or inside of one, exists already without {@code
   *     --force}, or cannot be created
   */
  void requireWritableOutput(List<Checkpoint> sources) throws CheckpointException {
    requireOtherOutput(sources);
    Optional<ModelFolder> folder = folderToFollow(sources.get(0));
    if (folder.isPresent()) {
      ModelFolder.requireWritable(output(), folder.get(), force());
    } else {
      requireWritable(output());
    }
  }

  /**
   * @throws CheckpointException if the output is an input itself, inside of one or around one,
   *     links included
   */
  void requireOtherOutput(List<Checkpoint> sources) throws CheckpointException {
    if (folderToFollow(sources.get(0)).isEmpty()) {
      requireOtherThanInput(output());
      return;
    }
    for (Checkpoint source : sources) {
      if (source instanceof ModelFolder folder) {
        ModelFolder.requireApart(output(), folder);
      } else if (isInside(source.path(), output())) {
        throw new CheckpointException(
            Messages.quote(source.path())
                + " lies inside the output "
                + Messages.quote(output())
                + "; choose another place for the output");
      }
    }
  }

  /**
   * @throws CheckpointException if this is an input itself, or a file of an input folder, links
   *     included
   */
  void requireOtherThanInput(Path file) throws CheckpointException {
    for (Path input : inputs()) {
      AtomicFile.requireDifferentFiles(input, file);
      Path parent = file.toAbsolutePath().getParent();
      if (parent != null && isInside(parent, input)) {
        throw new CheckpointException(
            "the output "
                + Messages.quote(file)
                + " lies inside the input; choose another place for the output");
      }
    }
  }

  private static boolean isInside(Path file, Path folder) throws CheckpointException {
    try {
      return Files.isDirectory(folder)
          && Files.exists(file)
          && file.toRealPath().startsWith(folder.toRealPath());
    } catch (IOException e) {
      throw new CheckpointException(
          "cannot find out where " + Messages.quote(file) + " is: " + Messages.reason(e), e);
    }
  }

  /** As {@link #requireWritableOutput}, for another file that the command writes. */
  void requireWritable(Path file) throws CheckpointException {
    // Creating the temporary file, and deleting it again, asks the system itself.
    AtomicFile.create(file, force()).close();
  }
}
