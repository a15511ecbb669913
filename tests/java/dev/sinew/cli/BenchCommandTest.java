package dev.sinew.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.sinew.QuantScheme;
import dev.sinew.RangeMethod;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class BenchCommandTest extends CommandLineTest {
  @Test
  void everyOperationIsMeasuredAndChecked() {
    Map<String, Object> json = run("bench", "--mib", "2", "--threads", "2", "--json").ok().json();
    assertEquals(
        "[sinew_version, isa, threads, mib, rounds, operations]", json.keySet().toString());
    assertEquals(2L, json.get("threads"));
    List<Map<String, Object>> operations = JsonText.list(json, "operations");
    assertEquals(24, operations.size());
    for (Map<String, Object> operation : operations) {
      assertEquals(
          "[name, bytes, seconds, gb_per_second, probe_gb_per_second, ratio]",
          operation.keySet().toString());
      double rate = (Long) operation.get("bytes") / (Double) operation.get("seconds") / 1e9;
      assertEquals(rate, (Double) operation.get("gb_per_second"), 1e-6 * rate);
      assertEquals(
          rate / (Double) operation.get("probe_gb_per_second"),
          (Double) operation.get("ratio"),
          1e-6);
    }
    long mib = 1 << 20;
    assertEquals(4 * mib, bytes(json, "prune threshold"));
    assertEquals(2 * mib + mib / 2, bytes(json, "quantize int8 channel"));
    assertEquals(2 * mib + mib / 4, bytes(json, "dequantize int4 group=128"));
    assertEquals(3 * mib, bytes(json, "convert to BF16"));
    assertEquals(2 * mib, bytes(json, "statistics"));
    String table = run("bench", "--mib", "1", "--threads", "1").ok().out();
    assertEquals(26, table.lines().count(), table);
  }

  private static long bytes(Map<String, Object> json, String operation) {
    return (Long) JsonText.named(json, "operations", operation).get("bytes");
  }

  @Test
  void moreMemoryThanThereIsIsRefused() {
    run("bench", "--mib", "1048576").failed(1, "--mib 1048576 needs about 3.30 TB");
  }

  @Test
  void wrongAnswersAreFound() {
    float[] x = {1, -2, 3, 0.5f};
    float[] wrong = {1, -2, 3, 0.25f};
    assertThrows(BenchKernel.WrongAnswer.class, () -> BenchReference.requireSame("k", 0, x, wrong));
    assertThrows(
        BenchKernel.WrongAnswer.class,
        () -> BenchReference.requireRange("k", 0, RangeMethod.MINMAX, 0, x, 2));
    assertThrows(
        BenchKernel.WrongAnswer.class,
        () -> BenchReference.requireRange("k", 0, RangeMethod.PERCENTILE, 75, x, 3));
    assertThrows(
        BenchKernel.WrongAnswer.class,
        () -> BenchReference.requireRange("k", 0, RangeMethod.MSE, 0, x, 1));
    assertThrows(
        BenchKernel.WrongAnswer.class,
        () -> BenchReference.requireHistogram(1, row -> x, new long[65536]));
    assertThrows(
        BenchKernel.WrongAnswer.class,
        () ->
            BenchReference.requireStatistics(
                1, row -> x, new double[] {-2, 3, 3, 2.6, 0, 0, 0, 0}));
    assertThrows(
        BenchKernel.WrongAnswer.class,
        () ->
            BenchReference.requireComparison(
                1, row -> x, row -> wrong, new double[] {0.25, 0.0625, 14.25, 14, 14.125}));
  }

  @Test
  void referencesFollowTheDefinitions() {
    float[] x = {1, -2, 3, 0.5f, -0.5f, 0.5f};
    assertArrayEquals(new float[] {1, -2, 3, 0, 0, 0}, BenchReference.pruneThreshold(x, 0.5f));
    assertArrayEquals(x, BenchReference.pruneBelow(x, 0.5f));
    // Of the tail of two, floor(2 x 2 / 4) goes, the first of equals.
    assertArrayEquals(new float[] {0, -2, 3, 0, 0, 0.5f}, BenchReference.pruneNM(x, 2, 4));
    assertEquals(2, BenchReference.quantize(2.5f, 1, QuantScheme.INT8_SYMMETRIC));
    assertEquals(-127, BenchReference.quantize(-1000, 1, QuantScheme.INT8_SYMMETRIC));
    assertEquals(7, BenchReference.quantize(8, 1, QuantScheme.INT4_SYMMETRIC));
    assertArrayEquals(
        new float[] {1, 1.0078125f, 1}, // 1, 1 + 2^-7, and 1 + 2^-8, a tie that goes to even
        BenchReference.roundToBf16(new float[] {1, 1.0078125f, 1.00390625f}));
  }
}
