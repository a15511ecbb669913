package dev.sinew.pass;

import dev.sinew.DType;
import dev.sinew.Ops;
import dev.sinew.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;

/**
 * TIES merging. Which elements of the task vectors are trimmed is found in sweeps, several models
 * at a time, unless one tile is the tensor.
 */
final class Ties implements TensorMerge {
  /** Models whose histograms are kept at a time, of half a MiB each for every worker. */
  private static final int TOGETHER = 8;

  private final Merge merge;
  private final float[] weights;
  private final long trimmed;
  private final boolean oneTile;
  private final List<TieLedger> ledgers;
  // Those of the models seen in sweeps so far.
  private final List<SmallestSelection> selections = new ArrayList<>();

  Ties(Merge merge, MergeTensor tensor) {
    this.merge = merge;
    this.weights = merge.coefficients(tensor.models());
    this.trimmed = merge.trimmed(tensor.info().elements());
    this.oneTile = tensor.tiles() <= 1;
    this.ledgers = Stream.generate(TieLedger::new).limit(tensor.models()).toList();
    for (int model = 0; model < tensor.models() && sweeps() > 0; model++) {
      selections.add(new SmallestSelection(trimmed));
    }
  }

  @Override
  public int sweeps() {
    int parts = (weights.length + TOGETHER - 1) / TOGETHER;
    return oneTile || trimmed == 0 ? 0 : SmallestSelection.SWEEPS * parts;
  }

  @Override
  public boolean wants(int sweep, int model) {
    return model / TOGETHER == sweep / SmallestSelection.SWEEPS;
  }

  @Override
  public void observe(int sweep, MergeTile tile) {
    for (int model = 0; model < weights.length; model++) {
      if (wants(sweep, model)) {
        selections
            .get(model)
            .observe(
                sweep % SmallestSelection.SWEEPS,
                difference(tile, model, "difference"),
                tile.worker());
      }
    }
  }

  private static Tensor difference(MergeTile tile, int model, String role) {
    Tensor x = tile.models().get(model);
    Tensor difference = tile.scratch(role, DType.F32, x.elements());
    Ops.difference(x, tile.base(), difference);
    return difference;
  }

  @Override
  public void finishSweep(int sweep) {
    for (int model = 0; model < weights.length; model++) {
      if (wants(sweep, model)) {
        selections.get(model).finish(sweep % SmallestSelection.SWEEPS);
      }
    }
  }

  @Override
  public void apply(MergeTile tile) {
    List<Tensor> differences = new ArrayList<>();
    for (int model = 0; model < weights.length; model++) {
      Tensor difference = difference(tile, model, "difference " + model);
      trim(difference, model, tile.index());
      differences.add(difference);
    }
    Ops.mergeTies(
        tile.base(), differences, weights, (float) merge.lambda(), merge.normalize(), tile.out());
  }

  private void trim(Tensor difference, int model, long tile) {
    if (trimmed == 0) {
      return;
    }
    if (oneTile) {
      SmallestSelection.prune(difference, trimmed, difference);
    } else if (!selections.get(model).selectsOnlyZeros()) {
      selections.get(model).apply(difference, ledgers.get(model), tile);
    }
  }

  @Override
  public void abort() {
    ledgers.forEach(TieLedger::abort);
  }

  @Override
  public void close() {
    selections.forEach(SmallestSelection::close);
  }
}
