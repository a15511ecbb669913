package dev.sinew.internal;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/** Threads on which the ranks of a group do the same at once, kept from one time to the next. */
public final class RankThreads implements AutoCloseable {
  private final ExecutorService threads = Executors.newCachedThreadPool();

  /** What one rank does, and its result, such as seconds. */
  public interface Rank {
    double run(int rank) throws Exception;
  }

  /**
   * Runs ranks 0 to {@code ranks - 1}, each on a thread of its own, and gives the largest of their
   * results, or 0 if there are none.
   *
   * @throws Exception what the first of those that failed has thrown, while others may still run;
   *     an Error comes as the cause of an ExecutionException
   */
  public double largest(int ranks, Rank rank) throws Exception {
    List<Future<Double>> results = new ArrayList<>();
    for (int r = 0; r < ranks; r++) {
      int number = r;
      results.add(threads.submit(() -> rank.run(number)));
    }
    double largest = 0;
    for (Future<Double> result : results) {
      try {
        largest = Math.max(largest, result.get());
      } catch (ExecutionException e) {
        throw e.getCause() instanceof Exception cause ? cause : e;
      }
    }
    return largest;
  }

  @Override
  public void close() {
    threads.shutdown();
  }
}
