package dev.sinew.pass;

import static dev.sinew.QuantScheme.FP8;
import static dev.sinew.QuantScheme.INT4_SYMMETRIC;
import static dev.sinew.QuantScheme.INT8_ASYMMETRIC;
import static dev.sinew.QuantScheme.INT8_SYMMETRIC;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sinew.ChildJvm;
import dev.sinew.DType;
import dev.sinew.Device;
import dev.sinew.Numbers;
import dev.sinew.QuantScheme;
import dev.sinew.internal.Handle;
import dev.sinew.internal.SinewNative;
import dev.sinew.model.CheckpointException;
import java.io.InterruptedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
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

  private static final QuantizedLayout COMPRESSED = QuantizedLayout.COMPRESSED_TENSORS;

  private static Quantize quantize(QuantScheme scheme, String shared, String range) {
    return Quantize.of(scheme, shared, range);
  }

  /** Every kind of output, and every way to choose what is in it. */
  private static List<Recipe> recipes() {
    Storage dense = Storage.DENSE;
    Storage bitmap = Storage.BITMAP;
    Prune half = Prune.sparsity(0.53, Prune.Scope.GLOBAL);
    Prune tied = Prune.sparsity(0.05, Prune.Scope.TENSOR);
    List<Recipe> all = new ArrayList<>();
    for (QuantScheme scheme : QuantScheme.values()) {
      for (String shared : List.of("tensor", "channel", "group=64")) {
        for (String range : List.of("minmax", "percentile=97", "mse")) {
          all.add(new Recipe(dense, quantize(scheme, shared, range)));
        }
      }
      all.add(new Recipe(dense, new FakeQuantize(quantize(scheme, "channel", "percentile=99.9"))));
      all.add(new Recipe(dense, new FakeQuantize(quantize(scheme, "group=6", "minmax"))));
    }
    for (QuantScheme scheme : List.of(INT8_SYMMETRIC, FP8)) {
      all.add(new Recipe(dense, quantize(scheme, "tensor", "mse").in(COMPRESSED)));
      all.add(new Recipe(dense, half, quantize(scheme, "channel", "minmax").in(COMPRESSED)));
      all.add(new Recipe(bitmap, tied, quantize(scheme, "channel", "minmax")));
    }
    all.addAll(
        List.of(
            new Recipe(dense, quantize(INT4_SYMMETRIC, "group=128", "minmax").in(COMPRESSED)),
            new Recipe(dense, quantize(INT4_SYMMETRIC, "channel", "minmax").in(COMPRESSED)),
            new Recipe(dense, Prune.threshold(0.3f)),
            new Recipe(bitmap, half),
            new Recipe(bitmap, Prune.nm(3, 5), quantize(INT8_SYMMETRIC, "tensor", "minmax")),
            new Recipe(dense, Prune.nm(2, 4), quantize(INT4_SYMMETRIC, "group=64", "mse")),
            new Recipe(dense, half, quantize(INT8_ASYMMETRIC, "tensor", "percentile=99")),
            new Recipe(dense, tied, Cluster.parse("bits=3,rows=7,iterations=2")),
            new Recipe(dense, Cluster.parse("bits=2,iterations=2")),
            new Recipe(dense, Prune.nm(1, 2), Cluster.parse("bits=8,iterations=1"))));
    return all;
  }

  /** All dtypes, with rows that are cut, single columns and tails, and a tensor to be copied. */
  private static MemoryCheckpoint model(long seed) {
    return model(seed, 0);
  }

  /** The same with a type for each tensor that is so many further. */
  private static MemoryCheckpoint model(long seed, int further) {
    Random random = new Random(seed);
    MemoryCheckpoint model = new MemoryCheckpoint();
    long[][] shapes = {{7, 5}, {3, 9001}, {20, 100}, {5, 27}, {1, 20_000}, {400, 1}};
    DType[] dtypes = {DType.F32, DType.BF16, DType.F16, DType.F64};
    for (int n = 0; n < 2 * shapes.length; n++) {
      long[] shape = shapes[n % shapes.length];
      int count = (int) Arrays.stream(shape).reduce(1, (a, b) -> a * b);
      model.add(
          (char) ('a' + 7 * n % 12) + ".weight",
          dtypes[(n + further) % 4],
          weights(random, count),
          shape);
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

  private static MemoryWriter merge(
      Merge merge, int further, long budget, Device device, int threads) throws Exception {
    MemoryWriter writer = new MemoryWriter();
    Merger.merge(
        List.of(model(1), model(2, further)),
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

  // Even if one thread is asked for, one tile is read while another is computed and a third one
  // written.
  private static void requireTilesAtOnce(Device gpu) throws Exception {
    assertEquals(1, TileStream.workers(1, Device.cpu()));
    assertEquals(4, TileStream.workers(4, gpu));
    CountDownLatch together = new CountDownLatch(3);
    MemoryCheckpoint input = model(42);
    input.hook(
        (tensor, offset, bytes) -> {
          if (!tensor.endsWith(".weight")) {
            return;
          }
          together.countDown();
          try {
            assertTrue(together.await(30, TimeUnit.SECONDS), "tiles are taken one by one");
          } catch (InterruptedException e) {
            throw new InterruptedIOException();
          }
        });
    MemoryWriter writer = new MemoryWriter();
    Optimizer.Options options =
        new Optimizer.Options(Targets.byDefault(), 1, false, Optimizer.Progress.NONE).on(gpu);
    Optimizer.optimize(input, List.of(Prune.threshold(0.3f)), options, writer);
  }

  static final class Program {
    public static void main(String[] arguments) throws Exception {
      Device gpu = Device.requireGpu();
      for (Recipe recipe : recipes()) {
        for (TileGrid.Sizes sizes : List.of(TINY, USUAL)) {
          String what = recipe.storage() + " " + Arrays.toString(recipe.passes()) + ", " + sizes;
          compare(what, gpu, (on, threads) -> write(recipe, on, threads, sizes));
        }
      }
      for (Merge merge : MERGES) {
        for (long budget : new long[] {1, 32 << 20}) {
          for (int further : new int[] {0, 1}) {
            compare(
                merge + ", " + budget + ", " + further,
                gpu,
                (on, threads) -> merge(merge, further, budget, on, threads));
          }
        }
      }
      requireCulprit(gpu);
      requireTilesAtOnce(gpu);
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
