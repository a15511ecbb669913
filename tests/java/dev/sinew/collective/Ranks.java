package dev.sinew.collective;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;

/** Runs ranks on threads of their own. */
final class Ranks {
  private Ranks() {}

  interface Rank {
    void run(Communicator communicator) throws Exception;
  }

  /** A new group of `size`, closed when all ranks have ended; the first failure is thrown. */
  static void run(int size, Rank rank) throws Exception {
    run(Communicator.threads(size), rank);
  }

  static void run(List<Communicator> group, Rank rank) throws Exception {
    ExecutorService pool = Executors.newFixedThreadPool(group.size());
    Throwable failure = null;
    try {
      List<Future<?>> futures = new ArrayList<>();
      for (Communicator communicator : group) {
        futures.add(
            pool.submit(
                () -> {
                  rank.run(communicator);
                  return null;
                }));
      }
      for (Future<?> future : futures) {
        try {
          future.get(50, TimeUnit.SECONDS);
        } catch (ExecutionException e) {
          // The others fail because this one did.
          if (failure == null || failure instanceof RankFailedException) {
            failure = e.getCause();
          }
        }
      }
    } finally {
      pool.shutdownNow();
      pool.awaitTermination(50, TimeUnit.SECONDS);
      group.forEach(Communicator::close);
    }
    if (failure instanceof Error error) {
      throw error;
    }
    if (failure != null) {
      throw (Exception) failure;
    }
  }
}
