package dev.sinew.benchmarks;

import org.openjdk.jmh.annotations.AuxCounters;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.State;

/**
 * Nanoseconds that each contestant took in one round, 0 for those that did not run. JMH reports the
 * fields of every iteration, which is one round.
 */
@State(Scope.Thread)
@AuxCounters(AuxCounters.Type.EVENTS)
public class Times {
  /** The ceiling: {@code Ops.memoryProbe}, or copying the file. */
  public long probe;

  public long sinew;
  public long libtorch;
  public long javaLoop;

  /** Bytes that Sinew reads and writes. */
  public long bytes;

  static long nanosecondsOf(Runnable work) {
    long begin = System.nanoTime();
    work.run();
    return System.nanoTime() - begin;
  }
}
