package dev.sinew.pass;

import dev.sinew.DType;
import dev.sinew.Device;
import dev.sinew.NotFiniteException;
import dev.sinew.Tensor;
import dev.sinew.internal.Messages;
import dev.sinew.model.Checkpoint;
import dev.sinew.model.CheckpointException;
import dev.sinew.model.CheckpointWriter;
import dev.sinew.model.TensorInfo;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicLong;

/**
 * Moves tiles from a checkpoint through passes to a writer, on worker threads that each read,
 * compute and write on their own.
 *
 * <p>Tensors are taken in the order given and their tiles in index order. Those that passes have to
 * see as a whole first are swept alone; the others flow together.
 */
final class TileStream implements AutoCloseable {
  private static final int MOST_WORKERS = 16;

  /**
   * On a GPU, where workers mostly wait: while one computes, one reads and copies its tile in, and
   * one copies it out and writes.
   */
  private static final int FEWEST_WORKERS_OF_A_GPU = 3;

  /** Tensors whose runs exist at a time, at most: models of half a million tensors exist. */
  private static final int MOST_TOGETHER = 4096;

  private final Checkpoint input;
  private final TileSink sink;
  private final List<Pass> passes;
  private final List<TensorInfo> tensors;
  private final ReadMeter meter;
  // A thread of its own for each worker, or a GPU that all of them share.
  private final Device device;
  private final WorkerTeam team;
  private final TileGrid.Sizes sizes;
  private final List<PassRun> runs = new ArrayList<>();
  private final List<Stage> stages = new ArrayList<>();

  /** A tensor with its grid, and the runs of all passes over it while they are needed. */
  private static final class Stage {
    private final TensorInfo tensor;
    private final TileGrid grid;

    /** The number of the first tile in the model. */
    private final long firstTile;

    /** Those counted so far; -1 if no tile has counted any. */
    private final AtomicLong zeros = new AtomicLong(-1);

    private List<PassRun.TensorRun> runs = List.of();

    Stage(TensorInfo tensor, TileGrid grid, long firstTile) {
      this.tensor = tensor;
      this.grid = grid;
      this.firstTile = firstTile;
    }

    void addZeros(long count) {
      zeros.accumulateAndGet(count, (before, more) -> Math.max(before, 0) + more);
    }

    // Runs may hold memory, which nothing needs once the tensor is written.
    void closeRuns() {
      runs.forEach(PassRun.TensorRun::close);
      runs = List.of();
    }
  }

  /** Tiles of several stages, in order. */
  private static final class Places {
    private final List<Stage> stages = new ArrayList<>();
    private final PartSequence sequence = new PartSequence();
    private long bytes;

    static Places of(Collection<Stage> stages) {
      Places places = new Places();
      stages.forEach(stage -> places.add(stage, 0, stage.grid.count()));
      return places;
    }

    /** The tiles of one stage that hold some of the rows. */
    static Places ofRows(Stage stage, long fromRow, long toRow) {
      TileGrid grid = stage.grid;
      long first = 0;
      while (first < grid.count() && grid.firstRow(first) + grid.rowCount(first) <= fromRow) {
        first++;
      }
      long end = first;
      while (end < grid.count() && grid.firstRow(end) < toRow) {
        end++;
      }
      Places places = new Places();
      places.add(stage, first, end);
      return places;
    }

    private void add(Stage stage, long firstTile, long endTile) {
      stages.add(stage);
      sequence.add(firstTile, endTile);
      for (long i = firstTile; i < endTile; i++) {
        bytes += stage.tensor.dtype().bytes(stage.grid.rowCount(i) * stage.grid.colCount(i));
      }
    }
  }

  private interface TileUse {
    void accept(Stage stage, Tile tile) throws IOException;
  }

  TileStream(
      Checkpoint input,
      TileSink sink,
      List<Pass> passes,
      List<TensorInfo> tensors,
      int threads,
      Device on,
      ReadMeter meter,
      TileGrid.Sizes sizes) {
    this.device = on.isGpu() ? on : Device.cpu(1);
    this.input = input;
    this.sink = sink;
    this.passes = passes;
    this.tensors = tensors;
    this.meter = meter;
    this.sizes = sizes;
    this.team = new WorkerTeam(workers(threads, device), device);
  }

  static int workers(int threads, Device device) {
    int fewest = device.isGpu() ? FEWEST_WORKERS_OF_A_GPU : 1;
    return Math.min(Math.max(threads, fewest), MOST_WORKERS);
  }

  Map<String, Long> zeros() {
    Map<String, Long> counts = new HashMap<>();
    for (Stage stage : stages) {
      if (stage.zeros.get() >= 0) {
        counts.put(stage.tensor.name(), stage.zeros.get());
      }
    }
    return counts;
  }

  /** Copies tensors as they are. */
  void copy(List<TensorInfo> unchanged, CheckpointWriter writer) throws IOException {
    PartSequence parts = new PartSequence();
    for (TensorInfo tensor : unchanged) {
      long step = sizesFor(tensor).usual();
      parts.add(0, tensor.bytes() / step + (tensor.bytes() % step == 0 ? 0 : 1));
    }
    team.run(
        parts.count(),
        (workspace, i) -> {
          int owner = parts.owner(i);
          TensorInfo tensor = unchanged.get(owner);
          long step = sizesFor(tensor).usual();
          long offset = parts.part(owner, i) * step;
          long size = Math.min(step, tensor.bytes() - offset);
          Tensor bytes = workspace.host("copy", DType.U8, size);
          bytes.withBuffer(0, (int) size, buffer -> input.read(tensor.name(), offset, buffer));
          meter.advance((int) size);
          bytes.withBuffer(0, (int) size, buffer -> writer.write(tensor.name(), offset, buffer));
        },
        () -> {});
  }

  /** Runs all passes over all tensors. */
  void transform() throws IOException {
    for (Pass pass : passes) {
      runs.add(pass.start(tensors));
    }
    long tile = 0;
    for (TensorInfo tensor : tensors) {
      TileGrid grid = TileGrid.of(tensor, passes, sink.columns(), sizesFor(tensor));
      stages.add(new Stage(tensor, grid, tile));
      tile += grid.count();
    }
    sweepModel();
    List<Stage> together = new ArrayList<>();
    for (Stage stage : stages) {
      stage.runs = new ArrayList<>(runs.size());
      for (PassRun run : runs) {
        stage.runs.add(run.begin(stage.tensor, stage.grid));
      }
      if (stage.runs.stream().anyMatch(run -> run.sweeps() > 0)) {
        finish(together);
        sweepTensor(stage);
        finish(new ArrayList<>(List.of(stage)));
      } else {
        together.add(stage);
        if (together.size() == MOST_TOGETHER) {
          finish(together);
        }
      }
    }
    finish(together);
  }

  // Data that has to be gathered from strides is read faster in large pieces.
  private TileGrid.Sizes sizesFor(TensorInfo tensor) {
    boolean inOnePiece = input.region(tensor.name()).isPresent();
    return inOnePiece ? sizes : new TileGrid.Sizes(sizes.largest(), sizes.largest());
  }

  private void sweepModel() throws IOException {
    for (int i = 1; i < runs.size(); i++) {
      if (runs.get(i).modelSweeps() > 0) {
        throw new IllegalArgumentException(
            "'"
                + passes.get(i).recipe()
                + "' looks at the whole model and has to be the first pass");
      }
    }
    if (runs.isEmpty()) {
      return;
    }
    PassRun run = runs.get(0);
    for (int s = 0; s < run.modelSweeps(); s++) {
      int sweep = s;
      Places places =
          Places.of(stages.stream().filter(stage -> run.wants(sweep, stage.tensor)).toList());
      meter.expect(places.bytes);
      each(places, (stage, tile) -> run.observe(sweep, tile));
      run.finishModelSweep(sweep);
    }
  }

  private void sweepTensor(Stage stage) throws IOException {
    for (int p = 0; p < stage.runs.size(); p++) {
      PassRun.TensorRun run = stage.runs.get(p);
      List<PassRun.TensorRun> earlier = stage.runs.subList(0, p);
      for (int s = 0; s < run.sweeps(); s++) {
        int sweep = s;
        if (run.wants(sweep, stage.tensor)) {
          long[] rows = run.rows(sweep);
          Places places = Places.ofRows(stage, rows[0], rows[1]);
          meter.expect(places.bytes);
          each(
              places,
              (of, tile) -> {
                for (PassRun.TensorRun before : earlier) {
                  before.apply(tile, (name, offset, data) -> {});
                }
                run.observe(sweep, tile);
              });
        }
        run.finishSweep(sweep);
      }
    }
  }

  // Transforms and writes what these stages hold, then ends their runs.
  private void finish(List<Stage> together) throws IOException {
    each(
        Places.of(together),
        (stage, tile) -> {
          String name = stage.tensor.name();
          for (PassRun.TensorRun run : stage.runs) {
            run.apply(tile, sink);
          }
          if (tile.zeros() >= 0) {
            stage.addZeros(tile.zeros());
          }
          if (tile.data() != null) {
            sink.take(tile, stage.grid);
          }
        });
    together.forEach(Stage::closeRuns);
    together.clear();
  }

  private void each(Places places, TileUse use) throws IOException {
    team.run(
        places.sequence.count(),
        (workspace, i) -> {
          int owner = places.sequence.owner(i);
          Stage stage = places.stages.get(owner);
          TileGrid grid = stage.grid;
          long index = places.sequence.part(owner, i);
          DType dtype = stage.tensor.dtype();
          long first = grid.firstRow(index) * grid.cols() + grid.firstCol(index);
          Tensor data =
              workspace.load(
                  "tile",
                  buffer -> input.read(stage.tensor.name(), dtype.bytes(first), buffer),
                  dtype,
                  grid.rowCount(index),
                  grid.colCount(index));
          meter.advance(Math.toIntExact(data.byteSize()));
          Tile tile = new Tile(workspace);
          tile.load(stage.tensor, index, stage.firstTile + index, grid, data);
          try {
            use.accept(stage, tile);
          } catch (NotFiniteException e) {
            throw new CheckpointException(
                Messages.quote(input.path())
                    + " has NaN or infinity in tensor "
                    + Messages.quote(stage.tensor.name())
                    // The name is not put into the option: it could end the quotes in a shell.
                    + ", which cannot be pruned or quantized; repair it, or leave it out with"
                    + " --skip",
                e);
          }
        },
        this::abort);
  }

  private void abort() {
    runs.forEach(PassRun::abort);
    stages.forEach(stage -> stage.runs.forEach(PassRun.TensorRun::abort));
  }

  @Override
  public void close() {
    stages.forEach(Stage::closeRuns);
    runs.forEach(PassRun::close);
    team.close();
    if (!device.isGpu()) {
      device.close();
    }
  }
}
