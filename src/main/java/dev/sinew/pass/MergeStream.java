package dev.sinew.pass;

import dev.sinew.DType;
import dev.sinew.Device;
import dev.sinew.NotFiniteException;
import dev.sinew.Ops;
import dev.sinew.Tensor;
import dev.sinew.internal.Messages;
import dev.sinew.model.Checkpoint;
import dev.sinew.model.CheckpointException;
import dev.sinew.model.CheckpointWriter;
import dev.sinew.model.TensorInfo;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.IntPredicate;

/**
 * Moves tiles of several checkpoints at once through a {@link Merge} to a writer, on worker threads
 * that each read, compute and write on their own. Memory grows neither with the models nor with
 * their number.
 */
final class MergeStream implements AutoCloseable {
  /** What the buffers of one worker's tile take together. */
  private static final long USUAL_BUDGET = 4 << 20;

  /** From so many tiles on, tensors do not wait for more to be merged with. */
  private static final int MOST_TOGETHER = 4096;

  private final List<Checkpoint> sources;
  private final int models;
  private final CheckpointWriter writer;
  private final Merge merge;
  private final ReadMeter meter;
  // A thread of its own for each worker, or a GPU that all of them share.
  private final Device device;
  private final WorkerTeam team;
  private final long largeBudget;
  private final List<TensorMerge> running = new ArrayList<>();

  /** One tile of a tensor. */
  private record Place(MergeTensor tensor, TensorMerge run, long tile) {}

  private interface TileUse {
    void accept(Place place, MergeTile tile) throws IOException;
  }

  /**
   * @param sources the models in their order, then the base if the merge needs one
   * @param budget what the buffers of a tile may grow to in order to hold a whole tensor
   */
  MergeStream(
      List<Checkpoint> sources,
      CheckpointWriter writer,
      Merge merge,
      int threads,
      Device on,
      long budget,
      Optimizer.Progress progress) {
    this.device = on.isGpu() ? on : Device.cpu(1);
    this.sources = sources;
    this.models = sources.size() - (merge.method().needsBase() ? 1 : 0);
    this.writer = writer;
    this.merge = merge;
    this.meter = new ReadMeter(progress);
    this.largeBudget = budget;
    this.team = new WorkerTeam(threads, device);
  }

  /** What the buffers of one of so many workers may take. */
  static long budget(int workers) {
    return Math.max(12 << 20, Math.min(32 << 20, (256 << 20) / workers));
  }

  long bytesRead() {
    return meter.bytesRead();
  }

  // To the host's memory.
  private void read(Checkpoint source, String tensor, long offset, Tensor into) throws IOException {
    int bytes = Math.toIntExact(into.byteSize());
    into.withBuffer(0, bytes, buffer -> source.read(tensor, offset, buffer));
    meter.advance(bytes);
  }

  /** Tells the progress what copying and merging these tensors will read, sweeps included. */
  void announce(List<Copy> copies, List<TensorInfo> merged) {
    long bytes = 0;
    for (Copy copy : copies) {
      bytes += copy.tensor.bytes() * (copy.compare ? models : 1);
    }
    for (TensorInfo tensor : merged) {
      bytes += bytes(tensor, model -> true);
      try (TensorMerge run = merge.start(cut(tensor))) {
        for (int s = 0; s < run.sweeps(); s++) {
          int sweep = s;
          bytes += bytes(tensor, model -> run.wants(sweep, model));
        }
      }
    }
    meter.expect(bytes);
  }

  // What these models, and the base, have of a tensor.
  private long bytes(TensorInfo tensor, IntPredicate wanted) {
    long bytes = 0;
    for (int s = 0; s < sources.size(); s++) {
      if (s >= models || wanted.test(s)) {
        bytes += sources.get(s).tensors().get(tensor.name()).bytes();
      }
    }
    return bytes;
  }

  /** A tensor that is written as one of the sources has it. */
  record Copy(TensorInfo tensor, int source, boolean compare) {}

  /**
   * Copies tensors.
   *
   * @return the names of those of which a comparison with the other models has found a difference
   */
  Set<String> copy(List<Copy> copies) throws IOException {
    record Part(Copy copy, long offset, long bytes) {}
    List<Part> parts = new ArrayList<>();
    for (Copy copy : copies) {
      long bytes = copy.tensor.bytes();
      long step = budgetFor(copy.tensor.name()) / 4;
      for (long offset = 0; offset < bytes; offset += step) {
        parts.add(new Part(copy, offset, Math.min(step, bytes - offset)));
      }
    }
    Set<String> different = ConcurrentHashMap.newKeySet();
    team.run(
        parts.size(),
        (workspace, i) -> {
          Part part = parts.get((int) i);
          String name = part.copy.tensor.name();
          int bytes = (int) part.bytes;
          Tensor data = workspace.host("copy", DType.U8, bytes);
          read(sources.get(part.copy.source), name, part.offset, data);
          for (int m = 0; part.copy.compare && m < models; m++) {
            if (m != part.copy.source && !different.contains(name)) {
              Tensor other = workspace.host("other", DType.U8, bytes);
              read(sources.get(m), name, part.offset, other);
              if (!equal(data, other)) {
                different.add(name);
              }
            }
          }
          data.withBuffer(0, bytes, buffer -> writer.write(name, part.offset, buffer));
        },
        () -> {});
    return different;
  }

  private static boolean equal(Tensor a, Tensor b) {
    int bytes = (int) a.byteSize();
    boolean[] equal = new boolean[1];
    a.withBuffer(0, bytes, x -> b.withBuffer(0, bytes, y -> equal[0] = x.equals((ByteBuffer) y)));
    return equal[0];
  }

  // Data that has to be gathered or decoded is read faster in large pieces.
  private long budgetFor(String tensor) {
    for (Checkpoint source : sources) {
      if (source.tensors().containsKey(tensor) && source.region(tensor).isEmpty()) {
        return largeBudget;
      }
    }
    return USUAL_BUDGET;
  }

  private MergeTensor cut(TensorInfo tensor) {
    // The sources, the result, and for TIES the differences; of several dtypes, F32 copies too.
    int buffers = sources.size() + 1 + (merge.method() == Merge.Method.TIES ? models : 0);
    if (needsConversion(tensor)) {
      buffers += sources.size();
    }
    boolean seesAll = merge.method() == Merge.Method.TIES || merge.method() == Merge.Method.SLERP;
    MergeTensor whole = MergeTensor.of(tensor, models, buffers, largeBudget);
    return seesAll && whole.tiles() <= 1
        ? whole
        : MergeTensor.of(tensor, models, buffers, budgetFor(tensor.name()));
  }

  private boolean needsConversion(TensorInfo tensor) {
    return sources.stream()
        .anyMatch(source -> source.tensors().get(tensor.name()).dtype() != tensor.dtype());
  }

  /** Merges tensors that all sources have. */
  void merge(List<TensorInfo> tensors) throws IOException {
    List<Place> together = new ArrayList<>();
    for (TensorInfo info : tensors) {
      MergeTensor tensor = cut(info);
      TensorMerge run = merge.start(tensor);
      running.add(run);
      if (run.sweeps() > 0) {
        write(together);
        sweep(tensor, run);
        together.addAll(places(tensor, run));
        write(together);
      } else {
        together.addAll(places(tensor, run));
        if (together.size() >= MOST_TOGETHER) {
          write(together);
        }
      }
    }
    write(together);
  }

  private static List<Place> places(MergeTensor tensor, TensorMerge run) {
    List<Place> places = new ArrayList<>();
    for (long tile = 0; tile < tensor.tiles(); tile++) {
      places.add(new Place(tensor, run, tile));
    }
    return places;
  }

  private void sweep(MergeTensor tensor, TensorMerge run) throws IOException {
    List<Place> places = places(tensor, run);
    for (int s = 0; s < run.sweeps(); s++) {
      int sweep = s;
      each(
          places,
          model -> run.wants(sweep, model),
          false,
          (place, tile) -> run.observe(sweep, tile));
      run.finishSweep(sweep);
    }
  }

  // Merges and writes what these places hold, then ends the runs.
  private void write(List<Place> places) throws IOException {
    each(
        places,
        model -> true,
        true,
        (place, tile) -> {
          place.run.apply(tile);
          Tensor out = tile.out();
          TensorInfo info = place.tensor.info();
          long offset = info.dtype().bytes(tile.first());
          tile.workspace()
              .read(
                  out,
                  0,
                  Math.toIntExact(out.byteSize()),
                  buffer -> writer.write(info.name(), offset, buffer));
        });
    places.clear();
    running.forEach(TensorMerge::close);
    running.clear();
  }

  private void each(List<Place> places, IntPredicate wanted, boolean output, TileUse use)
      throws IOException {
    team.run(
        places.size(),
        (workspace, i) -> {
          Place place = places.get((int) i);
          MergeTile tile = load(workspace, place, wanted, output);
          try {
            use.accept(place, tile);
          } catch (NotFiniteException e) {
            throw new CheckpointException(culprit(place, tile), e);
          }
        },
        () -> running.forEach(TensorMerge::abort));
  }

  private MergeTile load(Workspace workspace, Place place, IntPredicate wanted, boolean output)
      throws IOException {
    TensorInfo info = place.tensor.info();
    long first = place.tensor.first(place.tile);
    long length = place.tensor.length(place.tile);
    boolean convert = needsConversion(info);
    List<Tensor> loaded = new ArrayList<>();
    for (int s = 0; s < sources.size(); s++) {
      if (s < models && !wanted.test(s)) {
        loaded.add(null);
        continue;
      }
      Checkpoint source = sources.get(s);
      DType dtype = source.tensors().get(info.name()).dtype();
      Tensor data =
          workspace.load(
              "source " + s,
              buffer -> source.read(info.name(), dtype.bytes(first), buffer),
              dtype,
              length);
      meter.advance(Math.toIntExact(data.byteSize()));
      if (convert && dtype != DType.F32) {
        Tensor converted = workspace.tensor("converted " + s, DType.F32, length);
        Ops.convert(data, converted);
        data = converted;
      }
      loaded.add(data);
    }
    Tensor out = output ? workspace.tensor("out", info.dtype(), length) : null;
    Tensor base = models < sources.size() ? loaded.get(models) : null;
    return new MergeTile(workspace, place.tile, first, loaded.subList(0, models), base, out);
  }

  // Which source has NaN or infinity here: the operations do not say.
  private String culprit(Place place, MergeTile tile) {
    List<Tensor> loaded = new ArrayList<>(tile.models());
    loaded.add(tile.base());
    String tensor = Messages.quote(place.tensor.info().name());
    for (int s = 0; s < loaded.size(); s++) {
      if (loaded.get(s) != null && !isFinite(loaded.get(s))) {
        return Messages.quote(sources.get(s).path())
            + " has NaN, infinity or a number beyond F32 in tensor "
            + tensor
            + ", which cannot be merged; repair it first";
      }
    }
    return "the merged tensor "
        + tensor
        + " has numbers that "
        + place.tensor.info().dtype()
        + " does not hold; use smaller weights";
  }

  private static boolean isFinite(Tensor data) {
    try (Tensor host = data.to(Device.cpu());
        Tensor values = Tensor.allocate(Device.cpu(), DType.F32, data.elements());
        Tensor statistics = Tensor.allocate(Device.cpu(), DType.F64, 8)) {
      Ops.convert(host, values);
      Ops.statistics(values, statistics);
      double[] found = statistics.toDoubles();
      return found[5] + found[6] + found[7] == 0;
    }
  }

  @Override
  public void close() {
    running.forEach(TensorMerge::close);
    team.close();
    if (!device.isGpu()) {
      device.close();
    }
  }
}
