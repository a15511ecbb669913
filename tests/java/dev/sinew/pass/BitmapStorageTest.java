package dev.sinew.pass;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sinew.DType;
import dev.sinew.Numbers;
import dev.sinew.model.Checkpoint;
import dev.sinew.model.CheckpointException;
import dev.sinew.model.TensorInfo;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Storing tensors with a bitmap, and reading them, against an element-by-element oracle. */
@Timeout(120)
class BitmapStorageTest {
  /** Cuts rows of more than 8192 F32 elements. */
  private static final TileGrid.Sizes TINY = new TileGrid.Sizes(4096 * 4, 2 * 4096 * 4);

  private static final TileGrid.Sizes USUAL = TileGrid.Sizes.forWorkers(2);
  private static final double[] SHARES = {0, 0.001, 0.1, 0.5, 0.8, 0.9, 0.97, 1};

  record Tensor(DType dtype, double share, long... shape) {
    TensorInfo info(String name) {
      return TensorInfo.of(name, dtype, shape);
    }

    byte[] elements() {
      TensorInfo info = info("t");
      Random random = new Random(hashOf());
      return BitmapOracle.elements(random, dtype, (int) info.elements(), share);
    }

    private long hashOf() {
      return dtype.ordinal() * 31L + Double.hashCode(share) + Arrays.hashCode(shape);
    }

    @Override
    public String toString() {
      return dtype + Arrays.toString(shape) + " share " + share;
    }
  }

  static Stream<Tensor> tensors() {
    List<Tensor> tensors = new ArrayList<>();
    long[][] shapes = {
      {},
      {0},
      {1},
      {7},
      {8},
      {1003},
      {0, 4},
      {4, 0},
      {1, 1},
      {1, 65},
      {65, 1},
      {5, 33},
      {7, 64},
      {3, 8193},
      {4, 3, 5, 5},
      {2, 3, 1, 1},
      {40, 100}
    };
    int n = 0;
    for (DType dtype : DType.values()) {
      for (long[] shape : shapes) {
        if (dtype.bits() >= 8) {
          tensors.add(new Tensor(dtype, SHARES[n++ % SHARES.length], shape));
        }
      }
    }
    for (double share : SHARES) {
      for (DType dtype : new DType[] {DType.I8, DType.BF16, DType.F32, DType.F64}) {
        tensors.add(new Tensor(dtype, share, 9, 301));
      }
    }
    // Rows longer than what is decoded at a time, for each size of elements.
    tensors.add(new Tensor(DType.I8, 0.5, 2, 600_007));
    tensors.add(new Tensor(DType.F16, 0.03, 2, 524_288));
    tensors.add(new Tensor(DType.F32, 0.5, 1, 600_007));
    tensors.add(new Tensor(DType.F64, 1, 300_000));
    return tensors.stream();
  }

  private static byte[] read(Checkpoint view, String name, long offset, int count)
      throws IOException {
    ByteBuffer target = ByteBuffer.allocate(count + 2);
    target.position(1).limit(count + 1);
    view.read(name, offset, target);
    assertEquals(count + 1, target.position());
    assertEquals(0, target.get(0));
    return Arrays.copyOfRange(target.array(), 1, count + 1);
  }

  @ParameterizedTest
  @MethodSource("tensors")
  void anyRangeOfAnyTensorIsDecoded(Tensor tensor) throws IOException {
    byte[] expected = tensor.elements();
    MemoryCheckpoint stored = new MemoryCheckpoint();
    stored.add("before", DType.F32, new double[] {1, 0}, 2);
    BitmapOracle.of(tensor.info("t"), expected).addTo(stored);
    try (Checkpoint view = Decoding.dense(stored)) {
      assertEquals(
          List.of(TensorInfo.of("before", DType.F32, 2), tensor.info("t")),
          List.copyOf(view.tensors().values()));
      int size = expected.length;
      assertArrayEquals(expected, read(view, "t", 0, size));
      Random random = new Random(1);
      for (int i = 0; i < 30 && size > 0; i++) {
        int begin = random.nextInt(size);
        int count = random.nextInt(i % 2 == 0 ? Math.min(size - begin, 30) + 1 : size - begin + 1);
        assertArrayEquals(
            Arrays.copyOfRange(expected, begin, begin + count), read(view, "t", begin, count));
      }
      assertThrows(IllegalArgumentException.class, () -> read(view, "t", size, 1));
      assertThrows(IllegalArgumentException.class, () -> read(view, "t_bitmap", 0, 0));
      assertTrue(view.region("t").isEmpty());
    }
  }

  private static Optimizer.Options options(int threads, Storage storage) {
    return new Optimizer.Options(
        new Targets(List.of("*"), List.of()), threads, false, Optimizer.Progress.NONE, storage);
  }

  private static void assertStored(BitmapOracle oracle, MemoryWriter written, Storage reported) {
    String name = oracle.dense().name();
    if (oracle.storedBytes() < oracle.dense().bytes()) {
      assertEquals(Storage.BITMAP, reported, name);
      assertArrayEquals(oracle.values(), written.data.get(name), name);
      assertArrayEquals(oracle.bitmap(), written.data.get(name + "_bitmap"), name);
      assertArrayEquals(oracle.offsetBytes(), written.data.get(name + "_row_offsets"), name);
      assertArrayEquals(oracle.shapeBytes(), written.data.get(name + "_shape"), name);
    } else {
      assertEquals(Storage.DENSE, reported, name);
      assertEquals(oracle.dense(), written.tensors.get(name));
      assertFalse(written.tensors.containsKey(name + "_bitmap"), name);
    }
  }

  @Test
  void whatIsWrittenIsTheOraclesForAllThreadsAndTiles() throws IOException {
    MemoryCheckpoint model = new MemoryCheckpoint();
    List<Tensor> tensors =
        tensors().filter(t -> t.dtype.isFloating() && t.shape.length >= 2).toList();
    List<BitmapOracle> oracles = new ArrayList<>();
    int sparse = 0;
    for (Tensor tensor : tensors) {
      TensorInfo info = tensor.info(oracles.size() * 7 % 10 + "." + oracles.size());
      byte[] bytes = tensor.elements();
      model.add(info, bytes);
      BitmapOracle oracle = BitmapOracle.of(info, bytes);
      oracles.add(oracle);
      sparse += oracle.storedBytes() < info.bytes() ? 1 : 0;
    }
    assertTrue(sparse > 10 && sparse < oracles.size() - 10, sparse + " of " + oracles.size());
    for (TileGrid.Sizes sizes : List.of(TINY, USUAL)) {
      for (int threads : new int[] {1, 2, 7}) {
        MemoryWriter written = new MemoryWriter();
        Report report =
            Optimizer.optimize(model, List.of(), options(threads, Storage.BITMAP), written, sizes);
        for (BitmapOracle oracle : oracles) {
          Report.Entry entry =
              report.tensors().stream()
                  .filter(e -> e.name().equals(oracle.dense().name()))
                  .findFirst()
                  .orElseThrow();
          assertStored(oracle, written, entry.storage());
          long smaller = Math.min(oracle.storedBytes(), oracle.dense().bytes());
          assertEquals(smaller, entry.outputBytes());
        }
        assertEquals("--sparse-format bitmap", report.recipe());
        assertEquals(2 * report.inputBytes(), report.bytesRead());
        assertEquals(
            report.outputBytes(), written.data.values().stream().mapToLong(b -> b.length).sum());
      }
    }
  }

  static Stream<List<Pass>> recipes() {
    Prune nm = Prune.nm(2, 4);
    Prune global = Prune.sparsity(0.6, Prune.Scope.GLOBAL);
    Prune each = Prune.sparsity(0.7, Prune.Scope.TENSOR);
    return Stream.of(
        List.of(nm),
        List.of(global),
        List.of(each),
        List.of(global, Quantize.of(8, false, "channel", "minmax")),
        List.of(each, Quantize.of(8, false, "tensor", "mse")),
        List.of(nm, Quantize.of(8, false, "group=7", "percentile=98")),
        List.of(each, new FakeQuantize(Quantize.of(8, true, "channel", "minmax"))));
  }

  private static MemoryCheckpoint model() {
    Random random = new Random(3);
    MemoryCheckpoint model = new MemoryCheckpoint();
    model.add("b.weight", DType.F32, Numbers.weights(random, 11 * 9001), 11, 9001);
    model.add("a.weight", DType.BF16, Numbers.weights(random, 40 * 100), 40, 100);
    model.add("c.weight", DType.F16, Numbers.weights(random, 5 * 27), 5, 3, 3, 3);
    model.add("d.weight", DType.F64, Numbers.weights(random, 20_000), 1, 20_000);
    model.add("bias", DType.F32, new double[] {0, 0, 0, 1}, 4);
    return model;
  }

  private static MemoryCheckpoint readable(MemoryWriter written) {
    MemoryCheckpoint checkpoint = new MemoryCheckpoint();
    written.tensors.values().forEach(i -> checkpoint.add(i, written.data.get(i.name())));
    written.metadata.forEach(checkpoint::meta);
    return checkpoint;
  }

  @ParameterizedTest
  @MethodSource("recipes")
  void passesGiveWhatTheyGiveDense(List<Pass> passes) throws IOException {
    MemoryWriter dense = new MemoryWriter();
    Optimizer.optimize(model(), passes, options(1, Storage.DENSE), dense, USUAL);
    Set<String> hashes = new HashSet<>();
    for (TileGrid.Sizes sizes : List.of(TINY, USUAL)) {
      for (int threads : new int[] {1, 3}) {
        MemoryWriter sparse = new MemoryWriter();
        Report report =
            Optimizer.optimize(model(), passes, options(threads, Storage.BITMAP), sparse, sizes);
        assertTrue(
            report.tensors().stream().filter(e -> e.storage() == Storage.BITMAP).count() >= 3,
            report.toString());
        Checkpoint view = Decoding.dense(readable(sparse));
        assertEquals(List.copyOf(dense.tensors.values()), List.copyOf(view.tensors().values()));
        for (TensorInfo tensor : view.tensors().values()) {
          assertArrayEquals(
              dense.data.get(tensor.name()),
              read(view, tensor.name(), 0, (int) tensor.bytes()),
              tensor.name());
        }
        StringBuilder all = new StringBuilder();
        sparse.data.forEach((name, data) -> all.append(name).append(Arrays.hashCode(data)));
        hashes.add(all.toString());
      }
    }
    assertEquals(1, hashes.size());
  }

  @Test
  void sparseIntegersAreDequantized() throws IOException {
    List<Pass> passes =
        List.of(
            Prune.sparsity(0.6, Prune.Scope.GLOBAL), Quantize.of(8, false, "group=7", "minmax"));
    MemoryWriter dense = new MemoryWriter();
    MemoryWriter sparse = new MemoryWriter();
    Optimizer.optimize(model(), passes, options(1, Storage.DENSE), dense, USUAL);
    Optimizer.optimize(model(), passes, options(1, Storage.BITMAP), sparse, USUAL);
    Checkpoint expected = Decoding.view(readable(dense));
    Checkpoint actual = Decoding.view(readable(sparse));
    assertEquals(expected.tensors(), actual.tensors());
    for (TensorInfo tensor : expected.tensors().values()) {
      int size = (int) tensor.bytes();
      assertArrayEquals(
          read(expected, tensor.name(), 0, size), read(actual, tensor.name(), 0, size));
    }
    CheckpointException e =
        assertThrows(
            CheckpointException.class,
            () ->
                Optimizer.optimize(
                    readable(sparse), passes, options(1, Storage.BITMAP), new MemoryWriter()));
    assertTrue(e.getMessage().contains("is already quantized"), e.getMessage());
  }

  @Test
  void sparseFloatsAreOptimizedAgain() throws IOException {
    List<Pass> first = List.of(Prune.sparsity(0.5, Prune.Scope.GLOBAL));
    List<Pass> second = List.of(Prune.sparsity(0.8, Prune.Scope.GLOBAL));
    MemoryWriter once = new MemoryWriter();
    Optimizer.optimize(model(), first, options(2, Storage.BITMAP), once, TINY);
    for (Storage storage : Storage.values()) {
      MemoryWriter twice = new MemoryWriter();
      MemoryWriter direct = new MemoryWriter();
      Optimizer.optimize(readable(once), second, options(2, storage), twice, TINY);
      Optimizer.optimize(model(), second, options(1, storage), direct, USUAL);
      assertEquals(direct.tensors, twice.tensors);
      direct.data.forEach((name, data) -> assertArrayEquals(data, twice.data.get(name), name));
    }
  }

  @Test
  void integersThatHaveNoUseForABitmapAreRefusedBeforeAnythingIsRead() {
    Pass asymmetric = Quantize.of(8, true, "tensor", "minmax");
    for (Pass second : List.of(Quantize.int4(2), asymmetric, Cluster.perTensor(4))) {
      MemoryCheckpoint model = model();
      IllegalArgumentException e =
          assertThrows(
              IllegalArgumentException.class,
              () ->
                  Optimizer.optimize(
                      model,
                      List.of(Prune.nm(2, 4), second),
                      options(1, Storage.BITMAP),
                      new MemoryWriter()));
      assertTrue(e.getMessage().contains("cannot be stored with a bitmap"), e.getMessage());
      assertEquals(0, model.reads.get());
    }
  }

  @Test
  void namesThatSparseStorageNeedsAreRefused() {
    MemoryCheckpoint model = model().add("a.weight_bitmap", DType.I32, new double[1], 1);
    CheckpointException e =
        assertThrows(
            CheckpointException.class,
            () ->
                Optimizer.optimize(
                    model, List.of(), options(1, Storage.BITMAP), new MemoryWriter()));
    assertTrue(e.getMessage().contains("a.weight_bitmap"), e.getMessage());
    assertTrue(e.getMessage().contains("--skip"), e.getMessage());
    assertEquals(0, model.reads.get());
  }

  @Test
  void aDryRunReadsNothing() throws IOException {
    MemoryCheckpoint model = model();
    Optimizer.Options options =
        new Optimizer.Options(
            Targets.byDefault(), 1, true, Optimizer.Progress.NONE, Storage.BITMAP);
    Report report = Optimizer.optimize(model, List.of(Prune.nm(2, 4)), options, null);
    assertEquals(0, model.reads.get());
    assertEquals(report.inputBytes(), report.outputBytes());
    assertEquals("--prune nm=2:4 --sparse-format bitmap", report.recipe());
  }

  /** An input that changes between counting and writing. */
  @Test
  void anInputThatChangesIsAFailure() {
    for (int threads : new int[] {1, 8}) {
      MemoryCheckpoint model = model();
      int tensorBytes = model.bytes("b.weight").length;
      AtomicInteger read = new AtomicInteger();
      model.hook =
          (tensor, offset, bytes) -> {
            if (tensor.equals("b.weight") && read.getAndAdd(bytes) == tensorBytes) {
              Arrays.fill(model.bytes("b.weight"), 100, 200, (byte) 0);
              Arrays.fill(model.bytes("b.weight"), tensorBytes - 200, tensorBytes, (byte) 0);
            }
          };
      MemoryWriter writer = new MemoryWriter();
      CheckpointException e =
          assertThrows(
              CheckpointException.class,
              () ->
                  Optimizer.optimize(
                      model, List.of(), options(threads, Storage.BITMAP), writer, TINY));
      assertTrue(e.getMessage().contains("has changed while it was read"), e.getMessage());
      assertTrue(e.getMessage().contains("'b.weight'"), e.getMessage());
      assertFalse(writer.committed);
      assertTrue(writer.closed);
    }
  }

  @Test
  void longRowsAreEnteredInTheirMiddle() throws IOException {
    Tensor tensor = new Tensor(DType.I8, 0.3, 2, 8 << 20);
    byte[] expected = tensor.elements();
    MemoryCheckpoint stored = new MemoryCheckpoint();
    BitmapOracle.of(tensor.info("t"), expected).addTo(stored);
    try (Checkpoint view = Decoding.dense(stored)) {
      read(view, "t", 5, 1);
      long before = stored.bytesRead.get();
      assertTrue(before < (1 << 20) + 200_000, "the bitmap of one row, not " + before);
      int late = (8 << 20) - 100;
      assertArrayEquals(Arrays.copyOfRange(expected, late, late + 80), read(view, "t", late, 80));
      long more = stored.bytesRead.get() - before;
      assertTrue(more < 100_000, more + " bytes read for 80");
      assertArrayEquals(expected, read(view, "t", 0, expected.length));
    }
  }

  @Test
  void manyThreadsReadOneView() throws Exception {
    Tensor tensor = new Tensor(DType.F16, 0.4, 3, 700_001);
    byte[] expected = tensor.elements();
    MemoryCheckpoint stored = new MemoryCheckpoint();
    BitmapOracle.of(tensor.info("t"), expected).addTo(stored);
    ExecutorService pool = Executors.newFixedThreadPool(8);
    try (Checkpoint view = Decoding.view(stored)) {
      List<Future<?>> futures = new ArrayList<>();
      for (int t = 0; t < 8; t++) {
        Random random = new Random(t);
        futures.add(
            pool.submit(
                () -> {
                  for (int i = 0; i < 30; i++) {
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
  void tensorsWithSomeOfTheNamesAreThemselves() throws IOException {
    MemoryCheckpoint plain = new MemoryCheckpoint();
    plain.add("t", DType.F32, new double[4], 4).add("t_bitmap", DType.U8, new double[1], 1, 1);
    plain.add("t_shape", DType.I64, new double[1], 1);
    plain.add("u", DType.F32, new double[4], 4).add("u_bitmap", DType.I8, new double[1], 1, 1);
    plain.add("u_row_offsets", DType.I64, new double[2], 2);
    plain.add("u_shape", DType.I64, new double[1], 1);
    assertSame(plain, Decoding.dense(plain));
    assertSame(plain, Decoding.view(plain));
  }
}
