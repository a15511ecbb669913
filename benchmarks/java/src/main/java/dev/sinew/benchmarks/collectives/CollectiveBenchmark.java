package dev.sinew.benchmarks.collectives;

import dev.sinew.DType;
import dev.sinew.Device;
import dev.sinew.Tensor;
import dev.sinew.benchmarks.Machine;
import dev.sinew.collective.Communicator;
import dev.sinew.collective.ReduceOp;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;

/**
 * All-reduce of Sinew beside Open MPI's and Gloo's, in the same processes, in turns; every process
 * that mpirun starts is a rank. See benchmarks/collectives.
 */
public final class CollectiveBenchmark {
  private static final long[] SIZES = {4 << 10, 64 << 10, 1 << 20, 16 << 20, 256 << 20};
  private static final int ROUNDS = 7;
  private static final double ROUND_SECONDS = 0.05;
  private static final int MOST_CALLS = 10000;

  private final Communicator ranks;
  private final List<AllReduce> contestants = new ArrayList<>();

  private CollectiveBenchmark(Path folder) {
    Duration timeout = Duration.ofMinutes(2);
    Communicator mpi = Communicator.mpi(timeout);
    int rank = mpi.rank();
    int size = mpi.size();
    String name = folder.getFileName().toString();
    ranks = Communicator.processes(name, rank, size, timeout);
    contestants.add(new SinewThreads(rank == 0 ? size : 0));
    contestants.add(
        new SinewRank(
            "Sinew, processes", Communicator.processes(name + "-timed", rank, size, timeout)));
    contestants.add(new SinewRank("Sinew, MPI", mpi));
    contestants.add(new OpenMpi());
    contestants.add(new Gloo(folder.resolve("gloo").toString(), rank, size));
  }

  /** Argument: an empty folder, the same for all ranks. */
  public static void main(String[] arguments) throws Exception {
    boolean right = new CollectiveBenchmark(Path.of(arguments[0])).run();
    System.out.flush();
    // Threads of the libraries would keep the JVM from ending.
    System.exit(right ? 0 : 1);
  }

  private boolean run() throws Exception {
    say("%d ranks, sum of F32, medians of %d rounds in microseconds%n", ranks.size(), ROUNDS);
    if (ranks.rank() == 0) {
      Machine.describe().forEach((label, value) -> say("%s: %s%n", label, value));
      say("MPI: %s%n", OpenMpi.version());
    }
    say(
        "%n| Bytes | %s | wrong |%n|%s%n",
        contestants.stream().map(AllReduce::name).collect(Collectors.joining(" | ")),
        "---|".repeat(contestants.size() + 2));
    long wrong = 0;
    for (long bytes : SIZES) {
      wrong += measure(bytes);
    }
    contestants.forEach(AllReduce::close);
    ranks.close();
    return wrong == 0;
  }

  private long measure(long bytes) throws Exception {
    try (Tensor x = Tensor.allocate(Device.cpu(), DType.F32, bytes / 4);
        Tensor out = Tensor.allocate(Device.cpu(), DType.F32, bytes / 4)) {
      Numbers.fillInput(x, ranks.rank());
      int[] calls = new int[contestants.size()];
      long wrong = 0;
      for (int c = 0; c < calls.length; c++) {
        contestants.get(c).prepare(x, out);
        wrong += wrongOf(contestants.get(c));
        double once = seconds(contestants.get(c), 1);
        for (int i = 0; i < 2 && once < ROUND_SECONDS; i++) {
          once = seconds(contestants.get(c), callsOfARound(once));
        }
        calls[c] = callsOfARound(once);
      }
      double[][] times = new double[contestants.size()][ROUNDS];
      for (int i = 0; i < ROUNDS; i++) {
        for (int c = 0; c < calls.length; c++) {
          times[c][i] = seconds(contestants.get(c), calls[c]);
        }
      }
      say(
          "| %s | %s | %d |%n",
          bytes >= 1 << 20 ? (bytes >> 20) + " MiB" : (bytes >> 10) + " KiB",
          Arrays.stream(times)
              .map(all -> median(all) * 1e6)
              .map(us -> String.format(Locale.ROOT, us < 100 ? "%.1f" : "%.0f", us))
              .collect(Collectors.joining(" | ")),
          wrong);
      return wrong;
    }
  }

  private static int callsOfARound(double once) {
    return (int) Math.max(1, Math.min(MOST_CALLS, ROUND_SECONDS / once));
  }

  /** Seconds of one call of the rank that took longest, the same number on all ranks. */
  private double seconds(AllReduce contestant, int calls) throws Exception {
    ranks.barrier();
    return ofAllRanks(contestant.seconds(calls), ReduceOp.MAX);
  }

  private long wrongOf(AllReduce contestant) throws Exception {
    contestant.outputs().forEach(Numbers::fillNan);
    contestant.restore();
    contestant.seconds(1);
    long wrong = 0;
    for (Tensor output : contestant.outputs()) {
      wrong += Numbers.countWrong(output, ranks.size());
    }
    return (long) ofAllRanks(wrong, ReduceOp.SUM);
  }

  private double ofAllRanks(double value, ReduceOp op) {
    try (Tensor one = Tensor.of(new float[] {(float) value}, 1)) {
      ranks.allReduce(one, op, one);
      return one.toFloats()[0];
    }
  }

  private static double median(double[] values) {
    double[] sorted = values.clone();
    Arrays.sort(sorted);
    return sorted[sorted.length / 2];
  }

  private void say(String format, Object... values) {
    if (ranks.rank() == 0) {
      System.out.printf(Locale.ROOT, format, values);
      System.out.flush();
    }
  }
}
