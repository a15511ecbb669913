package dev.sinew;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Products of matrices with OpenBLAS; tests/cpp has those with Sinew's own kernel. */
@Timeout(120)
class MatmulTest {
  /** Prints what multiplies, and the worst error of one product beside its bound. */
  static final class Multiply {
    public static void main(String[] arguments) {
      System.out.println(Device.blas());
      new MatmulTest().multiply(Device.cpu(), new long[] {2}, false, 33, 70, 130, true);
    }
  }

  @Test
  void openBlasIsOnTheClassPath() {
    assertTrue(Device.blas().startsWith("OpenBLAS 0."), Device.blas());
    assertTrue(Device.blas().endsWith("libopenblas.so.0"), Device.blas());
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void isWithinTheBoundAndDoesNotDependOnThreads(boolean transposed) {
    // Tiles of the result are 256 x 512.
    int[][] sizes = {
      {1, 1, 1},
      {1, 300, 77},
      {1, 129, 1100},
      {2, 7, 513},
      {5, 1, 17},
      {31, 64, 257},
      {255, 33, 511},
      {256, 16, 512},
      {257, 15, 513},
      {300, 257, 64},
      {530, 61, 1031}
    };
    try (Device one = Device.cpu(1);
        Device three = Device.cpu(3)) {
      for (int[] size : sizes) {
        float[] alone = multiply(one, new long[0], false, size[0], size[1], size[2], transposed);
        float[] together =
            multiply(three, new long[0], false, size[0], size[1], size[2], transposed);
        assertArrayEquals(alone, together, Arrays.toString(size));
      }
    }
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void batches(boolean transposed) {
    try (Device device = Device.cpu(2)) {
      multiply(device, new long[] {3, 2}, false, 9, 31, 18, transposed);
      multiply(device, new long[] {3, 2}, true, 9, 31, 18, transposed);
      multiply(device, new long[] {0}, false, 3, 4, 5, transposed);
      multiply(device, new long[] {2}, false, 0, 4, 5, transposed);
      multiply(device, new long[] {2}, false, 3, 0, 5, transposed);
      multiply(device, new long[] {2}, false, 3, 4, 0, transposed);
    }
  }

  // More at once than OpenBLAS has buffers for; it would end the process.
  @Test
  void manyThreads() throws Exception {
    ExecutorService pool = Executors.newFixedThreadPool(150);
    try (Device device = Device.cpu(2);
        Tensor a = tensor(device, random(1, 40 * 300), 40, 300);
        Tensor b = tensor(device, random(2, 300 * 700), 300, 700);
        Tensor y = Tensor.allocate(device, DType.F32, 40, 700)) {
      Functional.matmul(a, b, false, y);
      float[] expected = y.toFloats();
      List<Future<?>> results = new ArrayList<>();
      for (int i = 0; i < 150; i++) {
        results.add(
            pool.submit(
                () -> {
                  try (Tensor mine = Tensor.allocate(device, DType.F32, 40, 700)) {
                    for (int round = 0; round < 3; round++) {
                      Functional.matmul(a, b, false, mine);
                      assertArrayEquals(expected, mine.toFloats());
                    }
                  }
                }));
      }
      for (Future<?> result : results) {
        result.get();
      }
    } finally {
      pool.shutdown();
    }
  }

  @Test
  void notFinite() {
    float[] values = random(3, 9 * 40);
    values[40 + 3] = Float.NaN;
    values[2 * 40 + 3] = Float.POSITIVE_INFINITY;
    try (Tensor a = Tensor.of(values, 9, 40);
        Tensor b = Tensor.of(random(4, 40 * 33), 40, 33);
        Tensor y = Tensor.of(random(5, 9 * 33), 9, 33)) {
      Functional.matmul(a, b, false, y);
      float[] result = y.toFloats();
      for (int row = 0; row < 9; row++) {
        for (int column = 0; column < 33; column++) {
          assertEquals(row == 1, Float.isNaN(result[row * 33 + column]));
          assertEquals(row == 2, Float.isInfinite(result[row * 33 + column]));
        }
      }
    }
  }

  @Test
  void otherLibraries() throws Exception {
    String[][] settings = {
      {"none", "Sinew, as sinew.openblas is none"},
      {"/nowhere/libopenblas.so", "Sinew, as '/nowhere/libopenblas.so' cannot be used"},
      {
        "libc.so.6",
        "Sinew, as 'libc.so.6' cannot be used for products of matrices: it is not OpenBLAS"
      }
    };
    for (String[] setting : settings) {
      ChildJvm.Result result =
          ChildJvm.run(Multiply.class, List.of("-Dsinew.openblas=" + setting[0]));
      assertEquals(0, result.exit(), result.output());
      assertTrue(result.output().startsWith(setting[1]), result.output());
    }
  }

  private static float[] random(long seed, int size) {
    Random random = new Random(seed);
    float[] values = new float[size];
    for (int i = 0; i < size; i++) {
      values[i] = random.nextFloat() * 2 - 1;
    }
    return values;
  }

  private static Tensor tensor(Device device, float[] values, long... shape) {
    Tensor tensor = Tensor.allocate(device, DType.F32, shape);
    tensor.withBuffer(0, 4 * values.length, buffer -> buffer.asFloatBuffer().put(values));
    return tensor;
  }

  private static long[] shape(long[] batch, long rows, long columns) {
    long[] shape = Arrays.copyOf(batch, batch.length + 2);
    shape[batch.length] = rows;
    shape[batch.length + 1] = columns;
    return shape;
  }

  /** The product, whose error is within (k + 1) 2^-24 sum |a b|. */
  private float[] multiply(
      Device device, long[] batch, boolean shared, int m, int k, int n, boolean transposed) {
    int count = (int) Arrays.stream(batch).reduce(1, (p, q) -> p * q);
    float[] p = random(1, count * m * k);
    float[] q = random(2, (shared ? 1 : count) * k * n);
    long[] right = shared ? new long[0] : batch;
    try (Tensor a = tensor(device, p, shape(batch, m, k));
        Tensor b = tensor(device, q, transposed ? shape(right, n, k) : shape(right, k, n));
        Tensor y = Tensor.allocate(device, DType.F32, shape(batch, m, n))) {
      Functional.matmul(a, b, transposed, y);
      float[] result = y.toFloats();
      for (int i = 0; i < result.length; i++) {
        int product = i / (m * n);
        int row = i / n % m;
        int column = i % n;
        double sum = 0;
        double magnitude = 0;
        for (int j = 0; j < k; j++) {
          double x = p[(product * m + row) * k + j];
          double w =
              q[(shared ? 0 : product * k * n) + (transposed ? column * k + j : j * n + column)];
          sum += x * w;
          magnitude += Math.abs(x * w);
        }
        double bound = 1.01 * (k + 1) * 0x1p-24 * magnitude;
        assertTrue(
            Math.abs(result[i] - sum) <= bound,
            () -> m + " x " + k + " x " + n + (transposed ? " transposed" : ""));
      }
      return result;
    }
  }
}
