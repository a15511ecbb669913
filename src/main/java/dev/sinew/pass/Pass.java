package dev.sinew.pass;

import dev.sinew.model.TensorInfo;
import java.util.List;

/**
 * A step that makes a model smaller. Implement it to add one of your own; {@link Prune}, {@link
 * Quantize}, {@link FakeQuantize} and {@link Cluster} are those that come with Sinew.
 *
 * <p>{@link Optimizer} streams tensors through passes tile by tile, so that models need not fit in
 * memory. A pass says how much of a tensor a tile must hold, and may ask for sweeps over the data
 * before it transforms it.
 */
public interface Pass {
  /** How much of a tensor decides about one element. */
  enum Extent {
    /** The element and its neighbours within {@link #alignment} columns. */
    ELEMENT,
    /** Its row. */
    ROW,
    /** The tensor. */
    TENSOR
  }

  /**
   * The options of the command line that give this pass, for example {@code --prune
   * threshold=0.01}.
   */
  String recipe();

  /** What a tile should hold when it fits into memory; larger extents are seen in sweeps. */
  Extent extent();

  /** Tiles that hold part of a row begin at a multiple of this column. */
  long alignment();

  /**
   * How many rows of a tensor decide together: tiles of whole rows hold a multiple of so many if
   * they can.
   */
  default long rowsTogether(TensorInfo tensor) {
    return 1;
  }

  /**
   * About how many bytes of {@link Tile#scratch} the whole tensor would take in one tile; tensors
   * that would take too many are cut into several.
   */
  default long scratchBytes(TensorInfo tensor) {
    return 0;
  }

  /**
   * The tensors that take the place of {@code tensor}, the first under its name.
   *
   * @throws IllegalArgumentException if the pass cannot take this tensor
   */
  default List<TensorInfo> outputs(TensorInfo tensor) {
    return List.of(tensor);
  }

  /** Begins a run over these tensors, which come in this order. */
  PassRun start(List<TensorInfo> tensors);
}
