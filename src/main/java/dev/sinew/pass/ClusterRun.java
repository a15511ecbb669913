package dev.sinew.pass;

import dev.sinew.DType;
import dev.sinew.Ops;
import dev.sinew.Tensor;
import dev.sinew.model.TensorInfo;
import java.io.IOException;

/** Clusters one tensor tile by tile. */
final class ClusterRun implements PassRun.TensorRun {
  private final Cluster pass;
  private final TensorInfo tensor;
  private final long rowsPerGroup;
  // The groups, if no tile holds one as a whole; they are swept one after the other.
  private final KMeans[] swept;
  private final int sweepsPerGroup;

  ClusterRun(Cluster pass, TensorInfo tensor, TileGrid grid) {
    this.pass = pass;
    this.tensor = tensor;
    this.rowsPerGroup = pass.rowsPerGroup(tensor.rows());
    this.sweepsPerGroup = KMeans.sweeps(pass.iterations(), tensor.dtype());
    boolean inTiles = grid.holdsTensor() || grid.holdsRows() && grid.tileRows() % rowsPerGroup == 0;
    int groups = inTiles ? 0 : Math.toIntExact(pass.groups(tensor.rows()));
    this.swept = new KMeans[groups];
    for (int group = 0; group < groups; group++) {
      swept[group] = new KMeans(pass.entries(), pass.iterations(), tensor.dtype());
    }
  }

  @Override
  public int sweeps() {
    return Math.multiplyExact(swept.length, sweepsPerGroup);
  }

  @Override
  public boolean wants(int sweep, TensorInfo of) {
    return !swept[sweep / sweepsPerGroup].isDone();
  }

  @Override
  public long[] rows(int sweep) {
    long first = sweep / sweepsPerGroup * rowsPerGroup;
    return new long[] {first, Math.min(first + rowsPerGroup, tensor.rows())};
  }

  @Override
  public void observe(int sweep, Tile tile) {
    int group = sweep / sweepsPerGroup;
    long[] rows = rows(sweep);
    Tensor data = tile.data();
    long from = Math.max(rows[0] - tile.row(), 0);
    long to = Math.min(rows[1] - tile.row(), data.rows());
    try (Tensor part = data.slice(from, to)) {
      swept[group].observe(part, tile.worker());
    }
  }

  @Override
  public void finishSweep(int sweep) {
    KMeans group = swept[sweep / sweepsPerGroup];
    if (!group.isDone()) {
      group.finishSweep();
    }
  }

  @Override
  public void apply(Tile tile, PassRun.Emitter emitter) throws IOException {
    Tensor x = tile.data();
    long width = pass.packedBytes(x.cols());
    Tensor q = tile.scratch("q", DType.U8, x.rows(), width);
    long end = tile.row() + x.rows();
    for (long row = tile.row(); row < end; ) {
      long group = row / rowsPerGroup;
      long next = Math.min((group + 1) * rowsPerGroup, end);
      Tensor codebook = tile.scratch("codebook", DType.F32, pass.entries());
      try (Tensor part = x.slice(row - tile.row(), next - tile.row());
          Tensor indices = q.slice(row - tile.row(), next - tile.row())) {
        boolean begins = row % rowsPerGroup == 0 && tile.col() == 0;
        if (swept.length == 0) {
          pass.cluster(part, indices, codebook);
        } else {
          float[] entries = swept[(int) group].codebook();
          tile.write(codebook, buffer -> buffer.asFloatBuffer().put(entries));
          Ops.clusterAssign(part, codebook, indices);
        }
        if (begins) {
          QuantizeRun.emit(
              tile, emitter, tensor.name() + "_codebook", 4 * group * pass.entries(), codebook);
        }
      }
      row = next;
    }
    long offset = tile.row() * pass.packedBytes(tensor.cols()) + tile.col() / 8 * pass.bits();
    QuantizeRun.emit(tile, emitter, tensor.name(), offset, q);
    tile.replace(null);
    if (tile.index() == 0) {
      QuantizeRun.emitShape(emitter, tensor);
    }
  }

  @Override
  public void close() {
    for (KMeans group : swept) {
      group.close();
    }
  }
}
