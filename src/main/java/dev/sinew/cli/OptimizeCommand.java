package dev.sinew.cli;

import dev.sinew.Device;
import dev.sinew.QuantScheme;
import dev.sinew.io.CheckpointFormat;
import dev.sinew.io.ModelFiles;
import dev.sinew.io.ModelFolder;
import dev.sinew.model.Checkpoint;
import dev.sinew.pass.Cluster;
import dev.sinew.pass.CompressedTensors;
import dev.sinew.pass.Optimizer;
import dev.sinew.pass.Pass;
import dev.sinew.pass.Prune;
import dev.sinew.pass.Quantize;
import dev.sinew.pass.QuantizedLayout;
import dev.sinew.pass.Report;
import dev.sinew.pass.Storage;
import dev.sinew.pass.Targets;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

@Command(
    name = "optimize",
    description = {
      "Makes a checkpoint smaller: prunes its weights, quantizes or clusters them, or does two of"
          + " these in this order.",
      "",
      "Touched are floating tensors of two or more dimensions named *.weight or *.weight_*.",
      "Embeddings, norms and lm_head are left as they are, unless --targets names them."
    })
final class OptimizeCommand extends SinewCommand {
  /** Of int4 for other loaders, as their own tools write it. */
  private static final String USUAL_GROUPS = "group=128";

  @Mixin private InputAndOutput files;

  @Option(
      names = "--prune",
      paramLabel = "HOW",
      description = {
        "Set the smallest weights to zero. HOW is one of",
        "  threshold=T: those of magnitude up to T",
        "  sparsity=S[,scope=global|tensor]: this share of them, from 0 to 1, over the model or"
            + " in each tensor",
        "  nm=N:M: all but the N largest of every M in a row, for example nm=2:4"
      })
  private String prune;

  @Option(
      names = "--quantize",
      paramLabel = "int8|int4|fp8",
      description = "Store weights as integers or 8-bit floats (E4M3) with scales.")
  private String quantize;

  @Option(
      names = "--granularity",
      paramLabel = "tensor|channel|group=G",
      description =
          "What shares one scale: a tensor, an output channel (the default), or G weights in a"
              + " row.")
  private String granularity;

  @Option(
      names = "--asymmetric",
      description = "Quantize with zero points, for weights that lie to one side of zero.")
  private boolean asymmetric;

  @Option(
      names = "--range",
      paramLabel = "minmax|percentile=P|mse",
      description =
          "What the integers span: all values (the default), P percent of them, or the range of"
              + " least squared error.")
  private String range;

  @Option(
      names = "--format",
      paramLabel = "sinew|compressed-tensors",
      description = {
        "How quantized weights are stored: for Sinew (the default), or in a folder that vLLM and"
            + " transformers load, with a quantization_config in config.json. There only Linear"
            + " layers are quantized: those of the architecture that config.json names, and"
            + " matrices named by --targets; int4 has groups of 128."
      })
  private String format;

  @Option(
      names = "--sparse-format",
      paramLabel = "bitmap",
      description =
          "Store what was pruned as its non-zero values and a bitmap of where they are, which other"
              + " tools do not read; 'sinew convert --dense' undoes it.")
  private String sparseFormat;

  @Option(
      names = "--cluster",
      paramLabel = "bits=B[,rows=G][,iterations=N]",
      description = {
        "Store weights as indices of B bits (2 to 8) into a codebook of 2^B shared values, found by"
            + " k-means for each tensor or for every G rows. Pruned weights stay 0."
      })
  private String cluster;

  @Option(
      names = "--targets",
      paramLabel = "GLOB",
      description = "Touch tensors of these names too. May be given more than once.")
  private List<String> targets = List.of();

  @Option(
      names = "--skip",
      paramLabel = "GLOB",
      description = "Leave tensors of these names as they are. May be given more than once.")
  private List<String> skips = List.of();

  @Mixin private ThreadsOption threads;

  @Mixin private DeviceOption device;

  @Mixin private ReportOption report;

  @Option(names = "--dry-run", description = "Say what would be done, and write no OUT.")
  private boolean dryRun;

  @Override
  public Integer call() throws IOException, CommandException {
    List<Pass> passes = passes();
    int threadCount = threads.countOr(Device::availableProcessors);
    ChosenDevice computing = device.open();
    try (Checkpoint input = CheckpointFormat.open(files.input())) {
      requireWritableFiles(input);
      Targets chosen = new Targets(targets, skips);
      warnOf(chosen.unmatched(input.tensors().keySet()));
      Optional<ModelFolder> folder = files.folderToFollow(input);
      ModelFiles others = folder.isPresent() ? folder.get().files() : null;
      CompressedTensorsOutput loadable = loadable(input, folder, passes, chosen);
      Report done = optimize(input, passes, chosen, loadable, threadCount, computing.device());
      CompressedTensors plan = loadable == null ? null : loadable.plan();
      report.write(
          files,
          dryRun,
          json -> OptimizeReport.write(json, files, dryRun, done, computing, others, plan));
      new OptimizeSummary(files, dryRun, done, computing, plan).print(terminal().out());
      if (others != null) {
        FolderSummary.print(terminal().out(), others);
      }
    }
    return Main.OK;
  }

  // What makes the folder one that others load; null in the format of Sinew.
  private CompressedTensorsOutput loadable(
      Checkpoint input, Optional<ModelFolder> folder, List<Pass> passes, Targets chosen)
      throws IOException {
    for (Pass pass : passes) {
      if (pass instanceof Quantize q && q.layout() == QuantizedLayout.COMPRESSED_TENSORS) {
        return CompressedTensorsOutput.of(input, folder, q, chosen);
      }
    }
    return null;
  }

  private Report optimize(
      Checkpoint input,
      List<Pass> passes,
      Targets chosen,
      CompressedTensorsOutput loadable,
      int threadCount,
      Device computing)
      throws IOException, CommandException {
    Targets touched = loadable == null ? chosen : loadable.plan().targets();
    List<Pass> run = loadable == null ? passes : loadable.passes(passes);
    Map<String, byte[]> anew = loadable == null ? Map.of() : loadable.files();
    try (ProgressDisplay progress = progress()) {
      Optimizer.Options options =
          new Optimizer.Options(touched, threadCount, dryRun, progress, storage(), computing);
      return Optimizer.optimize(input, run, options, plan -> files.create(input, plan, anew));
    } catch (UnsupportedOperationException e) {
      if (!computing.isGpu() || e.getMessage() == null) {
        throw e;
      }
      // A kernel that is missing.
      throw new CommandException(Text.sentence(e.getMessage()));
    }
  }

  private List<Pass> passes() {
    List<Pass> passes = new ArrayList<>();
    try {
      if (prune != null) {
        passes.add(Prune.parse(prune));
      }
      if (quantize != null) {
        QuantizedLayout layout = layout();
        QuantScheme scheme = QuantScheme.named(quantize, asymmetric);
        boolean groups = scheme.bits() == 4 && layout == QuantizedLayout.COMPRESSED_TENSORS;
        String shared = granularity != null ? granularity : groups ? USUAL_GROUPS : "channel";
        passes.add(Quantize.of(scheme, shared, range == null ? "minmax" : range).in(layout));
      }
      if (cluster != null) {
        passes.add(Cluster.parse(cluster));
      }
    } catch (IllegalArgumentException e) {
      throw wrongUsage(Text.sentence(e.getMessage()));
    }
    if (quantize == null) {
      requireNone("--granularity", granularity != null);
      requireNone("--range", range != null);
      requireNone("--asymmetric", asymmetric);
      requireNone("--format", format != null);
    }
    if (quantize != null && cluster != null) {
      throw wrongUsage(
          "--quantize and --cluster do not go together: weights are stored in one way");
    }
    if (storage() == Storage.BITMAP && ("int4".equals(quantize) || asymmetric)) {
      throw wrongUsage(
          asymmetric
              ? "--sparse-format does not go with --asymmetric, which stores a pruned weight as the"
                  + " zero point"
              : "--sparse-format does not go with int4: dense int4 is smaller than int8 with half of"
                  + " its weights zero");
    }
    if (storage() == Storage.BITMAP && cluster != null) {
      throw wrongUsage(
          "--sparse-format does not go with --cluster, which stores a pruned weight as the index of"
              + " the zero");
    }
    if (storage() == Storage.BITMAP && "compressed-tensors".equals(format)) {
      throw wrongUsage(
          "--sparse-format does not go with --format compressed-tensors, whose loaders do not read"
              + " bitmaps; pruned weights are stored as zeros");
    }
    if (passes.isEmpty() && storage() == Storage.DENSE) {
      throw wrongUsage(
          "nothing to do: give --prune, --quantize or --cluster; 'sinew convert' only changes the"
              + " format");
    }
    return passes;
  }

  private void requireNone(String option, boolean given) {
    if (given) {
      throw wrongUsage(option + " goes with --quantize only");
    }
  }

  private QuantizedLayout layout() {
    return format == null ? QuantizedLayout.SINEW : QuantizedLayout.named(format);
  }

  private Storage storage() {
    try {
      return sparseFormat == null ? Storage.DENSE : Storage.sparse(sparseFormat);
    } catch (IllegalArgumentException e) {
      throw wrongUsage(Text.sentence(e.getMessage()));
    }
  }

  /** Before hours of work rather than after them. */
  private void requireWritableFiles(Checkpoint input) throws IOException {
    files.requireOtherOutput(List.of(input));
    if (!dryRun) {
      files.requireWritableOutput(List.of(input));
    }
    report.requireWritable(files);
  }
}
