package dev.sinew.pass;

import dev.sinew.DType;
import java.util.List;

/**
 * What {@link Optimizer#optimize} did, or would do.
 *
 * @param recipe the passes in the form of command line options
 * @param storage how touched tensors were to be stored
 * @param tensors one entry a tensor of the input, in its order
 * @param unmatched see {@link Targets#unmatched}
 * @param inputBytes size of the input tensors
 * @param outputBytes size of the output tensors
 * @param bytesRead what was read in all sweeps; 0 for a dry run
 * @param seconds time taken
 */
public record Report(
    String recipe,
    Storage storage,
    List<Entry> tensors,
    List<String> unmatched,
    long inputBytes,
    long outputBytes,
    long bytesRead,
    double seconds) {
  public Report {
    tensors = List.copyOf(tensors);
    unmatched = List.copyOf(unmatched);
  }

  /**
   * What became of one tensor.
   *
   * @param touched whether passes transformed it
   * @param reason why not; null if it was touched
   * @param zeros elements that are zero after pruning; -1 where not counted (untouched, not pruned,
   *     or a dry run)
   * @param outputDtype the type under the tensor's name in the output
   * @param storage how it is stored; dense where a bitmap would take as much, and in a dry run,
   *     which does not count values
   * @param outputBytes with what was stored beside it (scales, zero points, bitmap, shape)
   */
  public record Entry(
      String name,
      DType dtype,
      List<Long> shape,
      boolean touched,
      String reason,
      long elements,
      long zeros,
      DType outputDtype,
      Storage storage,
      long inputBytes,
      long outputBytes) {}
}
