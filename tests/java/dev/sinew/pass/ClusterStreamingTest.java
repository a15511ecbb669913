package dev.sinew.pass;

import static dev.sinew.Numbers.weights;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sinew.DType;
import dev.sinew.Device;
import dev.sinew.Numbers;
import dev.sinew.Tensor;
import dev.sinew.model.TensorInfo;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** That clustering tile by tile, on any number of threads, is clustering whole tensors. */
@Timeout(120)
class ClusterStreamingTest {
  private static final TileGrid.Sizes TINY = new TileGrid.Sizes(4096 * 4, 2 * 4096 * 4);
  private static final TileGrid.Sizes SMALL = new TileGrid.Sizes(3 * 4096 * 8, 5 * 4096 * 8);
  static final TileGrid.Sizes USUAL = TileGrid.Sizes.forWorkers(2);

  /** Rows that are cut, groups that fit in a tile and that do not, all dtypes. */
  static MemoryCheckpoint model() {
    Random random = new Random(42);
    MemoryCheckpoint model = new MemoryCheckpoint();
    long[][] shapes = {{1, 1}, {7, 5}, {11, 9001}, {40, 700}, {5, 3, 3, 3}, {2000, 1}, {3, 17_001}};
    DType[] dtypes = {DType.F16, DType.F64, DType.F32, DType.BF16};
    for (int n = 0; n < shapes.length; n++) {
      long[] shape = shapes[n];
      int count = (int) Arrays.stream(shape).reduce(1, (a, b) -> a * b);
      model.add(n + ".weight", dtypes[n % 4], weights(random, count), shape);
    }
    return model;
  }

  static MemoryWriter streamed(
      MemoryCheckpoint model, List<Pass> passes, int threads, TileGrid.Sizes sizes)
      throws IOException {
    MemoryWriter writer = new MemoryWriter();
    Optimizer.Options options =
        new Optimizer.Options(Targets.byDefault(), threads, false, Optimizer.Progress.NONE);
    Optimizer.optimize(model, passes, options, writer, sizes);
    assertTrue(writer.committed);
    return writer;
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "bits=4",
        "bits=8,iterations=3",
        "bits=3,rows=2",
        "bits=5,rows=7,iterations=4",
        "bits=2,rows=1"
      })
  void streamingIsTheWholeTensor(String recipe) throws IOException {
    MemoryCheckpoint model = model();
    Cluster pass = Cluster.parse(recipe);
    for (Prune prune : new Prune[] {null, Prune.nm(2, 4)}) {
      Map<String, byte[]> expected = new TreeMap<>();
      for (TensorInfo info : model.tensors().values()) {
        try (Tensor x =
            Numbers.ofBytes(
                Device.cpu(), info.dtype(), model.bytes(info.name()), info.rows(), info.cols())) {
          if (prune != null) {
            prune.apply(x);
          }
          ClusterTest.Result result =
              ClusterTest.apply(pass, x.toBytes(), info.dtype(), (int) info.rows());
          expected.put(info.name(), result.q());
          expected.put(
              info.name() + "_codebook", Numbers.encode(DType.F32, doubles(result.codebooks())));
          ByteBuffer shape = ByteBuffer.allocate(8 * info.shape().size());
          shape.order(ByteOrder.LITTLE_ENDIAN);
          info.shape().forEach(shape::putLong);
          expected.put(info.name() + "_shape", shape.array());
        }
      }
      List<Pass> passes = prune == null ? List.of(pass) : List.of(prune, pass);
      assertStreamed(expected, model, passes, 1, SMALL);
      assertStreamed(expected, model, passes, 2, USUAL);
      assertStreamed(expected, model, passes, 7, TINY);
    }
  }

  private static void assertStreamed(
      Map<String, byte[]> expected,
      MemoryCheckpoint model,
      List<Pass> passes,
      int threads,
      TileGrid.Sizes sizes)
      throws IOException {
    MemoryWriter writer = streamed(model, passes, threads, sizes);
    assertEquals(expected.keySet(), new TreeMap<>(writer.data).keySet());
    expected.forEach(
        (name, bytes) ->
            assertArrayEquals(
                bytes, writer.data.get(name), name + ", " + threads + " threads, " + sizes));
  }

  private static double[] doubles(float[] x) {
    double[] doubles = new double[x.length];
    Arrays.setAll(doubles, i -> x[i]);
    return doubles;
  }

  @Test
  void dataIsReadOnceForTheStartAndOnceAnIteration() throws IOException {
    double[] values = new double[90_000];
    Random random = new Random(1);
    Arrays.setAll(values, i -> random.nextGaussian());
    for (DType dtype : new DType[] {DType.F32, DType.BF16}) {
      MemoryCheckpoint model = new MemoryCheckpoint();
      model.add("a.weight", dtype, values, 9, 10_000);
      for (String recipe : List.of("bits=6,iterations=3", "bits=6,rows=3,iterations=3")) {
        List<Pass> passes = List.of(Cluster.parse(recipe));
        model.bytesRead.set(0);
        streamed(model, passes, 2, TINY);
        // BF16 is known after one sweep.
        int times = dtype == DType.BF16 ? 2 : 5;
        assertEquals(times * dtype.bytes(90_000), model.bytesRead.get(), dtype + " " + recipe);
        model.bytesRead.set(0);
        streamed(model, passes, 2, USUAL);
        assertEquals(dtype.bytes(90_000), model.bytesRead.get(), dtype + " " + recipe);
      }
    }
    // Nothing moves any more after the first iteration over two values.
    MemoryCheckpoint two = new MemoryCheckpoint();
    Arrays.setAll(values, i -> i % 2);
    two.add("a.weight", DType.F32, values, 9, 10_000);
    streamed(two, List.of(Cluster.perTensor(4)), 2, TINY);
    assertEquals(4 * 360_000, two.bytesRead.get());
  }

  @Test
  void aTensorThatIsNotFiniteIsNamed() {
    for (TileGrid.Sizes sizes : List.of(TINY, USUAL)) {
      double[] values = new double[30_000];
      values[29_000] = Double.NaN;
      MemoryCheckpoint model = new MemoryCheckpoint();
      model.add("bad.weight", DType.F32, values, 3, 10_000);
      IOException e =
          assertThrows(
              IOException.class, () -> streamed(model, List.of(Cluster.perTensor(4)), 3, sizes));
      assertTrue(e.getMessage().contains("NaN or infinity in tensor 'bad.weight'"), e.getMessage());
    }
  }
}
