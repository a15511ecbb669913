package dev.sinew;

import static dev.sinew.Numbers.rounded;
import static dev.sinew.Numbers.tensor;
import static dev.sinew.Numbers.values;
import static dev.sinew.Numbers.weights;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * The binding of every operation: arguments in their order, results where they belong, each dtype.
 * The kernels' own edges are the subject of the C++ tests.
 */
class OpsTest {
  private static final int ROWS = 7;
  private static final int COLS = 37;
  private static final float LAST_DENORMAL = Float.MIN_VALUE;
  private static final Device CPU = Device.cpu();

  /** The tests that run for each floating dtype. */
  @ParameterizedTest
  @EnumSource(names = {"F64", "F32", "F16", "BF16"})
  @Retention(RetentionPolicy.RUNTIME)
  @interface EachFloating {}

  private final double[] raw = weights(new Random(11), ROWS * COLS);

  private Tensor matrix(DType dtype) {
    return tensor(CPU, dtype, raw, ROWS, COLS);
  }

  private Tensor empty(DType dtype, long... shape) {
    return Tensor.allocate(CPU, dtype, shape);
  }

  @EachFloating
  void pruneThreshold(DType dtype) {
    double[] x = rounded(dtype, raw);
    double[] expected = QuantOracle.threshold(x, 0.5f);
    try (Tensor tensor = matrix(dtype);
        Tensor out = empty(dtype, ROWS, COLS);
        Tensor mask = empty(DType.BOOL, ROWS, COLS)) {
      assertEquals(QuantOracle.zeros(expected), Ops.pruneThreshold(tensor, 0.5f, out));
      assertArrayEquals(expected, values(out));
      assertEquals(QuantOracle.zeros(expected), Ops.pruneThreshold(tensor, 0.5f, mask));
      assertArrayEquals(
          Arrays.stream(x).map(v -> Math.abs(v) > 0.5 ? 1 : 0).toArray(), values(mask));
      assertArrayEquals(x, values(tensor), "the input changed");
      assertEquals(QuantOracle.zeros(expected), Ops.pruneThreshold(tensor, 0.5f, tensor));
      assertArrayEquals(out.toBytes(), tensor.toBytes());
    }
  }

  @EachFloating
  void pruneSmallest(DType dtype) {
    double[] x = rounded(dtype, raw);
    long less = Arrays.stream(x).filter(v -> Math.abs((float) v) < 0.5f).count();
    long equal = Arrays.stream(x).filter(v -> Math.abs((float) v) == 0.5f).count();
    assertTrue(equal > 8, "ties: " + equal);
    try (Tensor tensor = matrix(dtype);
        Tensor out = empty(dtype, ROWS, COLS);
        Tensor mask = empty(DType.BOOL, ROWS, COLS)) {
      assertArrayEquals(new long[] {less, equal}, Ops.magnitudeCount(tensor, 0.5f));
      for (long ties : new long[] {0, 1, equal - 1, equal, equal + 5}) {
        double[] expected = QuantOracle.smallest(x, less + Math.min(ties, equal));
        assertEquals(QuantOracle.zeros(expected), Ops.pruneSmallest(tensor, 0.5f, ties, out));
        assertArrayEquals(expected, values(out));
        Ops.pruneSmallest(tensor, 0.5f, ties, mask);
        double[] kept = values(mask);
        for (int i = 0; i < x.length; i++) {
          assertEquals(Math.abs(expected[i]) >= 0.5 ? 1 : 0, kept[i]);
        }
      }
    }
  }

  @EachFloating
  void pruneNM(DType dtype) {
    double[] x = rounded(dtype, raw);
    for (int[] nm : new int[][] {{2, 4}, {4, 8}, {1, 16}, {3, 5}, {2, 2}, {1, 100}}) {
      double[] expected = QuantOracle.nm(x, ROWS, nm[0], nm[1]);
      try (Tensor tensor = matrix(dtype);
          Tensor out = empty(dtype, ROWS, COLS)) {
        assertEquals(QuantOracle.zeros(expected), Ops.pruneNM(tensor, nm[0], nm[1], out));
        assertArrayEquals(expected, values(out), Arrays.toString(nm));
      }
    }
  }

  @EachFloating
  void keyHistograms(DType dtype) {
    double[] x = rounded(dtype, raw);
    try (Tensor tensor = matrix(dtype);
        Tensor high = empty(DType.I64, 65536);
        Tensor signed = empty(DType.I64, 65536);
        Tensor low = empty(DType.I64, 65536)) {
      long[] expectedHigh = new long[65536];
      long[] expectedSigned = new long[65536];
      long[] expectedLow = new long[65536];
      int prefix = Float.floatToRawIntBits(0.5f) >>> 16;
      for (double v : x) {
        int bits = Float.floatToRawIntBits((float) v);
        expectedHigh[(bits & 0x7fffffff) >>> 16] += 2; // histograms add up
        expectedSigned[(bits < 0 ? ~bits : bits ^ 0x80000000) >>> 16]++;
        if ((bits & 0x7fffffff) >>> 16 == prefix) {
          expectedLow[bits & 0xffff]++;
        }
      }
      Ops.magnitudeHistogram(tensor, -1, high);
      Ops.magnitudeHistogram(tensor, -1, high);
      Ops.valueKeyHistogram(tensor, -1, signed);
      Ops.magnitudeHistogram(tensor, prefix, low);
      assertArrayEquals(expectedHigh, high.toLongs());
      assertArrayEquals(expectedSigned, signed.toLongs());
      assertArrayEquals(expectedLow, low.toLongs());
    }
  }

  @EachFloating
  void rangeScaleQuantizeDequantizeAndFakeQuantize(DType dtype) {
    double[] x = rounded(dtype, raw);
    for (QuantScheme scheme : QuantScheme.values()) {
      for (int group : new int[] {-1, 0, 8, 64}) { // -1: the whole tensor
        for (RangeMethod method : new RangeMethod[] {RangeMethod.MINMAX, RangeMethod.PERCENTILE}) {
          int[][] slices = QuantOracle.slices(ROWS, COLS, Math.max(group, 0), group < 0);
          quantization(dtype, x, scheme, Math.max(group, 0), slices, method);
        }
      }
    }
  }

  private void quantization(
      DType dtype, double[] x, QuantScheme scheme, int group, int[][] slices, RangeMethod method) {
    QuantOracle.Quantized expected = QuantOracle.quantize(x, slices, scheme, method, 90);
    boolean int4 = scheme.bits() == 4;
    try (Scope scope = new Scope()) {
      Tensor tensor = scope.add(matrix(dtype));
      Tensor lo = scope.allocate(CPU, DType.F32, slices.length);
      Tensor hi = scope.allocate(CPU, DType.F32, slices.length);
      Tensor scale = scope.allocate(CPU, DType.F32, slices.length);
      Tensor zeroPoint =
          scheme.isAsymmetric() ? scope.allocate(CPU, DType.I8, slices.length) : null;
      Tensor q = scope.allocate(CPU, scheme.storedType(), ROWS, int4 ? (COLS + 1) / 2 : COLS);
      Tensor y = scope.allocate(CPU, dtype, ROWS, COLS);

      Ops.range(tensor, group, scheme, method, 90, lo, hi);
      assertArrayEquals(expected.lo(), lo.toFloats(), LAST_DENORMAL); // but for the sign of zero
      assertArrayEquals(expected.hi(), hi.toFloats(), LAST_DENORMAL);
      Ops.scale(lo, hi, scheme, scale, zeroPoint);
      assertArrayEquals(expected.scales(), scale.toFloats());
      if (zeroPoint != null) {
        assertArrayEquals(QuantOracle.bytes(expected.zeroPoints()), zeroPoint.toBytes());
      }
      Ops.quantize(tensor, scale, zeroPoint, group, q);
      assertArrayEquals(QuantOracle.stored(expected.integers(), ROWS, scheme), q.toBytes());
      Ops.dequantize(q, scale, zeroPoint, group, y);
      double[] wide = new double[x.length];
      Arrays.setAll(wide, i -> expected.values()[i]);
      // Adding 0 makes the sign of zeros one.
      assertArrayEquals(plusZero(rounded(dtype, wide)), plusZero(values(y)), scheme + " " + dtype);
      Ops.fakeQuantize(tensor, scale, zeroPoint, group, scheme, tensor);
      assertArrayEquals(y.toBytes(), tensor.toBytes());
    }
  }

  private static double[] plusZero(double[] x) {
    return Arrays.stream(x).map(v -> v + 0.0).toArray();
  }

  @EachFloating
  void leastSquaredErrorRange(DType dtype) {
    double[] x = rounded(dtype, raw);
    for (QuantScheme scheme : QuantScheme.values()) {
      try (Tensor tensor = matrix(dtype);
          Tensor lo = empty(DType.F32, ROWS);
          Tensor hi = empty(DType.F32, ROWS)) {
        Ops.range(tensor, 0, scheme, RangeMethod.MSE, 0, lo, hi);
        for (int row = 0; row < ROWS; row++) {
          float[] slice = new float[COLS];
          for (int i = 0; i < COLS; i++) {
            slice[i] = (float) x[row * COLS + i];
          }
          float[] widest = QuantOracle.range(slice, scheme, RangeMethod.MINMAX, 0);
          double least = Double.POSITIVE_INFINITY;
          double chosen = Double.NaN;
          for (int j = 0; j <= 60; j++) {
            float low = QuantOracle.candidate(widest[0], j);
            float high = QuantOracle.candidate(widest[1], j);
            double error = QuantOracle.squaredError(slice, low, high, scheme);
            least = Math.min(least, error);
            if (low == lo.toFloats()[row] && high == hi.toFloats()[row]) {
              chosen = error;
            }
          }
          // Sums in another order may differ in the last places.
          assertTrue(chosen <= least * (1 + 1e-12), scheme + ": " + chosen + " > " + least);
        }
      }
    }
  }

  @EachFloating
  void quantizationError(DType dtype) {
    double[] wide = weights(new Random(5), 2 * 5000);
    float[] scales = {0.1f, 0.01f, 2};
    byte[] zeroPoints = {0, 100, -7};
    double[] x = rounded(dtype, wide);
    try (Tensor tensor = tensor(CPU, dtype, wide, 2, 5000);
        Tensor scale = Tensor.of(scales, 3);
        Tensor zeroPoint = Numbers.ofBytes(CPU, DType.I8, zeroPoints, 3);
        Tensor errors = empty(DType.F64, 4, 3)) {
      Ops.quantizationError(tensor, scale, zeroPoint, QuantScheme.INT8_ASYMMETRIC, errors);
      double[] sums = errors.toDoubles();
      int[][] blocks = {{0, 4096}, {4096, 5000}, {5000, 9096}, {9096, 10000}};
      for (int b = 0; b < 4; b++) {
        for (int c = 0; c < 3; c++) {
          double sum = 0;
          for (int i = blocks[b][0]; i < blocks[b][1]; i++) {
            int q =
                QuantOracle.quantize(
                    (float) x[i], scales[c], zeroPoints[c], QuantScheme.INT8_ASYMMETRIC);
            float error = (float) x[i] - (q - zeroPoints[c]) * scales[c];
            sum += (double) error * error;
          }
          assertEquals(sum, sums[3 * b + c], sum * 1e-12);
        }
      }
      Ops.quantizationError(tensor, scale, null, QuantScheme.INT4_SYMMETRIC, errors);
      assertTrue(errors.toDoubles()[0] > 0);
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL"})
  void statisticsOfEveryType(DType dtype) {
    double[] given = dtype == DType.BOOL ? new double[] {1, 0, 1, 1} : new double[] {3, -2, 0, 100};
    double[] x = rounded(dtype, given);
    try (Tensor tensor = tensor(CPU, dtype, given, 2, 2);
        Tensor result = empty(DType.F64, 8)) {
      Ops.statistics(tensor, result);
      assertArrayEquals(
          new double[] {
            Arrays.stream(x).min().getAsDouble(),
            Arrays.stream(x).max().getAsDouble(),
            Arrays.stream(x).map(Math::abs).max().getAsDouble(),
            Arrays.stream(x).sum(),
            1,
            0,
            0,
            0
          },
          result.toDoubles());
    }
  }

  @EachFloating
  void statisticsCountWhatIsNotFinite(DType dtype) {
    double inf = Double.POSITIVE_INFINITY;
    double[] given = {Double.NaN, inf, -inf, inf, 2, -0.0, Double.NaN, Double.NaN};
    try (Tensor tensor = tensor(CPU, dtype, given, 8);
        Tensor none = tensor.view(0, 1);
        Tensor result = empty(DType.F64, 8)) {
      Ops.statistics(tensor, result);
      assertArrayEquals(new double[] {0, 2, 2, 2, 1, 3, 2, 1}, plusZero(result.toDoubles()));
      Ops.statistics(none, result);
      assertArrayEquals(
          new double[] {Double.NaN, Double.NaN, 0, 0, 0, 1, 0, 0}, result.toDoubles());
    }
  }

  @EachFloating
  void valueHistogram(DType dtype) {
    double[] given = {-1, -0.5, 0, 0.24, 0.25, 0.99, 1, 5, Double.NaN, Double.POSITIVE_INFINITY};
    try (Tensor tensor = tensor(CPU, dtype, given, 10);
        Tensor counts = empty(DType.I64, 4)) {
      Ops.valueHistogram(tensor, -1, 1, counts);
      assertArrayEquals(new long[] {1, 1, 3, 2}, counts.toLongs());
      Ops.valueHistogram(tensor, -1, 1, counts);
      assertArrayEquals(new long[] {2, 2, 6, 4}, counts.toLongs());
    }
  }

  @EachFloating
  void compare(DType dtype) {
    double nan = Double.NaN;
    double[] a = {1, 2, -3, nan, 4, Double.NEGATIVE_INFINITY};
    double[] b = {1.5, 2, 3, 1, nan, 2};
    try (Tensor x = tensor(CPU, dtype, a, 6);
        Tensor y = tensor(CPU, DType.F64, b, 2, 3);
        Tensor result = empty(DType.F64, 5)) {
      Ops.compare(x, y, result);
      assertArrayEquals(
          new double[] {6, 0.25 + 36, 1 + 4 + 9, 2.25 + 4 + 9, 1.5 + 4 - 9}, result.toDoubles());
    }
  }

  @Test
  void convertBetweenAllFloatingTypes() {
    double[] given = weights(new Random(2), 5000);
    given[0] = 65519; // below and above the last F16
    given[1] = 65520;
    given[2] = Double.NaN;
    given[3] = Double.NEGATIVE_INFINITY;
    given[4] = 1 + Math.scalb(1.0, -8); // halfway between two BF16, and just above
    given[5] = 1 + Math.scalb(1.0, -8) + Math.scalb(1.0, -20);
    given[6] = Math.scalb(1.0, -25);
    for (DType from : DType.values()) {
      for (DType to : DType.values()) {
        if (from.isFloating() && to.isFloating()) {
          double[] expected = rounded(to, rounded(DType.F32, rounded(from, given)));
          try (Tensor x = tensor(CPU, from, given, 5000);
              Tensor y = empty(to, 100, 50)) {
            Ops.convert(x, y);
            if (from != to) {
              assertArrayEquals(expected, values(y), from + " to " + to);
            }
          }
        }
      }
    }
  }

  @EachFloating
  void nanAndInfinityAreRefusedWhereNumbersAreNeeded(DType dtype) {
    for (double bad : new double[] {Double.NaN, Double.NEGATIVE_INFINITY}) {
      double[] given = raw.clone();
      given[100] = bad;
      try (Scope scope = new Scope()) {
        Tensor x = scope.add(tensor(CPU, dtype, given, ROWS, COLS));
        Tensor out = scope.allocate(CPU, dtype, ROWS, COLS);
        Tensor lo = scope.allocate(CPU, DType.F32, 1);
        Tensor hi = scope.allocate(CPU, DType.F32, 1);
        Tensor scale = scope.add(Tensor.of(new float[] {1}, 1));
        Tensor q = scope.allocate(CPU, DType.I8, ROWS, COLS);
        Tensor bins = scope.allocate(CPU, DType.I64, 65536);
        QuantScheme scheme = QuantScheme.INT8_SYMMETRIC;
        for (Runnable call :
            new Runnable[] {
              () -> Ops.pruneThreshold(x, 1, out),
              () -> Ops.pruneSmallest(x, 1, 0, out),
              () -> Ops.pruneNM(x, 2, 4, out),
              () -> Ops.magnitudeCount(x, 1),
              () -> Ops.magnitudeHistogram(x, -1, bins),
              () -> Ops.valueKeyHistogram(x, -1, bins),
              () -> Ops.range(x, 0, scheme, RangeMethod.MINMAX, 0, lo, hi),
              () -> Ops.quantize(x, scale, null, 0, q)
            }) {
          assertTrue(
              assertThrows(NotFiniteException.class, call::run).getMessage().contains("NaN"));
        }
      }
    }
  }

  @Test
  void wrongArgumentsAreNamed() {
    try (Scope scope = new Scope()) {
      Tensor x = scope.add(matrix(DType.F32));
      Tensor integers = scope.allocate(CPU, DType.I32, ROWS, COLS);
      Tensor small = scope.allocate(CPU, DType.F32, 5);
      Tensor scale = scope.add(Tensor.of(new float[] {1}, 1));
      Tensor other = scope.allocate(CPU, DType.F32, 1);
      Tensor zeroPoint = scope.allocate(CPU, DType.I8, 1);
      Tensor q = scope.allocate(CPU, DType.I8, ROWS, COLS);
      QuantScheme symmetric = QuantScheme.INT8_SYMMETRIC;
      QuantScheme asymmetric = QuantScheme.INT8_ASYMMETRIC;
      Object[][] cases = {
        {"x is null", (Runnable) () -> Ops.pruneThreshold(null, 1, x)},
        {"out is null", (Runnable) () -> Ops.pruneThreshold(x, 1, null)},
        {"x is I32", (Runnable) () -> Ops.pruneThreshold(integers, 1, integers)},
        {"out is F32 with 5", (Runnable) () -> Ops.pruneThreshold(x, 1, small)},
        {"threshold -1", (Runnable) () -> Ops.pruneThreshold(x, -1, x)},
        {"threshold nan", (Runnable) () -> Ops.pruneThreshold(x, Float.NaN, x)},
        {"ties -1", (Runnable) () -> Ops.pruneSmallest(x, 1, -1, x)},
        {"5:4", (Runnable) () -> Ops.pruneNM(x, 5, 4, x)},
        {"prefix 65536", (Runnable) () -> Ops.magnitudeHistogram(x, 65536, bins(scope))},
        {"histogram is F32", (Runnable) () -> Ops.valueKeyHistogram(x, -1, small)},
        {
          "lo has 5 elements",
          (Runnable) () -> Ops.range(x, 0, symmetric, RangeMethod.MSE, 0, small, small)
        },
        {
          "percentile 101",
          (Runnable) () -> Ops.range(x, 0, symmetric, RangeMethod.PERCENTILE, 101, scale, other)
        },
      };
      assertEquals(12, cases.length);
      for (Object[] c : cases) {
        String message =
            assertThrows(IllegalArgumentException.class, ((Runnable) c[1])::run).getMessage();
        assertTrue(message.contains((String) c[0]), message);
      }
      assertThrows(
          IllegalArgumentException.class, () -> Ops.scale(scale, scale, asymmetric, scale, null));
      assertThrows(
          IllegalArgumentException.class,
          () -> Ops.fakeQuantize(x, scale, zeroPoint, 0, symmetric, x));
      assertThrows(IllegalArgumentException.class, () -> Ops.quantize(x, scale, null, -1, q));
      assertThrows(IllegalArgumentException.class, () -> Ops.dequantize(q, scale, null, 3, x));
      assertThrows(IllegalArgumentException.class, () -> Ops.convert(x, integers));
      assertThrows(IllegalArgumentException.class, () -> Ops.compare(x, small, small));
    }
  }

  private static Tensor bins(Scope scope) {
    return scope.allocate(CPU, DType.I64, 65536);
  }

  @Test
  void memoryProbeTakesTwoTensorsOfAnyType() {
    try (Tensor x = matrix(DType.F32);
        Tensor y = empty(DType.U8, 1000)) {
      Ops.memoryProbe(x, y);
      assertArrayEquals(rounded(DType.F32, raw), values(x));
      Ops.memoryProbe(x, x);
    }
  }

  @EachFloating
  void clustering(DType dtype) {
    double[] x = rounded(dtype, raw);
    float[] codebook = {-0.5f, 0, 0.25f, 1.5f};
    try (Tensor tensor = matrix(dtype);
        Tensor entries = Tensor.of(codebook, 4);
        Tensor q = empty(DType.U8, ROWS, (COLS * 2 + 7) / 8);
        Tensor sums = empty(DType.I64, 4, 32);
        Tensor counts = empty(DType.I64, 4);
        Tensor y = empty(dtype, ROWS, COLS)) {
      Ops.clusterAssign(tensor, entries, q);
      Ops.clusterSums(tensor, entries, sums, counts);
      Ops.clusterDecode(q, entries, y);
      double[] expectedSums = new double[4];
      long[] expectedCounts = new long[4];
      double[] decoded = new double[x.length];
      for (int i = 0; i < x.length; i++) {
        float value = (float) x[i];
        // Middles: -0.25, 0.125, 0.875.
        int k = value <= -0.25f ? 0 : value <= 0.125f ? 1 : value <= 0.875f ? 2 : 3;
        decoded[i] = codebook[k];
        expectedSums[k] += value;
        expectedCounts[k]++;
      }
      assertArrayEquals(decoded, values(y));
      assertArrayEquals(expectedCounts, counts.toLongs());
      long[] digits = sums.toLongs();
      for (int k = 0; k < 4; k++) {
        double sum = 0;
        for (int d = 31; d >= 0; d--) {
          sum += Math.scalb((double) digits[k * 32 + d], 8 * d - 149);
        }
        assertEquals(expectedSums[k], sum, 1e-9);
      }
    }
  }
}
