package dev.sinew.nn;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

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
    try (Arena arena = new Arena();
        Tensor input = tensor(x, shape)) {
      return Numbers.values(layer.forward(input, arena));
    }
  }

  /** Each element within {@code bound} of what is expected. */
  static void assertClose(double[] expected, double[] found, double[] bound, String what) {
    assertEquals(expected.length, found.length, what);
    for (int i = 0; i < expected.length; i++) {
      assertTrue(
          Math.abs(expected[i] - found[i]) <= bound[i],
          what + ": element " + i + " is " + found[i] + " instead of " + expected[i]);
    }
  }

  static void assertClose(double[] expected, double[] found, double bound, String what) {
    double[] bounds = new double[expected.length];
    java.util.Arrays.fill(bounds, bound);
    assertClose(expected, found, bounds, what);
  }
}
