package dev.sinew;

import static dev.sinew.Numbers.rounded;
import static dev.sinew.Numbers.tensor;
import static dev.sinew.Numbers.values;
import static dev.sinew.Numbers.weights;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** The operations that merge models, against F64 arithmetic on plain arrays. */
class MergeOpsTest {
  private static final int N = 4099;

  private final Scope scope = new Scope();

  @AfterEach
  void close() {
    scope.close();
  }

  private Tensor add(DType dtype, double[] values) {
    return scope.add(tensor(Device.cpu(), dtype, values, values.length));
  }

  private Tensor zeros(DType dtype, long... shape) {
    return scope.add(Tensor.allocate(Device.cpu(), dtype, shape));
  }

  private List<double[]> models(DType dtype, int count) {
    List<double[]> models = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      models.add(rounded(dtype, weights(new Random(i), N)));
    }
    return models;
  }

  private List<Tensor> tensors(DType dtype, List<double[]> models) {
    List<Tensor> tensors = new ArrayList<>();
    models.forEach(model -> tensors.add(add(dtype, model)));
    return tensors;
  }

  // Within the rounding of the type and of a few F32 steps.
  private static void assertNear(DType dtype, double[] expected, double[] actual) {
    double step =
        switch (dtype) {
          case F16 -> 0x1p-11;
          case BF16 -> 0x1p-8;
          default -> 0;
        };
    for (int i = 0; i < expected.length; i++) {
      assertEquals(
          expected[i], actual[i], 1e-5 + (1e-6 + step) * Math.abs(expected[i]), "element " + i);
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"F64", "F32", "F16", "BF16"})
  void weightedSums(DType dtype) {
    List<double[]> models = models(dtype, 3);
    float[] factors = {0.5f, -0.25f, 2};
    List<Tensor> x = tensors(dtype, models.subList(0, 3));
    double[] base = rounded(dtype, weights(new Random(9), N));
    double[] sum = new double[N];
    double[] task = base.clone();
    for (int m = 0; m < 3; m++) {
      for (int i = 0; i < N; i++) {
        sum[i] += factors[m] * models.get(m)[i];
        task[i] += factors[m] * (models.get(m)[i] - base[i]);
      }
    }
    Tensor out = zeros(dtype, N);
    Ops.weightedSum(x, factors, null, out);
    assertNear(dtype, sum, values(out));
    Ops.weightedSum(x, factors, add(dtype, base), out);
    assertNear(dtype, task, values(out));
    // In place.
    Ops.weightedSum(x, factors, null, x.get(1));
    assertNear(dtype, sum, values(x.get(1)));
  }

  @Test
  void differencesAreTaskVectors() {
    double[] a = rounded(DType.BF16, weights(new Random(1), N));
    double[] b = rounded(DType.BF16, weights(new Random(2), N));
    Tensor difference = zeros(DType.F32, N);
    Ops.difference(add(DType.BF16, a), add(DType.BF16, b), difference);
    double[] expected = new double[N];
    for (int i = 0; i < N; i++) {
      expected[i] = (float) (a[i] - b[i]);
    }
    assertArrayEquals(expected, values(difference));
  }

  @Test
  void tiesAveragesWhatAgrees() {
    // Sums: 1 - 2 + 0.5, all trimmed, 3 + 4, a tie that elects the positive.
    Tensor base = add(DType.F32, new double[] {10, 20, 30, 40});
    List<Tensor> differences =
        List.of(
            add(DType.F32, new double[] {1, 0, 3, 5}),
            add(DType.F32, new double[] {-2, 0, 4, -5}),
            add(DType.F32, new double[] {0.5, 0, 0, 0}));
    float[] equal = {1, 1, 1};
    Tensor out = zeros(DType.F32, 4);
    Ops.mergeTies(base, differences, equal, 1, true, out);
    assertArrayEquals(new double[] {8, 20, 33.5, 45}, values(out));
    Ops.mergeTies(base, differences, equal, 0.5f, false, out);
    assertArrayEquals(new double[] {9, 20, 33.5, 42.5}, values(out));
    Ops.mergeTies(base, differences, new float[] {3, 1, 0}, 1, true, out);
    assertArrayEquals(new double[] {11, 20, 30 + 13 / 4.0, 45}, values(out));
  }

  @Test
  void dareKeepsByTheCountersWord() {
    double[] base = weights(new Random(3), N);
    List<double[]> models = models(DType.F32, 2);
    float[] factors = {2, -4};
    long[] streams = {77, -1};
    long first = (1L << 35) - 64;
    Tensor out = zeros(DType.F32, N);
    Ops.mergeDare(
        add(DType.F32, base), tensors(DType.F32, models), factors, 0.25, -5, streams, first, out);
    double[] expected = rounded(DType.F32, base);
    double[] kept = expected.clone();
    int count = 0;
    for (int m = 0; m < 2; m++) {
      for (int i = 0; i < N; i++) {
        if (PhiloxOracle.keeps(-5, streams[m], first + i, 0.25)) {
          expected[i] += factors[m] * (models.get(m)[i] - kept[i]);
          count++;
        }
      }
    }
    assertNear(DType.F32, expected, values(out));
    // A quarter of 8198, within five standard deviations.
    assertTrue(Math.abs(count - 2 * N / 4.0) < 5 * Math.sqrt(2 * N * 0.25 * 0.75), count + " kept");
  }

  /** The answers that the authors' Random123 library gives for its own test. */
  @Test
  void philoxGivesItsKnownAnswers() {
    assertArrayEquals(
        new int[] {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
        PhiloxOracle.words(new int[4], new int[2]));
    assertArrayEquals(
        new int[] {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
        PhiloxOracle.words(new int[] {-1, -1, -1, -1}, new int[] {-1, -1}));
    assertArrayEquals(
        new int[] {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1},
        PhiloxOracle.words(
            new int[] {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
            new int[] {0xa4093822, 0x299f31d0}));
  }

  @Test
  void productsOfBlocks() {
    double[] a = rounded(DType.F32, weights(new Random(4), N));
    double[] b = rounded(DType.F32, weights(new Random(5), N));
    Tensor sums = zeros(DType.F64, 2, 3);
    Ops.blockProducts(add(DType.F32, a), add(DType.F32, b), sums);
    double[] expected = new double[6];
    for (int i = 0; i < N; i++) {
      int block = 3 * (i / 4096);
      expected[block] += a[i] * a[i];
      expected[block + 1] += b[i] * b[i];
      expected[block + 2] += a[i] * b[i];
    }
    assertArrayEquals(expected, values(sums), 1e-6);
  }

  @Test
  void whatIsRefused() {
    Tensor x = add(DType.F32, new double[] {1, 2});
    Tensor other = add(DType.F16, new double[] {1, 2});
    Tensor bad = add(DType.F32, new double[] {1, Double.NaN});
    Tensor large = add(DType.F32, new double[] {1, 70000});
    Tensor out = zeros(DType.F32, 2);
    Tensor half = zeros(DType.F16, 2);
    float[] one = {1};
    assertThrows(
        IllegalArgumentException.class, () -> Ops.weightedSum(List.of(), new float[0], null, out));
    assertThrows(
        IllegalArgumentException.class, () -> Ops.weightedSum(List.of(), new float[0], x, out));
    assertThrows(
        IllegalArgumentException.class,
        () -> Ops.weightedSum(List.of(x), new float[] {1, 2}, null, out));
    assertThrows(
        IllegalArgumentException.class,
        () -> Ops.weightedSum(List.of(x, other), new float[] {1, 2}, null, out));
    assertThrows(
        IllegalArgumentException.class,
        () -> Ops.weightedSum(List.of(x), new float[] {Float.NaN}, null, out));
    assertThrows(
        IllegalArgumentException.class, () -> Ops.mergeTies(null, List.of(), one, 1, true, out));
    assertThrows(
        IllegalArgumentException.class,
        () -> Ops.mergeDare(x, List.of(x), one, 0.5, 1, new long[2], 0, out));
    assertThrows(
        IllegalArgumentException.class,
        () -> Ops.mergeDare(x, List.of(x), one, 0, 1, new long[1], 0, out));
    assertThrows(NotFiniteException.class, () -> Ops.weightedSum(List.of(bad), one, null, out));
    assertThrows(NotFiniteException.class, () -> Ops.weightedSum(List.of(large), one, null, half));
    assertThrows(NotFiniteException.class, () -> Ops.difference(x, bad, out));
    assertThrows(NotFiniteException.class, () -> Ops.mergeTies(x, List.of(bad), one, 1, true, out));
    Tensor closed = tensor(Device.cpu(), DType.F32, new double[] {1, 2}, 2);
    closed.close();
    assertThrows(
        IllegalStateException.class,
        () -> Ops.weightedSum(List.of(x, closed), new float[] {1, 1}, null, out));
    Ops.weightedSum(List.of(x), one, null, half);
    assertArrayEquals(new double[] {1, 2}, values(half));
  }
}
