package dev.sinew.pass;

import dev.sinew.internal.Messages;
import dev.sinew.model.TensorInfo;
import java.util.List;

/**
 * How a tensor, seen as the matrix [rows, cols], is cut into tiles: blocks of whole rows, or parts
 * of single rows.
 *
 * @param tileRows rows of a full tile; 1 when rows are cut
 * @param tileCols columns of a full tile; {@code cols} unless rows are cut
 */
record TileGrid(long rows, long cols, long tileRows, long tileCols) {
  /**
   * Sizes of tiles in bytes.
   *
   * @param usual what fits the processor's second-level cache between reading and writing
   * @param largest what a tile may grow to in order to hold a whole slice
   */
  record Sizes(long usual, long largest) {
    /** The sizes for a number of workers, so that all tiles together stay within bounds. */
    static Sizes forWorkers(int workers) {
      return new Sizes(1 << 20, Math.max(8 << 20, Math.min(16 << 20, (192 << 20) / workers)));
    }
  }

  /**
   * A grid for a tensor that these passes transform.
   *
   * @throws IllegalArgumentException if its rows have to be cut where no tile begins
   */
  static TileGrid of(TensorInfo tensor, List<Pass> passes, Sizes sizes) {
    return of(tensor, passes, 1, sizes);
  }

  /** As above; tiles that hold part of a row begin at a multiple of {@code columns}, too. */
  static TileGrid of(TensorInfo tensor, List<Pass> passes, long columns, Sizes sizes) {
    long rows = tensor.rows();
    long cols = tensor.cols();
    long size = tensor.dtype().bytes(1);
    long alignment = columns;
    long scratch = 0;
    long together = 1;
    Pass.Extent extent = Pass.Extent.ELEMENT;
    for (Pass pass : passes) {
      alignment = leastCommonMultiple(alignment, pass.alignment());
      scratch += pass.scratchBytes(tensor);
      together = leastCommonMultiple(together, pass.rowsTogether(tensor));
      extent = pass.extent().compareTo(extent) > 0 ? pass.extent() : extent;
    }
    if (extent == Pass.Extent.TENSOR && tensor.bytes() <= sizes.largest - scratch) {
      return new TileGrid(rows, cols, rows, cols);
    }
    boolean rowsMatter = extent != Pass.Extent.ELEMENT;
    if (cols * size <= (rowsMatter ? sizes.largest : sizes.usual)) {
      long tileRows = Math.max(1, sizes.usual / (cols * size));
      if (together <= sizes.largest / (cols * size)) {
        tileRows = Math.max(1, tileRows / together) * together;
      }
      return new TileGrid(rows, cols, tileRows, cols);
    }
    if (alignment * size > sizes.largest) {
      if (cols * size <= sizes.largest) {
        return new TileGrid(rows, cols, 1, cols);
      }
      throw new IllegalArgumentException(
          "tensor "
              + Messages.quote(tensor.name())
              + " has rows of "
              + cols
              + " elements, too long to hold, and groups of N:M sparsity and of quantization only"
              + " begin together every "
              + alignment
              + " elements; choose powers of two for both");
    }
    return new TileGrid(rows, cols, 1, Math.max(1, sizes.usual / size / alignment) * alignment);
  }

  static long leastCommonMultiple(long a, long b) {
    return Math.multiplyExact(a / greatestCommonDivisor(a, b), b);
  }

  static long greatestCommonDivisor(long a, long b) {
    return b == 0 ? a : greatestCommonDivisor(b, a % b);
  }

  long tilesPerRow() {
    return (cols + tileCols - 1) / tileCols;
  }

  long count() {
    return (rows + tileRows - 1) / tileRows * tilesPerRow();
  }

  /** Whether every row lies within one tile. */
  boolean holdsRows() {
    return tileCols == cols;
  }

  /** Whether one tile is the tensor. */
  boolean holdsTensor() {
    return holdsRows() && tileRows >= rows;
  }

  long firstRow(long tile) {
    return tile / tilesPerRow() * tileRows;
  }

  long rowCount(long tile) {
    return Math.min(tileRows, rows - firstRow(tile));
  }

  long firstCol(long tile) {
    return tile % tilesPerRow() * tileCols;
  }

  long colCount(long tile) {
    return Math.min(tileCols, cols - firstCol(tile));
  }
}
