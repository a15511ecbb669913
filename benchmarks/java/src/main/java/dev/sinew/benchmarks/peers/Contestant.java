package dev.sinew.benchmarks.peers;

/** One library's way to solve a problem, with its own copies of the weights. */
interface Contestant extends AutoCloseable {
  String name();

  /** Whether it is Sinew's. */
  default boolean ours() {
    return false;
  }

  /** The weights that it computes with, as numbers. */
  WeightData weights();

  /** How far from x each activation may be that it multiplies, in units of {@link Steps}. */
  Precision precision();

  /** The copies of the weights. */
  int copies();

  /**
   * Computes the layer with the first so many copies in turn; with all of them if the library
   * cannot do otherwise.
   *
   * @return how many it were
   */
  int run(int count) throws Exception;

  /** y of the last call, [rows, out]. */
  float[] result();

  /** What a reader has to know about the answer. */
  default String remark() {
    return "";
  }

  /** Bytes of the weights of one call. */
  long bytes();

  @Override
  void close();

  /** What is done to activations before they are multiplied. */
  enum Precision {
    /** Nothing. */
    FLOAT,
    /** 16-bit fixed point. */
    WORDS,
    /** 8 bits, in steps that fit a row or all of x. */
    BYTES,
    /** The same, and its own per-tensor quantization of the weights. */
    BYTES_BOTH
  }
}
