package dev.sinew.cli;

import dev.sinew.Ops;
import dev.sinew.Tensor;
import java.util.List;

/**
 * One operation that {@code bench} measures.
 *
 * @param name what is printed
 * @param reads what it reads once
 * @param writes what it writes once; empty for operations whose result is small
 * @param run the call
 * @param check compares the result of the last run with plain Java
 */
record BenchKernel(
    String name, List<Tensor> reads, List<Tensor> writes, Runnable run, Check check) {
  /** Looks at the result of the last run. */
  interface Check {
    void verify() throws WrongAnswer;
  }

  /** An operation that may be fast but is wrong. */
  static final class WrongAnswer extends Exception {
    private static final long serialVersionUID = 1;

    WrongAnswer(String message) {
      super(message);
    }
  }

  static BenchKernel of(String name, Tensor read, Tensor written, Runnable run, Check check) {
    return new BenchKernel(name, List.of(read), List.of(written), run, check);
  }

  static BenchKernel reading(String name, Tensor read, Runnable run, Check check) {
    return new BenchKernel(name, List.of(read), List.of(), run, check);
  }

  /** Bytes that a run moves between processor and memory. */
  long bytes() {
    return bytes(reads) + bytes(writes);
  }

  private static long bytes(List<Tensor> tensors) {
    return tensors.stream().mapToLong(Tensor::byteSize).sum();
  }

  /** Moves the same bytes without computing anything; {@code sink} takes what only reads write. */
  void probe(Tensor sink) {
    for (Tensor read : reads) {
      Ops.memoryProbe(read, writes.isEmpty() ? sink : writes.get(0));
    }
  }
}
