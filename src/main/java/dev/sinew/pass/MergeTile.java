package dev.sinew.pass;

import dev.sinew.DType;
import dev.sinew.Tensor;
import java.util.List;

/**
 * The same part of a tensor in all models, in the hands of one worker thread.
 *
 * @param index the number of this tile within the tensor, in index order
 * @param first the number of its first element
 * @param models the elements of each model, of one dtype; null where a sweep does not want them
 * @param base those of the base, of the same dtype; null if there is none
 * @param out what is written, in the output's dtype; null during sweeps
 */
record MergeTile(
    Workspace workspace, long index, long first, List<Tensor> models, Tensor base, Tensor out) {
  int worker() {
    return workspace.worker();
  }

  /** See {@link Tile#scratch}. */
  Tensor scratch(String role, DType dtype, long... shape) {
    return workspace.tensor(role, dtype, shape);
  }
}
