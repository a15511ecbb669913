package dev.sinew.pass;

import static dev.sinew.Numbers.rounded;
import static dev.sinew.Numbers.tensor;
import static dev.sinew.Numbers.values;
import static dev.sinew.Numbers.weights;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sinew.DType;
import dev.sinew.Device;
import dev.sinew.NotFiniteException;
import dev.sinew.QuantOracle;
import dev.sinew.Tensor;
import java.math.BigDecimal;
import java.math.RoundingMode;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

class PruneTest {
  /** Applies a pass to a matrix of these values, and checks its count and its mask on the way. */
  private static double[] pruned(Prune pass, DType dtype, double[] x, int rows) {
    long[] shape = {rows, rows == 0 ? 0 : x.length / rows};
    try (Tensor tensor = tensor(Device.cpu(), dtype, x, shape);
        Tensor mask = Tensor.allocate(Device.cpu(), DType.BOOL, shape)) {
      double[] before = values(tensor);
      long wouldBe = pass.mask(tensor, mask);
      assertArrayEquals(before, values(tensor), "the mask changed the tensor");
      long zeros = pass.apply(tensor);
      double[] after = values(tensor);
      assertEquals(QuantOracle.zeros(after), zeros);
      assertEquals(zeros, wouldBe);
      byte[] kept = mask.toBytes();
      for (int i = 0; i < kept.length; i++) {
        if (kept[i] == 1) {
          assertEquals(before[i], after[i]);
        } else {
          assertEquals(0, kept[i]);
          assertEquals(0.0, after[i]); // and not -0.0
        }
      }
      return after;
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"F64", "F32", "F16", "BF16"})
  void thresholdComparesMagnitudes(DType dtype) {
    double[] x = weights(new Random(1), 1003);
    for (float t : new float[] {0, 0.01f, 0.5f, 1, Float.MIN_VALUE, Float.MAX_VALUE}) {
      double[] expected = QuantOracle.threshold(rounded(dtype, x), t);
      assertArrayEquals(expected, pruned(Prune.threshold(t), dtype, x, 17));
    }
  }

  @Test
  void largeNegativeWeightsStay() {
    double[] x = {-5, -0.5, -0.01, 0.01, 0.5, 5};
    assertArrayEquals(
        new double[] {-5, 0, 0, 0, 0, 5}, pruned(Prune.threshold(0.5f), DType.F32, x, 1));
    assertArrayEquals(
        new double[] {-5, 0, 0, 0, 0, 5},
        pruned(Prune.sparsity(0.67, Prune.Scope.TENSOR), DType.F32, x, 1));
    assertArrayEquals(new double[] {-5, 0, 0, 0, 0, 5}, pruned(Prune.nm(1, 3), DType.F32, x, 2));
  }

  @ParameterizedTest
  @EnumSource(names = {"F64", "F32", "F16", "BF16"})
  void sparsityIsExact(DType dtype) {
    Random random = new Random(2);
    for (int n : new int[] {1, 2, 3, 7, 10, 64, 99, 1000, 4097}) {
      double[] x = weights(random, n);
      double[] held = rounded(dtype, x);
      long zeros = QuantOracle.zeros(held);
      for (double s : new double[] {0, 0.1, 0.29, 0.3, 0.5, 0.57, 0.7, 0.9, 0.999, 1}) {
        // The decimal number that the user has written, not the binary one that is near it.
        long k =
            new BigDecimal(Double.toString(s))
                .multiply(BigDecimal.valueOf(n))
                .setScale(0, RoundingMode.DOWN)
                .longValue();
        double[] result = pruned(Prune.sparsity(s, Prune.Scope.TENSOR), dtype, x, 1);
        assertEquals(Math.max(zeros, k), QuantOracle.zeros(result), "S=" + s + " n=" + n);
        assertArrayEquals(QuantOracle.smallest(held, k), result);
      }
    }
  }

  @Test
  void theNumberPrunedIsThatOfTheDecimal() {
    // 0.29 x 100 and 0.57 x 100 are 28.999... and 56.999... in binary.
    double[] x = new double[100];
    for (int i = 0; i < 100; i++) {
      x[i] = i + 1;
    }
    for (double s : new double[] {0.07, 0.29, 0.57, 0.58, 0.99}) {
      double[] result = pruned(Prune.sparsity(s, Prune.Scope.GLOBAL), DType.F32, x, 1);
      assertEquals(Math.round(s * 100), QuantOracle.zeros(result), "S=" + s);
    }
  }

  @Test
  void tiesGoByIndex() {
    double[] x = {1, -1, 1, 2, -1, 1, -0.0, 1};
    assertArrayEquals(
        new double[] {0, 0, 0, 2, -1, 1, 0, 1},
        pruned(Prune.sparsity(0.5, Prune.Scope.TENSOR), DType.F32, x, 1));
    // With fewer to prune than there are zeros, the first zeros lose their sign, nothing else.
    double[] zeros = {-0.0, -0.0, 3, -0.0, -0.0, 4};
    assertArrayEquals(
        new double[] {0.0, 0.0, 3, -0.0, -0.0, 4},
        pruned(Prune.sparsity(0.34, Prune.Scope.TENSOR), DType.F32, zeros, 1));
  }

  @Test
  void denormalsAreNumbers() {
    double[] x = {Float.MIN_VALUE, -2 * Float.MIN_VALUE, 3 * Float.MIN_VALUE, 1};
    assertArrayEquals(
        new double[] {0, 0, x[2], 1},
        pruned(Prune.sparsity(0.5, Prune.Scope.TENSOR), DType.F32, x, 1));
    assertArrayEquals(
        new double[] {0, x[1], x[2], 1}, pruned(Prune.threshold(Float.MIN_VALUE), DType.F32, x, 1));
  }

  @ParameterizedTest
  @CsvSource({"2,4", "1,4", "4,8", "3,7", "1,1", "16,16", "1,4096", "5,16", "1,2", "100,1000"})
  void nmIsExactInEveryGroupAndTail(int n, int m) {
    Random random = new Random(3);
    for (DType dtype : new DType[] {DType.F64, DType.F32, DType.F16, DType.BF16}) {
      for (int cols : new int[] {1, 3, 4, 15, 17, 64, 101, 1003}) {
        double[] x = weights(random, 5 * cols);
        double[] expected = QuantOracle.nm(rounded(dtype, x), 5, n, m);
        assertArrayEquals(expected, pruned(Prune.nm(n, m), dtype, x, 5), cols + " columns");
      }
    }
  }

  @Test
  void rowsOfHigherRanksAreFlattened() {
    double[] x = weights(new Random(4), 3 * 2 * 5);
    try (Tensor tensor = tensor(Device.cpu(), DType.F32, x, 3, 2, 5)) {
      Prune.nm(2, 4).apply(tensor);
      assertArrayEquals(QuantOracle.nm(rounded(DType.F32, x), 3, 2, 4), values(tensor));
    }
    try (Tensor vector = tensor(Device.cpu(), DType.F32, x, 30)) {
      Prune.nm(2, 4).apply(vector);
      assertArrayEquals(QuantOracle.nm(rounded(DType.F32, x), 1, 2, 4), values(vector));
    }
  }

  @Test
  void tensorsWithoutElements() {
    for (Prune pass :
        new Prune[] {Prune.threshold(1), Prune.sparsity(0.5, Prune.Scope.TENSOR), Prune.nm(2, 4)}) {
      for (long[] shape : new long[][] {{0}, {0, 3}, {3, 0}}) {
        try (Tensor tensor = Tensor.allocate(Device.cpu(), DType.F32, shape)) {
          assertEquals(0, pass.apply(tensor));
        }
      }
    }
  }

  @Test
  void nanAndInfinityAreErrors() {
    for (double bad : new double[] {Double.NaN, Double.POSITIVE_INFINITY, 1e300}) {
      for (Prune pass :
          new Prune[] {Prune.threshold(1), Prune.sparsity(0, Prune.Scope.TENSOR), Prune.nm(2, 4)}) {
        try (Tensor tensor = tensor(Device.cpu(), DType.F64, new double[] {1, bad, 3}, 3)) {
          assertThrows(NotFiniteException.class, () -> pass.apply(tensor));
        }
      }
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "threshold=0.01",
        "threshold=1.0E-4",
        "threshold=0.0",
        "sparsity=0.5",
        "sparsity=1.0",
        "sparsity=0.0",
        "sparsity=0.9,scope=tensor",
        "nm=2:4",
        "nm=1:4096"
      })
  void recipesReadBack(String text) {
    Prune pass = Prune.parse(text);
    assertEquals("--prune " + text, pass.recipe());
    assertEquals(pass, Prune.parse(pass.recipe().substring("--prune ".length())));
  }

  @Test
  void globalScopeIsTheDefault() {
    assertEquals(Prune.parse("sparsity=0.5"), Prune.parse("sparsity=0.5,scope=global"));
    assertEquals(Prune.sparsity(0.5, Prune.Scope.GLOBAL), Prune.parse("sparsity=0.5"));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "threshold",
        "threshold=",
        "threshold=x",
        "threshold=-0.1",
        "threshold=NaN",
        "threshold=1e39",
        "sparsity=",
        "sparsity=1.01",
        "sparsity=-0.1",
        "sparsity=NaN",
        "sparsity=0.5,",
        "sparsity=0.5,scope=row",
        "sparsity=0.5,scope=tensor,scope=global",
        "nm=2",
        "nm=2:",
        "nm=0:4",
        "nm=5:4",
        "nm=1:4097",
        "nm=1:2:3",
        "nm=99999999999:4",
        "magnitude=1"
      })
  void whatIsNoWayToPrune(String text) {
    String message =
        assertThrows(IllegalArgumentException.class, () -> Prune.parse(text)).getMessage();
    assertTrue(message.length() > 20 && !message.contains("\n"), message);
  }
}
