package dev.sinew.benchmarks.peers;

import dev.sinew.Tensor;

/**
 * Weights [out, in] in some form.
 *
 * @param values what they stand for, F32 [out, in]
 * @param q the integers, I8 [out, in] or U8 [out, in / 2]; null for floats
 * @param scale F32 [out, groups]; null for floats
 * @param group columns that share a scale
 */
record WeightData(Tensor values, Tensor q, Tensor scale, long group) implements AutoCloseable {
  @Override
  public void close() {
    for (Tensor tensor : new Tensor[] {values, q, scale}) {
      if (tensor != null) {
        tensor.close();
      }
    }
  }
}
