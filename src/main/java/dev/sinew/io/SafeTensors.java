package dev.sinew.io;

import dev.sinew.model.Checkpoint;
import dev.sinew.model.CheckpointException;
import dev.sinew.model.CheckpointPlan;
import dev.sinew.model.CheckpointWriter;
import dev.sinew.model.TensorInfo;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;

/**
 * The safetensors format: a little-endian 64-bit length, a JSON header of that many bytes, and the
 * tensors, little-endian and row-major, one after the other.
 *
 * <p>Specification: the README and {@code safetensors/src/tensor.rs} of <a
 * href="https://github.com/huggingface/safetensors">huggingface/safetensors</a>.
 */
public final class SafeTensors {
  private SafeTensors() {}

  /**
   * Opens a file of any size and checks its header completely: UTF-8, JSON, no key twice, known
   * dtypes, sizes that agree with the shapes, and data that tiles the rest of the file without hole
   * or overlap. Data is read on demand; memory is in proportion to the header, of at most 100 MB.
   *
   * <p>The tensors of the result are in the order of their data. Interrupting a thread that reads
   * closes the checkpoint.
   *
   * @throws CheckpointException one sentence that names the file, and the tensor where there is one
   */
  public static Checkpoint open(Path path) throws CheckpointException {
    InputFile file = InputFile.open(path);
    return open(file, HeapBudget.of(path, file.size()));
  }

  /** As {@link #open(Path)}; closing the checkpoint closes the file, and so does a failure. */
  static Checkpoint open(InputFile file, HeapBudget budget) throws CheckpointException {
    try {
      return new SafeTensorsReader(file, SafeTensorsParser.parse(file, budget));
    } catch (CheckpointException | RuntimeException | Error e) {
      file.close();
      throw e;
    }
  }

  /**
   * Starts a new file. Its header is written at once; the data may come in any order and from many
   * threads, and {@link CheckpointWriter#commit} refuses while bytes of a tensor are missing.
   *
   * <p>Tensors are laid out by descending element size, and in the given order among equals, so
   * that each is aligned to its element size; the metadata is sorted by key. The file therefore
   * depends on nothing but the arguments and the data. How the target is replaced: {@link
   * AtomicFile}.
   *
   * @param overwrite whether an existing target may be replaced at the commit
   * @throws IllegalArgumentException if two tensors have the same name
   * @throws CheckpointException if the target exists and may not be replaced, cannot be created, or
   *     a tensor cannot be stored: the name {@code __metadata__}, names that are not valid Unicode,
   *     more than 1024 dimensions, or a header beyond 100 MB
   */
  public static CheckpointWriter create(
      Path target, List<TensorInfo> tensors, Map<String, String> metadata, boolean overwrite)
      throws CheckpointException {
    SafeTensorsLayout layout = SafeTensorsLayout.of(target, tensors, metadata);
    AtomicFile file = AtomicFile.create(target, overwrite);
    try {
      return new SafeTensorsWriter(file, layout);
    } catch (CheckpointException | RuntimeException | Error e) {
      file.close();
      throw e;
    }
  }

  /** As {@link #create(Path, List, Map, boolean)}, for everything that is planned. */
  public static CheckpointWriter create(Path target, CheckpointPlan plan, boolean overwrite)
      throws CheckpointException {
    return create(target, plan.tensors(), plan.metadata(), overwrite);
  }
}
