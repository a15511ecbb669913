package dev.sinew;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;

/** The binding of layers; the kernels' own edges are the subject of the C++ tests. */
class FunctionalTest {
  private static final Device CPU = Device.cpu();

  private static float[] random(int count, long seed) {
    Random random = new Random(seed);
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      values[i] = random.nextFloat() * 2 - 1;
    }
    return values;
  }

  private interface Use {
    void run(Tensor y);
  }

  /** What {@code use} writes to a tensor of this shape. */
  private static float[] result(Use use, long... shape) {
    try (Tensor y = Tensor.allocate(CPU, DType.F32, shape)) {
      use.run(y);
      return y.toFloats();
    }
  }

  @Test
  void activations() {
    float[] values = {-3, -0.5f, 0, 0.5f, 3};
    try (Tensor x = Tensor.of(values, 5)) {
      assertArrayEquals(
          new float[] {0, 0, 0, 0.5f, 3},
          result(y -> Functional.activation(x, Activation.RELU, y), 5));
      assertArrayEquals(
          new float[] {-0.0040497f, -0.1542688f, 0, 0.3457312f, 2.9959502f},
          result(y -> Functional.activation(x, Activation.GELU, y), 5),
          1e-6f);
      float[] tanh = result(y -> Functional.activation(x, Activation.TANH, y), 5);
      float[] sigmoid = result(y -> Functional.activation(x, Activation.SIGMOID, y), 5);
      float[] silu = result(y -> Functional.activation(x, Activation.SILU, y), 5);
      for (int i = 0; i < 5; i++) {
        assertEquals(Math.tanh(values[i]), tanh[i], 1e-6);
        assertEquals(1 / (1 + Math.exp(-values[i])), sigmoid[i], 1e-6);
        assertEquals(values[i] / (1 + Math.exp(-values[i])), silu[i], 1e-6);
      }
      assertArrayEquals(values, result(y -> Functional.activation(x, Activation.NONE, y), 5));
    }
  }

  @Test
  void broadcasting() {
    try (Tensor a = Tensor.of(new float[] {1, 2, 3, 4, 5, 6}, 2, 3);
        Tensor row = Tensor.of(new float[] {10, 20, 30}, 3);
        Tensor column = Tensor.of(new float[] {2, 3}, 2, 1)) {
      assertArrayEquals(
          new float[] {11, 22, 33, 14, 25, 36}, result(y -> Functional.add(a, row, y), 2, 3));
      assertArrayEquals(
          new float[] {2, 4, 6, 12, 15, 18}, result(y -> Functional.multiply(a, column, y), 2, 3));
      Functional.add(a, a, a);
      assertArrayEquals(new float[] {2, 4, 6, 8, 10, 12}, a.toFloats());
    }
  }

  @Test
  void norms() {
    float[] values = random(2 * 8, 1);
    try (Tensor x = Tensor.of(values, 2, 8);
        Tensor weight = Tensor.of(random(8, 2), 8);
        Tensor bias = Tensor.of(random(8, 3), 8)) {
      float[] w = weight.toFloats();
      float[] b = bias.toFloats();
      float[] layer = result(y -> Functional.layerNorm(x, weight, bias, 1e-5, y), 2, 8);
      float[] rms = result(y -> Functional.rmsNorm(x, weight, 1e-6, y), 2, 8);
      float[] soft = result(y -> Functional.softmax(x, y), 2, 8);
      try (Tensor q = Tensor.allocate(CPU, DType.I8, 2, 8);
          Tensor scale = Tensor.allocate(CPU, DType.F32, 2)) {
        Functional.rmsNormQuantize(x, weight, 1e-6, q, scale);
        for (int i = 0; i < 16; i++) {
          assertEquals(rms[i], q.toBytes()[i] * scale.toFloats()[i / 8], scale.toFloats()[i / 8]);
        }
        try (Tensor y = Tensor.of(rms, 2, 8);
            Tensor q2 = Tensor.allocate(CPU, DType.I8, 2, 8);
            Tensor scale2 = Tensor.allocate(CPU, DType.F32, 2)) {
          Functional.quantizePerToken(y, q2, scale2);
          assertArrayEquals(q.toBytes(), q2.toBytes());
          assertArrayEquals(scale.toFloats(), scale2.toFloats());
        }
      }
      for (int row = 0; row < 2; row++) {
        double sum = 0;
        double squares = 0;
        double total = 0;
        for (int i = 0; i < 8; i++) {
          sum += values[row * 8 + i];
          squares += values[row * 8 + i] * (double) values[row * 8 + i];
          total += Math.exp(values[row * 8 + i]);
        }
        double mean = sum / 8;
        double deviation = Math.sqrt(squares / 8 - mean * mean + 1e-5);
        for (int i = 0; i < 8; i++) {
          double v = values[row * 8 + i];
          assertEquals((v - mean) / deviation * w[i] + b[i], layer[row * 8 + i], 1e-5);
          assertEquals(v / Math.sqrt(squares / 8 + 1e-6) * w[i], rms[row * 8 + i], 1e-5);
          assertEquals(Math.exp(v) / total, soft[row * 8 + i], 1e-6);
        }
      }
    }
  }

  @Test
  void everyTokenHasAScaleOfItsOwn() {
    float[] values = {0.5f, -254, 3, 1, 0, 0, 0, 0, 1, Float.NaN, 2, 3};
    try (Tensor x = Tensor.of(values, 3, 1, 4);
        Tensor q = Tensor.allocate(CPU, DType.I8, 3, 1, 4);
        Tensor scale = Tensor.allocate(CPU, DType.F32, 3)) {
      Functional.quantizePerToken(x, q, scale);
      assertArrayEquals(new float[] {2, 1, Float.NaN}, scale.toFloats());
      // 3 / 2 and 1 / 2 are rounded to even.
      assertArrayEquals(new byte[] {0, -127, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0}, q.toBytes());
      assertThrows(IllegalArgumentException.class, () -> Functional.quantizePerToken(x, scale, q));
      assertThrows(
          IllegalArgumentException.class, () -> Functional.quantizePerToken(scale, q, scale));
    }
  }

  @Test
  void batchNorm() {
    try (Tensor x = Tensor.of(new float[] {1, 2, 3, 4}, 1, 2, 2);
        Tensor mean = Tensor.of(new float[] {1, 2}, 2);
        Tensor variance = Tensor.of(new float[] {4, 1}, 2);
        Tensor weight = Tensor.of(new float[] {2, 3}, 2)) {
      assertArrayEquals(
          new float[] {0, 1, 3, 6},
          result(y -> Functional.batchNorm(x, mean, variance, weight, null, 0, y), 1, 2, 2),
          1e-6f);
    }
  }

  @Test
  void embeddingAndHeads() {
    try (Tensor table = Tensor.of(new float[] {0, 1, 2, 3, 4, 5}, 3, 2);
        Tensor ids = Tensor.allocate(CPU, DType.I64, 2);
        Tensor heads = Tensor.of(new float[] {1, 2, 3, 4, 5, 6, 7, 8}, 1, 2, 2, 2)) {
      ids.withBuffer(0, 16, b -> b.putLong(2).putLong(0));
      assertArrayEquals(
          new float[] {4, 5, 0, 1}, result(y -> Functional.embedding(ids, table, y), 2, 2));
      ids.withBuffer(0, 8, b -> b.putLong(3));
      IllegalArgumentException refused =
          assertThrows(
              IllegalArgumentException.class,
              () -> result(y -> Functional.embedding(ids, table, y), 2, 2));
      assertTrue(refused.getMessage().contains("the id 3 at index 0"), refused.getMessage());
      // Two tokens of two heads, appended to a cache behind one row.
      assertArrayEquals(
          new float[] {0, 0, 1, 2, 5, 6, 0, 0, 3, 4, 7, 8},
          result(y -> Functional.transposeHeads(heads, 1, y), 1, 2, 3, 2));
    }
  }

  @Test
  void rotaryEmbedding() {
    try (Tensor x = Tensor.of(new float[] {1, 2, 3, 4}, 1, 1, 4);
        Tensor cosine = Tensor.of(new float[] {9, 9, 0, 1}, 2, 2);
        Tensor sine = Tensor.of(new float[] {9, 9, 1, 0}, 2, 2)) {
      assertArrayEquals(
          new float[] {-3, 2, 1, 4},
          result(y -> Functional.rotaryEmbedding(x, cosine, sine, 1, y), 1, 1, 4));
      assertArrayEquals(
          new float[] {-2, 1, 3, 4},
          result(y -> Functional.rotaryEmbedding(x, cosine, sine, 1, true, y), 1, 1, 4));
    }
  }

  @Test
  void pooling() {
    float[] values = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    try (Tensor x = Tensor.of(values, 1, 1, 3, 3)) {
      Pool2dOptions floor = Pool2dOptions.of(2);
      assertEquals(1, floor.outputHeight(3));
      assertArrayEquals(
          new float[] {5}, result(y -> Functional.maxPool2d(x, floor, y), 1, 1, 1, 1));
      Pool2dOptions ceil = floor.ceilMode(true);
      assertEquals(2, ceil.outputWidth(3));
      assertArrayEquals(
          new float[] {5, 6, 8, 9}, result(y -> Functional.maxPool2d(x, ceil, y), 1, 1, 2, 2));
      assertArrayEquals(
          new float[] {3, 4.5f, 7.5f, 9},
          result(y -> Functional.avgPool2d(x, ceil, y), 1, 1, 2, 2));
      Pool2dOptions padded = Pool2dOptions.of(3).stride(2).padding(1);
      assertArrayEquals(
          new float[] {12 / 9f, 16 / 9f, 24 / 9f, 28 / 9f},
          result(y -> Functional.avgPool2d(x, padded, y), 1, 1, 2, 2));
      Pool2dOptions inside = padded.includePadding(false);
      assertArrayEquals(
          new float[] {3, 4, 6, 7}, result(y -> Functional.avgPool2d(x, inside, y), 1, 1, 2, 2));
      assertEquals(0, Pool2dOptions.of(4).outputHeight(3));
    }
  }

  @Test
  void matmul() {
    try (Tensor a = Tensor.of(new float[] {1, 2, 3, 4, 5, 6}, 2, 3);
        Tensor b = Tensor.of(new float[] {1, 0, 0, 1, 1, 1}, 3, 2);
        Tensor t = Tensor.of(new float[] {1, 0, 1, 0, 1, 1}, 2, 3)) {
      float[] expected = {4, 5, 10, 11};
      assertArrayEquals(expected, result(y -> Functional.matmul(a, b, false, y), 2, 2));
      assertArrayEquals(expected, result(y -> Functional.matmul(a, t, true, y), 2, 2));
      IllegalArgumentException refused =
          assertThrows(
              IllegalArgumentException.class,
              () -> result(y -> Functional.matmul(a, a, false, y), 2, 2));
      assertTrue(refused.getMessage().contains("a is F32 [2, 3], b is F32 [2, 3]"));
    }
  }

  @Test
  void convolution() {
    Conv2dOptions options = Conv2dOptions.defaults().padding(1);
    float[] values = random(2 * 4 * 4, 4);
    try (Tensor x = Tensor.of(values, 1, 2, 4, 4);
        Tensor kernel = Tensor.of(random(3 * 2 * 3 * 3, 5), 3, 2, 3, 3);
        Tensor bias = Tensor.of(new float[] {1, 2, 3}, 3);
        PackedWeights weights = PackedWeights.dense(kernel)) {
      assertEquals(4, options.outputHeight(4, 3));
      float[] k = kernel.toFloats();
      float[] y =
          result(
              t -> Functional.conv2d(x, weights, 3, 3, bias, options, Activation.NONE, t),
              1,
              3,
              4,
              4);
      for (int o = 0; o < 3; o++) {
        for (int row = 0; row < 4; row++) {
          for (int col = 0; col < 4; col++) {
            double sum = o + 1;
            for (int c = 0; c < 2; c++) {
              for (int i = 0; i < 3; i++) {
                for (int j = 0; j < 3; j++) {
                  int r = row + i - 1;
                  int s = col + j - 1;
                  if (r >= 0 && r < 4 && s >= 0 && s < 4) {
                    sum += k[((o * 2 + c) * 3 + i) * 3 + j] * values[(c * 4 + r) * 4 + s];
                  }
                }
              }
            }
            assertEquals(sum, y[(o * 4 + row) * 4 + col], 1e-5);
          }
        }
      }
      IllegalArgumentException refused =
          assertThrows(
              IllegalArgumentException.class,
              () ->
                  result(
                      t -> Functional.conv2d(x, weights, 3, 2, bias, options, Activation.NONE, t),
                      1,
                      3,
                      4,
                      5));
      assertTrue(refused.getMessage().contains("weights [3, 18] of 3 x 2 windows"));
    }
  }

  @Test
  void attention() {
    // Two heads share one of keys; the second token sees both keys, the first only one.
    try (Tensor q = Tensor.of(new float[] {1, 1, 2, 2}, 1, 2, 2, 1);
        Tensor k = Tensor.of(new float[] {0, 1, 99}, 1, 1, 3, 1);
        Tensor v = Tensor.of(new float[] {10, 20, 99}, 1, 1, 3, 1)) {
      float[] y = result(t -> Functional.attention(q, k, v, 2, true, 1, t), 1, 2, 2, 1);
      double one = Math.exp(1) / (1 + Math.exp(1));
      double two = Math.exp(2) / (1 + Math.exp(2));
      assertArrayEquals(
          new float[] {10, (float) (10 + 10 * one), 10, (float) (10 + 10 * two)}, y, 1e-4f);
    }
  }

  @Test
  void dtypesAndShapesAreNamed() {
    try (Tensor x = Tensor.allocate(CPU, DType.F32, 2, 3);
        Tensor other = Tensor.allocate(CPU, DType.BF16, 2, 3);
        Tensor bytes = Tensor.allocate(CPU, DType.I8, 2, 3)) {
      String message =
          assertThrows(IllegalArgumentException.class, () -> Functional.softmax(x, other))
              .getMessage();
      assertTrue(message.contains("BF16 [2, 3]") && message.contains("F32 [2, 3]"), message);
      assertThrows(
          IllegalArgumentException.class,
          () -> Functional.activation(bytes, Activation.RELU, bytes));
    }
  }

  @Test
  void manyThreadsAtOnce() throws InterruptedException {
    try (Tensor x = Tensor.of(random(64 * 300, 6), 64, 300);
        Tensor w = Tensor.of(random(50 * 300, 7), 50, 300);
        PackedWeights weights = PackedWeights.dense(w)) {
      float[] alone = result(y -> Functional.linear(x, weights, null, Activation.GELU, y), 64, 50);
      AtomicInteger wrong = new AtomicInteger();
      List<Thread> threads = new ArrayList<>();
      for (int t = 0; t < 4; t++) {
        Thread thread =
            new Thread(
                () -> {
                  for (int round = 0; round < 20; round++) {
                    float[] y =
                        result(
                            o -> Functional.linear(x, weights, null, Activation.GELU, o), 64, 50);
                    if (!java.util.Arrays.equals(alone, y)) {
                      wrong.incrementAndGet();
                    }
                  }
                });
        thread.start();
        threads.add(thread);
      }
      for (Thread thread : threads) {
        thread.join();
      }
      assertEquals(0, wrong.get());
    }
  }
}
