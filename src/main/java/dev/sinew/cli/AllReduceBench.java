package dev.sinew.cli;

import dev.sinew.cli.MeasuredRank.Request;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Times all-reduce of ranks that are threads and of ranks that are processes, plain and compressed,
 * and {@link AllReduceLoop}, in turns, so that what the machine does besides concerns all of them;
 * or of a single other group.
 */
final class AllReduceBench implements AutoCloseable {
  static final int ROUNDS = 7;
  private static final double ROUND_SECONDS = 0.02;
  private static final int MOST_CALLS = 10000;
  private static final int WARM_UPS = 10;

  /**
   * Medians of the seconds of one call; those of the loop are NaN where the heap is too small.
   *
   * @param transport where the ranks live
   */
  record Result(
      long bytes,
      String transport,
      boolean compressed,
      int ranks,
      double seconds,
      long wrong,
      double loopSeconds) {
    /** Bytes of input over time, in GB/s; 1 GB = 10^9 bytes. */
    double algorithmBandwidth() {
      return bytes / seconds / 1e9;
    }

    /** What each rank has to send and receive of that, by NCCL's definition. */
    double busBandwidth() {
      return algorithmBandwidth() * 2 * (ranks - 1) / ranks;
    }

    double ratio() {
      return loopSeconds / seconds;
    }
  }

  private interface Timed {
    /** Seconds of one of so many calls. */
    double seconds(int calls) throws Exception;
  }

  private static final class Series {
    final String transport;
    final MeasuredGroup group;
    final boolean compressed;
    final double[] seconds = new double[ROUNDS];
    int calls;

    Series(String transport, MeasuredGroup group, boolean compressed) {
      this.transport = transport;
      this.group = group;
      this.compressed = compressed;
    }

    double time(int count) throws Exception {
      return group.ask(compressed ? Request.TIME_COMPRESSED : Request.TIME, count);
    }

    long wrong() throws Exception {
      return (long) group.ask(compressed ? Request.CHECK_COMPRESSED : Request.CHECK, 0);
    }
  }

  private final int ranks;
  private final Map<String, MeasuredGroup> groups = new LinkedHashMap<>();
  private final AllReduceLoop loop; // or null
  private final List<Series> series = new ArrayList<>();
  private int sizes;

  /** Threads and processes of this host, and the loop. */
  AllReduceBench(int ranks) throws IOException {
    this.ranks = ranks;
    this.loop = new AllReduceLoop(ranks);
    groups.put("threads", MeasuredGroup.threads(ranks));
    groups.put("processes", MeasuredGroup.processes(ranks));
    addSeries(false);
    addSeries(true);
  }

  /**
   * One group, which is closed with this. Where its ranks are processes that something else has
   * started, every process makes and asks for the same; rounds last as long in all of them, since
   * their times are those of the slowest rank.
   *
   * @param compresses whether it has compressed all-reduce
   */
  AllReduceBench(String transport, MeasuredGroup group, boolean compresses) {
    this.ranks = group.size();
    this.loop = null;
    groups.put(transport, group);
    addSeries(false);
    if (compresses) {
      addSeries(true);
    }
  }

  private void addSeries(boolean compressed) {
    groups.forEach((name, group) -> series.add(new Series(name, group, compressed)));
  }

  /** A result for each transport, plain ones first. */
  List<Result> measure(long bytes) throws Exception {
    int elements = (int) (bytes / 4);
    for (MeasuredGroup group : groups.values()) {
      group.ask(Request.PREPARE, elements);
    }
    boolean compared = loop != null && loop.prepare(elements);
    int loopCalls = 0;
    if (compared) {
      // Until Java has compiled it.
      for (int i = 0; i < (sizes == 0 ? WARM_UPS : 1); i++) {
        loopCalls = callsOfARound(loop::seconds);
      }
    }
    sizes++;
    double[] loopSeconds = new double[ROUNDS];
    Arrays.fill(loopSeconds, Double.NaN);
    for (Series one : series) {
      one.calls = callsOfARound(one::time);
    }
    for (int i = 0; i < ROUNDS; i++) {
      if (compared) {
        loopSeconds[i] = loop.seconds(loopCalls);
      }
      for (Series one : series) {
        one.seconds[i] = one.time(one.calls);
      }
    }
    List<Result> all = new ArrayList<>();
    for (Series one : series) {
      all.add(
          new Result(
              bytes,
              one.transport,
              one.compressed,
              ranks,
              median(one.seconds),
              one.wrong(),
              median(loopSeconds)));
    }
    return all;
  }

  /** So many that a round is long enough to time; warms up. */
  private static int callsOfARound(Timed timed) throws Exception {
    double once = timed.seconds(1);
    if (once < ROUND_SECONDS) {
      once = timed.seconds((int) Math.min(MOST_CALLS, 1 + ROUND_SECONDS / once));
    }
    return (int) Math.max(1, Math.min(MOST_CALLS, ROUND_SECONDS / once));
  }

  private static double median(double[] values) {
    double[] sorted = values.clone();
    Arrays.sort(sorted);
    return sorted[sorted.length / 2];
  }

  @Override
  public void close() {
    if (loop != null) {
      loop.close();
    }
    groups.values().forEach(MeasuredGroup::close);
  }
}
