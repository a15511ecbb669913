package dev.sinew.benchmarks;

/**
 * One kernel and its rivals on the same values. They run in turn, so that what disturbs the machine
 * disturbs them alike. The preparing and cleaning methods are not timed.
 */
interface Contest extends AutoCloseable {
  /** Bytes that Sinew reads and writes. */
  long bytes();

  /** Moves the same bytes without arithmetic. */
  void probe();

  default void prepareSinew() {}

  void sinew();

  /** Whether libtorch takes part. */
  default boolean hasLibtorch() {
    return true;
  }

  void libtorch();

  /** Frees what {@link #libtorch} has returned. */
  default void cleanLibtorch() {}

  default boolean hasJavaLoop() {
    return true;
  }

  void javaLoop();

  /**
   * Runs after every contestant has run once.
   *
   * @throws AssertionError if the answers differ
   */
  void check();

  @Override
  void close();
}
