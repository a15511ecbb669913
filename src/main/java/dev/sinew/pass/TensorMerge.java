package dev.sinew.pass;

/**
 * How one tensor is merged. {@link MergeStream} calls it; observing and applying happen on several
 * threads at once, everything else on one. Tiles come in index order.
 */
interface TensorMerge extends AutoCloseable {
  /** Sweeps over this tensor before it is merged. */
  default int sweeps() {
    return 0;
  }

  /** Whether a sweep needs the data of this model. */
  default boolean wants(int sweep, int model) {
    return true;
  }

  /** Looks at a tile during a sweep. */
  default void observe(int sweep, MergeTile tile) {}

  /** Ends a sweep. */
  default void finishSweep(int sweep) {}

  /** Fills the tile's output. */
  void apply(MergeTile tile);

  /** Ends all waiting inside, because another worker has failed. */
  default void abort() {}

  @Override
  default void close() {}
}
