package dev.sinew.benchmarks;

import dev.sinew.Device;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.LocalDate;
import java.util.ArrayList;
import java.util.Collection;
import java.util.EnumSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import org.openjdk.jmh.results.RunResult;
import org.openjdk.jmh.runner.Runner;
import org.openjdk.jmh.runner.RunnerException;
import org.openjdk.jmh.runner.options.ChainedOptionsBuilder;
import org.openjdk.jmh.runner.options.OptionsBuilder;
import org.openjdk.jmh.runner.options.TimeValue;
import org.openjdk.jmh.runner.options.VerboseMode;

/** Runs all benchmarks and writes their results; see benchmarks/run. */
public final class Main {
  // What matters most is also measured with a tensor that no cache can hold.
  private static final Set<WholePass.Kernel> LARGE =
      EnumSet.of(
          WholePass.Kernel.PRUNE,
          WholePass.Kernel.PRUNE_IN_PLACE,
          WholePass.Kernel.QUANTIZE_CHANNEL,
          WholePass.Kernel.DEQUANTIZE);

  private final boolean quick;

  private Main(boolean quick) {
    this.quick = quick;
  }

  /** Arguments: {@code [--quick] FOLDER}. Prints the path of the results without its extension. */
  public static void main(String[] args) throws IOException, RunnerException {
    boolean quick = args.length == 2 && args[0].equals("--quick");
    if (args.length != (quick ? 2 : 1)) {
      System.err.println("Usage: Main [--quick] FOLDER");
      System.exit(2);
    }
    new Main(quick).run(Path.of(args[args.length - 1]));
  }

  private void run(Path folder) throws IOException, RunnerException {
    Map<String, String> machine = Machine.describe();
    if (quick) {
      machine.put("mode", "--quick: fewer rounds");
    }
    machine.forEach((label, value) -> System.out.println(label + ": " + value));
    System.out.println();
    Map<String, Double> calls = calls();
    List<Row> passes = passes();
    List<Row> streams = streams();
    Results results = new Results(machine, calls, passes, streams);
    Files.createDirectories(folder);
    String name = LocalDate.now() + "-" + Machine.cpuSlug() + (quick ? "-quick" : "");
    results.writeMarkdown(folder.resolve(name + ".md"));
    results.writeJson(folder.resolve(name + ".json"));
    System.out.println();
    System.out.println(folder.resolve(name));
  }

  private static ChainedOptionsBuilder options(Class<?> benchmark) {
    return new OptionsBuilder()
        .include("\\." + benchmark.getSimpleName() + "\\.")
        .shouldFailOnError(true)
        .verbosity(VerboseMode.SILENT);
  }

  private Map<String, Double> calls() throws RunnerException {
    ChainedOptionsBuilder options = options(CallCost.class);
    if (quick) {
      options
          .warmupIterations(1)
          .measurementIterations(2)
          .measurementTime(TimeValue.milliseconds(500));
    }
    Map<String, Double> calls = new LinkedHashMap<>();
    for (RunResult result : new Runner(options.build()).run()) {
      String label = result.getPrimaryResult().getLabel();
      double nanoseconds = result.getPrimaryResult().getStatistics().getPercentile(50);
      calls.put(label, nanoseconds);
      System.out.printf(Locale.ROOT, "%s: %.0f ns%n", label, nanoseconds);
    }
    return calls;
  }

  private List<Row> passes() throws RunnerException {
    System.out.printf("%n%s", Results.passHeader());
    List<Row> rows = new ArrayList<>();
    for (int mebibytes : quick ? new int[] {256} : new int[] {256, 1024}) {
      for (WholePass.Kernel kernel : WholePass.Kernel.values()) {
        if (mebibytes > 256 && !LARGE.contains(kernel)) {
          continue;
        }
        for (int threads : threads()) {
          rows.add(pass(kernel, threads, mebibytes));
          System.out.print(Results.passLine(rows.get(rows.size() - 1)));
        }
      }
    }
    return rows;
  }

  private int[] threads() {
    int all = Device.availableProcessors();
    return quick || all == 1 ? new int[] {all} : new int[] {1, all};
  }

  private Row pass(WholePass.Kernel kernel, int threads, int mebibytes) throws RunnerException {
    ChainedOptionsBuilder options =
        options(WholePass.class)
            .param("kernel", kernel.name())
            .param("threads", Integer.toString(threads))
            .param("mebibytes", Integer.toString(mebibytes));
    if (quick || mebibytes > 256) {
      options.warmupIterations(1).measurementIterations(5);
    }
    return Row.of(only(options), kernel.name().toLowerCase(Locale.ROOT), threads, mebibytes);
  }

  private List<Row> streams() throws RunnerException {
    List<Row> rows = new ArrayList<>();
    for (Streaming.Recipe recipe : Streaming.Recipe.values()) {
      ChainedOptionsBuilder options = options(Streaming.class).param("recipe", recipe.name());
      if (quick) {
        options.warmupIterations(0).measurementIterations(2);
      }
      Row row =
          Row.of(
              only(options),
              recipe.name().toLowerCase(Locale.ROOT),
              Device.availableProcessors(),
              1024);
      System.out.printf(
          Locale.ROOT,
          "%n%s takes %.2f of a copy's time",
          row.name(),
          1 / row.speedAgainst("probe"));
      rows.add(row);
    }
    System.out.println();
    return rows;
  }

  private static RunResult only(ChainedOptionsBuilder options) throws RunnerException {
    Collection<RunResult> results = new Runner(options.build()).run();
    return results.iterator().next();
  }
}
