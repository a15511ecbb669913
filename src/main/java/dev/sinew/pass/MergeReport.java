package dev.sinew.pass;

import dev.sinew.DType;
import java.util.List;

/**
 * What {@link Merger#merge} did, or would do.
 *
 * @param recipe the merge in the form of command line options
 * @param tensors one entry a tensor name, in the order of the first model and then of the others
 * @param unmatched see {@link Merger.Options#unmatched}
 * @param inputBytes size of the tensors of all models and of the base
 * @param outputBytes size of the output tensors
 * @param bytesRead what was read in all sweeps; 0 for a dry run
 * @param seconds time taken
 */
public record MergeReport(
    String recipe,
    List<Entry> tensors,
    List<String> unmatched,
    long inputBytes,
    long outputBytes,
    long bytesRead,
    double seconds) {
  public MergeReport {
    tensors = List.copyOf(tensors);
    unmatched = List.copyOf(unmatched);
  }

  /** What became of a tensor. */
  public enum Action {
    MERGED,
    COPIED,
    SKIPPED
  }

  /**
   * One tensor.
   *
   * @param dtype in the output
   * @param reason why it was not merged; null if it was
   * @param source the number of the checkpoint that it was copied from, models first, from 0; -1 if
   *     it was not copied
   */
  public record Entry(
      String name, DType dtype, List<Long> shape, Action action, String reason, int source) {}
}
