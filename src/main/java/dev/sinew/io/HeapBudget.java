package dev.sinew.io;

import dev.sinew.internal.Messages;
import dev.sinew.model.CheckpointException;
import java.nio.file.Path;

/**
 * Bounds the Java heap that the structure of one file (header, directory, pickle, names) may take,
 * or that of all files of a folder, so that a hostile file ends in a sentence and not in an
 * OutOfMemoryError, which would hit other threads too. Charges are estimates of the objects made,
 * on the high side. Not thread-safe.
 */
final class HeapBudget {
  /** What the structure of a small file may take in any case, as far as the heap allows. */
  private static final long BASE = 32L << 20;

  /** More than any structure takes that says what it means; two bytes make a list and its memo. */
  private static final long PER_BYTE = 128;

  private static final String ADVICE =
      "half of all there is; if you trust the file, allow more with -Xmx (for the command"
          + " line: SINEW_JAVA_OPTS=-Xmx4g)";

  private final Path file;
  private final long limit;
  private final String advice;
  private final HeapBudget whole;
  private long used;

  private HeapBudget(Path file, long limit, String advice, HeapBudget whole) {
    this.file = file;
    this.limit = limit;
    this.advice = advice;
    this.whole = whole;
  }

  /** In proportion to the size of the file, and never more than half the largest heap. */
  static HeapBudget of(Path file, long fileBytes) {
    return of(file, fileBytes, Runtime.getRuntime().maxMemory());
  }

  /** As {@link #of(Path, long)}, in a JVM whose heap may grow to {@code heapBytes}. */
  static HeapBudget of(Path file, long fileBytes, long heapBytes) {
    return of(file, fileBytes, heapBytes, null);
  }

  /** For a folder: half the largest heap for all its files together. */
  static HeapBudget ofFolder(Path folder) {
    return new HeapBudget(folder, Runtime.getRuntime().maxMemory() / 2, ADVICE, null);
  }

  /** A budget for a file of this folder, whose charges count for the folder too. */
  HeapBudget forFile(Path inside, long fileBytes) {
    return of(inside, fileBytes, 2 * limit, this);
  }

  private static HeapBudget of(Path file, long fileBytes, long heapBytes, HeapBudget whole) {
    long half = heapBytes / 2;
    // Compared by division, as the product may overflow.
    long proportional = fileBytes > half / PER_BYTE ? half : BASE + fileBytes * PER_BYTE;
    return proportional < half
        ? new HeapBudget(
            file, proportional, "as no checkpoint of its size does; save its tensors again", whole)
        : new HeapBudget(file, half, ADVICE, whole);
  }

  /** The most that all charges together may be, in bytes. */
  long limit() {
    return limit;
  }

  /**
   * @throws CheckpointException if the charges exceed the limit
   */
  void charge(long bytes) throws CheckpointException {
    if (bytes > limit - used) {
      throw new CheckpointException(
          "cannot read "
              + Messages.quote(file)
              + ": its structure needs more than "
              + (limit >> 20)
              + " MiB of the Java heap, "
              + advice);
    }
    if (whole != null) {
      whole.charge(bytes);
    }
    used += bytes;
  }
}
