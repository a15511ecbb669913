package dev.sinew.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;

class ProgressDisplayTest {
  private final ByteArrayOutputStream err = new ByteArrayOutputStream();
  private final AtomicLong clock = new AtomicLong(Long.MAX_VALUE - 5); // wraps, as nanoTime may

  private ProgressDisplay display(boolean terminal) {
    return new ProgressDisplay(
        new Terminal(new ByteArrayOutputStream(), err, terminal, terminal), "work", clock::get);
  }

  private String shown() {
    return err.toString(StandardCharsets.UTF_8);
  }

  /** A job of a gigabyte in a thousand steps. */
  private void work(ProgressDisplay progress, double seconds) {
    progress.started(1_000_000_000);
    for (int i = 0; i < 1000; i++) {
      clock.addAndGet((long) (seconds * 1e6));
      progress.advanced(1_000_000);
    }
  }

  @Test
  void shortJobsShowNothing() {
    try (ProgressDisplay progress = display(false)) {
      work(progress, 1.9);
    }
    try (ProgressDisplay progress = display(true)) {
      work(progress, 0.4);
    }
    assertEquals("", shown());
  }

  @Test
  void longJobsShowFewLines() {
    try (ProgressDisplay progress = display(false)) {
      work(progress, 100);
    }
    List<String> lines = shown().lines().toList();
    assertEquals(9, lines.size(), shown());
    assertEquals("work:  10% of 1.00 GB, 0.01 GB/s, 1:30 min left", lines.get(0));
    assertTrue(lines.get(8).matches("work:  90% of 1.00 GB, 0.01 GB/s, (9|10) s left"), shown());
  }

  @Test
  void veryLongJobsShowSignsOfLife() {
    try (ProgressDisplay progress = display(false)) {
      work(progress, 36_000);
    }
    // Ten hours: a line at least every 36 s, which is when there is news.
    assertTrue(shown().lines().count() > 900, () -> shown().lines().count() + " lines");
    assertTrue(shown().contains("9:00 h left"), shown());
  }

  @Test
  void onATerminalABarIsDrawnAndTakenAway() {
    try (ProgressDisplay progress = display(true)) {
      work(progress, 10);
    }
    assertEquals(0, shown().chars().filter(c -> c == '\n').count());
    String[] frames = shown().split("\r");
    // One each tenth of a second, after the first half.
    assertTrue(frames.length > 80 && frames.length < 110, frames.length + " frames");
    assertTrue(
        shown().contains("work [############------------]  50% of 1.00 GB, 0.10 GB/s, 5 s left"),
        shown());
    assertTrue(frames[frames.length - 1].isBlank());
    assertTrue(shown().endsWith("\r"));
  }

  @Test
  void aNewTotalKeepsWhatIsDone() {
    try (ProgressDisplay progress = display(false)) {
      progress.started(100);
      clock.addAndGet(3_000_000_000L);
      progress.advanced(50);
      progress.started(200);
      clock.addAndGet(3_000_000_000L);
      progress.advanced(100);
    }
    assertTrue(shown().contains("75% of 200 B"), shown());
  }
}
