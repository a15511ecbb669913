package dev.sinew.cli;

import dev.sinew.Device;
import dev.sinew.internal.Messages;
import dev.sinew.io.CheckpointFormat;
import dev.sinew.io.SafeTensors;
import dev.sinew.model.Checkpoint;
import dev.sinew.model.TensorInfo;
import dev.sinew.pass.Decoding;
import dev.sinew.pass.Optimizer;
import dev.sinew.pass.Pass;
import dev.sinew.pass.Prune;
import dev.sinew.pass.Quantize;
import dev.sinew.pass.Report;
import dev.sinew.pass.Targets;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

@Command(
    name = "demo",
    description =
        "Makes a checkpoint of 250 MB in a temporary folder, optimizes it in several ways, compares"
            + " each with the original, and prints sizes, errors and speed.")
final class DemoCommand extends SinewCommand {
  private static final float THRESHOLD = 0.005f;

  @Option(
      names = "--keep",
      paramLabel = "DIR",
      description = "Put the files into this new or empty folder, and leave them there.")
  private Path keep;

  @Option(names = "--layers", hidden = true, description = "A smaller model, for tests.")
  private int layers = DemoModel.DEFAULT.layers();

  @Mixin private ThreadsOption threads;

  /**
   * One way to optimize, and what must come out of it.
   *
   * @param label what the table says
   * @param file the output's name
   * @param leastDecibels the least signal-to-noise ratio of a healthy result, with some room
   * @param largestError the greatest error that is possible at all
   * @param leastSparsity share of the weights that must be zero
   */
  private record Recipe(
      String label,
      String file,
      double leastDecibels,
      double largestError,
      double leastSparsity,
      List<Pass> passes) {}

  private static List<Recipe> recipes() {
    double any = Double.POSITIVE_INFINITY;
    Pass half = Prune.sparsity(0.5, Prune.Scope.TENSOR);
    Pass int8 = Quantize.int8();
    return List.of(
        new Recipe(
            "prune |w| <= " + THRESHOLD,
            "pruned",
            20,
            THRESHOLD,
            0.05,
            List.of(Prune.threshold(THRESHOLD))),
        new Recipe("prune 2:4", "pruned-2-4", 5, any, 0.5, List.of(Prune.nm(2, 4))),
        new Recipe("int8 per channel", "int8", 30, any, 0, List.of(int8)),
        new Recipe(
            "int4, groups of 128",
            "int4",
            15,
            any,
            0,
            List.of(Quantize.of(4, false, "group=128", "mse"))),
        new Recipe("prune 50%, then int8", "pruned-int8", 5, any, 0.5, List.of(half, int8)));
  }

  @Override
  public Integer call() throws Exception {
    PrintWriter out = terminal().out();
    try (DemoFolder folder = DemoFolder.open(keep)) {
      Path model = folder.path().resolve("model.safetensors");
      out.printf("Making %s ...%n", Messages.printable(model.toString()));
      terminal().flush();
      DemoModel.DEFAULT.withLayers(layers).write(model);
      run(folder, model);
      if (keep != null) {
        out.println("The files are in " + Messages.printable(folder.path().toString()) + ".");
      }
    }
    return Main.OK;
  }

  private void run(DemoFolder folder, Path model) throws Exception {
    PrintWriter out = terminal().out();
    try (Checkpoint original = CheckpointFormat.open(model)) {
      List<TensorInfo> tensors = List.copyOf(original.tensors().values());
      out.printf(
          "%s, %s weights, %s; %s, %s%n%n",
          Text.plural(tensors.size(), "tensor"),
          Text.count(tensors.stream().mapToLong(TensorInfo::elements).sum()),
          Text.bytes(Files.size(model)),
          Device.isa(),
          Text.plural(threads.countOr(Device::availableProcessors), "thread"));
      Table table =
          new Table()
              .left("recipe", 20)
              .right("bytes", 7)
              .right("ratio", 5)
              .right("zeros", 6)
              .right("SNR dB", 6)
              .right("cosine", 7)
              .right("seconds", 7)
              .right("GB/s", 5);
      table.header(out);
      for (Recipe recipe : recipes()) {
        terminal().flush();
        Path result = folder.path().resolve(recipe.file() + ".safetensors");
        Report report = optimize(original, recipe, result);
        TensorComparison found = compare(original, result, report);
        double sparsity = sparsity(report);
        table.row(
            out,
            recipe.label(),
            Text.bytes(report.outputBytes()),
            Text.fixed((double) report.inputBytes() / report.outputBytes(), 2),
            Double.isNaN(sparsity) ? "-" : Text.fixed(100 * sparsity, 1) + "%",
            Text.fixed(found.snrDecibels(), 1),
            Text.fixed(found.cosine(), 5),
            Text.fixed(report.seconds(), 2),
            Text.fixed(report.inputBytes() / report.seconds() / 1e9, 2));
        check(recipe, report, found, sparsity);
        if (keep == null) {
          Files.delete(result);
        }
      }
    }
    out.println();
    out.println("SNR and cosine compare the weights that were touched with the original.");
    out.println("For a model of your own: sinew optimize IN OUT --quantize int8");
  }

  private Report optimize(Checkpoint original, Recipe recipe, Path result) throws IOException {
    try (ProgressDisplay progress = progress()) {
      return Optimizer.optimize(
          original,
          recipe.passes(),
          new Optimizer.Options(
              Targets.byDefault(), threads.countOr(Device::availableProcessors), false, progress),
          plan -> SafeTensors.create(result, plan, false));
    }
  }

  private static TensorComparison compare(Checkpoint original, Path result, Report report)
      throws IOException {
    TensorComparison.Reader reader = new TensorComparison.Reader();
    TensorComparison total = TensorComparison.none();
    try (Checkpoint optimized = Decoding.view(CheckpointFormat.open(result))) {
      for (Report.Entry entry : report.tensors()) {
        if (entry.touched()) {
          total =
              total.plus(
                  reader.compare(
                      original,
                      original.tensors().get(entry.name()),
                      optimized,
                      optimized.tensors().get(entry.name())));
        }
      }
    }
    return total;
  }

  private static double sparsity(Report report) {
    long zeros = 0;
    long elements = 0;
    for (Report.Entry entry : report.tensors()) {
      if (entry.touched()) {
        if (entry.zeros() < 0) {
          return Double.NaN;
        }
        zeros += entry.zeros();
        elements += entry.elements();
      }
    }
    return (double) zeros / elements;
  }

  private static void check(Recipe recipe, Report report, TensorComparison found, double sparsity)
      throws CommandException {
    String problem = null;
    if (!(found.snrDecibels() >= recipe.leastDecibels())) {
      problem = "the signal-to-noise ratio should be at least " + recipe.leastDecibels() + " dB";
    } else if (!(found.maxAbsError() <= recipe.largestError())) {
      problem = "no error should exceed " + recipe.largestError();
    } else if (recipe.leastSparsity() > 0 && !(sparsity >= recipe.leastSparsity())) {
      problem = "at least " + 100 * recipe.leastSparsity() + "% of the weights should be zero";
    }
    if (problem != null) {
      throw new CommandException(
          "the result of '"
              + report.recipe()
              + "' is wrong: "
              + problem
              + "; please report this with what 'sinew doctor' prints");
    }
  }

  /** Where the files of the demonstration are: deleted at the end unless they are to be kept. */
  private record DemoFolder(Path path, Thread hook) implements AutoCloseable {
    static DemoFolder open(Path keep) throws IOException, CommandException {
      if (keep == null) {
        Path path = Files.createTempDirectory("sinew-demo-");
        // For Ctrl-C.
        Thread hook = new Thread(() -> delete(path));
        Runtime.getRuntime().addShutdownHook(hook);
        return new DemoFolder(path, hook);
      }
      if (Files.exists(keep) && !(Files.isDirectory(keep) && isEmpty(keep))) {
        throw new CommandException(
            Messages.quote(keep)
                + " exists and is not an empty folder; give --keep a new or empty one");
      }
      return new DemoFolder(Files.createDirectories(keep), null);
    }

    private static boolean isEmpty(Path folder) throws IOException {
      try (Stream<Path> files = Files.list(folder)) {
        return files.findAny().isEmpty();
      }
    }

    private static void delete(Path folder) {
      try (Stream<Path> files = Files.list(folder)) {
        for (Path file : files.toList()) {
          Files.deleteIfExists(file);
        }
        Files.deleteIfExists(folder);
      } catch (IOException e) {
        // It is in the folder for temporary files, which the system clears.
      }
    }

    @Override
    public void close() {
      if (hook != null) {
        delete(path);
        try {
          Runtime.getRuntime().removeShutdownHook(hook);
        } catch (IllegalStateException e) {
          // The JVM is ending, and the hook is at work.
        }
      }
    }
  }
}
