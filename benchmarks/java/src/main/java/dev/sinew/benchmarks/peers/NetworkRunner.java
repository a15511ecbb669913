package dev.sinew.benchmarks.peers;

/** A whole network in one library, with its input in place. */
interface NetworkRunner extends AutoCloseable {
  String name();

  default boolean ours() {
    return false;
  }

  /** How far from F32 its answers may be, as a part of the largest number of the answer. */
  default double tolerance() {
    return 1e-4;
  }

  void run() throws Exception;

  /** The answer of the last run. */
  float[] result() throws Exception;

  @Override
  void close();
}
