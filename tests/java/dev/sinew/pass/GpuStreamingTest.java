package dev.sinew.pass;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sinew.ChildJvm;
import dev.sinew.DType;
import dev.sinew.Device;
import dev.sinew.Numbers;
import dev.sinew.internal.Handle;
import dev.sinew.internal.SinewNative;
import dev.sinew.model.CheckpointException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/**
 * That optimizing and merging write the same bytes on a GPU as on the CPU: on the library that the
 * system property {@code sinew.test.cuda} names, which computes on the CPU in the place of a GPU.
 */
@Timeout(120)
class GpuStreamingTest {
  /** Cuts most tensors of the model, and rows of more than 8192 F32 elements. */
  private static final TileGrid.Sizes TINY = new TileGrid.Sizes(4096 * 4, 2 * 4096 * 4);

  private static final TileGrid.Sizes USUAL = TileGrid.Sizes.forWorkers(2);

  /** Passes, and whether pruned tensors are stored with a bitmap. */
  private record Recipe(Storage storage, Pass... passes) {}

  private static Quantize quantize(int bits, boolean asymmetric, String shared, String range) {
    return Quantize.of(bits, asymmetric, shared, range);
  }

  private static List<Recipe> recipes() {
    Storage dense = Storage.DENSE;
    Storage bitmap = Storage.BITMAP;
    Prune half = Prune.sparsity(0.53, Prune.Scope.GLOBAL);
    Prune tied = Prune.sparsity(0.05, Prune.Scope.TENSOR);
    return List.of(
        new Recipe(dense, Prune.threshold(0.3f), quantize(8, false, "channel", "minmax")),
        new Recipe(bitmap, half),
        new Recipe(bitmap, tied, Quantize.fp8()),
        new Recipe(dense, Prune.nm(2, 4), quantize(4, false, "group=64", "percentile=97")),
        new Recipe(bitmap, Prune.nm(3, 5), quantize(8, false, "tensor", "minmax")),
        new Recipe(dense, half, quantize(8, true, "tensor", "percentile=99")),
        new Recipe(dense, quantize(4, true, "channel", "mse")),
        new Recipe(dense, quantize(8, true, "tensor", "mse")),
        new Recipe(dense, new FakeQuantize(quantize(8, false, "channel", "percentile=99.9"))),
        new Recipe(dense, quantize(4, false, "group=128", "minmax").in(COMPRESSED)),
        new Recipe(dense, tied, Cluster.parse("bits=3,rows=7,iterations=2")),
        new Recipe(dense, Cluster.parse("bits=5,iterations=2")));
  }

  private static final QuantizedLayout COMPRESSED = QuantizedLayout.COMPRESSED_TENSORS;

  /** All dtypes, with rows that are cut, single columns and tails, and a tensor to be copied. */
  private static MemoryCheckpoint model(long seed) {
    Random random = new Random(seed);
    MemoryCheckpoint model = new MemoryCheckpoint();
    long[][] shapes = {{7, 5}, {3, 9001}, {20, 100}, {5, 27}, {1, 20_000}, {400, 1}};
    DType[] dtypes = {DType.F32, DType.BF16, DType.F16, DType.F64};
    for (int n = 0; n < 2 * shapes.length; n++) {
      long[] shape = shapes[n % shapes.length];
      int count = (int) Arrays.stream(shape).reduce(1, (a, b) -> a * b);
      model.add(
          (char) ('a' + 7 * n % 12) + ".weight", dtypes[n % 4], weights(random, count), shape);
    }
    return model.add("x.bias", DType.F32, weights(random, 777), 777);
  }

  // With zeros among them.
  private static double[] weights(Random random, int count) {
    double[] values = Numbers.weights(random, count);
    for (int i = 0; i < count; i += 11) {
      values[i] = 0;
    }
    return values;
  }

  private static MemoryWriter write(Recipe recipe, Device device, int threads, TileGrid.Sizes sizes)
      throws Exception {
    MemoryWriter writer = new MemoryWriter();
    Optimizer.Options options =
        new Optimizer.Options(
            Targets.byDefault(), threads, false, Optimizer.Progress.NONE, recipe.storage(), device);
    Optimizer.optimize(model(42), List.of(recipe.passes()), options, writer, sizes);
    return writer;
  }

  private interface Work {
    MemoryWriter on(Device device, int threads) throws Exception;
  }

  private static void compare(String what, Device gpu, Work work) throws Exception {
    MemoryWriter expected = work.on(Device.cpu(), 2);
    long before = Handle.live();
    MemoryWriter written = work.on(gpu, 3);
    assertEquals(before, Handle.live(), what);
    assertEquals(expected.tensors, written.tensors, what);
    assertEquals(expected.metadata, written.metadata, what);
    expected.data.forEach(
        (name, bytes) -> assertArrayEquals(bytes, written.data.get(name), name + ", " + what));
  }

  /** Methods, of two models and, where there is to be one, a base. */
  private static final List<Merge> MERGES =
      List.of(
          Merge.linear(3, -1),
          Merge.slerp(0.3),
          Merge.taskArithmetic(0.7, 0.2),
          Merge.ties(0.3, 2, 1),
          Merge.dare(0.4, 5));

  private static MemoryWriter merge(Merge merge, long budget, Device device, int threads)
      throws Exception {
    MemoryWriter writer = new MemoryWriter();
    Merger.merge(
        List.of(model(1), model(2)),
        merge.method().needsBase() ? model(42) : null,
        merge,
        MergerTest.options(threads).on(device),
        writer,
        budget);
    return writer;
  }

  // The operations do not say which of the models has it.
  private static void requireCulprit(Device gpu) {
    MemoryCheckpoint broken = model(2);
    broken.bytes("a.weight")[3] = 0x7f;
    broken.bytes("a.weight")[2] = (byte) 0xc0;
    CheckpointException e =
        assertThrows(
            CheckpointException.class,
            () ->
                Merger.merge(
                    List.of(model(1), broken),
                    null,
                    Merge.linear(),
                    MergerTest.options(2).on(gpu),
                    new MemoryWriter()));
    assertTrue(e.getMessage().contains("a.weight"), e.getMessage());
  }

  static final class Program {
    public static void main(String[] arguments) throws Exception {
      Device gpu = Device.requireGpu();
      for (Recipe recipe : recipes()) {
        for (TileGrid.Sizes sizes : List.of(TINY, USUAL)) {
          compare(recipe + ", " + sizes, gpu, (on, threads) -> write(recipe, on, threads, sizes));
        }
      }
      for (Merge merge : MERGES) {
        for (long budget : new long[] {1, 32 << 20}) {
          compare(merge + ", " + budget, gpu, (on, threads) -> merge(merge, budget, on, threads));
        }
      }
      requireCulprit(gpu);
      assertEquals(0, SinewNative.sn_live_tensors());
      System.out.println("passed on " + gpu);
    }
  }

  @Test
  void gpusWriteTheSame() throws Exception {
    String library = System.getProperty("sinew.test.cuda", "");
    Assumptions.assumeTrue(Files.exists(Path.of(library)), "there is no " + library);
    ChildJvm.Result result = ChildJvm.run(Program.class, List.of("-Dsinew.cuda=" + library));
    assertEquals(0, result.exit(), result.output());
  }
}
