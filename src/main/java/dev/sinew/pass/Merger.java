package dev.sinew.pass;

import dev.sinew.Device;
import dev.sinew.internal.Messages;
import dev.sinew.model.Checkpoint;
import dev.sinew.model.CheckpointException;
import dev.sinew.model.CheckpointPlan;
import dev.sinew.model.CheckpointWriter;
import dev.sinew.model.QuantizedTensor;
import dev.sinew.model.TensorInfo;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;

/**
 * Merges models of one architecture into one. Memory grows neither with the models nor with their
 * number: tiles of all of them are read, merged and written on several threads, and the result does
 * not depend on how many.
 *
 * <p>Floating tensors are merged in F32 and written in the type of the first model. Integer tensors
 * (positions, counters) come from the first model.
 */
public final class Merger {
  private Merger() {}

  /**
   * What becomes of tensors that not all models, and the base, have with one shape and kind of
   * type.
   */
  public enum Missing {
    /** The merge fails and names them. */
    ERROR,
    /** They are left out. */
    SKIP,
    /** They are copied from the first model that has them, else from the base. */
    COPY
  }

  /**
   * How to run.
   *
   * @param missing what becomes of tensors that not all have, or not with one shape
   * @param skips patterns (see {@link Targets}) of tensors that the first model decides about: they
   *     are copied from it if it has them, else left out, whatever the others have
   * @param threads how many threads read, compute and write; more than 16 gain nothing and are not
   *     used, and on a GPU three are the least, so that it computes while tiles come and go
   * @param dryRun whether to stop after planning, without reading data or writing
   * @param progress told how far the work is
   * @param device what computes: a GPU, or, for any other device, the threads themselves; the
   *     result is the same
   */
  public record Options(
      Missing missing,
      List<String> skips,
      int threads,
      boolean dryRun,
      Optimizer.Progress progress,
      Device device) {
    public Options {
      skips = List.copyOf(skips);
      if (threads < 1) {
        throw new IllegalArgumentException("at least 1 thread is needed, not " + threads);
      }
    }

    /** Options to compute on the CPU. */
    public Options(
        Missing missing,
        List<String> skips,
        int threads,
        boolean dryRun,
        Optimizer.Progress progress) {
      this(missing, skips, threads, dryRun, progress, Device.cpu());
    }

    /** The same on another device. */
    public Options on(Device other) {
      return new Options(missing, skips, threads, dryRun, progress, other);
    }

    /** No tensor may be missing, all available processors, no progress. */
    public static Options defaults() {
      return new Options(
          Missing.ERROR, List.of(), Device.availableProcessors(), false, Optimizer.Progress.NONE);
    }

    /** Those patterns that match none of these names, as options of the command line. */
    public List<String> unmatched(Collection<String> names) {
      return Glob.unmatched("--skip", skips, names);
    }

    /** The pattern that keeps a tensor from being merged. */
    Optional<String> skipping(String name) {
      return skips.stream().filter(skip -> Glob.matches(skip, name)).findFirst();
    }
  }

  /**
   * Merges checkpoints.
   *
   * @param models in the order of the weights, at most {@value Merge#MOST_MODELS}
   * @param base the model that they were trained from, for methods that need it; else null
   * @param output opened when the tensors are known
   * @throws CheckpointException one sentence for the user: names, shapes or kinds of type differ, a
   *     model is quantized, a tensor holds NaN or infinity, ...
   * @throws IllegalArgumentException if the method does not take so many models, or the base is
   *     missing or superfluous
   * @throws java.io.InterruptedIOException if the thread was interrupted; nothing is left behind
   */
  public static MergeReport merge(
      List<Checkpoint> models,
      Checkpoint base,
      Merge merge,
      Options options,
      Optimizer.Output output)
      throws IOException {
    int workers = TileStream.workers(options.threads(), options.device());
    long budget = MergeStream.budget(workers);
    return merge(models, base, merge, options, output, budget);
  }

  static MergeReport merge(
      List<Checkpoint> models,
      Checkpoint base,
      Merge merge,
      Options options,
      Optimizer.Output output,
      long budget)
      throws IOException {
    long begin = System.nanoTime();
    merge.requireModels(models.size(), base != null);
    List<Checkpoint> sources = new ArrayList<>();
    for (Checkpoint model : models) {
      sources.add(readable(model));
    }
    if (base != null) {
      sources.add(readable(base));
    }
    MergePlan plan = MergePlan.of(sources, models.size(), options);
    Map<String, List<TensorInfo>> outputs = new LinkedHashMap<>();
    List<TensorInfo> merged = new ArrayList<>();
    List<MergeStream.Copy> copies = new ArrayList<>();
    for (MergePlan.Planned planned : plan.tensors()) {
      TensorInfo tensor = planned.tensor();
      switch (planned.action()) {
        case MERGED -> merged.add(tensor);
        case COPIED ->
            copies.add(new MergeStream.Copy(tensor, planned.source(), planned.compare()));
        case SKIPPED -> {
          continue;
        }
      }
      outputs.put(tensor.name(), List.of(tensor));
    }
    CheckpointPlan announced = new CheckpointPlan(outputs, metadata(sources, models.size(), merge));
    Set<String> different = Set.of();
    long bytesRead = 0;
    if (!options.dryRun()) {
      int workers = TileStream.workers(options.threads(), options.device());
      try (CheckpointWriter writer = output.create(announced);
          MergeStream stream =
              new MergeStream(
                  sources, writer, merge, workers, options.device(), budget, options.progress())) {
        stream.announce(copies, merged);
        different = stream.copy(copies);
        requireMergeable(plan, different);
        stream.merge(merged);
        writer.commit();
        bytesRead = stream.bytesRead();
      }
    }
    long inputBytes = 0;
    for (Checkpoint source : sources) {
      inputBytes += source.tensors().values().stream().mapToLong(TensorInfo::bytes).sum();
    }
    return new MergeReport(
        merge.recipe(),
        entries(plan, different, options.dryRun()),
        options.unmatched(plan.tensors().stream().map(t -> t.tensor().name()).toList()),
        inputBytes,
        announced.tensors().stream().mapToLong(TensorInfo::bytes).sum(),
        bytesRead,
        (System.nanoTime() - begin) / 1e9);
  }

  private static Checkpoint readable(Checkpoint checkpoint) throws IOException {
    Checkpoint dense = Decoding.dense(checkpoint);
    Optional<String> sign = QuantizedTensor.signOfQuantization(dense);
    if (sign.isPresent()) {
      throw new CheckpointException(
          Messages.quote(checkpoint.path())
              + " is quantized (see tensor "
              + Messages.quote(sign.get())
              + "); give the checkpoint it was made from, and quantize the merged one");
    }
    return dense;
  }

  private static void requireMergeable(MergePlan plan, Set<String> different)
      throws CheckpointException {
    for (MergePlan.Planned planned : plan.tensors()) {
      TensorInfo tensor = planned.tensor();
      if (different.contains(tensor.name()) && !MergePlan.mayDiffer(tensor.dtype())) {
        throw new CheckpointException(
            "tensor "
                + Messages.quote(tensor.name())
                + " of type "
                + tensor.dtype()
                + " differs between the models and cannot be merged; convert it to a type that"
                + " can: F64, F32, F16 or BF16");
      }
    }
  }

  private static List<MergeReport.Entry> entries(
      MergePlan plan, Set<String> different, boolean dryRun) {
    return plan.tensors().stream()
        .map(
            planned -> {
              TensorInfo tensor = planned.tensor();
              String reason = planned.reason();
              if (planned.compare() && !dryRun) {
                reason =
                    tensor.dtype()
                        + (different.contains(tensor.name())
                            ? ", differs between models: taken from the first"
                            : ", equal in all models");
              }
              boolean copied = planned.action() == MergeReport.Action.COPIED;
              return new MergeReport.Entry(
                  tensor.name(),
                  tensor.dtype(),
                  tensor.shape(),
                  planned.action(),
                  reason,
                  copied ? planned.source() : -1);
            })
        .toList();
  }

  private static Map<String, String> metadata(List<Checkpoint> sources, int models, Merge merge) {
    Map<String, String> metadata = new LinkedHashMap<>(sources.get(0).metadata());
    // Hugging Face's loaders refuse a file that does not say which framework's layout it has.
    metadata.putIfAbsent("format", "pt");
    metadata.put("sinew.version", Optimizer.VERSION);
    metadata.put("sinew.recipe", merge.recipe());
    metadata.put(
        "sinew.merged",
        sources.subList(0, models).stream().map(Merger::name).collect(Collectors.joining(", ")));
    if (models < sources.size()) {
      metadata.put("sinew.base", name(sources.get(models)));
    }
    return metadata;
  }

  private static String name(Checkpoint checkpoint) {
    Path name = checkpoint.path().toAbsolutePath().normalize().getFileName();
    return name == null ? "" : name.toString();
  }
}
