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
import dev.sinew.QuantScheme;
import dev.sinew.RangeMethod;
import dev.sinew.Scope;
import dev.sinew.Tensor;
import dev.sinew.model.TensorInfo;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

class QuantizeTest {
  private static final Device CPU = Device.cpu();
  private static final int[][] SHAPES = {{1, 1}, {1, 77}, {13, 1}, {6, 35}, {3, 64}, {2, 4100}};

  /** Every combination of bits, symmetry, granularity and range. */
  static Stream<Quantize> recipes() {
    List<Quantize> all = new ArrayList<>();
    for (QuantScheme scheme : QuantScheme.values()) {
      for (String granularity : new String[] {"tensor", "channel", "group=8", "group=6"}) {
        for (String range : new String[] {"minmax", "percentile=97.5", "percentile=50", "mse"}) {
          all.add(Quantize.of(scheme, granularity, range));
        }
      }
    }
    return all.stream();
  }

  private static int[][] slices(Quantize pass, int rows, int cols) {
    boolean whole = pass.granularity() == Quantize.Granularity.TENSOR;
    return QuantOracle.slices(rows, cols, pass.groupSize(), whole);
  }

  /** What a pass makes of a matrix, in memory. */
  private record Result(byte[] q, float[] scales, byte[] zeroPoints, double[] fake) {}

  private static Result apply(Quantize pass, DType dtype, double[] x, int rows) {
    int cols = x.length / rows;
    int count = slices(pass, rows, cols).length;
    boolean int4 = pass.scheme().bits() == 4;
    try (Scope scope = new Scope()) {
      Tensor tensor = scope.add(tensor(CPU, dtype, x, rows, cols));
      Tensor q =
          int4
              ? scope.allocate(CPU, DType.U8, rows, (cols + 1) / 2)
              : scope.allocate(CPU, pass.scheme().storedType(), rows, cols);
      Tensor scale = scope.allocate(CPU, DType.F32, count);
      Tensor zeroPoint = pass.scheme().isAsymmetric() ? scope.allocate(CPU, DType.I8, count) : null;
      pass.apply(tensor, q, scale, zeroPoint);
      assertArrayEquals(rounded(dtype, x), values(tensor), "the input changed");
      new FakeQuantize(pass).apply(tensor);
      double[] fake = values(tensor);
      // What is stored gives back what fake-quantizing gives.
      Tensor y = scope.allocate(CPU, dtype, rows, cols);
      Dequantize.apply(q, scale, zeroPoint, pass.groupSize(), y);
      assertArrayEquals(tensor.toBytes(), y.toBytes());
      return new Result(
          q.toBytes(), scale.toFloats(), zeroPoint == null ? null : zeroPoint.toBytes(), fake);
    }
  }

  @ParameterizedTest
  @MethodSource("recipes")
  void everyRecipeInEveryType(Quantize pass) {
    Random random = new Random(5);
    // To try all candidates takes the oracle long; elements are read in one way for all ranges.
    List<DType> types =
        pass.range() == RangeMethod.MSE
            ? List.of(DType.BF16)
            : List.of(DType.F64, DType.F32, DType.F16, DType.BF16);
    for (DType dtype : types) {
      for (int[] shape : SHAPES) {
        int rows = shape[0];
        int cols = shape[1];
        double[] raw = weights(random, rows * cols);
        double[] x = rounded(dtype, raw);
        int[][] slices = slices(pass, rows, cols);
        Result result = apply(pass, dtype, raw, rows);
        QuantOracle.Quantized expected =
            pass.range() == RangeMethod.MSE
                ? leastError(pass.scheme(), x, slices, result)
                : QuantOracle.quantize(x, slices, pass.scheme(), pass.range(), pass.percentile());
        String what = pass.recipe() + " " + dtype + Arrays.toString(shape);
        assertArrayEquals(expected.scales(), result.scales, what);
        assertArrayEquals(
            QuantOracle.stored(expected.integers(), rows, pass.scheme()), result.q, what);
        if (pass.scheme().isAsymmetric()) {
          assertArrayEquals(QuantOracle.bytes(expected.zeroPoints()), result.zeroPoints, what);
        }
        double[] wide = new double[x.length];
        Arrays.setAll(wide, i -> expected.values()[i]);
        double[] back = rounded(dtype, wide);
        for (int i = 0; i < x.length; i++) {
          assertEquals(back[i] + 0.0, result.fake[i] + 0.0, what);
          if ((float) x[i] == 0) {
            assertEquals(0.0, result.fake[i] + 0.0, "zero does not stay zero: " + what);
          }
        }
      }
    }
  }

  /** The candidate that was chosen, after a check that no other has a smaller error. */
  private static QuantOracle.Quantized leastError(
      QuantScheme scheme, double[] x, int[][] slices, Result result) {
    float[] lo = new float[slices.length];
    float[] hi = new float[slices.length];
    for (int s = 0; s < slices.length; s++) {
      float[] slice = new float[slices[s][1] - slices[s][0]];
      for (int i = 0; i < slice.length; i++) {
        slice[i] = (float) x[slices[s][0] + i];
      }
      float[] widest = QuantOracle.range(slice, scheme, RangeMethod.MINMAX, 0);
      double least = Double.POSITIVE_INFINITY;
      double chosen = Double.POSITIVE_INFINITY;
      for (int j = 60; j >= 0; j--) { // the widest of those with the same scale is kept
        float low = QuantOracle.candidate(widest[0], j);
        float high = QuantOracle.candidate(widest[1], j);
        double error = QuantOracle.squaredError(slice, low, high, scheme);
        least = Math.min(least, error);
        QuantOracle.Quantized one =
            QuantOracle.quantize(
                new double[0], new int[][] {{0, 0}}, scheme, new float[] {low}, new float[] {high});
        boolean same =
            one.scales()[0] == result.scales[s]
                && (!scheme.isAsymmetric() || one.zeroPoints()[0] == result.zeroPoints[s]);
        if (same) {
          chosen = error;
          lo[s] = low;
          hi[s] = high;
        }
      }
      // Sums in another order may differ in the last places.
      assertTrue(chosen <= least * (1 + 1e-12), chosen + " > " + least);
    }
    return QuantOracle.quantize(x, slices, scheme, lo, hi);
  }

  @Test
  void documentedExamples() {
    // absmax 127 gives scale 1; halves go to even.
    Result result =
        apply(Quantize.int8(), DType.F32, new double[] {-127, 0.5, 1.5, 2.5, -0.5, 126.5}, 1);
    assertArrayEquals(new float[] {1}, result.scales);
    assertArrayEquals(new byte[] {-127, 0, 2, 2, 0, 126}, result.q);
    // int4: absmax / 7.5, low nibble first, q + 8, and 8 after an odd row.
    result = apply(Quantize.int4(128), DType.F32, new double[] {-7.5, 7.5, 1}, 1);
    assertArrayEquals(new float[] {1}, result.scales);
    assertArrayEquals(new byte[] {(byte) (0 | 15 << 4), (byte) (9 | 8 << 4)}, result.q);
    // A slice of zeros has scale 1.
    result = apply(Quantize.int8(), DType.F32, new double[] {0, -0.0, 0, 5}, 2);
    assertArrayEquals(new float[] {1, 5 / 127f}, result.scales);
    // Asymmetric: 0..255 covers [-128, 127] with zero at -128.
    Quantize asymmetric = Quantize.of(8, true, "tensor", "minmax");
    result = apply(asymmetric, DType.F32, new double[] {0, 255, 100}, 1);
    assertArrayEquals(new float[] {1}, result.scales);
    assertArrayEquals(new byte[] {-128}, result.zeroPoints);
    assertArrayEquals(new byte[] {-128, 127, -28}, result.q);
    // fp8: absmax 448 gives scale 1; nearest numbers of E4M3, halves to the even code.
    result =
        apply(
            Quantize.of(QuantScheme.FP8, "tensor", "minmax"),
            DType.F32,
            new double[] {-448, 1, 1.0625, 1.1875, 0, 0.001953125, 0.0009765625},
            1);
    assertArrayEquals(new float[] {1}, result.scales);
    assertArrayEquals(new byte[] {-2, 0x38, 0x38, 0x3a, 0, 1, 0}, result.q);
    // All positive: the range still includes 0.
    result = apply(asymmetric, DType.F32, new double[] {100, 255}, 1);
    assertArrayEquals(new float[] {1}, result.scales);
  }

  @Test
  void extremeMagnitudes() {
    for (Quantize pass : recipes().toList()) {
      for (double size : new double[] {Float.MAX_VALUE, 1e-38, Float.MIN_VALUE}) {
        double[] x = {size, -size, size / 3, 0, size, -size / 2};
        apply(pass, DType.F32, x, 2); // compares dequantizing with fake-quantizing
      }
    }
  }

  @Test
  void nanAndInfinityAreErrors() {
    for (double bad : new double[] {Double.NaN, Double.NEGATIVE_INFINITY}) {
      double[] x = {1, 2, 3, bad};
      recipes()
          .forEach(
              pass -> {
                int count = slices(pass, 1, 4).length;
                try (Tensor tensor = tensor(CPU, DType.F32, x, 1, 4);
                    Tensor scale = Tensor.allocate(CPU, DType.F32, count);
                    Tensor zeroPoint =
                        pass.scheme().isAsymmetric()
                            ? Tensor.allocate(CPU, DType.I8, count)
                            : null) {
                  assertThrows(
                      NotFiniteException.class, () -> pass.scales(tensor, scale, zeroPoint));
                  assertThrows(
                      NotFiniteException.class, () -> new FakeQuantize(pass).apply(tensor));
                }
              });
    }
  }

  @Test
  void theNumberOfScalesIsThatOfTheSlices() {
    double[] x = weights(new Random(1), 24);
    try (Tensor tensor = tensor(CPU, DType.F32, x, 4, 6);
        Tensor one = Tensor.allocate(CPU, DType.F32, 1);
        Tensor four = Tensor.allocate(CPU, DType.F32, 4)) {
      for (String granularity : new String[] {"channel", "group=2"}) {
        Quantize pass = Quantize.of(8, false, granularity, "minmax");
        assertThrows(IllegalArgumentException.class, () -> pass.scales(tensor, one, null));
      }
      Quantize perTensor = Quantize.of(8, false, "tensor", "minmax");
      String message =
          assertThrows(IllegalArgumentException.class, () -> perTensor.scales(tensor, four, null))
              .getMessage();
      assertTrue(message.contains("4 scales") && message.contains("1 slices"), message);
    }
  }

  @Test
  void tensorsWithoutElements() {
    for (long[] shape : new long[][] {{0}, {0, 3}, {3, 0}}) {
      for (String granularity : new String[] {"tensor", "channel", "group=2"}) {
        try (Tensor tensor = Tensor.allocate(CPU, DType.F32, shape)) {
          new FakeQuantize(Quantize.of(8, true, granularity, "mse")).apply(tensor);
        }
      }
    }
  }

  @Test
  void outputsAreLaidOutAsDocumented() {
    TensorInfo conv = TensorInfo.of("c.weight", DType.BF16, 8, 3, 3, 3);
    assertEquals(
        List.of(
            TensorInfo.of("c.weight", DType.I8, 8, 3, 3, 3),
            TensorInfo.of("c.weight_scale", DType.F32, 8, 1, 1, 1)),
        Quantize.int8().outputs(conv));
    assertEquals(
        List.of(
            TensorInfo.of("c.weight", DType.U8, 8, 14),
            TensorInfo.of("c.weight_scale", DType.F32, 8, 4),
            TensorInfo.of("c.weight_zero_point", DType.I8, 8, 4),
            TensorInfo.of("c.weight_shape", DType.I64, 4)),
        Quantize.of(4, true, "group=8", "mse").outputs(conv));
    assertEquals(
        List.of(
            TensorInfo.of("c.weight", DType.I8, 8, 3, 3, 3),
            TensorInfo.of("c.weight_scale", DType.F32, 1),
            TensorInfo.of("c.weight_zero_point", DType.I8, 1)),
        Quantize.of(8, true, "tensor", "minmax").outputs(conv));
    assertEquals(
        List.of(
            TensorInfo.of("c.weight", DType.F8_E4M3, 8, 3, 3, 3),
            TensorInfo.of("c.weight_scale", DType.F32, 8, 1, 1, 1)),
        Quantize.fp8().outputs(conv));
    assertThrows(
        IllegalArgumentException.class,
        () -> Quantize.int8().outputs(TensorInfo.of("i", DType.I8, 2, 2)));
  }

  @ParameterizedTest
  @MethodSource("recipes")
  void recipesTellEverything(Quantize pass) {
    String[] words = pass.recipe().split(" ");
    boolean asymmetric = words[4].equals("--asymmetric");
    assertEquals(
        pass,
        Quantize.of(QuantScheme.named(words[1], asymmetric), words[3], words[words.length - 1]));
    assertEquals("--fake-quantize", new FakeQuantize(pass).recipe().split(" ")[0]);
  }

  @ParameterizedTest
  @CsvSource({
    "7, channel, minmax, 7 bits",
    "8, row, minmax, 'row'",
    "8, group=, minmax, 'group='",
    "8, group=0, minmax, 0",
    "8, group=-4, minmax, -4",
    "8, group=1048577, minmax, 1048577",
    "4, group=7, minmax, even",
    "8, group=x, minmax, 'group=x'",
    "8, channel, max, 'max'",
    "8, channel, percentile, 'percentile'",
    "8, channel, percentile=, 'percentile='",
    "8, channel, percentile=0, 0.0",
    "8, channel, percentile=100.1, 100.1",
    "8, channel, percentile=NaN, NaN"
  })
  void whatIsNoWayToQuantize(int bits, String granularity, String range, String part) {
    String message =
        assertThrows(
                IllegalArgumentException.class, () -> Quantize.of(bits, false, granularity, range))
            .getMessage();
    assertTrue(message.contains(part), message);
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 16})
  void aGroupSizeBelongsToGroups(int size) {
    assertThrows(
        IllegalArgumentException.class,
        () ->
            new Quantize(
                QuantScheme.INT8_SYMMETRIC,
                Quantize.Granularity.CHANNEL,
                size,
                RangeMethod.MINMAX,
                0));
  }
}
