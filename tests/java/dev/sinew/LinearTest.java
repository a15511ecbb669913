package dev.sinew;

import static dev.sinew.Numbers.ofBytes;
import static dev.sinew.Numbers.rounded;
import static dev.sinew.Numbers.tensor;
import static dev.sinew.Numbers.values;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The binding of linear layers; the kernels' own edges are the subject of the C++ tests. */
class LinearTest {
  private static final int OUT = 21;
  private static final int IN = 37;
  private static final Device CPU = Device.cpu();

  private final byte[] weight = new byte[OUT * IN];
  private final double[] scale = new double[OUT];
  private final byte[] zeroPoint = new byte[OUT];
  private final double[] bias = new double[OUT];

  LinearTest() {
    Random random = new Random(5);
    random.nextBytes(weight);
    random.nextBytes(zeroPoint);
    for (int i = 0; i < OUT; i++) {
      scale[i] = 0.001f + 0.01f * random.nextFloat();
      bias[i] = (float) random.nextGaussian();
    }
  }

  private PackedWeights packed(boolean asymmetric) {
    try (Tensor w = ofBytes(CPU, DType.I8, weight, OUT, IN);
        Tensor s = tensor(CPU, DType.F32, scale, OUT);
        Tensor z = ofBytes(CPU, DType.I8, zeroPoint, OUT)) {
      return PackedWeights.w8a8(w, s, asymmetric ? z : null);
    }
  }

  /** docs/numerics.md word by word, with ReLU. */
  private double[] expected(double[] x, int rows, boolean asymmetric, DType type) {
    double[] y = new double[rows * OUT];
    for (int m = 0; m < rows; m++) {
      double largest = 0;
      for (int k = 0; k < IN; k++) {
        largest = Math.max(largest, Math.abs(x[m * IN + k]));
      }
      float step = largest == 0 ? 1 : (float) (largest / 127);
      for (int n = 0; n < OUT; n++) {
        int sum = 0;
        for (int k = 0; k < IN; k++) {
          double q = Math.rint((float) x[m * IN + k] / step);
          int zero = asymmetric ? zeroPoint[n] : 0;
          sum += (int) Math.max(-127, Math.min(127, q)) * (weight[n * IN + k] - zero);
        }
        float v = (float) sum * (float) scale[n];
        v = v * step;
        v = v + (float) bias[n];
        y[m * OUT + n] = Math.max(v, 0);
      }
    }
    return rounded(type, y);
  }

  @ParameterizedTest
  @CsvSource({"F32,F32,false", "F32,BF16,true", "BF16,F32,true", "BF16,BF16,false"})
  void w8a8(DType xType, DType yType, boolean asymmetric) {
    double[] raw = Numbers.weights(new Random(7), 2 * 3 * IN);
    double[] x = rounded(xType, raw);
    try (Tensor xt = tensor(CPU, xType, raw, 2, 3, IN);
        Tensor b = tensor(CPU, DType.F32, bias, OUT);
        PackedWeights w = packed(asymmetric);
        Tensor y = Tensor.allocate(CPU, yType, 2, 3, OUT)) {
      assertEquals(PackedWeights.Kind.W8A8, w.kind());
      assertEquals(OUT, w.out());
      assertEquals(IN, w.in());
      assertTrue(w.byteSize() >= OUT * IN, w::toString);
      assertEquals(CPU, w.device());
      Functional.linear(xt, w, b, Activation.RELU, y);
      assertArrayEquals(expected(x, 6, asymmetric, yType), values(y));
    }
  }

  @Test
  void everyActivationHasItsCode() {
    double[] x = new double[IN];
    x[0] = 1;
    try (Tensor xt = tensor(CPU, DType.F32, x, IN);
        Tensor zeros = Tensor.allocate(CPU, DType.I8, OUT, IN);
        Tensor one = Tensor.of(new float[] {1}, 1);
        Tensor b = tensor(CPU, DType.F32, bias, OUT);
        PackedWeights w = PackedWeights.w8a8(zeros, one, null);
        Tensor y = Tensor.allocate(CPU, DType.F32, OUT)) {
      for (Activation activation : Activation.values()) {
        Functional.linear(xt, w, b, activation, y);
        double[] result = values(y);
        for (int n = 0; n < OUT; n++) {
          double v = bias[n];
          double u = Math.sqrt(2 / Math.PI) * (v + 0.044715 * v * v * v);
          double wanted =
              switch (activation) {
                case NONE -> v;
                case RELU -> Math.max(v, 0);
                case GELU -> v; // has no closed form in Java; the C++ tests cover it
                case SILU -> v / (1 + Math.exp(-v));
                case GELU_TANH -> v * (1 + Math.tanh(u)) / 2;
                case SIGMOID -> 1 / (1 + Math.exp(-v));
                case TANH -> Math.tanh(v);
              };
          double error = activation == Activation.GELU ? Math.abs(v) : 1e-6;
          assertEquals(wanted, result[n], error, activation + " of " + v);
        }
      }
    }
  }

  private static void refused(String part, Runnable call) {
    IllegalArgumentException e = assertThrows(IllegalArgumentException.class, call::run);
    assertTrue(e.getMessage().contains(part), e.getMessage());
  }

  @Test
  void wrongShapesAndTypesAreNamed() {
    try (Scope scope = new Scope();
        PackedWeights w = packed(false)) {
      Tensor x = scope.allocate(CPU, DType.F32, 4, IN);
      Tensor y = scope.allocate(CPU, DType.F32, 4, OUT);
      Tensor narrow = scope.allocate(CPU, DType.F32, 4, IN - 1);
      Tensor half = scope.allocate(CPU, DType.F16, 4, IN);
      Tensor few = scope.allocate(CPU, DType.F32, 3, OUT);
      Tensor b = scope.allocate(CPU, DType.F32, OUT + 1);
      Activation none = Activation.NONE;
      refused("x is F32 [4, 36]", () -> Functional.linear(narrow, w, null, none, y));
      refused("weights [21, 37]", () -> Functional.linear(narrow, w, null, none, y));
      refused("x is F16 [4, 37]", () -> Functional.linear(half, w, null, none, y));
      refused("y is F32 [3, 21]", () -> Functional.linear(x, w, null, none, few));
      refused("x F32 [4, 37]", () -> Functional.linear(x, w, null, none, few));
      refused("bias is F32 with 22", () -> Functional.linear(x, w, b, none, y));
      refused("x is null", () -> Functional.linear(null, w, null, none, y));
      refused("the weights are null", () -> Functional.linear(x, null, null, none, y));
      Tensor ints = scope.allocate(CPU, DType.I8, OUT, IN);
      Tensor three = scope.allocate(CPU, DType.F32, 3);
      Tensor one = scope.allocate(CPU, DType.F32, 1);
      Tensor wide = scope.allocate(CPU, DType.I8, 1, 65537);
      refused("weight is F32", () -> PackedWeights.w8a8(x, one, null));
      refused("scale is F32 with 3", () -> PackedWeights.w8a8(ints, three, null));
      refused("I8 [21, 37]", () -> PackedWeights.w8a8(ints, three, null));
      refused("zero_point is F32", () -> PackedWeights.w8a8(ints, one, one));
      refused("65536", () -> PackedWeights.w8a8(wide, one, null));
      refused("null", () -> PackedWeights.w8a8(null, one, null));
      refused("scale is null", () -> PackedWeights.w8a8(ints, null, null));
    }
  }

  @Test
  void closedWeightsAreRefused() {
    PackedWeights w = packed(true);
    w.close();
    w.close();
    assertTrue(w.isClosed());
    try (Tensor x = Tensor.allocate(CPU, DType.F32, 1, IN);
        Tensor y = Tensor.allocate(CPU, DType.F32, 1, OUT)) {
      IllegalStateException e =
          assertThrows(
              IllegalStateException.class, () -> Functional.linear(x, w, null, Activation.NONE, y));
      assertTrue(e.getMessage().contains("closed"), e.getMessage());
    }
  }

  @Test
  void manyThreadsShareWeightsAndADevice() throws Exception {
    double[] raw = Numbers.weights(new Random(9), 70 * IN);
    try (Device device = Device.cpu(3);
        PackedWeights w = packed(false);
        Tensor x = tensor(device, DType.F32, raw, 70, IN);
        Tensor alone = Tensor.allocate(device, DType.F32, 70, OUT)) {
      Functional.linear(x, w, null, Activation.SILU, alone);
      AtomicInteger right = new AtomicInteger();
      List<Thread> threads = new ArrayList<>();
      for (int t = 0; t < 6; t++) {
        threads.add(
            new Thread(
                () -> {
                  try (Tensor y = Tensor.allocate(device, DType.F32, 70, OUT)) {
                    for (int i = 0; i < 50; i++) {
                      Functional.linear(x, w, null, Activation.SILU, y);
                      assertArrayEquals(alone.toBytes(), y.toBytes());
                    }
                    right.incrementAndGet();
                  }
                }));
      }
      threads.forEach(Thread::start);
      for (Thread thread : threads) {
        thread.join();
      }
      assertEquals(6, right.get());
    }
  }
}
