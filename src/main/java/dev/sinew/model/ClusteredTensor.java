package dev.sinew.model;

import static dev.sinew.model.PackedShape.damaged;

import dev.sinew.DType;
import java.io.IOException;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * A tensor that a checkpoint stores as indices into codebooks, in the layout that {@code
 * dev.sinew.pass.Cluster} writes. The entries of a codebook are data: they may be in any order, NaN
 * or infinite.
 *
 * @param stored the indices: U8, rows of packed bits, each row in whole bytes
 * @param logical name and shape of the real tensor, as F32
 * @param codebook F32 [groups, 2^bits]: one codebook for every {@link #rowsPerGroup() group of
 *     rows}
 */
public record ClusteredTensor(TensorInfo stored, TensorInfo logical, TensorInfo codebook) {
  private static final String CODEBOOK = "_codebook";
  private static final int LEAST_BITS = 2;
  private static final int MOST_BITS = 8;

  /** Bits of an index, 2 to 8. */
  public int bits() {
    return Long.numberOfTrailingZeros(codebook.shape().get(1));
  }

  /** How many rows share a codebook; the last group may have fewer. */
  public long rowsPerGroup() {
    return rowsPerGroup(logical.rows(), codebook.shape().get(0));
  }

  /** The bytes of a row of indices. */
  public long rowBytes() {
    return packedBytes(logical.cols(), bits());
  }

  /** How many of {@code rows} rows share a codebook if there are {@code groups}. */
  public static long rowsPerGroup(long rows, long groups) {
    return rows == 0 ? 1 : (rows - 1) / groups + 1;
  }

  /** The bytes of {@code cols} indices of so many bits. */
  public static long packedBytes(long cols, int bits) {
    return PackedShape.packedBytes(cols, bits);
  }

  /**
   * Finds the clustered tensors of a checkpoint, by their names.
   *
   * @throws IOException if tensors stand side by side as if clustered but do not fit together
   */
  public static Map<String, ClusteredTensor> find(Checkpoint checkpoint) throws IOException {
    Map<String, ClusteredTensor> found = new LinkedHashMap<>();
    Map<String, TensorInfo> tensors = checkpoint.tensors();
    for (TensorInfo stored : tensors.values()) {
      TensorInfo codebook = tensors.get(stored.name() + CODEBOOK);
      TensorInfo shape = tensors.get(stored.name() + "_shape");
      if (stored.dtype() == DType.U8
          && codebook != null
          && codebook.dtype() == DType.F32
          && shape != null
          && shape.dtype() == DType.I64) {
        found.put(stored.name(), describe(checkpoint, stored, codebook, shape));
      }
    }
    return found;
  }

  /** Whether a tensor of this name has a codebook beside it. */
  static boolean hasCodebook(Map<String, TensorInfo> tensors, String name) {
    return tensors.containsKey(name + CODEBOOK);
  }

  private static ClusteredTensor describe(
      Checkpoint checkpoint, TensorInfo stored, TensorInfo codebook, TensorInfo shape)
      throws IOException {
    if (checkpoint.tensors().containsKey(stored.name() + "_scale")) {
      throw damaged(checkpoint, stored, "it has scales and a codebook");
    }
    long entries = codebook.shape().size() == 2 ? codebook.shape().get(1) : 0;
    if (Long.bitCount(entries) != 1 || entries < 1 << LEAST_BITS || entries > 1 << MOST_BITS) {
      throw damaged(
          checkpoint,
          stored,
          "its codebook of shape "
              + codebook.shape()
              + " is not [groups, entries] with 4, 8, ... or 256 entries");
    }
    int bits = Long.numberOfTrailingZeros(entries);
    TensorInfo logical = PackedShape.read(checkpoint, stored, shape, bits);
    long groups = codebook.shape().get(0);
    long rows = logical.rows();
    // As many groups as rows give that are as even as possible.
    boolean fits =
        rows == 0
            ? groups <= 1
            : groups >= 1
                && groups <= rows
                && (rows - 1) / rowsPerGroup(rows, groups) + 1 == groups;
    if (!fits) {
      throw damaged(
          checkpoint, stored, groups + " codebooks do not fit a tensor of " + rows + " rows");
    }
    return new ClusteredTensor(stored, logical, codebook);
  }
}
