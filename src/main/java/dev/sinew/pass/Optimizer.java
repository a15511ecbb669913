package dev.sinew.pass;

import dev.sinew.Device;
import dev.sinew.internal.Messages;
import dev.sinew.model.BitmapTensor;
import dev.sinew.model.Checkpoint;
import dev.sinew.model.CheckpointException;
import dev.sinew.model.CheckpointPlan;
import dev.sinew.model.CheckpointWriter;
import dev.sinew.model.QuantizedTensor;
import dev.sinew.model.TensorInfo;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * Streams a checkpoint through passes into a new one. Memory does not grow with the model: tensors
 * are read, transformed and written tile by tile on several threads, and the result does not depend
 * on how many.
 */
public final class Optimizer {
  /** Version recorded in the metadata of what is written. */
  static final String VERSION =
      Optional.ofNullable(Optimizer.class.getPackage().getImplementationVersion())
          .orElse("development");

  private Optimizer() {}

  /**
   * How to run.
   *
   * @param targets which tensors passes touch
   * @param threads how many threads read, compute and write; more than 16 gain nothing and are not
   *     used, and on a GPU three are the least, so that it computes while tiles come and go
   * @param dryRun whether to stop after planning, without reading data or writing
   * @param progress told how far the work is
   * @param storage how to store the tensors that passes touch
   * @param device what computes: a GPU, or, for any other device, the threads themselves; the
   *     result is the same
   */
  public record Options(
      Targets targets,
      int threads,
      boolean dryRun,
      Progress progress,
      Storage storage,
      Device device) {
    public Options {
      if (threads < 1) {
        throw new IllegalArgumentException("at least 1 thread is needed, not " + threads);
      }
    }

    /** Options to compute on the CPU. */
    public Options(
        Targets targets, int threads, boolean dryRun, Progress progress, Storage storage) {
      this(targets, threads, dryRun, progress, storage, Device.cpu());
    }

    /** Options to store tensors dense, and to compute on the CPU. */
    public Options(Targets targets, int threads, boolean dryRun, Progress progress) {
      this(targets, threads, dryRun, progress, Storage.DENSE);
    }

    /** The same on another device. */
    public Options on(Device other) {
      return new Options(targets, threads, dryRun, progress, storage, other);
    }

    /** The default targets, all available processors, no progress. */
    public static Options defaults() {
      return new Options(Targets.byDefault(), Device.availableProcessors(), false, Progress.NONE);
    }
  }

  /** Hears how far the work is; called from several threads. */
  public interface Progress {
    /** Hears nothing. */
    Progress NONE =
        new Progress() {
          @Override
          public void started(long totalBytes) {}

          @Override
          public void advanced(long bytes) {}
        };

    /**
     * Says how many bytes will be read in all; called again with a new total when more sweeps turn
     * out to be needed.
     */
    void started(long totalBytes);

    /** Says that so many bytes more have been read. */
    void advanced(long bytes);
  }

  /** Opens the output when its tensors are known. */
  public interface Output {
    CheckpointWriter create(CheckpointPlan plan) throws IOException;
  }

  /**
   * Runs the passes, in this order, over the tensors chosen by the options and copies the others.
   *
   * <p>Tensors of the input that are stored with a bitmap ({@link dev.sinew.model.BitmapTensor})
   * are taken as the dense tensors they are.
   *
   * <p>With {@link Storage#BITMAP} all passes run twice: to count the values of every tile, so that
   * the sizes of tensors are known when the output is created, and to write. A tensor that would
   * not get smaller stays dense.
   *
   * @throws CheckpointException one sentence for the user: the input is quantized already, a tensor
   *     holds NaN or infinity, names collide, the input ends early or changes meanwhile, ...
   * @throws IllegalArgumentException if the passes do not go together or cannot take a tensor, or
   *     the storage cannot take what they make of it
   * @throws UnsupportedOperationException if the device is a GPU that has no kernel for an
   *     operation of these passes; the message names it
   * @throws dev.sinew.DeviceLostException if the GPU has failed
   * @throws java.io.InterruptedIOException if the thread was interrupted; nothing is left behind
   */
  public static Report optimize(Checkpoint input, List<Pass> passes, Options options, Output output)
      throws IOException {
    int workers = TileStream.workers(options.threads(), options.device());
    TileGrid.Sizes sizes = TileGrid.Sizes.forWorkers(workers);
    return optimize(input, passes, options, output, sizes);
  }

  static Report optimize(
      Checkpoint input, List<Pass> passes, Options options, Output output, TileGrid.Sizes sizes)
      throws IOException {
    long begin = System.nanoTime();
    requireUnquantized(input);
    return new Run(Decoding.dense(input), passes, options, sizes).run(output, begin);
  }

  static void requireUnquantized(Checkpoint input) throws CheckpointException {
    Optional<String> sign = QuantizedTensor.signOfQuantization(input);
    if (sign.isPresent()) {
      throw new CheckpointException(
          Messages.quote(input.path())
              + " is already quantized (see tensor "
              + Messages.quote(sign.get())
              + "); give the checkpoint it was made from");
    }
  }

  private static final class Run {
    private final Checkpoint input;
    private final List<Pass> passes;
    private final Options options;
    private final TileGrid.Sizes sizes;
    private final ReadMeter meter;
    private final Map<String, String> skipped = new LinkedHashMap<>();
    private final List<TensorInfo> touched = new ArrayList<>();
    private final Map<String, List<TensorInfo>> outputs = new LinkedHashMap<>();

    Run(Checkpoint input, List<Pass> passes, Options options, TileGrid.Sizes sizes) {
      this.input = input;
      this.passes = passes;
      this.options = options;
      this.sizes = sizes;
      this.meter = new ReadMeter(options.progress());
    }

    Report run(Output output, long begin) throws IOException {
      plan();
      Map<String, Long> zeros = Map.of();
      SparseLayout sparse = SparseLayout.NONE;
      if (!options.dryRun()) {
        meter.expect(total(input.tensors().values()));
        if (options.storage() == Storage.BITMAP) {
          sparse = count();
          sparse.replace(outputs);
        }
        zeros = write(output, sparse);
      }
      return report(zeros, sparse, begin);
    }

    // Everything that can be refused is, before anything is read or written.
    private void plan() throws CheckpointException {
      for (TensorInfo tensor : input.tensors().values()) {
        Optional<String> reason = options.targets().reasonToSkip(tensor);
        if (reason.isPresent()) {
          skipped.put(tensor.name(), reason.get());
        } else {
          touched.add(tensor);
        }
      }
      touched.sort(Comparator.comparing(TensorInfo::name));
      List<TensorInfo> announced = new ArrayList<>();
      for (TensorInfo tensor : input.tensors().values()) {
        boolean copied = skipped.containsKey(tensor.name());
        List<TensorInfo> made = copied ? List.of(tensor) : outputsOf(tensor, passes);
        outputs.put(tensor.name(), made);
        announced.addAll(made);
        if (!copied && options.storage() == Storage.BITMAP) {
          SparseLayout.requirePossible(tensor, made);
          // Any tensor may turn out to be stored sparsely.
          announced.addAll(BitmapTensor.of(made.get(0), 0).parts().subList(1, 4));
        }
      }
      requireDistinct(input, announced);
      long columns = options.storage() == Storage.BITMAP ? SparseLayout.COLUMNS : 1;
      touched.forEach(tensor -> TileGrid.of(tensor, passes, columns, sizes));
    }

    private SparseLayout count() throws IOException {
      meter.expect(total(touched));
      SparseLayout.Counter counter = new SparseLayout.Counter();
      try (TileStream stream = stream(counter)) {
        stream.transform();
      }
      return counter.layout(outputs);
    }

    private Map<String, Long> write(Output output, SparseLayout sparse) throws IOException {
      CheckpointPlan plan = new CheckpointPlan(outputs, metadata(input, passes, options.storage()));
      try (CheckpointWriter writer = output.create(plan)) {
        TileSink dense = new DenseSink(writer);
        boolean bitmaps = options.storage() == Storage.BITMAP;
        try (TileStream stream = stream(bitmaps ? new BitmapSink(input, sparse, dense) : dense)) {
          stream.copy(
              input.tensors().values().stream()
                  .filter(tensor -> skipped.containsKey(tensor.name()))
                  .toList(),
              writer);
          stream.transform();
          writer.commit();
          return stream.zeros();
        }
      }
    }

    private TileStream stream(TileSink sink) {
      return new TileStream(
          input, sink, passes, touched, options.threads(), options.device(), meter, sizes);
    }

    private Report report(Map<String, Long> zeros, SparseLayout sparse, long begin) {
      List<Report.Entry> entries = new ArrayList<>();
      for (TensorInfo tensor : input.tensors().values()) {
        String reason = skipped.get(tensor.name());
        List<TensorInfo> written = outputs.get(tensor.name());
        entries.add(
            new Report.Entry(
                tensor.name(),
                tensor.dtype(),
                tensor.shape(),
                reason == null,
                reason,
                tensor.elements(),
                zeros.getOrDefault(tensor.name(), -1L),
                written.get(0).dtype(),
                sparse.of(tensor).isPresent() ? Storage.BITMAP : Storage.DENSE,
                tensor.bytes(),
                total(written)));
      }
      return new Report(
          recipe(passes, options.storage()),
          options.storage(),
          entries,
          options.targets().unmatched(input.tensors().keySet()),
          total(input.tensors().values()),
          outputs.values().stream().mapToLong(Optimizer::total).sum(),
          meter.bytesRead(),
          (System.nanoTime() - begin) / 1e9);
    }
  }

  private static long total(Iterable<TensorInfo> tensors) {
    long bytes = 0;
    for (TensorInfo tensor : tensors) {
      bytes += tensor.bytes();
    }
    return bytes;
  }

  // Each pass takes the tensor as the one before has left it; what a pass adds beside it stays.
  private static List<TensorInfo> outputsOf(TensorInfo tensor, List<Pass> passes) {
    List<TensorInfo> beside = new ArrayList<>();
    TensorInfo current = tensor;
    for (Pass pass : passes) {
      List<TensorInfo> outputs = pass.outputs(current);
      current = outputs.get(0);
      beside.addAll(outputs.subList(1, outputs.size()));
    }
    beside.add(0, current);
    return List.copyOf(beside);
  }

  private static void requireDistinct(Checkpoint input, List<TensorInfo> tensors)
      throws CheckpointException {
    Set<String> names = new HashSet<>();
    for (TensorInfo tensor : tensors) {
      if (!names.add(tensor.name())) {
        throw new CheckpointException(
            Messages.quote(input.path())
                + " holds a tensor "
                + Messages.quote(tensor.name())
                + ", a name that storing another tensor needs; leave that one out with --skip");
      }
    }
  }

  static String recipe(List<Pass> passes) {
    return recipe(passes, Storage.DENSE);
  }

  private static String recipe(List<Pass> passes, Storage storage) {
    Stream<String> options = passes.stream().map(Pass::recipe);
    return Stream.concat(options, storage.recipe().stream()).collect(Collectors.joining(" "));
  }

  private static Map<String, String> metadata(
      Checkpoint input, List<Pass> passes, Storage storage) {
    Map<String, String> metadata = new LinkedHashMap<>(input.metadata());
    // Hugging Face's loaders refuse a file that does not say which framework's layout it has.
    metadata.putIfAbsent("format", "pt");
    metadata.put("sinew.version", VERSION);
    String recipe = recipe(passes, storage);
    if (!recipe.isEmpty()) {
      metadata.merge("sinew.recipe", recipe, (old, added) -> old + " " + added);
    }
    metadata.remove(QuantizedTensor.GROUP_KEY);
    for (Pass pass : passes) {
      if (pass instanceof Quantize quantize && quantize.groupSize() > 0) {
        metadata.put(QuantizedTensor.GROUP_KEY, Integer.toString(quantize.groupSize()));
      }
    }
    return metadata;
  }
}
