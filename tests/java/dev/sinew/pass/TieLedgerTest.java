package dev.sinew.pass;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(30)
class TieLedgerTest {
  @Test
  void everyTileLearnsWhatComesBeforeItWhoeverIsFirst() throws Exception {
    int tiles = 3000; // more than the ledger has room for at first
    long[] counts = new Random(1).longs(tiles, 0, 5).toArray();
    long[] expected = new long[tiles];
    for (int i = 1; i < tiles; i++) {
      expected[i] = expected[i - 1] + counts[i - 1];
    }
    for (int threads = 1; threads <= 8; threads++) {
      TieLedger ledger = new TieLedger();
      AtomicLong next = new AtomicLong();
      inThreads(
          threads,
          () -> {
            for (int i = (int) next.getAndIncrement(); i < tiles; ) {
              assertEquals(expected[i], ledger.claim(i, counts[i]));
              i = (int) next.getAndIncrement();
            }
          });
      // A second claim, with whatever count, gives the same answer.
      assertEquals(expected[1234], ledger.claim(1234, 99));
      assertEquals(expected[tiles - 1], ledger.claim(tiles - 1, 99));
    }
  }

  @Test
  void turnsComeInOrder() throws Exception {
    for (int threads = 1; threads <= 8; threads++) {
      Turns turns = new Turns();
      AtomicLong next = new AtomicLong();
      List<Long> order = new ArrayList<>(); // only whose turn it is writes to it
      inThreads(
          threads,
          () -> {
            for (long i = next.getAndIncrement(); i < 1000; i = next.getAndIncrement()) {
              turns.await(i);
              turns.await(i);
              order.add(i);
              turns.end();
            }
          });
      assertEquals(1000, order.size());
      for (int i = 0; i < 1000; i++) {
        assertEquals(i, order.get(i));
      }
    }
  }

  @Test
  void abortEndsWaiting() throws Exception {
    TieLedger ledger = new TieLedger();
    Turns turns = new Turns();
    CountDownLatch started = new CountDownLatch(2);
    ExecutorService pool = Executors.newFixedThreadPool(2);
    try {
      List<Future<?>> waiting =
          List.of(
              pool.submit(
                  () -> {
                    started.countDown();
                    ledger.claim(1, 0);
                  }),
              pool.submit(
                  () -> {
                    started.countDown();
                    turns.await(1);
                  }));
      started.await();
      ledger.abort();
      turns.abort();
      for (Future<?> future : waiting) {
        ExecutionException e =
            assertThrows(ExecutionException.class, () -> future.get(10, TimeUnit.SECONDS));
        assertTrue(e.getCause() instanceof CancellationException, e.toString());
      }
    } finally {
      pool.shutdownNow();
    }
    assertThrows(CancellationException.class, () -> ledger.claim(5, 0));
  }

  @Test
  void interruptEndsWaitingAndStays() {
    Thread.currentThread().interrupt();
    assertThrows(CancellationException.class, () -> new TieLedger().claim(1, 0));
    assertTrue(Thread.interrupted());
    Thread.currentThread().interrupt();
    assertThrows(CancellationException.class, () -> new Turns().await(1));
    assertTrue(Thread.interrupted());
  }

  private static void inThreads(int threads, Runnable work) throws Exception {
    ExecutorService pool = Executors.newFixedThreadPool(threads);
    try {
      List<Future<?>> futures = new ArrayList<>();
      for (int i = 0; i < threads; i++) {
        futures.add(pool.submit(work));
      }
      for (Future<?> future : futures) {
        future.get(20, TimeUnit.SECONDS);
      }
    } finally {
      pool.shutdownNow();
    }
  }
}
