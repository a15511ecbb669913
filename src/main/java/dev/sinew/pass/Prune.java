package dev.sinew.pass;

import dev.sinew.Ops;
import dev.sinew.Tensor;
import dev.sinew.model.TensorInfo;
import java.math.BigDecimal;
import java.util.List;

/**
 * Sets the weights of smallest magnitude to zero. Magnitudes are compared in F32.
 *
 * <p>Use the factory methods {@link #threshold}, {@link #sparsity} and {@link #nm}; {@link #apply}
 * prunes one tensor in memory, {@link Optimizer} whole models.
 *
 * @param criterion which of the other components count
 * @param threshold weights of magnitude up to this, inclusive, are pruned (hard shrinkage)
 * @param sparsity share of the weights that is zero afterwards: exactly floor(sparsity x n); zeros
 *     already there count, ties are resolved by tensor name, then by index
 * @param scope whether the share holds over all tensors together or in each
 * @param n weights that stay of every {@code m} consecutive ones of a row
 * @param m group length, at most 4096
 */
public record Prune(
    Criterion criterion, float threshold, double sparsity, Scope scope, int n, int m)
    implements Pass {
  /** What decides about a weight. */
  public enum Criterion {
    THRESHOLD,
    SPARSITY,
    NM
  }

  /** Where a target sparsity holds. */
  public enum Scope {
    GLOBAL,
    TENSOR
  }

  /**
   * @throws IllegalArgumentException if the value that counts is out of range
   */
  public Prune {
    switch (criterion) {
      case THRESHOLD -> {
        if (!(threshold >= 0 && threshold < Float.POSITIVE_INFINITY)) {
          throw new IllegalArgumentException(
              "the pruning threshold " + threshold + " is not a finite number of at least 0");
        }
      }
      case SPARSITY -> {
        if (!(sparsity >= 0 && sparsity <= 1)) {
          throw new IllegalArgumentException(
              "the sparsity " + sparsity + " is not between 0 and 1");
        }
      }
      case NM -> {
        if (n < 1 || n > m || m > 4096) {
          throw new IllegalArgumentException(
              n + ":" + m + " is not N:M sparsity with 1 <= N <= M <= 4096");
        }
      }
    }
  }

  /** Keeps |w| > threshold. */
  public static Prune threshold(float threshold) {
    return new Prune(Criterion.THRESHOLD, threshold, 0, Scope.GLOBAL, 1, 1);
  }

  /** Prunes the smallest floor(sparsity x n) weights. */
  public static Prune sparsity(double sparsity, Scope scope) {
    return new Prune(Criterion.SPARSITY, 0, sparsity, scope, 1, 1);
  }

  /** Keeps the n largest of every m. */
  public static Prune nm(int n, int m) {
    return new Prune(Criterion.NM, 0, 0, Scope.GLOBAL, n, m);
  }

  /**
   * Reads the command line's form: {@code threshold=T}, {@code sparsity=S[,scope=global|tensor]} or
   * {@code nm=N:M}.
   *
   * @throws IllegalArgumentException one sentence that says what is wrong
   */
  public static Prune parse(String text) {
    try {
      if (text.startsWith("threshold=")) {
        return threshold(Float.parseFloat(text.substring("threshold=".length())));
      }
      if (text.startsWith("sparsity=")) {
        String[] parts = text.substring("sparsity=".length()).split(",", -1);
        if (parts.length == 1) {
          return sparsity(Double.parseDouble(parts[0]), Scope.GLOBAL);
        }
        if (parts.length == 2 && parts[1].equals("scope=global")) {
          return sparsity(Double.parseDouble(parts[0]), Scope.GLOBAL);
        }
        if (parts.length == 2 && parts[1].equals("scope=tensor")) {
          return sparsity(Double.parseDouble(parts[0]), Scope.TENSOR);
        }
      }
      if (text.startsWith("nm=")) {
        String[] parts = text.substring("nm=".length()).split(":", -1);
        if (parts.length == 2) {
          return nm(Integer.parseInt(parts[0]), Integer.parseInt(parts[1]));
        }
      }
    } catch (NumberFormatException e) {
      // Falls through to the sentence below.
    }
    throw new IllegalArgumentException(
        "'"
            + text
            + "' is not a way to prune; use threshold=T, sparsity=S[,scope=global|tensor] or"
            + " nm=N:M");
  }

  @Override
  public String recipe() {
    return switch (criterion) {
      case THRESHOLD -> "--prune threshold=" + threshold;
      case SPARSITY ->
          "--prune sparsity=" + sparsity + (scope == Scope.TENSOR ? ",scope=tensor" : "");
      case NM -> "--prune nm=" + n + ":" + m;
    };
  }

  @Override
  public Extent extent() {
    return criterion == Criterion.SPARSITY && scope == Scope.TENSOR
        ? Extent.TENSOR
        : Extent.ELEMENT;
  }

  @Override
  public long alignment() {
    return criterion == Criterion.NM ? m : 1;
  }

  @Override
  public List<TensorInfo> outputs(TensorInfo tensor) {
    Quantize.requireFloating(tensor, "pruned");
    return List.of(tensor);
  }

  /**
   * Prunes a tensor in memory, in place, whatever its name; a global scope is this tensor.
   *
   * @return how many elements are zero afterwards
   * @throws dev.sinew.NotFiniteException if it holds NaN or infinity
   */
  public long apply(Tensor tensor) {
    return prune(tensor, tensor);
  }

  /**
   * Writes to a BOOL tensor of the same shape which elements {@link #apply} would keep (1) and
   * prune (0).
   *
   * @return how many elements would be zero
   */
  public long mask(Tensor tensor, Tensor mask) {
    return prune(tensor, mask);
  }

  private long prune(Tensor tensor, Tensor out) {
    switch (criterion) {
      case THRESHOLD:
        return Ops.pruneThreshold(tensor, threshold, out);
      case NM:
        return Ops.pruneNM(tensor, n, m, out);
      default:
        return SmallestSelection.prune(tensor, smallest(tensor.elements()), out);
    }
  }

  private long smallest(long elements) {
    return SmallestSelection.share(BigDecimal.valueOf(sparsity), elements);
  }

  @Override
  public PassRun start(List<TensorInfo> tensors) {
    if (criterion != Criterion.SPARSITY) {
      return (tensor, grid) -> (tile, emitter) -> tile.countZeros(apply(tile.data()));
    }
    if (scope == Scope.TENSOR) {
      return (tensor, grid) -> new TensorSelection(tensor, grid);
    }
    return new GlobalSelection(tensors.stream().mapToLong(TensorInfo::elements).sum());
  }

  private final class GlobalSelection implements PassRun {
    private final TieLedger ledger = new TieLedger();
    private final SmallestSelection selection;

    GlobalSelection(long elements) {
      selection = new SmallestSelection(smallest(elements));
    }

    @Override
    public int modelSweeps() {
      return 2;
    }

    @Override
    public boolean wants(int sweep, TensorInfo tensor) {
      return sweep == 0 || RadixSelector.needsSecondLevel(tensor.dtype());
    }

    @Override
    public void observe(int sweep, Tile tile) {
      selection.observe(sweep, tile.data(), tile.worker());
    }

    @Override
    public void finishModelSweep(int sweep) {
      selection.finish(sweep);
    }

    @Override
    public TensorRun begin(TensorInfo tensor, TileGrid grid) {
      return (tile, emitter) ->
          tile.countZeros(selection.apply(tile.data(), ledger, tile.sequence()));
    }

    @Override
    public void abort() {
      ledger.abort();
    }

    @Override
    public void close() {
      selection.close();
    }
  }

  private final class TensorSelection implements PassRun.TensorRun {
    private final TieLedger ledger = new TieLedger();
    // Null if the tensor is one tile: a selection holds a histogram, too much for each of many.
    private final SmallestSelection selection;

    TensorSelection(TensorInfo tensor, TileGrid grid) {
      selection = grid.holdsTensor() ? null : new SmallestSelection(smallest(tensor.elements()));
    }

    @Override
    public int sweeps() {
      return selection == null ? 0 : 2;
    }

    @Override
    public boolean wants(int sweep, TensorInfo tensor) {
      return sweep == 0 || RadixSelector.needsSecondLevel(tensor.dtype());
    }

    @Override
    public void observe(int sweep, Tile tile) {
      selection.observe(sweep, tile.data(), tile.worker());
    }

    @Override
    public void finishSweep(int sweep) {
      selection.finish(sweep);
    }

    @Override
    public void apply(Tile tile, PassRun.Emitter emitter) {
      if (selection == null) {
        tile.countZeros(Prune.this.apply(tile.data()));
      } else {
        tile.countZeros(selection.apply(tile.data(), ledger, tile.index()));
      }
    }

    @Override
    public void abort() {
      ledger.abort();
    }

    @Override
    public void close() {
      if (selection != null) {
        selection.close();
      }
    }
  }
}
