package dev.sinew.cli;

import dev.sinew.Device;
import dev.sinew.io.CheckpointFormat;
import dev.sinew.io.ModelFiles;
import dev.sinew.io.ModelFolder;
import dev.sinew.model.Checkpoint;
import dev.sinew.pass.Merge;
import dev.sinew.pass.MergeReport;
import dev.sinew.pass.Merger;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

@Command(
    name = "merge",
    description = {
      "Merges models of one architecture into one.",
      "",
      "Floating tensors are merged, integers come from the first model. The methods:",
      "  linear           a weighted average",
      "  slerp            between two models on a sphere, at --t",
      "  task-arithmetic  the base and the weighted sum of what training has changed",
      "  ties             only the largest changes, and of those only that agree about the sign",
      "  dare             changes are dropped at random, and the others made larger"
    })
final class MergeCommand extends SinewCommand {
  @Mixin private MergeFiles files;

  @Option(
      names = "--method",
      required = true,
      paramLabel = "linear|slerp|task-arithmetic|ties|dare",
      description = "How to merge; see above.")
  private String method;

  @Option(
      names = "--weights",
      split = ",",
      paramLabel = "W",
      description =
          "A number for each model, for example 0.7,0.3; by default 1 each. linear and ties divide"
              + " by their sum, the others do not.")
  private List<Double> weights = List.of();

  @Option(
      names = "--no-normalize",
      description = "For linear and ties: take the weights as they are.")
  private boolean takeAsTheyAre;

  @Option(
      names = "--t",
      paramLabel = "T",
      description = "For slerp: from 0, the first model, to 1, the second; 0.5 by default.")
  private Double t;

  @Option(
      names = "--density",
      paramLabel = "D",
      description = "For ties and dare: the share of the changes to keep, above 0 and up to 1.")
  private Double density;

  @Option(
      names = "--lambda",
      paramLabel = "L",
      description = "For the methods with a base: a factor of the merged changes; 1 by default.")
  private Double lambda;

  @Option(
      names = "--seed",
      paramLabel = "N",
      description = "For dare: of the random numbers; 0 by default.")
  private Long seed;

  @Option(
      names = "--missing",
      paramLabel = "error|skip|copy",
      description =
          "What to do with tensors that not all models have, or not with one shape: fail (the"
              + " default), leave them out, or copy them from the first that has them.")
  private String missing = "error";

  @Option(
      names = "--skip",
      paramLabel = "GLOB",
      description =
          "Take tensors of these names from the first model as they are, whatever the others have."
              + " May be given more than once.")
  private List<String> skips = List.of();

  @Mixin private ThreadsOption threads;

  @Mixin private DeviceOption device;

  @Mixin private ReportOption report;

  @Option(names = "--dry-run", description = "Say what would be done, and write no OUT.")
  private boolean dryRun;

  @Override
  public Integer call() throws IOException, CommandException {
    Merge merge = merge();
    Merger.Missing policy =
        choice(
            "--missing", missing, Merger.Missing.values(), v -> v.name().toLowerCase(Locale.ROOT));
    int threadCount = threads.countOr(Device::availableProcessors);
    ChosenDevice computing = device.open();
    List<Checkpoint> opened = new ArrayList<>();
    try {
      for (Path input : files.inputs()) {
        opened.add(CheckpointFormat.open(input));
      }
      requireWritableFiles(opened);
      Optional<ModelFolder> folder = files.folderToFollow(opened.get(0));
      ModelFiles others = folder.isPresent() ? folder.get().files() : null;
      MergeReport done = merge(opened, merge, policy, threadCount, computing.device());
      report.write(
          files, dryRun, json -> MergeSummary.write(json, files, dryRun, done, computing, others));
      new MergeSummary(files, dryRun, done, computing).print(terminal().out());
      if (others != null) {
        FolderSummary.print(terminal().out(), others);
      }
    } finally {
      for (Checkpoint checkpoint : opened) {
        checkpoint.close();
      }
    }
    return Main.OK;
  }

  private void requireWritableFiles(List<Checkpoint> opened) throws IOException {
    files.requireOtherOutput(opened);
    if (!dryRun) {
      files.requireWritableOutput(opened);
    }
    report.requireWritable(files);
  }

  private MergeReport merge(
      List<Checkpoint> opened,
      Merge merge,
      Merger.Missing policy,
      int threadCount,
      Device computing)
      throws IOException {
    int models = files.models().size();
    try (ProgressDisplay progress = progress()) {
      Merger.Options options =
          new Merger.Options(policy, skips, threadCount, dryRun, progress, computing);
      warnOf(
          options.unmatched(opened.stream().flatMap(c -> c.tensors().keySet().stream()).toList()));
      return Merger.merge(
          opened.subList(0, models),
          files.base() == null ? null : opened.get(models),
          merge,
          options,
          plan -> files.create(opened.get(0), plan, Map.of()));
    }
  }

  private Merge merge() {
    Merge.Method chosen = choice("--method", method, Merge.Method.values(), Merge.Method::toString);
    requireFitting(chosen);
    try {
      Merge merge =
          new Merge(
              chosen,
              weights,
              chosen.canNormalize() && !takeAsTheyAre,
              t == null ? 0.5 : t,
              density == null ? 1 : density,
              lambda == null ? 1 : lambda,
              seed == null ? 0 : seed);
      merge.requireModels(files.models().size(), files.base() != null);
      return merge;
    } catch (IllegalArgumentException e) {
      throw wrongUsage(Text.sentence(e.getMessage()));
    }
  }

  private void requireFitting(Merge.Method chosen) {
    boolean slerp = chosen == Merge.Method.SLERP;
    if (slerp && !weights.isEmpty()) {
      throw wrongUsage("--method slerp takes --t, the place between its two models, not --weights");
    }
    requireUnused(!slerp && t != null, "--t", "--method slerp");
    requireUnused(
        !chosen.usesDensity() && density != null, "--density", "--method ties and --method dare");
    requireUnused(
        !chosen.needsBase() && lambda != null, "--lambda", "the methods that have a --base");
    requireUnused(chosen != Merge.Method.DARE && seed != null, "--seed", "--method dare");
    requireUnused(
        !chosen.canNormalize() && takeAsTheyAre,
        "--no-normalize",
        "--method linear and --method ties");
    if (chosen.usesDensity() && density == null) {
      throw wrongUsage("--method " + chosen + " needs --density, for example --density 0.2");
    }
    if (chosen.needsBase() && files.base() == null) {
      throw wrongUsage(
          "--method " + chosen + " needs --base, the model that the others were trained from");
    }
    requireUnused(
        !chosen.needsBase() && files.base() != null,
        "--base",
        "--method task-arithmetic, ties and dare");
  }

  private void requireUnused(boolean used, String option, String goesWith) {
    if (used) {
      throw wrongUsage(option + " goes with " + goesWith + " only");
    }
  }

  private interface Name<T> {
    String of(T value);
  }

  private <T> T choice(String option, String text, T[] values, Name<T> name) {
    List<String> names = Arrays.stream(values).map(name::of).toList();
    if (!names.contains(text)) {
      throw wrongUsage(
          option
              + " takes one of "
              + String.join(", ", names)
              + ", not '"
              + Text.sentence(text)
              + "'");
    }
    return values[names.indexOf(text)];
  }
}
