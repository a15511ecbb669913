package dev.sinew.io;

import dev.sinew.model.CheckpointException;

/**
 * Bounds the Java heap that the structure of one file (directory, pickle, names) may take, so that
 * a hostile file ends in a sentence and not in an OutOfMemoryError. Charges are estimates of the
 * objects made, on the high side. Not thread-safe.
 */
final class HeapBudget {
  private static final long MINIMUM = 32L << 20;

  /** More than any pickle takes that says what it means; two bytes make a list and its memo. */
  private static final long PER_BYTE = 128;

  private final String file;
  private final long limit;
  private final String advice;
  private long used;

  private HeapBudget(String file, long limit, String advice) {
    this.file = file;
    this.limit = limit;
    this.advice = advice;
  }

  /**
   * In proportion to the size of the file, and never more than a quarter of the largest heap this
   * JVM may have; at least 32 MiB.
   */
  static HeapBudget of(String file, long fileBytes) {
    long heap = Math.max(MINIMUM, Runtime.getRuntime().maxMemory() / 4);
    long proportional = fileBytes > heap / PER_BYTE ? heap : MINIMUM + fileBytes * PER_BYTE;
    return proportional < heap
        ? new HeapBudget(
            file, proportional, "as no state_dict of its size does; save a plain state_dict")
        : new HeapBudget(file, heap, "so raise the heap with -Xmx if you trust the file");
  }

  /**
   * @throws CheckpointException if the charges exceed the limit
   */
  void charge(long bytes) throws CheckpointException {
    if (bytes > limit - used) {
      throw new CheckpointException(
          "cannot read "
              + Quote.of(file)
              + ": its structure needs more than "
              + (limit >> 20)
              + " MiB of the Java heap, "
              + advice);
    }
    used += bytes;
  }
}
