package dev.sinew.pass;

import java.util.concurrent.CancellationException;

/**
 * Lets workers end their jobs one after the other, in the order of the jobs' numbers.
 *
 * <p>Jobs are handed out in order, so the one whose turn it is has always been started and nobody
 * waits for ever, as long as each job that ends in success takes its turn.
 */
final class Turns {
  private long next;
  private boolean aborted;

  /** Waits until all jobs before this one have called {@link #end}. */
  synchronized void await(long job) {
    while (next < job) {
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
  }

  /** Ends the turn of the job whose turn it is. */
  synchronized void end() {
    next++;
    notifyAll();
  }

  /** Ends all waiting. */
  synchronized void abort() {
    aborted = true;
    notifyAll();
  }
}
