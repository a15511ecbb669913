package dev.sinew.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.IOException;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.ExecutionException;
import org.junit.jupiter.api.Test;

class RankThreadsTest {
  @Test
  void ranksRunAtOnceAndTheLargestResultCounts() throws Exception {
    try (RankThreads threads = new RankThreads()) {
      CyclicBarrier all = new CyclicBarrier(3);
      for (int i = 0; i < 2; i++) {
        assertEquals(
            2.5,
            threads.largest(
                3,
                rank -> {
                  all.await();
                  return rank == 1 ? 2.5 : rank;
                }));
      }
      assertEquals(0, threads.largest(0, rank -> 1));
    }
  }

  @Test
  void aFailureIsThrownAsItIs() {
    try (RankThreads threads = new RankThreads()) {
      IOException first = new IOException("rank 1 failed");
      assertSame(
          first,
          assertThrows(
              IOException.class,
              () ->
                  threads.largest(
                      3,
                      rank -> {
                        if (rank == 0) {
                          return 0;
                        }
                        throw rank == 1 ? first : new IOException("rank 2 failed");
                      })));
      AssertionError error = new AssertionError();
      ExecutionException e =
          assertThrows(
              ExecutionException.class,
              () ->
                  threads.largest(
                      1,
                      rank -> {
                        throw error;
                      }));
      assertSame(error, e.getCause());
    }
  }
}
