package dev.sinew.pass;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class MergeTest {
  private static String refused(org.junit.jupiter.api.function.Executable call) {
    String message = assertThrows(IllegalArgumentException.class, call).getMessage();
    assertTrue(message.length() > 15 && !message.contains("\n"), message);
    return message;
  }

  @ParameterizedTest
  @ValueSource(doubles = {0, -0.1, 1.001, Double.NaN, Double.POSITIVE_INFINITY})
  void densitiesOutOfRange(double density) {
    assertTrue(refused(() -> Merge.ties(density)).contains("density"));
    assertTrue(refused(() -> Merge.dare(density, 1)).contains("density"));
  }

  @Test
  void valuesOutOfRange() {
    for (double bad : new double[] {Double.NaN, Double.NEGATIVE_INFINITY, 1e39}) {
      assertTrue(refused(() -> Merge.linear(1, bad)).contains("weight"));
      assertTrue(
          refused(() -> new Merge(Merge.Method.TIES, List.of(), true, 0.5, 1, bad, 0))
              .contains("lambda"));
    }
    for (double t : new double[] {-0.01, 1.01, Double.NaN}) {
      assertTrue(refused(() -> Merge.slerp(t)).contains("between 0 and 1"));
    }
    assertTrue(refused(() -> Merge.linear(1, -1)).contains("sum to 0"));
    assertTrue(refused(() -> Merge.linear(0, 0)).contains("sum to 0"));
    assertTrue(refused(() -> Merge.ties(0.5, 2, -1)).contains("negative"));
    refused(() -> new Merge(Merge.Method.DARE, List.of(), true, 0.5, 1, 1, 0));
    refused(() -> new Merge(Merge.Method.SLERP, List.of(1.0, 1.0), false, 0.5, 1, 1, 0));
    // Not normalized, anything goes.
    new Merge(Merge.Method.LINEAR, List.of(1.0, -1.0), false, 0.5, 1, 1, 0);
    new Merge(Merge.Method.TIES, List.of(2.0, -1.0), false, 0.5, 1, 1, 0);
  }

  @Test
  void numbersOfModels() {
    Merge.linear().requireModels(64, false);
    Merge.taskArithmetic().requireModels(1, true);
    assertTrue(refused(() -> Merge.linear().requireModels(1, false)).contains("2 to 64"));
    assertTrue(refused(() -> Merge.linear().requireModels(65, false)).contains("65"));
    assertTrue(refused(() -> Merge.slerp(0.5).requireModels(3, false)).contains("exactly 2"));
    assertTrue(refused(() -> Merge.linear(1, 2).requireModels(3, false)).contains("2 weights"));
    assertTrue(refused(() -> Merge.ties(0.5).requireModels(2, false)).contains("needs a base"));
    assertTrue(refused(() -> Merge.linear().requireModels(2, true)).contains("no base"));
    // A factor that F32 does not hold although the weights are fine.
    Merge large = Merge.dare(1e-30, 1, 1e20);
    assertTrue(refused(() -> large.requireModels(1, true)).contains("factor"));
  }

  @Test
  void coefficients() {
    assertArrayEquals(new float[] {0.5f, 0.5f}, Merge.linear().coefficients(2));
    assertArrayEquals(
        new float[] {(float) (0.1 / 0.4), (float) (0.3 / 0.4)},
        Merge.linear(0.1, 0.3).coefficients(2));
    assertArrayEquals(new float[] {1, 1, 1}, Merge.taskArithmetic().coefficients(3));
    assertArrayEquals(new float[] {4, 2}, Merge.dare(0.25, 1, 1, 0.5).coefficients(2));
    assertArrayEquals(new float[] {0.75f, 0.25f}, Merge.slerp(0.25).coefficients(2));
  }

  @Test
  void trimmingCountsWithTheDecimal() {
    // 1 - 0.9 is 0.09999999999999998 in binary.
    assertEquals(10, Merge.ties(0.9).trimmed(100));
    assertEquals(99, Merge.ties(0.01).trimmed(100));
    assertEquals(99, Merge.ties(1e-300).trimmed(100), "one always stays");
    assertEquals(0, Merge.ties(1).trimmed(100));
    assertEquals(0, Merge.ties(0.5).trimmed(1));
  }

  @Test
  void recipes() {
    assertEquals("--method linear", Merge.linear().recipe());
    assertEquals("--method linear --weights 0.5,2.0", Merge.linear(0.5, 2).recipe());
    assertEquals("--method slerp --t 0.25", Merge.slerp(0.25).recipe());
    assertEquals(
        "--method task-arithmetic --weights 1.0 --lambda 1.0", Merge.taskArithmetic(1).recipe());
    assertEquals(
        "--method ties --density 0.2 --lambda 0.5 --no-normalize",
        new Merge(Merge.Method.TIES, List.of(), false, 0.5, 0.2, 0.5, 0).recipe());
    assertEquals(
        "--method dare --density 0.1 --lambda 1.0 --seed -3", Merge.dare(0.1, -3).recipe());
  }
}
