package dev.sinew.pass;

import java.util.concurrent.atomic.AtomicLong;

/** Counts the bytes that are read, over all sweeps and runs, and tells a progress of them. */
final class ReadMeter {
  private final Optimizer.Progress progress;
  private final AtomicLong expected = new AtomicLong();
  private final AtomicLong read = new AtomicLong();

  ReadMeter(Optimizer.Progress progress) {
    this.progress = progress;
  }

  /** Says that so many more bytes will be read. */
  void expect(long bytes) {
    progress.started(expected.addAndGet(bytes));
  }

  void advance(long bytes) {
    read.addAndGet(bytes);
    progress.advanced(bytes);
  }

  long bytesRead() {
    return read.get();
  }
}
