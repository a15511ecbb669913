package dev.sinew.benchmarks.peers;

import dev.sinew.DType;
import dev.sinew.Device;
import dev.sinew.Ops;
import dev.sinew.QuantScheme;
import dev.sinew.RangeMethod;
import dev.sinew.Tensor;
import java.nio.FloatBuffer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * What all contestants of a problem compute with: bell-shaped activations and weights, the weights
 * also in other forms, and the right answer.
 */
final class LayerData implements AutoCloseable {
  private static final float WEIGHT_SCALE = 0.02f;

  final long rows;
  final long in;
  final long out;
  final Device device;
  final Tensor x;
  private final WeightData floats;
  private final Map<String, WeightData> forms = new HashMap<>();
  private final List<Tensor> shared = new ArrayList<>();
  private final float[] activations;

  LayerData(Problem problem, Device device) {
    this.rows = problem.rows();
    this.in = problem.in();
    this.out = problem.out();
    this.device = device;
    x = tensor(device, rows, in, 1, 1);
    activations = x.toFloats();
    floats = new WeightData(tensor(device, out, in, 2, WEIGHT_SCALE), null, null, in);
  }

  private static Tensor tensor(Device device, long rows, long cols, long seed, float scale) {
    Tensor tensor = Tensor.allocate(device, DType.F32, rows, cols);
    for (long row = 0; row < rows; row++) {
      long r = row;
      tensor.withBuffer(
          4 * row * cols, (int) (4 * cols), buffer -> fill(buffer.asFloatBuffer(), seed, r, scale));
    }
    return tensor;
  }

  // Sums of four uniform numbers of 16 bits; mixed with the finalizer of SplitMix64 (Steele, Lea
  // and
  // Flood, 2014).
  private static void fill(FloatBuffer row, long seed, long index, float scale) {
    long state = (seed << 56) + (index << 28);
    while (row.hasRemaining()) {
      long z = ++state * 0x9e3779b97f4a7c15L;
      z = (z ^ (z >>> 30)) * 0xbf58476d1ce4e5b9L;
      z = (z ^ (z >>> 27)) * 0x94d049bb133111ebL;
      z ^= z >>> 31;
      int sum = (short) z + (short) (z >> 16) + (short) (z >> 32) + (short) (z >> 48);
      row.put(scale * 2.64e-5f * sum);
    }
  }

  WeightData floats() {
    return floats;
  }

  /** int8, symmetric, a scale for each channel. */
  WeightData int8() {
    return forms.computeIfAbsent(
        "int8", key -> quantize(floats.values(), QuantScheme.INT8_SYMMETRIC, 0));
  }

  /** int8, symmetric, a scale for each group. */
  WeightData int8(long group) {
    return forms.computeIfAbsent(
        "int8 " + group, key -> quantize(floats.values(), QuantScheme.INT8_SYMMETRIC, group));
  }

  /** int4, symmetric, a scale for each group. */
  WeightData int4(long group) {
    return forms.computeIfAbsent(
        "int4 " + group, key -> quantize(floats.values(), QuantScheme.INT4_SYMMETRIC, group));
  }

  /** int8 per channel of the half of the weights with the largest magnitudes. */
  WeightData pruned() {
    return forms.computeIfAbsent(
        "pruned",
        key -> {
          try (Tensor kept = Tensor.allocate(device, DType.F32, out, in)) {
            Ops.pruneNM(floats.values(), 2, 4, kept);
            return quantize(kept, QuantScheme.INT8_SYMMETRIC, 0);
          }
        });
  }

  private WeightData quantize(Tensor values, QuantScheme scheme, long group) {
    long groups = group == 0 ? 1 : (in + group - 1) / group;
    boolean int4 = scheme == QuantScheme.INT4_SYMMETRIC;
    Tensor scale = Tensor.allocate(device, DType.F32, out, groups);
    Tensor q = Tensor.allocate(device, int4 ? DType.U8 : DType.I8, out, int4 ? (in + 1) / 2 : in);
    Tensor back = Tensor.allocate(device, DType.F32, out, in);
    try (Tensor lo = Tensor.allocate(device, DType.F32, out, groups);
        Tensor hi = Tensor.allocate(device, DType.F32, out, groups)) {
      Ops.range(values, group, scheme, RangeMethod.MINMAX, 100, lo, hi);
      Ops.scale(lo, hi, scheme, scale, null);
    }
    Ops.quantize(values, scale, null, group, q);
    Ops.dequantize(q, scale, null, group, back);
    return new WeightData(back, q, scale, group == 0 ? in : group);
  }

  /** How many copies of so many bytes each are used in turn. */
  int copies(Problem problem, long bytes) {
    return problem.decode() ? (int) (Problem.COLD_BYTES / bytes) + 1 : 1;
  }

  /** Copies of the F32 weights [out, in], shared by all contestants that take them so. */
  List<Tensor> floatCopies(Problem problem) {
    int count = copies(problem, floats.values().byteSize());
    if (shared.isEmpty()) {
      shared.add(floats.values());
    }
    while (shared.size() < count) {
      Tensor copy = Tensor.allocate(device, DType.F32, out, in);
      Ops.convert(floats.values(), copy);
      shared.add(copy);
    }
    return shared;
  }

  /**
   * The largest error among some elements of y, as a part of what it may be. Products are exact in
   * F64; see {@link Contestant.Precision} for what is allowed.
   */
  double error(Contestant contestant) {
    float[] y = contestant.result();
    float[] values = contestant.weights().values().toFloats();
    double largest = 0;
    double low = 0;
    double high = 0;
    for (float value : activations) {
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
    double weightStep = 0;
    if (contestant.precision() == Contestant.Precision.BYTES_BOTH) {
      double least = 0;
      double most = 0;
      for (float value : values) {
        least = Math.min(least, value);
        most = Math.max(most, value);
      }
      weightStep = (most - least) / 255;
    }
    for (long row = 0; row < rows; row += Math.max(1, rows / 3)) {
      int at = (int) (row * in);
      double absmax = 0;
      double size = 0;
      for (int k = 0; k < in; k++) {
        absmax = Math.max(absmax, Math.abs(activations[at + k]));
        size += Math.abs(activations[at + k]);
      }
      double step =
          switch (contestant.precision()) {
            case FLOAT -> 0;
            case WORDS -> absmax / 32512;
            case BYTES, BYTES_BOTH -> Math.max(absmax / 127, (high - low) / 255);
          };
      for (long column = 0; column < out; column += Math.max(1, out / 50)) {
        int from = (int) (column * in);
        double sum = 0;
        double products = 0;
        double weights = 0;
        for (int k = 0; k < in; k++) {
          double product = (double) activations[at + k] * values[from + k];
          sum += product;
          products += Math.abs(product);
          weights += Math.abs(values[from + k]);
        }
        double bound =
            (in + 8) * 0x1p-24 * products + 0.51 * step * weights + 0.51 * weightStep * size;
        largest = Math.max(largest, Math.abs(y[(int) (row * out + column)] - sum) / bound);
      }
    }
    return largest;
  }

  @Override
  public void close() {
    shared.forEach(Tensor::close);
    floats.close();
    x.close();
    forms.values().forEach(WeightData::close);
  }
}
