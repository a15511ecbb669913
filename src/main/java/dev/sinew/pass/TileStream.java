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
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
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

  private final Checkpoint input;
  private final TileSink sink;
  private final List<Pass> passes;
  private final List<TensorInfo> tensors;
  private final ReadMeter meter;
  private final Device device = Device.cpu(1);
  private final WorkerTeam team;
  private final TileGrid.Sizes sizes;
  private final Map<String, AtomicLong> zeros = new ConcurrentHashMap<>();
  private final List<PassRun> runs = new ArrayList<>();
  private final List<Stage> stages = new ArrayList<>();

  /**
   * A tensor with its grid, the number of its first tile in the model, and the runs of all passes
   * over it.
   */
  private record Stage(
      TensorInfo tensor, TileGrid grid, long firstTile, List<PassRun.TensorRun> runs) {
    // Runs may hold memory, which nothing needs once the tensor is written.
    void closeRuns() {
      runs.forEach(PassRun.TensorRun::close);
      runs.clear();
    }
  }

  /** One tile of a stage. */
  private record Place(Stage stage, long index) {}

  private interface TileUse {
    void accept(Stage stage, Tile tile) throws IOException;
  }

  TileStream(
      Checkpoint input,
      TileSink sink,
      List<Pass> passes,
      List<TensorInfo> tensors,
      int threads,
      ReadMeter meter,
      TileGrid.Sizes sizes) {
    this.input = input;
    this.sink = sink;
    this.passes = passes;
    this.tensors = tensors;
    this.meter = meter;
    this.sizes = sizes;
    this.team = new WorkerTeam(workers(threads), device);
  }

  static int workers(int threads) {
    return Math.min(threads, MOST_WORKERS);
  }

  Map<String, Long> zeros() {
    Map<String, Long> counts = new HashMap<>();
    zeros.forEach((name, count) -> counts.put(name, count.get()));
    return counts;
  }

  private void read(String tensor, long offset, Tensor into) throws IOException {
    int bytes = Math.toIntExact(into.byteSize());
    into.withBuffer(0, bytes, buffer -> input.read(tensor, offset, buffer));
    meter.advance(bytes);
  }

  /** Copies tensors as they are. */
  void copy(List<TensorInfo> unchanged, CheckpointWriter writer) throws IOException {
    List<long[]> parts = new ArrayList<>();
    for (int i = 0; i < unchanged.size(); i++) {
      long bytes = unchanged.get(i).bytes();
      long step = sizesFor(unchanged.get(i)).usual();
      for (long offset = 0; offset < bytes; offset += step) {
        parts.add(new long[] {i, offset, Math.min(step, bytes - offset)});
      }
    }
    team.run(
        parts.size(),
        (workspace, i) -> {
          long[] part = parts.get((int) i);
          String name = unchanged.get((int) part[0]).name();
          Tensor bytes = workspace.tensor("copy", DType.U8, part[2]);
          read(name, part[1], bytes);
          bytes.withBuffer(0, (int) part[2], buffer -> writer.write(name, part[1], buffer));
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
      stages.add(new Stage(tensor, grid, tile, new ArrayList<>()));
      tile += grid.count();
    }
    sweepModel();
    List<Stage> together = new ArrayList<>();
    for (Stage stage : stages) {
      for (PassRun run : runs) {
        stage.runs.add(run.begin(stage.tensor, stage.grid));
      }
      if (stage.runs.stream().anyMatch(run -> run.sweeps() > 0)) {
        finish(together);
        sweepTensor(stage);
        finish(new ArrayList<>(List.of(stage)));
      } else {
        together.add(stage);
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
      List<Place> places = new ArrayList<>();
      for (Stage stage : stages) {
        if (run.wants(sweep, stage.tensor)) {
          addPlaces(stage, 0, Long.MAX_VALUE, places);
        }
      }
      meter.expect(bytesOf(places));
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
          List<Place> places = new ArrayList<>();
          addPlaces(stage, rows[0], rows[1], places);
          meter.expect(bytesOf(places));
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
    List<Place> places = new ArrayList<>();
    for (Stage stage : together) {
      addPlaces(stage, 0, Long.MAX_VALUE, places);
    }
    each(
        places,
        (stage, tile) -> {
          String name = stage.tensor.name();
          for (PassRun.TensorRun run : stage.runs) {
            run.apply(tile, sink);
          }
          if (tile.zeros() >= 0) {
            zeros.computeIfAbsent(name, n -> new AtomicLong()).addAndGet(tile.zeros());
          }
          if (tile.data() != null) {
            sink.take(tile, stage.grid);
          }
        });
    together.forEach(Stage::closeRuns);
    together.clear();
  }

  private static void addPlaces(Stage stage, long fromRow, long toRow, List<Place> places) {
    TileGrid grid = stage.grid;
    for (long i = 0; i < grid.count(); i++) {
      long row = grid.firstRow(i);
      if (row < toRow && row + grid.rowCount(i) > fromRow) {
        places.add(new Place(stage, i));
      }
    }
  }

  private static long bytesOf(List<Place> places) {
    long bytes = 0;
    for (Place place : places) {
      TileGrid grid = place.stage.grid;
      bytes +=
          place.stage.tensor.dtype().bytes(grid.rowCount(place.index) * grid.colCount(place.index));
    }
    return bytes;
  }

  private void each(List<Place> places, TileUse use) throws IOException {
    team.run(
        places.size(),
        (workspace, i) -> {
          Place place = places.get((int) i);
          Stage stage = place.stage;
          TileGrid grid = stage.grid;
          long index = place.index;
          DType dtype = stage.tensor.dtype();
          Tensor data = workspace.tensor("tile", dtype, grid.rowCount(index), grid.colCount(index));
          long first = grid.firstRow(index) * grid.cols() + grid.firstCol(index);
          read(stage.tensor.name(), dtype.bytes(first), data);
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
    device.close();
  }
}
