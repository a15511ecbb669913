package dev.sinew.pass;

import java.util.Arrays;
import java.util.concurrent.CancellationException;

/**
 * Tells each tile how many equal elements come before it, while tiles are counted on several
 * threads.
 *
 * <p>Tiles are handed out in order, so the one whose turn it is has always been started and nobody
 * waits for ever.
 */
final class TieLedger {
  private long[] before = new long[1024];
  private int claimed;
  private long total;
  private boolean aborted;

  /**
   * The number of equal elements in all tiles before this one, of which this one has {@code count};
   * waits until those before have been counted. A second claim gives the same answer.
   */
  synchronized long claim(long sequence, long count) {
    int tile = Math.toIntExact(sequence);
    while (claimed < tile) {
      if (aborted) {
        throw new CancellationException("another worker has failed");
      }
      try {
        wait();
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        throw new CancellationException("interrupted");
      }
    }
    if (claimed == tile) {
      if (tile == before.length) {
        before = Arrays.copyOf(before, 2 * tile);
      }
      before[tile] = total;
      total += count;
      claimed++;
      notifyAll();
    }
    return before[tile];
  }

  /** Ends all waiting. */
  synchronized void abort() {
    aborted = true;
    notifyAll();
  }
}
