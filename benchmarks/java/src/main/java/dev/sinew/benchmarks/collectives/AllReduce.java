package dev.sinew.benchmarks.collectives;

import dev.sinew.Tensor;
import java.util.List;

/** A way of summing F32 over ranks. All processes call the same methods in the same order. */
abstract class AllReduce implements AutoCloseable {
  Tensor x;
  Tensor out;

  abstract String name();

  /** This process's tensors until the next call of this. */
  void prepare(Tensor x, Tensor out) {
    this.x = x;
    this.out = out;
  }

  /** Where sums go. */
  List<Tensor> outputs() {
    return List.of(out);
  }

  /** Comes before a call whose result is looked at, for those whose sum takes the input's place. */
  void restore() {}

  /** {@code out} = the sum of all ranks' x. */
  abstract void run();

  /** Seconds of one of so many calls. */
  double seconds(int calls) throws Exception {
    long start = System.nanoTime();
    for (int i = 0; i < calls; i++) {
      run();
    }
    return (System.nanoTime() - start) / 1e9 / calls;
  }

  @Override
  public abstract void close();
}
