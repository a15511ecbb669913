package dev.sinew.pass;

import dev.sinew.model.TensorInfo;
import java.io.IOException;
import java.nio.ByteBuffer;

/**
 * One run of a {@link Pass} over a model. {@link Optimizer} calls it; observing and applying happen
 * on several threads at once, everything else on one.
 */
public interface PassRun extends AutoCloseable {
  /** Sweeps over all tensors before any is transformed; only the first pass may ask for them. */
  default int modelSweeps() {
    return 0;
  }

  /** Whether a sweep over the model needs this tensor. */
  default boolean wants(int sweep, TensorInfo tensor) {
    return true;
  }

  /** Looks at a tile during a sweep over the model. */
  default void observe(int sweep, Tile tile) {}

  /** Ends a sweep over the model. */
  default void finishModelSweep(int sweep) {}

  /** Ends all waiting inside this run, because another worker has failed. */
  default void abort() {}

  /** Begins a tensor. */
  TensorRun begin(TensorInfo tensor, TileGrid grid);

  @Override
  default void close() {}

  /** The run of a pass over one tensor. */
  interface TensorRun extends AutoCloseable {
    /** Sweeps over this tensor before it is transformed. */
    default int sweeps() {
      return 0;
    }

    /** Whether a sweep needs the data at all. */
    default boolean wants(int sweep, TensorInfo tensor) {
      return true;
    }

    /** The rows that a sweep needs, from (inclusive) and to (exclusive). */
    default long[] rows(int sweep) {
      return new long[] {0, Long.MAX_VALUE};
    }

    /** Looks at a tile during a sweep, as earlier passes have left it. */
    default void observe(int sweep, Tile tile) {}

    /** Ends a sweep. */
    default void finishSweep(int sweep) {}

    /**
     * Transforms a tile: changes its data in place or replaces it, and emits further outputs. A
     * pass that also emits what stands under the tensor's own name replaces the data with null;
     * such a tensor cannot be stored with a bitmap.
     */
    void apply(Tile tile, Emitter emitter) throws IOException;

    /** Ends all waiting inside this run, because another worker has failed. */
    default void abort() {}

    @Override
    default void close() {}
  }

  /** Takes outputs besides the tile's own data. */
  interface Emitter {
    /** Writes to the output tensor of this name, which {@link Pass#outputs} has announced. */
    void emit(String tensor, long byteOffset, ByteBuffer data) throws IOException;
  }
}
