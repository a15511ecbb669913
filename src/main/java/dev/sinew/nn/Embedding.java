package dev.sinew.nn;

import dev.sinew.DType;
import dev.sinew.Tensor;
import java.util.Arrays;

/**
 * Rows of a table by their numbers: I64 [...] becomes [..., width], in F32. State dict: {@code
 * weight} [count, width]. A table that is stored as integers or indices stays so in memory, and
 * only the rows that are asked for are decoded.
 */
public final class Embedding extends Layer {
  private final int count;
  private final int width;
  private final EmbeddingTable table;

  public Embedding(int count, int width) {
    this.count = count;
    this.width = width;
    this.table = add("weight", new EmbeddingTable(count, width));
  }

  /**
   * @throws IllegalArgumentException if a number is not within the table, or ids is not I64
   */
  @Override
  public Tensor forward(Tensor ids, Arena arena) {
    if (ids.dtype() != DType.I64) {
      throw new IllegalArgumentException(
          this + " takes I64, not " + ids.dtype() + " " + Arrays.toString(ids.shape()));
    }
    long[] shape = Arrays.copyOf(ids.shape(), ids.rank() + 1);
    shape[ids.rank()] = width;
    Tensor y = arena.allocate(DType.F32, shape);
    table.rows(ids, y, arena);
    return y;
  }

  @Override
  public String toString() {
    return "Embedding(" + count + ", " + width + ")";
  }
}
