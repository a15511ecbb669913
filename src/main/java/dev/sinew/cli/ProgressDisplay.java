package dev.sinew.cli;

import dev.sinew.pass.Optimizer;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.LongSupplier;

/**
 * Shows on standard error how far a long job is: a bar on a terminal, a line now and then
 * elsewhere, nothing for short jobs.
 *
 * <p>Safe for use by many threads: any of them may report bytes, and whichever comes when a new
 * display is due prints it.
 */
final class ProgressDisplay implements Optimizer.Progress, AutoCloseable {
  private static final double BAR_FROM = 0.5;
  private static final double BAR_EVERY = 0.1;
  private static final double LINES_FROM = 2;
  private static final double LINES_EVERY = 2;
  private static final double LINES_AT_LEAST_EVERY = 30;
  private static final int BAR_CELLS = 24;
  private static final int COLUMNS = 79;

  private final Terminal terminal;
  private final String what;
  private final LongSupplier nanoTime;
  private final AtomicLong done = new AtomicLong();
  private long total;
  private long start;
  private volatile long nextLook;
  private double shownAt;
  private double shownShare;
  private boolean barVisible;

  /**
   * @param what the job in a word or two
   * @param nanoTime a clock like {@link System#nanoTime}
   */
  ProgressDisplay(Terminal terminal, String what, LongSupplier nanoTime) {
    this.terminal = terminal;
    this.what = what;
    this.nanoTime = nanoTime;
  }

  /** Begins a job of this many bytes, or sets a new total for the one that is under way. */
  @Override
  public synchronized void started(long totalBytes) {
    if (total == 0) {
      start = nanoTime.getAsLong();
      nextLook = start;
    }
    total = totalBytes;
  }

  /** So many more bytes are done. */
  @Override
  public void advanced(long bytes) {
    long now = done.addAndGet(bytes);
    long time = nanoTime.getAsLong();
    if (time - nextLook >= 0) {
      look(now, time);
    }
  }

  private synchronized void look(long bytes, long time) {
    if (total <= 0 || time - nextLook < 0) {
      return;
    }
    nextLook = time + (long) (BAR_EVERY * 1e9);
    double seconds = (time - start) / 1e9;
    double share = Math.min(1, (double) bytes / total);
    if (terminal.errIsTerminal()) {
      if (seconds >= BAR_FROM) {
        draw(bar(share) + status(bytes, share, seconds));
      }
    } else if (seconds >= LINES_FROM
        && share < 1
        && (seconds - shownAt >= LINES_AT_LEAST_EVERY
            || (seconds - shownAt >= LINES_EVERY && share - shownShare >= 0.1))) {
      shownAt = seconds;
      shownShare = share;
      terminal.err().println(what + ":" + status(bytes, share, seconds));
      terminal.err().flush();
    }
  }

  private String status(long bytes, double share, double seconds) {
    long left = share > 0 ? Math.round(seconds / share * (1 - share)) : 0;
    return String.format(
        " %3d%% of %s, %s, %s left",
        (int) (share * 100), Text.bytes(total), Text.rate(bytes, seconds), duration(left));
  }

  static String duration(long seconds) {
    if (seconds < 60) {
      return seconds + " s";
    }
    return seconds < 3600
        ? String.format("%d:%02d min", seconds / 60, seconds % 60)
        : String.format("%d:%02d h", seconds / 3600, seconds / 60 % 60);
  }

  private String bar(double share) {
    int full = (int) (share * BAR_CELLS);
    return what + " [" + "#".repeat(full) + "-".repeat(BAR_CELLS - full) + "]";
  }

  private void draw(String line) {
    String fitted = line.length() > COLUMNS ? line.substring(0, COLUMNS) : line;
    terminal.bar(fitted, COLUMNS);
    barVisible = true;
  }

  /** Takes the bar away, so that what follows stands on a line of its own. */
  @Override
  public synchronized void close() {
    total = 0;
    if (barVisible) {
      terminal.bar("", COLUMNS);
      barVisible = false;
    }
  }
}
