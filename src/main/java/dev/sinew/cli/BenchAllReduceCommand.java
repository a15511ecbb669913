package dev.sinew.cli;

import com.fasterxml.jackson.core.JsonGenerator;
import dev.sinew.Device;
import dev.sinew.collective.Communicator;
import java.io.IOException;
import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalLong;
import java.util.stream.Stream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

@Command(
    name = "allreduce",
    description = {
      "Measures all-reduce (sum of F32) between threads and between processes, plain and compressed,",
      "in the terms of nccl-tests, against a plain loop in which threads read each other's arrays.",
      "Every result is checked. With --mpi, started by mpirun, between the processes of MPI; with",
      "--gpus between GPUs of this host; with --nccl, started by torchrun or its like, over NCCL."
    })
final class BenchAllReduceCommand extends SinewCommand {
  private static final long MOST_BYTES = 1L << 30;

  @Option(names = "--json", description = "Print JSON; docs/cli.md describes the fields.")
  private boolean json;

  @Option(
      names = "--ranks",
      paramLabel = "N",
      description = "Ranks; by default one for each processor that may be used.")
  private Integer ranks;

  @Option(
      names = "--mpi",
      description = "The ranks are the processes that mpirun has started; the first one prints.")
  private boolean mpi;

  @Option(
      names = "--gpus",
      paramLabel = "N",
      split = ",",
      description = "A rank for each number, with its tensors on that GPU; several may have one.")
  private List<Integer> gpus;

  @Option(
      names = "--nccl-from",
      paramLabel = "BYTES",
      description = "With --gpus: tensors of at least so many bytes are reduced by way of NCCL.")
  private Long ncclFrom;

  @Option(
      names = "--nccl",
      description = "The ranks are processes with a GPU each, as RANK, WORLD_SIZE and others say.")
  private boolean nccl;

  @Option(
      names = "--sizes",
      paramLabel = "BYTES",
      split = ",",
      defaultValue = "4096,65536,1048576,16777216,268435456",
      description = "Bytes of a rank's tensor (default: ${DEFAULT-VALUE}).")
  private List<Long> sizes;

  @Override
  public Integer call() throws Exception {
    if (Stream.of(ranks != null, mpi, gpus != null, nccl).filter(given -> given).count() > 1) {
      throw wrongUsage("only one of --ranks, --mpi, --gpus and --nccl says what the ranks are");
    }
    if (ncclFrom != null && (gpus == null || ncclFrom < 0)) {
      throw wrongUsage("--nccl-from takes a number of bytes, and goes with --gpus");
    }
    int count = ranks != null ? ranks : Device.availableProcessors();
    if (count < 1 || count > Communicator.MAX_SIZE) {
      throw wrongUsage(
          "--ranks takes a number from 1 to " + Communicator.MAX_SIZE + ", not " + count);
    }
    for (long bytes : sizes) {
      if (bytes < 4 || bytes > MOST_BYTES || bytes % 4 != 0) {
        throw wrongUsage("--sizes takes multiples of 4 from 4 to " + MOST_BYTES + ", not " + bytes);
      }
    }
    if (mpi) {
      return measure("MPI", MeasuredGroup.mpi(), true);
    }
    if (gpus != null) {
      List<Device> devices = gpus.stream().map(Device::cuda).toList();
      return measure("GPUs", MeasuredGroup.gpus(devices, ncclFrom), false);
    }
    if (nccl) {
      return measure("NCCL", nccl(), false);
    }
    requireMemory(count);
    return measure(new AllReduceBench(count), count, true);
  }

  private static MeasuredGroup nccl() throws CommandException {
    try {
      return MeasuredGroup.nccl();
    } catch (IllegalStateException e) {
      throw new CommandException(Text.sentence(e.getMessage())); // of the environment
    }
  }

  private int measure(String transport, MeasuredGroup group, boolean compresses) throws Exception {
    AllReduceBench bench = new AllReduceBench(transport, group, compresses);
    return measure(bench, group.size(), group.rank() == 0);
  }

  private int measure(AllReduceBench bench, int count, boolean first) throws Exception {
    List<AllReduceBench.Result> results = new ArrayList<>();
    boolean prints = first && !json;
    try (bench) {
      Table table =
          new Table()
              .right("size (B)", 11)
              .left("ranks", 23)
              .right("time (us)", 11)
              .right("algbw (GB/s)", 12)
              .right("busbw (GB/s)", 12)
              .right("#wrong", 7)
              .right("loop (us)", 11)
              .right("ratio", 6);
      if (prints) {
        terminal()
            .out()
            .printf(
                "%s ranks, %s, sum of F32 out of place, median of %s%n",
                count, Device.isa(), AllReduceBench.ROUNDS);
        table.header(terminal().out());
      }
      for (long bytes : sizes) {
        for (AllReduceBench.Result result : bench.measure(bytes)) {
          results.add(result);
          if (prints) {
            print(table, result);
          }
        }
      }
    }
    if (json && first) {
      printJson(count, results);
    }
    for (AllReduceBench.Result result : results) {
      if (result.wrong() > 0) {
        throw new CommandException(
            "all-reduce of "
                + result.bytes()
                + " bytes between "
                + name(result)
                + " gave "
                + result.wrong()
                + " wrong elements on this machine");
      }
    }
    return Main.OK;
  }

  /** Asking for more than there is would have the kernel kill the process. */
  private void requireMemory(int count) throws CommandException {
    long largest = sizes.stream().mapToLong(Long::longValue).max().orElse(0);
    // Inputs and outputs of both groups and of the loop.
    long wanted = 6 * count * largest;
    OptionalLong available = Platform.system().availableMemory();
    if (available.isPresent() && available.getAsLong() < wanted) {
      throw new CommandException(
          count
              + " ranks with "
              + Text.bytes(largest)
              + " each need about "
              + Text.bytes(wanted)
              + " of memory, and "
              + Text.bytes(available.getAsLong())
              + " are available; give smaller --sizes");
    }
  }

  private static String name(AllReduceBench.Result result) {
    return result.transport() + (result.compressed() ? ", compressed" : "");
  }

  private void print(Table table, AllReduceBench.Result result) {
    boolean compared = !Double.isNaN(result.loopSeconds());
    table.row(
        terminal().out(),
        result.bytes(),
        name(result),
        Text.fixed(result.seconds() * 1e6, 2),
        Text.fixed(result.algorithmBandwidth(), 2),
        Text.fixed(result.busBandwidth(), 2),
        result.wrong(),
        compared ? Text.fixed(result.loopSeconds() * 1e6, 2) : "-",
        compared ? Text.fixed(result.ratio(), 2) : "-");
    terminal().flush();
  }

  private void printJson(int count, List<AllReduceBench.Result> results) throws IOException {
    PrintWriter out = terminal().out();
    try (JsonGenerator generator = Json.to(out)) {
      generator.writeStartObject();
      generator.writeStringField("sinew_version", RootCommand.Version.text());
      generator.writeStringField("isa", Device.isa());
      generator.writeNumberField("ranks", count);
      generator.writeNumberField("rounds", AllReduceBench.ROUNDS);
      generator.writeArrayFieldStart("results");
      for (AllReduceBench.Result result : results) {
        generator.writeStartObject();
        generator.writeNumberField("bytes", result.bytes());
        generator.writeStringField("transport", result.transport());
        generator.writeBooleanField("compressed", result.compressed());
        Json.number(generator, "seconds", result.seconds());
        Json.number(generator, "algbw_gb_per_second", result.algorithmBandwidth());
        Json.number(generator, "busbw_gb_per_second", result.busBandwidth());
        generator.writeNumberField("wrong", result.wrong());
        Json.number(generator, "loop_seconds", result.loopSeconds());
        Json.number(generator, "ratio", result.ratio());
        generator.writeEndObject();
      }
      generator.writeEndArray();
      generator.writeEndObject();
    }
    out.println();
  }
}
