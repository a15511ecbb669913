package dev.sinew.pass;

import dev.sinew.DType;
import dev.sinew.Ops;
import dev.sinew.Tensor;
import dev.sinew.model.ClusteredTensor;
import dev.sinew.model.TensorInfo;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Weight sharing: replaces weights by indices into a codebook of 2^bits values, found by k-means
 * for each tensor or for each group of rows (Han, Mao, Dally, Deep Compression, 2016). One entry is
 * exactly 0, so that pruned weights stay pruned.
 *
 * <p>A tensor {@code T} becomes U8 {@code T} [rows, ceil(cols x bits / 8)], indices in bits from
 * the lowest on, with F32 {@code T_codebook} [groups, 2^bits], ascending, and I64 {@code T_shape}.
 * An element belongs to the nearest entry, of equally near ones to the first.
 *
 * @param bits of an index, 2 to 8
 * @param rows how many rows share a codebook at most, or 0 for all; groups are as even as possible:
 *     with g = ceil(R / rows) groups of R rows each has ceil(R / g), and the last one the rest
 * @param iterations of Lloyd's algorithm at most, 0 to 1000; it ends before when nothing moves
 */
public record Cluster(int bits, long rows, int iterations) implements Pass {
  /** Iterations unless said otherwise: more gain less than a percent on the weights of models. */
  public static final int DEFAULT_ITERATIONS = 10;

  private static final int MOST_ITERATIONS = 1000;

  /**
   * @throws IllegalArgumentException if a number is out of its range
   */
  public Cluster {
    if (bits < 2 || bits > 8) {
      throw new IllegalArgumentException("indices have 2 to 8 bits, not " + bits);
    }
    if (rows < 0) {
      throw new IllegalArgumentException("the number of rows " + rows + " is negative");
    }
    if (iterations < 0 || iterations > MOST_ITERATIONS) {
      throw new IllegalArgumentException(
          iterations + " iterations are not between 0 and " + MOST_ITERATIONS);
    }
  }

  /** One codebook for each tensor. */
  public static Cluster perTensor(int bits) {
    return new Cluster(bits, 0, DEFAULT_ITERATIONS);
  }

  /**
   * From the command line's words: {@code bits=B[,rows=G][,iterations=N]}, in any order.
   *
   * @throws IllegalArgumentException one sentence that says what is wrong
   */
  public static Cluster parse(String text) {
    Map<String, Long> numbers = new LinkedHashMap<>();
    try {
      for (String part : text.split(",", -1)) {
        String[] words = part.split("=", -1);
        boolean known =
            words.length == 2 && List.of("bits", "rows", "iterations").contains(words[0]);
        if (!known || numbers.put(words[0], (long) Integer.parseInt(words[1])) != null) {
          throw new NumberFormatException();
        }
      }
    } catch (NumberFormatException e) {
      throw notClustering(text);
    }
    if (!numbers.containsKey("bits")) {
      throw notClustering(text);
    }
    if (numbers.getOrDefault("rows", 1L) == 0) {
      throw new IllegalArgumentException("a group has at least 1 row, not 0");
    }
    return new Cluster(
        numbers.get("bits").intValue(),
        numbers.getOrDefault("rows", 0L),
        numbers.getOrDefault("iterations", (long) DEFAULT_ITERATIONS).intValue());
  }

  private static IllegalArgumentException notClustering(String text) {
    return new IllegalArgumentException(
        "'" + text + "' is not a way to cluster; use bits=B[,rows=G][,iterations=N]");
  }

  @Override
  public String recipe() {
    return "--cluster bits="
        + bits
        + (rows > 0 ? ",rows=" + rows : "")
        + (iterations != DEFAULT_ITERATIONS ? ",iterations=" + iterations : "");
  }

  @Override
  public Extent extent() {
    return rows == 0 ? Extent.TENSOR : Extent.ROW;
  }

  @Override
  public long alignment() {
    return 8; // indices that begin with a byte
  }

  @Override
  public long rowsTogether(TensorInfo tensor) {
    return rows == 0 ? 1 : rowsPerGroup(tensor.rows());
  }

  @Override
  public long scratchBytes(TensorInfo tensor) {
    return packedBytes(tensor.cols()) * tensor.rows();
  }

  /** Entries of a codebook. */
  int entries() {
    return 1 << bits;
  }

  /** The number of codebooks of a tensor with so many rows. */
  long groups(long allRows) {
    return rows == 0 || allRows == 0 ? 1 : (allRows - 1) / rows + 1;
  }

  long rowsPerGroup(long allRows) {
    return ClusteredTensor.rowsPerGroup(allRows, groups(allRows));
  }

  long packedBytes(long cols) {
    return ClusteredTensor.packedBytes(cols, bits);
  }

  @Override
  public List<TensorInfo> outputs(TensorInfo tensor) {
    Quantize.requireFloating(tensor, "clustered");
    String name = tensor.name();
    List<Long> packed = new ArrayList<>(List.of(packedBytes(tensor.cols())));
    if (tensor.shape().size() > 1) {
      packed.add(0, tensor.rows());
    }
    return List.of(
        new TensorInfo(name, DType.U8, packed),
        TensorInfo.of(name + "_codebook", DType.F32, groups(tensor.rows()), entries()),
        TensorInfo.of(name + "_shape", DType.I64, tensor.shape().size()));
  }

  @Override
  public PassRun start(List<TensorInfo> tensors) {
    return (tensor, grid) -> new ClusterRun(this, tensor, grid);
  }

  /**
   * Clusters a tensor in memory into tensors of the caller's.
   *
   * @param x F64, F32, F16 or BF16, seen as [rows, cols]
   * @param q U8 with rows x ceil(cols x bits / 8) elements
   * @param codebook F32 with 2^bits elements a group
   * @throws dev.sinew.NotFiniteException if x holds NaN or infinity
   * @throws IllegalArgumentException if the outputs do not fit x
   */
  public void apply(Tensor x, Tensor q, Tensor codebook) {
    long groups = groups(x.rows());
    long width = packedBytes(x.cols());
    if (codebook.elements() != groups * entries() || q.elements() != x.rows() * width) {
      throw new IllegalArgumentException(
          codebook.elements()
              + " codebook entries and "
              + q.elements()
              + " bytes of indices do not fit; '"
              + recipe()
              + "' needs "
              + groups * entries()
              + " and "
              + x.rows() * width);
    }
    long step = rowsPerGroup(x.rows());
    for (long group = 0; group < groups; group++) {
      long first = group * step;
      long count = Math.min(step, x.rows() - first);
      try (Tensor part = x.view(first * x.cols(), count, x.cols());
          Tensor indices = q.view(first * width, count, width);
          Tensor entries = codebook.view(group * entries(), entries())) {
        cluster(part, indices, entries);
      }
    }
  }

  /** Clusters one group. */
  void cluster(Tensor x, Tensor q, Tensor codebook) {
    try (KMeans kMeans = new KMeans(entries(), iterations, x.dtype())) {
      kMeans.find(x);
      kMeans.putCodebook(codebook);
      Ops.clusterAssign(x, codebook, q);
    }
  }
}
