package dev.sinew.nn;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.fail;

import dev.sinew.DType;
import dev.sinew.Device;
import dev.sinew.Numbers;
import dev.sinew.Tensor;
import java.util.Random;

/** Runs layers and compares what they give. */
final class Layers {
  private Layers() {}

  static double[] random(Random random, int count) {
    double[] values = new double[count];
    for (int i = 0; i < count; i++) {
      values[i] = (float) random.nextGaussian();
    }
    return values;
  }

  static Tensor tensor(double[] values, long... shape) {
    return Numbers.tensor(Device.cpu(), DType.F32, values, shape);
  }

  static double[] run(Layer layer, double[] x, long... shape) {
    return run(layer, DType.F32, x, shape);
  }

  static double[] run(Layer layer, DType dtype, double[] x, long... shape) {
    try (Arena arena = new Arena();
        Tensor input = Numbers.tensor(Device.cpu(), dtype, x, shape)) {
      Tensor y = layer.forward(input, arena);
      assertEquals(dtype, y.dtype());
      return Numbers.values(y);
    }
  }

  /** Numbers that BF16 holds exactly. */
  static double[] bf16(double[] x) {
    try (Tensor tensor = Numbers.tensor(Device.cpu(), DType.BF16, x, x.length)) {
      return Numbers.values(tensor);
    }
  }

  /** How far results in BF16 may be from those, which have an error of {@code bound} before. */
  static double[] bf16Bounds(double[] expected, double bound) {
    double[] bounds = new double[expected.length];
    for (int i = 0; i < expected.length; i++) {
      bounds[i] = bound + (Math.abs(expected[i]) + bound) / 256;
    }
    return bounds;
  }

  /** Each element within {@code bound} of what is expected. */
  static void assertClose(double[] expected, double[] found, double[] bound, String what) {
    assertEquals(expected.length, found.length, what);
    for (int i = 0; i < expected.length; i++) {
      if (!(Math.abs(expected[i] - found[i]) <= bound[i])) {
        fail(what + ": element " + i + " is " + found[i] + " instead of " + expected[i]);
      }
    }
  }

  static void assertClose(double[] expected, double[] found, double bound, String what) {
    double[] bounds = new double[expected.length];
    java.util.Arrays.fill(bounds, bound);
    assertClose(expected, found, bounds, what);
  }
}
