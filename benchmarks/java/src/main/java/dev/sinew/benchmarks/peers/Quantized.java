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
    int[] theirs = new int[(int) sums.elements()];
    sums.withBuffer(0, 4 * theirs.length, buffer -> buffer.asIntBuffer().get(theirs));
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

  /** Says so if sums of products of integers are not exact, of which some are looked at. */
  String remark(Tensor sums, WeightData weights) {
    int[] theirs = new int[(int) sums.elements()];
    sums.withBuffer(0, 4 * theirs.length, buffer -> buffer.asIntBuffer().get(theirs));
    byte[] x = values.toBytes();
    byte[] q = weights.q().toBytes();
    int in = (int) data.in;
    int out = (int) data.out;
    for (int i = 0; i < theirs.length; i += Math.max(1, theirs.length / 500)) {
      int sum = 0;
      for (int k = 0; k < in; k++) {
        sum += (x[i / out * in + k] & 255) * q[i % out * in + k];
      }
      if (sum != theirs[i]) {
        return " (inexact sums)";
      }
    }
    return "";
  }

  @Override
  public void close() {
    values.close();
  }
}
