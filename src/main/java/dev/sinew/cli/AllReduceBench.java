package dev.sinew.cli;

import dev.sinew.DType;
import dev.sinew.Device;
import dev.sinew.Scope;
import dev.sinew.Tensor;
import dev.sinew.collective.Communicator;
import dev.sinew.collective.ReduceOp;
import java.nio.FloatBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicLong;

/**
 * Times all-reduce (sum of F32) of ranks that are threads, and beside it a plain Java loop in which
 * the same number of threads read each other's arrays: each sums its share of all inputs and stores
 * it in all outputs, between two meetings of all threads.
 */
final class AllReduceBench implements AutoCloseable {
  static final int ROUNDS = 7;
  private static final double ROUND_SECONDS = 0.02;
  private static final long MOST_CALLS = 10000;
  private static final int BLOCK = 4096;

  /** Medians of the seconds of one call; those of the loop are NaN where the heap is too small. */
  record Result(long bytes, int ranks, double seconds, long wrong, double loopSeconds) {
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

  private interface Call {
    void run(int rank) throws Exception;
  }

  private final int ranks;
  private final ExecutorService threads;
  private final List<Communicator> group;
  private final AtomicLong[] arrived;
  private final int spins;

  AllReduceBench(int ranks) {
    this.ranks = ranks;
    // With more ranks than processors, whoever spins keeps the one it waits for from running.
    this.spins = ranks <= Device.availableProcessors() ? 20000 : 0;
    this.group = Communicator.threads(ranks);
    this.threads = Executors.newFixedThreadPool(ranks);
    // 64 bytes and more apart, so that no two share a cache line.
    this.arrived = new AtomicLong[16 * ranks];
    Arrays.setAll(arrived, i -> new AtomicLong());
  }

  Result measure(long bytes) throws Exception {
    int elements = (int) (bytes / 4);
    try (Scope scope = new Scope()) {
      List<Tensor> x = new ArrayList<>();
      List<Tensor> out = new ArrayList<>();
      for (int r = 0; r < ranks; r++) {
        int rank = r;
        x.add(scope.allocate(Device.cpu(), DType.F32, elements));
        out.add(scope.allocate(Device.cpu(), DType.F32, elements));
        fill(x.get(r), i -> input(rank, i));
        fill(out.get(r), i -> Float.NaN);
      }
      Call allReduce = r -> group.get(r).allReduce(x.get(r), ReduceOp.SUM, out.get(r));
      Call loop = loop(elements);
      long calls = callsOfARound(allReduce);
      long loopCalls = loop == null ? 0 : callsOfARound(loop);
      double[] seconds = new double[ROUNDS];
      double[] loopSeconds = new double[ROUNDS];
      Arrays.fill(loopSeconds, Double.NaN);
      for (int i = 0; i < ROUNDS; i++) {
        seconds[i] = seconds(allReduce, calls);
        if (loop != null) {
          loopSeconds[i] = seconds(loop, loopCalls);
        }
      }
      long wrong = 0;
      for (Tensor result : out) {
        wrong += wrong(result);
      }
      return new Result(bytes, ranks, median(seconds), wrong, median(loopSeconds));
    }
  }

  /** So many that a round is long enough to time; warms up. */
  private long callsOfARound(Call call) throws Exception {
    double once = seconds(call, 1);
    if (once < ROUND_SECONDS) {
      once = seconds(call, (long) Math.min(MOST_CALLS, 1 + ROUND_SECONDS / once));
    }
    return (long) Math.max(1, Math.min(MOST_CALLS, ROUND_SECONDS / once));
  }

  /** Null where the heap is too small. */
  private Call loop(int elements) {
    long wanted = 2L * ranks * 4 * elements;
    if (wanted > Runtime.getRuntime().maxMemory() / 10 * 8) {
      return null;
    }
    float[][] x = new float[ranks][elements];
    float[][] out = new float[ranks][elements];
    for (int r = 0; r < ranks; r++) {
      for (int i = 0; i < elements; i++) {
        x[r][i] = input(r, i);
      }
    }
    return rank -> {
      meet(rank);
      int begin = (int) ((long) elements * rank / ranks);
      int end = (int) ((long) elements * (rank + 1) / ranks);
      for (int i = begin; i < end; i += BLOCK) {
        sumBlock(x, out, i, Math.min(end, i + BLOCK));
      }
      meet(rank);
    };
  }

  private static void sumBlock(float[][] x, float[][] out, int begin, int end) {
    float[] sum = out[0];
    if (x.length == 1) {
      System.arraycopy(x[0], begin, sum, begin, end - begin);
      return;
    }
    if (x.length == 2) {
      sumOfTwo(x[0], x[1], sum, out[1], begin, end);
      return;
    }
    add(x[0], x[1], sum, begin, end);
    for (int r = 2; r < x.length; r++) {
      add(sum, x[r], sum, begin, end);
    }
    for (int r = 1; r < out.length; r++) {
      System.arraycopy(sum, begin, out[r], begin, end - begin);
    }
  }

  private static void sumOfTwo(
      float[] a, float[] b, float[] first, float[] second, int begin, int end) {
    for (int i = begin; i < end; i++) {
      float sum = a[i] + b[i];
      first[i] = sum;
      second[i] = sum;
    }
  }

  private static void add(float[] a, float[] b, float[] sum, int begin, int end) {
    for (int i = begin; i < end; i++) {
      sum[i] = a[i] + b[i];
    }
  }

  private void meet(int rank) {
    long phase = arrived[16 * rank].get() + 1;
    arrived[16 * rank].setRelease(phase);
    for (int r = 0; r < ranks; r++) {
      for (int i = 0; arrived[16 * r].getAcquire() < phase; i++) {
        if (i < spins) {
          Thread.onSpinWait();
        } else {
          Thread.yield();
        }
      }
    }
  }

  /** Seconds of one of so many calls, of the rank that took longest. */
  private double seconds(Call call, long calls) throws Exception {
    List<Future<Double>> futures = new ArrayList<>();
    for (int r = 0; r < ranks; r++) {
      int rank = r;
      futures.add(
          threads.submit(
              () -> {
                meet(rank);
                long start = System.nanoTime();
                for (long i = 0; i < calls; i++) {
                  call.run(rank);
                }
                return (System.nanoTime() - start) / 1e9 / calls;
              }));
    }
    double longest = 0;
    for (Future<Double> future : futures) {
      try {
        longest = Math.max(longest, future.get());
      } catch (ExecutionException e) {
        throw e.getCause() instanceof Exception cause ? cause : e;
      }
    }
    return longest;
  }

  private static double median(double[] values) {
    double[] sorted = values.clone();
    Arrays.sort(sorted);
    return sorted[sorted.length / 2];
  }

  private interface Value {
    float at(int index);
  }

  private static void fill(Tensor tensor, Value value) {
    tensor.withBuffer(
        0,
        (int) tensor.byteSize(),
        bytes -> {
          FloatBuffer floats = bytes.asFloatBuffer();
          for (int i = 0; i < floats.limit(); i++) {
            floats.put(i, value.at(i));
          }
        });
  }

  /** Integers from -4 to 4, whose sums are exact in F32. */
  private static float input(int rank, int index) {
    return (index % 9 * 7 + rank * 5) % 9 - 4;
  }

  private long wrong(Tensor result) {
    float[] expected = new float[9];
    for (int i = 0; i < 9; i++) {
      for (int r = 0; r < ranks; r++) {
        expected[i] += input(r, i);
      }
    }
    return countWrong(result, expected);
  }

  /** How many elements are not those expected, which repeat. */
  static long countWrong(Tensor result, float[] expected) {
    long[] wrong = new long[1];
    result.withBuffer(
        0,
        (int) result.byteSize(),
        bytes -> {
          FloatBuffer floats = bytes.asFloatBuffer();
          for (int i = 0; i < floats.limit(); i++) {
            // NaN, with which outputs are filled beforehand, equals nothing.
            if (floats.get(i) != expected[i % expected.length]) {
              wrong[0]++;
            }
          }
        });
    return wrong[0];
  }

  @Override
  public void close() {
    group.forEach(Communicator::close);
    threads.shutdown();
  }
}
