package dev.sinew.pass;

import dev.sinew.model.TensorInfo;

/**
 * A tensor that is merged, and how it is cut into tiles: runs of elements that begin at multiples
 * of {@link #BLOCK}, so that sums over blocks and random numbers do not depend on tiles.
 *
 * @param info the tensor as the output holds it
 * @param models how many models there are
 * @param step elements of a tile but the last, a multiple of {@link #BLOCK}
 */
record MergeTensor(TensorInfo info, int models, long step) {
  /** Elements that one partial sum covers. */
  static final long BLOCK = 4096;

  /**
   * Cuts a tensor so that all buffers of a tile together take about {@code budget} bytes.
   *
   * @param buffers how many tensors of its size a worker holds
   */
  static MergeTensor of(TensorInfo info, int models, int buffers, long budget) {
    // Some are F32 whatever the tensor's type.
    long size = Math.max(4, info.dtype().bytes(1));
    return new MergeTensor(info, models, Math.max(1, budget / (buffers * size) / BLOCK) * BLOCK);
  }

  long tiles() {
    long elements = info.elements();
    return elements / step + (elements % step == 0 ? 0 : 1);
  }

  long first(long tile) {
    return tile * step;
  }

  long length(long tile) {
    return Math.min(step, info.elements() - first(tile));
  }
}
