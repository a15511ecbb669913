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
import dev.sinew.Numbers;
import dev.sinew.Ops;
import dev.sinew.Scope;
import dev.sinew.Tensor;
import dev.sinew.model.TensorInfo;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

@Timeout(120)
class ClusterTest {
  private static final Device CPU = Device.cpu();

  record Result(byte[] q, float[] codebooks) {}

  private static Result apply(Cluster pass, DType dtype, double[] x, int rows) {
    return apply(pass, Numbers.encode(dtype, x), dtype, rows);
  }

  static Result apply(Cluster pass, byte[] bytes, DType dtype, int rows) {
    long cols = bytes.length / dtype.bytes(1) / rows;
    try (Tensor tensor = Numbers.ofBytes(CPU, dtype, bytes, rows, cols);
        Tensor q = Tensor.allocate(CPU, DType.U8, rows, pass.packedBytes(cols));
        Tensor codebook = Tensor.allocate(CPU, DType.F32, pass.groups(rows), pass.entries())) {
      pass.apply(tensor, q, codebook);
      assertArrayEquals(bytes, tensor.toBytes(), "the input changed");
      return new Result(q.toBytes(), codebook.toFloats());
    }
  }

  private static float[] floats(double[] x) {
    float[] floats = new float[x.length];
    for (int i = 0; i < x.length; i++) {
      floats[i] = (float) x[i];
    }
    return floats;
  }

  /** Sign of a codebook's zero apart. */
  private static void assertSame(float[] expected, float[] actual, String what) {
    float[] positive = expected.clone();
    for (int i = 0; i < positive.length; i++) {
      positive[i] += 0.0f;
    }
    assertArrayEquals(positive, actual, what);
  }

  private static void assertAsOracle(Cluster pass, DType dtype, double[] raw, int rows) {
    float[] x = floats(rounded(dtype, raw));
    int cols = x.length / rows;
    Result result = apply(pass, dtype, raw, rows);
    int step = pass.rows() == 0 ? rows : (int) pass.rowsPerGroup(rows);
    int groups = (rows + step - 1) / step;
    assertEquals(groups, result.codebooks.length / pass.entries());
    int width = (int) pass.packedBytes(cols);
    for (int g = 0; g < groups; g++) {
      int end = Math.min(rows, (g + 1) * step);
      String what = pass.recipe() + " " + dtype + " [" + rows + ", " + cols + "] group " + g;
      ClusterOracle.Clustered expected =
          ClusterOracle.cluster(
              Arrays.copyOfRange(x, g * step * cols, end * cols), pass.bits(), pass.iterations());
      int first = g * pass.entries();
      assertSame(
          expected.codebook(),
          Arrays.copyOfRange(result.codebooks, first, first + pass.entries()),
          what);
      assertArrayEquals(
          ClusterOracle.pack(expected.indices(), end - g * step, pass.bits()),
          Arrays.copyOfRange(result.q, g * step * width, end * width),
          what);
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"F64", "F32", "F16", "BF16"})
  void codebooksAndIndicesAreTheOracles(DType dtype) {
    Random random = new Random(3);
    for (int bits = 2; bits <= 8; bits++) {
      for (int[] shape : new int[][] {{1, 1}, {1, 77}, {13, 1}, {6, 35}, {3, 1100}}) {
        double[] x = weights(random, shape[0] * shape[1]);
        assertAsOracle(Cluster.perTensor(bits), dtype, x, shape[0]);
        assertAsOracle(new Cluster(bits, 2, 3), dtype, x, shape[0]);
        assertAsOracle(new Cluster(bits, 4, 0), dtype, x, shape[0]);
      }
    }
  }

  @Test
  void numbersOfAllSizes() {
    Random random = new Random(4);
    double[] x = new double[400];
    for (int bits : new int[] {2, 4, 8}) {
      for (DType dtype : new DType[] {DType.F32, DType.BF16}) {
        for (int kind = 0; kind < 6; kind++) {
          int k = kind;
          Arrays.setAll(
              x,
              i ->
                  switch (k) {
                    case 0 -> Math.scalb(random.nextGaussian(), random.nextInt(250) - 130);
                    case 1 -> (random.nextInt(9) - 4) * Float.MIN_VALUE;
                    case 2 -> (random.nextBoolean() ? 1 : -1) * (double) Float.MAX_VALUE;
                    case 3 -> random.nextBoolean() ? -0.0 : 0.0;
                    case 4 -> i == 7 ? 1e30 : random.nextGaussian() * 0.02;
                    default -> -Math.abs(random.nextGaussian());
                  });
          double[] finite = Arrays.stream(x).map(v -> Math.abs(v) > 3.3e38 ? 3.3e38 : v).toArray();
          assertAsOracle(Cluster.perTensor(bits), dtype, finite, 4);
        }
      }
    }
  }

  @Test
  void theLimitedOracleIsTheFullOne() {
    float[] x = floats(weights(new Random(5), 2000));
    ClusterOracle.Clustered clustered = ClusterOracle.cluster(x, 5, 4);
    for (int i = 0; i < x.length; i++) {
      int index = ClusterOracle.nearest(x[i], clustered.codebook());
      assertEquals(index, clustered.indices()[i], "value " + x[i]);
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {2, 3, 4, 5, 6, 7, 8})
  void codebooksAreSortedWithOneZeroAndPrunedWeightsStayZero(int bits) {
    double[] x = weights(new Random(bits), 6000);
    for (int i = 0; i < x.length; i += 2) {
      x[i] = 0;
    }
    Cluster pass = Cluster.perTensor(bits);
    Result result = apply(pass, DType.F32, x, 60);
    int zeros = 0;
    for (int k = 0; k < result.codebooks.length; k++) {
      assertTrue(k == 0 || result.codebooks[k - 1] <= result.codebooks[k]);
      zeros += result.codebooks[k] == 0 ? 1 : 0;
    }
    assertEquals(1, zeros);
    double[] y = decode(pass, result, 60, 100);
    for (int i = 0; i < x.length; i++) {
      assertTrue((float) x[i] != 0 || y[i] == 0, "a zero became another number");
    }
  }

  private static double[] decode(Cluster pass, Result result, int rows, int cols) {
    try (Tensor q = Tensor.allocate(CPU, DType.U8, rows, pass.packedBytes(cols));
        Tensor codebook = Tensor.of(result.codebooks, result.codebooks.length);
        Tensor y = Tensor.allocate(CPU, DType.F32, rows, cols)) {
      q.copyFrom(0, ByteBuffer.wrap(result.q));
      Ops.clusterDecode(q, codebook, y);
      return values(y);
    }
  }

  private static double error(double[] x, double[] y) {
    double error = 0;
    for (int i = 0; i < x.length; i++) {
      error += (x[i] - y[i]) * (x[i] - y[i]);
    }
    return error;
  }

  /** Uniform integers over the extremes, one scale for the tensor. */
  private static double uniformError(double[] x, int bits) {
    double most = Arrays.stream(x).map(Math::abs).max().getAsDouble();
    int top = (1 << bits - 1) - 1;
    double scale = most / top;
    double[] y = new double[x.length];
    Arrays.setAll(y, i -> Math.max(-top, Math.min(top, Math.rint(x[i] / scale))) * scale);
    return error(x, y);
  }

  @Test
  void theErrorIsBelowThatOfUniformIntegers() {
    // Shares of the uniform error that a good codebook reaches on normal weights.
    Map<Integer, Double> shares = Map.of(2, 0.2, 3, 0.25, 4, 0.35, 5, 0.4, 6, 0.45, 8, 0.55);
    Random random = new Random(6);
    for (int bits : shares.keySet()) {
      for (boolean pruned : new boolean[] {false, true}) {
        double[] x = new double[200_000];
        Arrays.setAll(x, i -> (float) (0.02 * random.nextGaussian()));
        if (pruned) {
          Arrays.setAll(x, i -> Math.abs(x[i]) < 0.0134 ? 0 : x[i]);
        }
        Cluster pass = Cluster.perTensor(bits);
        double error = error(x, decode(pass, apply(pass, DType.F32, x, 200), 200, 1000));
        double share = error / uniformError(x, bits);
        assertTrue(share <= shares.get(bits), bits + " bits: " + share + " of the uniform error");
      }
    }
  }

  @Test
  void oneOutlierDoesNotTakeTheCodebook() {
    Random random = new Random(7);
    double[] x = new double[50_000];
    Arrays.setAll(x, i -> (float) (0.02 * random.nextGaussian()));
    Cluster pass = Cluster.perTensor(4);
    double plain = error(x, decode(pass, apply(pass, DType.F32, x, 50), 50, 1000));
    for (double outlier : new double[] {2, 1e6, 1e30}) {
      x[77] = (float) outlier;
      double[] y = decode(pass, apply(pass, DType.F32, x, 50), 50, 1000);
      assertEquals(x[77], y[77]);
      assertTrue(error(x, y) < 2 * plain, outlier + ": " + error(x, y) + ", without " + plain);
    }
  }

  @Test
  void iterationsDoNotRaiseTheError() {
    double[] x = weights(new Random(8), 20_000);
    double before = Double.POSITIVE_INFINITY;
    for (int iterations : new int[] {0, 1, 2, 5, 10, 20, 1000}) {
      Cluster pass = new Cluster(4, 0, iterations);
      double error =
          error(rounded(DType.F32, x), decode(pass, apply(pass, DType.F32, x, 20), 20, 1000));
      assertTrue(error <= before * (1 + 1e-6), iterations + ": " + error + " after " + before);
      before = error;
    }
  }

  @Test
  void fewDistinctValuesAreStoredExactly() {
    Random random = new Random(9);
    double[] values = {-3, -1.5, -0.01, 1e-20, 0.02, 0.5, 7};
    double[] x = new double[3000];
    Arrays.setAll(x, i -> i % 3 == 0 ? 0 : values[random.nextInt(7)]);
    for (DType dtype : new DType[] {DType.F32, DType.F64, DType.BF16, DType.F16}) {
      for (int bits : new int[] {3, 4, 8}) {
        Cluster pass = Cluster.perTensor(bits);
        double[] y = decode(pass, apply(pass, dtype, x, 30), 30, 100);
        assertArrayEquals(floats(rounded(dtype, x)), floats(y));
      }
    }
  }

  @Test
  void nanAndInfinityAreErrors() {
    for (DType dtype : new DType[] {DType.F32, DType.BF16}) {
      for (double bad : new double[] {Double.NaN, Double.NEGATIVE_INFINITY}) {
        double[] x = {1, 2, 3, bad};
        assertThrows(
            NotFiniteException.class, () -> apply(Cluster.perTensor(2), dtype, x, 2), dtype + "");
      }
    }
  }

  @Test
  void outputsThatDoNotFit() {
    try (Scope scope = new Scope()) {
      Tensor x = scope.add(tensor(CPU, DType.F32, new double[24], 4, 6));
      Tensor q = scope.allocate(CPU, DType.U8, 4, 3);
      Tensor codebook = scope.allocate(CPU, DType.F32, 1, 16);
      Cluster pass = Cluster.perTensor(4);
      pass.apply(x, q, codebook);
      String message =
          assertThrows(
                  IllegalArgumentException.class, () -> new Cluster(4, 2, 1).apply(x, q, codebook))
              .getMessage();
      assertTrue(message.contains("needs 32 and 12"), message);
      Tensor small = scope.allocate(CPU, DType.U8, 11);
      assertThrows(IllegalArgumentException.class, () -> pass.apply(x, small, codebook));
    }
  }

  @Test
  void outputsAreLaidOutAsDocumented() {
    TensorInfo conv = TensorInfo.of("c.weight", DType.BF16, 8, 3, 3, 3);
    assertEquals(
        List.of(
            TensorInfo.of("c.weight", DType.U8, 8, 17),
            TensorInfo.of("c.weight_codebook", DType.F32, 3, 32),
            TensorInfo.of("c.weight_shape", DType.I64, 4)),
        new Cluster(5, 3, 10).outputs(conv));
    assertEquals(
        TensorInfo.of("v", DType.U8, 4),
        Cluster.perTensor(4).outputs(TensorInfo.of("v", DType.F32, 7)).get(0));
    TensorInfo integers = TensorInfo.of("i", DType.I8, 2, 2);
    assertThrows(IllegalArgumentException.class, () -> Cluster.perTensor(4).outputs(integers));
  }

  @Test
  void recipesTellEverything() {
    for (Cluster pass :
        List.of(Cluster.perTensor(4), new Cluster(8, 16, 10), new Cluster(2, 3, 0))) {
      assertEquals(pass, Cluster.parse(pass.recipe().substring("--cluster ".length())));
    }
    assertEquals(new Cluster(3, 5, 7), Cluster.parse("iterations=7,rows=5,bits=3"));
  }
}
