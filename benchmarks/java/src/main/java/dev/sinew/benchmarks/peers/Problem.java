package dev.sinew.benchmarks.peers;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/**
 * A linear layer: rows of activations times weights [out, in], in one way of computing.
 *
 * @param threads how many compute
 */
record Problem(Work work, long rows, long in, long out, int threads) {
  /** The ways, each with its own contestants. */
  enum Work {
    F32("F32"),
    INT8("int8 weights and activations"),
    INT8_WEIGHTS("int8 weights"),
    INT4_WEIGHTS("int4 weights"),
    SPARSE("int8 weights, half of them zero");

    final String label;

    Work(String label) {
      this.label = label;
    }
  }

  /** Weights are used in turn until so many bytes have passed, so that they come from memory. */
  static final long COLD_BYTES = 512L << 20;

  private static final long[][] DECODE = {{4096, 4096}, {4096, 11008}, {11008, 4096}};
  private static final long[] PREFILL_ROWS = {32, 128, 512};
  private static final long[][] BERT = {{768, 768}, {768, 3072}, {3072, 768}};

  /** Bound by memory: one row. */
  boolean decode() {
    return rows == 1;
  }

  double operations() {
    return 2.0 * rows * in * out;
  }

  /** What {@code --filter} is compared with, and the key of results. */
  String name() {
    return String.format(
        Locale.ROOT,
        "%s %d x %d x %d threads=%d",
        work.name().toLowerCase(Locale.ROOT),
        rows,
        in,
        out,
        threads);
  }

  /** All of them, those on one set of threads after those on another. */
  static List<Problem> all(int[] threads) {
    List<Problem> problems = new ArrayList<>();
    for (int count : threads) {
      for (Work work : Work.values()) {
        for (long[] shape : DECODE) {
          problems.add(new Problem(work, 1, shape[0], shape[1], count));
        }
        if (work == Work.SPARSE) {
          continue;
        }
        for (long rows : PREFILL_ROWS) {
          problems.add(new Problem(work, rows, 4096, 4096, count));
        }
        for (long[] shape : BERT) {
          problems.add(new Problem(work, 128, shape[0], shape[1], count));
        }
      }
    }
    return problems;
  }
}
