package dev.sinew.cli;

import dev.sinew.Device;
import dev.sinew.internal.RankThreads;
import java.util.Arrays;
import java.util.concurrent.atomic.AtomicLong;

/**
 * What all-reduce is compared with: a plain Java loop in which threads read each other's arrays.
 * Each sums its share of all inputs and stores it in all outputs, between two meetings of all.
 */
final class AllReduceLoop implements AutoCloseable {
  private static final int BLOCK = 4096;

  private final int ranks;
  private final RankThreads threads = new RankThreads();
  private final AtomicLong[] arrived;
  private final int spins;
  private float[][] x;
  private float[][] out;

  AllReduceLoop(int ranks) {
    this.ranks = ranks;
    // With more ranks than processors, whoever spins keeps the one it waits for from running.
    this.spins = ranks <= Device.availableProcessors() ? 20000 : 0;
    // 64 bytes and more apart, so that no two share a cache line.
    this.arrived = new AtomicLong[16 * ranks];
    Arrays.setAll(arrived, i -> new AtomicLong());
  }

  /** False where the heap is too small. */
  boolean prepare(int elements) {
    x = null;
    out = null;
    if (2L * ranks * 4 * elements > Runtime.getRuntime().maxMemory() / 10 * 8) {
      return false;
    }
    x = new float[ranks][elements];
    out = new float[ranks][elements];
    for (int r = 0; r < ranks; r++) {
      for (int i = 0; i < elements; i++) {
        x[r][i] = MeasuredRank.input(r, i);
      }
    }
    return true;
  }

  /** Seconds of one of so many calls, of the thread that took longest. */
  double seconds(long calls) throws Exception {
    return threads.largest(
        ranks,
        rank -> {
          meet(rank);
          long start = System.nanoTime();
          for (long i = 0; i < calls; i++) {
            call(rank);
          }
          return (System.nanoTime() - start) / 1e9 / calls;
        });
  }

  private void call(int rank) {
    meet(rank);
    long elements = x[0].length;
    int begin = (int) (elements * rank / ranks);
    int end = (int) (elements * (rank + 1) / ranks);
    for (int i = begin; i < end; i += BLOCK) {
      sumBlock(x, out, i, Math.min(end, i + BLOCK));
    }
    meet(rank);
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

  @Override
  public void close() {
    threads.close();
  }
}
