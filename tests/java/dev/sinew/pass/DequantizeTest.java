package dev.sinew.pass;

import static dev.sinew.Numbers.weights;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sinew.DType;
import dev.sinew.Numbers;
import dev.sinew.RangeMethod;
import dev.sinew.model.Checkpoint;
import dev.sinew.model.TensorInfo;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

class DequantizeTest {
  /** A quantized tensor in a checkpoint, made without the passes, and the real numbers. */
  private record Stored(MemoryCheckpoint checkpoint, float[] values) {}

  /** A layout: int4 or int8, with zero points or not; group -1 is the whole tensor, 0 a row. */
  record Layout(boolean int4, boolean asymmetric, long group, long... shape) {
    @Override
    public String toString() {
      return (int4 ? "int4 " : "int8 ") + asymmetric + " " + group + Arrays.toString(shape);
    }
  }

  static Stream<Layout> layouts() {
    List<Layout> layouts = new ArrayList<>();
    for (boolean int4 : new boolean[] {false, true}) {
      for (boolean asymmetric : new boolean[] {false, true}) {
        for (long group : new long[] {-1, 0, 2, 32, 100}) {
          for (long[] shape :
              new long[][] {{1, 1}, {1, 33}, {33, 1}, {7, 101}, {4, 3, 5, 5}, {16, 64}, {50}}) {
            layouts.add(new Layout(int4, asymmetric, group, shape));
          }
        }
      }
      // Rows longer than what is dequantized at a time, with groups beyond that too.
      for (long group : new long[] {-1, 0, 128, 1 << 20, 300_002}) {
        layouts.add(new Layout(int4, true, group, 2, 600_007));
      }
    }
    layouts.add(new Layout(false, true, 7, 3, 45));
    layouts.add(new Layout(false, true, 7, 1, 600_007));
    layouts.add(new Layout(false, true, 300_001, 2, 600_007));
    layouts.add(new Layout(false, false, 1, 3, 45));
    return layouts.stream();
  }

  private static Stored store(Layout layout) {
    Random random = new Random(layout.hashCode());
    TensorInfo logical = TensorInfo.of("t", DType.F32, layout.shape);
    int rows = (int) logical.rows();
    int cols = (int) logical.cols();
    long group = layout.group;
    int perRow = group > 0 ? (int) ((cols + group - 1) / group) : 1;
    int slices = group < 0 ? 1 : rows * perRow;
    float[] scales = new float[slices];
    byte[] zeroPoints = new byte[slices];
    for (int s = 0; s < slices; s++) {
      scales[s] = random.nextFloat();
      zeroPoints[s] = (byte) (layout.int4 ? random.nextInt(16) - 8 : random.nextInt(256) - 128);
    }
    int rowBytes = layout.int4 ? (cols + 1) / 2 : cols;
    byte[] q = new byte[rows * rowBytes];
    float[] values = new float[rows * cols];
    for (int row = 0; row < rows; row++) {
      for (int col = 0; col < cols; col++) {
        int value = layout.int4 ? random.nextInt(16) - 8 : random.nextInt(256) - 128;
        if (layout.int4) {
          q[row * rowBytes + col / 2] |= (byte) (value + 8 << (col % 2 == 0 ? 0 : 4));
        } else {
          q[row * rowBytes + col] = (byte) value;
        }
        int slice = group < 0 ? 0 : row * perRow + (group > 0 ? (int) (col / group) : 0);
        int zeroPoint = layout.asymmetric ? zeroPoints[slice] : 0;
        values[row * cols + col] = (value - zeroPoint) * scales[slice];
      }
    }
    MemoryCheckpoint checkpoint = new MemoryCheckpoint();
    if (layout.int4) {
      checkpoint.add(TensorInfo.of("t", DType.U8, rows, rowBytes), q);
      ByteBuffer shape = ByteBuffer.allocate(8 * layout.shape.length);
      shape.order(ByteOrder.LITTLE_ENDIAN);
      Arrays.stream(layout.shape).forEach(shape::putLong);
      checkpoint.add(TensorInfo.of("t_shape", DType.I64, layout.shape.length), shape.array());
    } else {
      checkpoint.add(TensorInfo.of("t", DType.I8, layout.shape), q);
    }
    ByteBuffer scaleBytes = ByteBuffer.allocate(4 * slices).order(ByteOrder.LITTLE_ENDIAN);
    for (float scale : scales) {
      scaleBytes.putFloat(scale);
    }
    checkpoint.add(TensorInfo.of("t_scale", DType.F32, slices), scaleBytes.array());
    if (layout.asymmetric) {
      checkpoint.add(TensorInfo.of("t_zero_point", DType.I8, slices), zeroPoints);
    }
    checkpoint.meta("sinew.group_size", Long.toString(Math.max(group, 0)));
    checkpoint.add("other", DType.F32, new double[] {1, 2}, 2);
    return new Stored(checkpoint, values);
  }

  private static byte[] bytes(float[] values) {
    ByteBuffer bytes = ByteBuffer.allocate(4 * values.length).order(ByteOrder.LITTLE_ENDIAN);
    bytes.asFloatBuffer().put(values);
    return bytes.array();
  }

  private static byte[] read(Checkpoint view, String name, long offset, int count)
      throws IOException {
    // In the middle of a larger buffer, to see that the rest is left alone.
    ByteBuffer target = ByteBuffer.allocate(count + 2);
    target.position(1).limit(count + 1);
    view.read(name, offset, target);
    assertEquals(count + 1, target.position());
    assertEquals(count + 1, target.limit());
    assertEquals(0, target.get(0));
    return Arrays.copyOfRange(target.array(), 1, count + 1);
  }

  @ParameterizedTest
  @MethodSource("layouts")
  void anyRangeOfAnyLayout(Layout layout) throws IOException {
    Stored stored = store(layout);
    byte[] expected = bytes(stored.values);
    Random random = new Random(1);
    try (Checkpoint view = Decoding.view(stored.checkpoint)) {
      assertEquals(
          List.of(
              TensorInfo.of("t", DType.F32, layout.shape), TensorInfo.of("other", DType.F32, 2)),
          List.copyOf(view.tensors().values()));
      int size = expected.length;
      assertArrayEquals(expected, read(view, "t", 0, size));
      for (int i = 0; i < 40; i++) {
        int begin = random.nextInt(size);
        int count = random.nextInt(i % 2 == 0 ? Math.min(size - begin, 30) + 1 : size - begin + 1);
        assertArrayEquals(
            Arrays.copyOfRange(expected, begin, begin + count), read(view, "t", begin, count));
      }
      assertArrayEquals(new byte[0], read(view, "t", size, 0));
      for (long[] bad : new long[][] {{-1, 1}, {0, size + 1}, {size, 1}, {Long.MAX_VALUE, 8}}) {
        assertThrows(IllegalArgumentException.class, () -> read(view, "t", bad[0], (int) bad[1]));
      }
    }
  }

  @Test
  void whatIsBesideIsHiddenAndTheRestIsAsItWas() throws IOException {
    Stored stored = store(new Layout(true, true, 2, 4, 6));
    Checkpoint view = Decoding.view(stored.checkpoint);
    assertEquals(List.of("t", "other"), List.copyOf(view.tensors().keySet()));
    for (String hidden : List.of("t_scale", "t_zero_point", "t_shape", "missing")) {
      assertThrows(IllegalArgumentException.class, () -> read(view, hidden, 0, 1));
      assertThrows(IllegalArgumentException.class, () -> view.region(hidden));
    }
    assertTrue(view.region("t").isEmpty());
    assertTrue(view.region("other").isPresent());
    assertArrayEquals(stored.checkpoint.bytes("other"), read(view, "other", 0, 8));
    assertEquals(stored.checkpoint.metadata(), view.metadata());
    assertEquals(stored.checkpoint.path(), view.path());
    assertEquals("memory", view.format());
    assertThrows(UnsupportedOperationException.class, () -> view.tensors().clear());
    view.close();
    assertTrue(stored.checkpoint.closed);
    assertThrows(IOException.class, () -> read(view, "t", 0, 4));
    view.close();
  }

  @Test
  void aCheckpointWithoutQuantizedTensorsIsItself() throws IOException {
    MemoryCheckpoint plain = new MemoryCheckpoint();
    plain.add("t", DType.I8, new double[4], 2, 2).add("u_scale", DType.F32, new double[2], 2);
    assertSame(plain, Decoding.view(plain));
  }

  @Test
  void tensorsWithoutElements() throws IOException {
    for (long[] shape : new long[][] {{0}, {0, 4}, {4, 0}}) {
      MemoryCheckpoint empty = new MemoryCheckpoint();
      empty.add(TensorInfo.of("t", DType.I8, shape), new byte[0]);
      empty.add(TensorInfo.of("t_scale", DType.F32, 0), new byte[0]);
      try (Checkpoint view = Decoding.view(empty)) {
        assertArrayEquals(new byte[0], read(view, "t", 0, 0));
        assertThrows(IllegalArgumentException.class, () -> read(view, "t", 0, 1));
      }
    }
  }

  @Test
  void manyThreadsReadOneView() throws Exception {
    Stored stored = store(new Layout(true, true, 128, 40, 6001));
    byte[] expected = bytes(stored.values);
    ExecutorService pool = Executors.newFixedThreadPool(8);
    try (Checkpoint view = Decoding.view(stored.checkpoint)) {
      List<Future<?>> futures = new ArrayList<>();
      for (int t = 0; t < 8; t++) {
        Random random = new Random(t);
        futures.add(
            pool.submit(
                () -> {
                  for (int i = 0; i < 50; i++) {
                    int begin = random.nextInt(expected.length - 10_000);
                    assertArrayEquals(
                        Arrays.copyOfRange(expected, begin, begin + 10_000),
                        read(view, "t", begin, 10_000));
                  }
                  return null;
                }));
      }
      for (Future<?> future : futures) {
        future.get();
      }
    } finally {
      pool.shutdownNow();
    }
  }

  @Test
  void whatTheOptimizerWritesComesBack() throws IOException {
    MemoryCheckpoint model = new MemoryCheckpoint();
    double[] x = weights(new Random(1), 4 * 3 * 15);
    model.add("c.weight", DType.F16, x, 4, 3, 15);
    QuantizeTest.recipes()
        .filter(pass -> pass.range() == RangeMethod.MINMAX)
        .forEach(
            pass -> {
              try {
                MemoryWriter quantized = new MemoryWriter();
                MemoryWriter fake = new MemoryWriter();
                Optimizer.Options options =
                    new Optimizer.Options(Targets.byDefault(), 1, false, Optimizer.Progress.NONE);
                Optimizer.optimize(model, List.of(pass), options, quantized);
                Optimizer.optimize(model, List.of(new FakeQuantize(pass)), options, fake);
                MemoryCheckpoint again = new MemoryCheckpoint();
                quantized.tensors.values().forEach(i -> again.add(i, quantized.data.get(i.name())));
                quantized.metadata.forEach(again::meta);
                try (Checkpoint view = Decoding.view(again)) {
                  double[] back = Numbers.decode(DType.F32, read(view, "c.weight", 0, 4 * 180));
                  assertArrayEquals(
                      plusZero(Numbers.decode(DType.F16, fake.data.get("c.weight"))),
                      plusZero(Numbers.rounded(DType.F16, back)));
                }
              } catch (IOException e) {
                throw new AssertionError(e);
              }
            });
  }

  private static double[] plusZero(double[] x) {
    return Arrays.stream(x).map(v -> v + 0.0).toArray();
  }
}
