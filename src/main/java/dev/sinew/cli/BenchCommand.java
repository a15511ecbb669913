package dev.sinew.cli;

import com.fasterxml.jackson.core.JsonGenerator;
import dev.sinew.DType;
import dev.sinew.Device;
import dev.sinew.Scope;
import dev.sinew.Tensor;
import java.io.IOException;
import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.OptionalLong;
import java.util.function.Function;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

@Command(
    name = "bench",
    subcommands = BenchAllReduceCommand.class,
    description = {
      "Measures every operation against a memory probe that moves the same bytes in the same run.",
      "Every answer is checked on a sample against plain Java."
    })
final class BenchCommand extends SinewCommand {
  private static final int ROUNDS = 7;
  private static final long MIB = 1 << 20;

  @Option(names = "--json", description = "Print JSON; docs/cli.md describes the fields.")
  private boolean json;

  @Option(
      names = "--mib",
      paramLabel = "N",
      defaultValue = "512",
      description =
          "Size of the F32 matrix in MiB (default: ${DEFAULT-VALUE}); small ones measure caches, not memory.")
  private int mebibytes;

  @Mixin private ThreadsOption threads;

  /** Medians of the seconds of one operation and of its probe. */
  private record Result(String name, long bytes, double seconds, double probeSeconds) {
    double rate() {
      return bytes / seconds / 1e9;
    }

    double probeRate() {
      return bytes / probeSeconds / 1e9;
    }

    double ratio() {
      return probeSeconds / seconds;
    }
  }

  @Override
  public Integer call() throws Exception {
    if (mebibytes < 1 || mebibytes > 1 << 20) {
      throw wrongUsage("--mib takes a number from 1 to 1048576, not " + mebibytes);
    }
    requireMemory();
    List<Result> results = new ArrayList<>();
    try (Device device = Device.cpu(threads.countOr(Device::availableProcessors));
        Scope scope = new Scope()) {
      BenchKernels kernels =
          new BenchKernels(device, scope, mebibytes * MIB / (4 * BenchKernels.COLS));
      // Too small to count as written.
      Tensor sink = scope.allocate(device, DType.F32, 1);
      Table table =
          new Table()
              .left("operation", 28)
              .right("GB/s", 8)
              .right("probe GB/s", 10)
              .right("ratio", 6)
              .right("ms", 9);
      if (!json) {
        terminal().out().printf("%s, %s MiB of F32, median of %s%n", device, mebibytes, ROUNDS);
        table.header(terminal().out());
      }
      for (Function<Scope, BenchKernel> kernel : kernels.all()) {
        try (Scope outputs = new Scope()) {
          Result result = measure(kernel.apply(outputs), sink);
          results.add(result);
          if (!json) {
            print(table, result);
          }
        }
      }
      if (json) {
        printJson(device, results);
      }
    } catch (BenchKernel.WrongAnswer e) {
      throw new CommandException(
          "an operation gave a wrong answer on this machine: " + e.getMessage());
    }
    return Main.OK;
  }

  /** Asking for more than there is would have the kernel kill the process. */
  private void requireMemory() throws CommandException {
    long wanted = 3 * mebibytes * MIB;
    OptionalLong available = Platform.system().availableMemory();
    if (available.isPresent() && available.getAsLong() < wanted) {
      throw new CommandException(
          "--mib "
              + mebibytes
              + " needs about "
              + Text.bytes(wanted)
              + " of memory, and "
              + Text.bytes(available.getAsLong())
              + " are available; give a smaller --mib");
    }
  }

  private static Result measure(BenchKernel kernel, Tensor sink) throws BenchKernel.WrongAnswer {
    kernel.probe(sink);
    kernel.run().run();
    kernel.check().verify();
    double[] seconds = new double[ROUNDS];
    double[] probeSeconds = new double[ROUNDS];
    for (int i = 0; i < ROUNDS; i++) {
      probeSeconds[i] = seconds(() -> kernel.probe(sink));
      seconds[i] = seconds(kernel.run());
    }
    kernel.check().verify();
    return new Result(kernel.name(), kernel.bytes(), median(seconds), median(probeSeconds));
  }

  private static double seconds(Runnable work) {
    long start = System.nanoTime();
    work.run();
    return (System.nanoTime() - start) / 1e9;
  }

  private static double median(double[] values) {
    Arrays.sort(values);
    return values[values.length / 2];
  }

  private void print(Table table, Result result) {
    table.row(
        terminal().out(),
        result.name(),
        Text.fixed(result.rate(), 2),
        Text.fixed(result.probeRate(), 2),
        Text.fixed(result.ratio(), 2),
        Text.fixed(result.seconds() * 1e3, 2));
    terminal().flush();
  }

  private void printJson(Device device, List<Result> results) throws IOException {
    PrintWriter out = terminal().out();
    try (JsonGenerator generator = Json.to(out)) {
      generator.writeStartObject();
      generator.writeStringField("sinew_version", RootCommand.Version.text());
      generator.writeStringField("isa", Device.isa());
      generator.writeNumberField("threads", device.threads());
      generator.writeNumberField("mib", mebibytes);
      generator.writeNumberField("rounds", ROUNDS);
      generator.writeArrayFieldStart("operations");
      for (Result result : results) {
        generator.writeStartObject();
        generator.writeStringField("name", result.name());
        generator.writeNumberField("bytes", result.bytes());
        Json.number(generator, "seconds", result.seconds());
        Json.number(generator, "gb_per_second", result.rate());
        Json.number(generator, "probe_gb_per_second", result.probeRate());
        Json.number(generator, "ratio", result.ratio());
        generator.writeEndObject();
      }
      generator.writeEndArray();
      generator.writeEndObject();
    }
    out.println();
  }
}
