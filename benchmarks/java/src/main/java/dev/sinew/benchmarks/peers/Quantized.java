package dev.sinew.benchmarks.peers;

import dev.sinew.DType;
import dev.sinew.Tensor;

/**
 * Activations as bytes for products that take them so, with one scale for all, made beforehand.
 *
 * @param values U8, 128 being zero
 */
record Quantized(LayerData data, Tensor values, float scale) implements AutoCloseable {
  Quantized(LayerData data, boolean unsigned) {
    this(data, Tensor.allocate(data.device, DType.U8, data.rows, data.in), scale(data));
    float[] x = data.x.toFloats();
    values.withBuffer(
        0,
        x.length,
        buffer -> {
          for (float value : x) {
            buffer.put((byte) (Math.round(value / scale) + (unsigned ? 128 : 0)));
          }
        });
  }

  private static float scale(LayerData data) {
    float absmax = 0;
    for (float value : data.x.toFloats()) {
      absmax = Math.max(absmax, Math.abs(value));
    }
    return absmax / 127;
  }

  /** y from the sums of products of the bytes and int8 weights with a scale for each channel. */
  float[] dequantized(Tensor sums, WeightData weights) {
    long[] theirs = sums.toLongs();
    byte[] q = weights.q().toBytes();
    float[] scales = weights.scale().toFloats();
    float[] y = new float[theirs.length];
    int in = (int) data.in;
    int out = (int) data.out;
    for (int channel = 0; channel < out; channel++) {
      long columnSum = 0;
      for (int k = 0; k < in; k++) {
        columnSum += q[channel * in + k];
      }
      for (int i = channel; i < y.length; i += out) {
        y[i] = (theirs[i] - 128 * columnSum) * scale * scales[channel];
      }
    }
    return y;
  }

  @Override
  public void close() {
    values.close();
  }
}
