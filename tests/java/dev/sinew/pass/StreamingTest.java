package dev.sinew.pass;

import static dev.sinew.Numbers.weights;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sinew.DType;
import dev.sinew.Device;
import dev.sinew.Numbers;
import dev.sinew.QuantOracle;
import dev.sinew.Scope;
import dev.sinew.Tensor;
import dev.sinew.io.SafeTensors;
import dev.sinew.model.TensorInfo;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * That tiles change nothing: what the optimizer writes is, bit for bit, what the passes make of
 * whole tensors in memory, for every number of threads and every size of tiles.
 */
@Timeout(120)
class StreamingTest {
  /** Cuts most tensors of the model, and rows of more than 8192 F32 elements. */
  private static final TileGrid.Sizes TINY = new TileGrid.Sizes(4096 * 4, 2 * 4096 * 4);

  private static final TileGrid.Sizes SMALL = new TileGrid.Sizes(3 * 4096 * 8, 5 * 4096 * 8);
  private static final TileGrid.Sizes USUAL = TileGrid.Sizes.forWorkers(2);

  private static final List<String> PRUNINGS =
      List.of(
          "none",
          "threshold=0.3",
          "sparsity=0.53",
          "sparsity=0.031", // fewer than there are zeros: ties among them
          "sparsity=0.53,scope=tensor",
          "sparsity=0.031,scope=tensor",
          "nm=2:4",
          "nm=3:5");

  /** Bits, asymmetric, granularity, range. */
  private static final List<List<Object>> QUANTIZATIONS =
      List.of(
          List.of(8, false, "tensor", "minmax"),
          List.of(8, true, "tensor", "percentile=99"),
          List.of(4, false, "tensor", "percentile=97"),
          List.of(8, true, "tensor", "mse"),
          List.of(4, false, "channel", "minmax"),
          List.of(4, true, "channel", "percentile=98"),
          List.of(8, false, "channel", "percentile=99.9"),
          List.of(8, false, "channel", "mse"),
          List.of(4, true, "channel", "mse"),
          List.of(4, false, "group=32", "mse"),
          List.of(8, true, "group=7", "minmax"),
          List.of(4, true, "group=64", "percentile=90"),
          List.of(4, true, "group=2", "minmax"));

  private record Recipe(Prune prune, Quantize quantize, boolean fake) {
    List<Pass> passes() {
      List<Pass> passes = new ArrayList<>();
      if (prune != null) {
        passes.add(prune);
      }
      if (quantize != null) {
        passes.add(fake ? new FakeQuantize(quantize) : quantize);
      }
      return passes;
    }

    @Override
    public String toString() {
      return Optimizer.recipe(passes());
    }
  }

  static Stream<Recipe> recipes() {
    List<Recipe> recipes = new ArrayList<>();
    for (String text : PRUNINGS) {
      Prune prune = text.equals("none") ? null : Prune.parse(text);
      if (prune != null) {
        recipes.add(new Recipe(prune, null, false));
      }
      for (List<Object> q : QUANTIZATIONS) {
        Quantize quantize =
            Quantize.of((int) q.get(0), (boolean) q.get(1), (String) q.get(2), (String) q.get(3));
        // Each quantization alone, both ways, and after every third kind of pruning.
        if (prune == null) {
          recipes.add(new Recipe(null, quantize, true));
        }
        if (prune == null || (PRUNINGS.indexOf(text) + QUANTIZATIONS.indexOf(q)) % 3 == 0) {
          recipes.add(new Recipe(prune, quantize, QUANTIZATIONS.indexOf(q) % 6 == 5));
        }
      }
    }
    return recipes.stream();
  }

  /** All dtypes, with rows that are cut, more than eight of them, single columns and tails. */
  private static MemoryCheckpoint model(DType... dtypes) {
    Random random = new Random(42);
    MemoryCheckpoint model = new MemoryCheckpoint();
    long[][] shapes = {
      {1, 1}, {7, 5}, {11, 9001}, {40, 100}, {5, 3, 3, 3}, {1, 20_000}, {9000, 1}, {3, 17, 1100}
    };
    int n = 0;
    for (long[] shape : shapes) {
      DType dtype = dtypes[n % dtypes.length];
      int count = (int) Arrays.stream(shape).reduce(1, (a, b) -> a * b);
      // Names whose order is not that of the file.
      String name = (char) ('a' + 7 * n % 8) + "." + n + ".weight";
      model.add(name, dtype, weights(random, count), shape);
      n++;
    }
    return model;
  }

  private static final MemoryCheckpoint MIXED = model(DType.F32, DType.BF16, DType.F16, DType.F64);
  private static final MemoryCheckpoint OTHER_MIXED =
      model(DType.BF16, DType.F64, DType.F32, DType.F32, DType.F16);

  private static Optimizer.Options options(int threads) {
    return new Optimizer.Options(Targets.byDefault(), threads, false, Optimizer.Progress.NONE);
  }

  /** What the passes make of whole tensors in memory. */
  private static Map<String, byte[]> inMemory(MemoryCheckpoint model, Recipe recipe) {
    Map<String, byte[]> expected = new TreeMap<>();
    Map<String, byte[]> globallyPruned = new HashMap<>();
    boolean global =
        recipe.prune != null
            && recipe.prune.criterion() == Prune.Criterion.SPARSITY
            && recipe.prune.scope() == Prune.Scope.GLOBAL;
    if (global) {
      globallyPruned.putAll(pruneGlobally(model, recipe.prune));
    }
    for (TensorInfo info : model.tensors().values()) {
      try (Scope scope = new Scope()) {
        byte[] bytes = global ? globallyPruned.get(info.name()) : model.bytes(info.name());
        Tensor x =
            scope.add(Numbers.ofBytes(Device.cpu(), info.dtype(), bytes, info.rows(), info.cols()));
        if (recipe.prune != null && !global) {
          recipe.prune.apply(x);
        }
        if (recipe.quantize == null) {
          expected.put(info.name(), x.toBytes());
        } else if (recipe.fake) {
          new FakeQuantize(recipe.quantize).apply(x);
          expected.put(info.name(), x.toBytes());
        } else {
          quantize(recipe.quantize, info, x, scope, expected);
        }
      }
    }
    return expected;
  }

  private static void quantize(
      Quantize pass, TensorInfo info, Tensor x, Scope scope, Map<String, byte[]> expected) {
    boolean int4 = pass.scheme().bits() == 4;
    long slices = pass.slices(info);
    Tensor q =
        int4
            ? scope.allocate(Device.cpu(), DType.U8, info.rows(), (info.cols() + 1) / 2)
            : scope.allocate(Device.cpu(), DType.I8, info.rows(), info.cols());
    Tensor scale = scope.allocate(Device.cpu(), DType.F32, slices);
    Tensor zeroPoint =
        pass.scheme().isAsymmetric() ? scope.allocate(Device.cpu(), DType.I8, slices) : null;
    pass.apply(x, q, scale, zeroPoint);
    expected.put(info.name(), q.toBytes());
    expected.put(info.name() + "_scale", scale.toBytes());
    if (zeroPoint != null) {
      expected.put(info.name() + "_zero_point", zeroPoint.toBytes());
    }
    if (int4) {
      ByteBuffer shape = ByteBuffer.allocate(8 * info.shape().size());
      shape.order(ByteOrder.LITTLE_ENDIAN);
      info.shape().forEach(shape::putLong);
      expected.put(info.name() + "_shape", shape.array());
    }
  }

  /** The smallest of all tensors together, ties in the order of names and then of index. */
  private static Map<String, byte[]> pruneGlobally(MemoryCheckpoint model, Prune pass) {
    List<String> names = new ArrayList<>(new TreeMap<>(model.tensors()).keySet());
    double[] all = new double[0];
    for (String name : names) {
      double[] values = Numbers.decode(model.tensors().get(name).dtype(), model.bytes(name));
      int before = all.length;
      all = Arrays.copyOf(all, before + values.length);
      System.arraycopy(values, 0, all, before, values.length);
    }
    long k = (long) Math.floor(pass.sparsity() * all.length);
    double[] pruned = QuantOracle.smallest(all, k);
    Map<String, byte[]> result = new HashMap<>();
    int begin = 0;
    for (String name : names) {
      TensorInfo info = model.tensors().get(name);
      int end = begin + (int) info.elements();
      result.put(name, Numbers.encode(info.dtype(), Arrays.copyOfRange(pruned, begin, end)));
      begin = end;
    }
    return result;
  }

  private static void assertStreamed(
      MemoryCheckpoint model,
      Recipe recipe,
      Map<String, byte[]> expected,
      int threads,
      TileGrid.Sizes sizes)
      throws IOException {
    MemoryWriter writer = new MemoryWriter();
    Report report = Optimizer.optimize(model, recipe.passes(), options(threads), writer, sizes);
    assertTrue(writer.committed);
    assertEquals(expected.keySet(), new TreeMap<>(writer.data).keySet());
    for (String name : expected.keySet()) {
      assertArrayEquals(
          expected.get(name),
          writer.data.get(name),
          () -> name + ", " + recipe + ", " + threads + " threads, " + sizes);
    }
    if (recipe.prune != null && recipe.quantize == null) {
      for (Report.Entry entry : report.tensors()) {
        double[] values = Numbers.decode(entry.dtype(), expected.get(entry.name()));
        assertEquals(QuantOracle.zeros(values), entry.zeros());
      }
    }
  }

  @ParameterizedTest
  @MethodSource("recipes")
  void streamingIsTheWholeTensor(Recipe recipe) throws IOException {
    Map<String, byte[]> expected = inMemory(MIXED, recipe);
    // Groups of 5 and blocks of 4096 come together every 20,480 elements, more than a tiny tile.
    boolean fits =
        recipe.passes().stream().mapToLong(Pass::alignment).reduce(1, (a, b) -> a * b) <= 4096;
    assertStreamed(MIXED, recipe, expected, 1, fits ? TINY : SMALL);
    assertStreamed(MIXED, recipe, expected, 3, fits ? TINY : SMALL);
    assertStreamed(MIXED, recipe, expected, 8, SMALL);
    assertStreamed(MIXED, recipe, expected, 2, USUAL);
  }

  @Test
  void manyTiesInManyTiles() throws IOException {
    // Three magnitudes only, so that almost every decision is one between equals.
    Random random = new Random(8);
    MemoryCheckpoint model = new MemoryCheckpoint();
    for (DType dtype : List.of(DType.F32, DType.BF16, DType.F64, DType.F16)) {
      double[] values = new double[30_000];
      for (int i = 0; i < values.length; i++) {
        values[i] = (random.nextInt(5) - 2) * 0.25;
      }
      model.add("z" + dtype + ".weight", dtype, values, 3, 10_000);
    }
    for (String sparsity : List.of("0.1", "0.2001", "0.6", "1.0")) {
      for (String scope : List.of("global", "tensor")) {
        Recipe recipe =
            new Recipe(Prune.parse("sparsity=" + sparsity + ",scope=" + scope), null, false);
        Map<String, byte[]> expected = inMemory(model, recipe);
        for (int threads : new int[] {1, 2, 3, 5, 8}) {
          assertStreamed(model, recipe, expected, threads, TINY);
        }
      }
    }
  }

  @Test
  void exactSparsityReadsTheDataAtMostThreeTimes() throws IOException {
    for (String scope : List.of("global", "tensor")) {
      for (DType dtype : List.of(DType.F32, DType.F16, DType.F64, DType.BF16)) {
        MemoryCheckpoint model = new MemoryCheckpoint();
        double[] values = weights(new Random(1), 90_000);
        model.add("a.weight", dtype, values, 9, 10_000).add("b.bias", DType.F32, values, 90_000);
        long bytes = dtype.bytes(90_000);
        Report report =
            Optimizer.optimize(
                model,
                List.of(Prune.parse("sparsity=0.4,scope=" + scope)),
                options(2),
                new MemoryWriter(),
                TINY);
        long times = dtype == DType.BF16 ? 2 : 3;
        assertEquals(times * bytes + 4 * 90_000, report.bytesRead());
        assertEquals(report.bytesRead(), model.bytesRead.get());
      }
    }
  }

  @Test
  void othersAreReadOnceOrAsOftenAsSlicesNeed() throws IOException {
    double[] values = weights(new Random(1), 90_000);
    Map<Pass, Integer> times =
        Map.of(
            Prune.threshold(1), 1,
            Prune.nm(2, 4), 1,
            Quantize.int4(32), 1,
            Quantize.int8(), 2, // extremes, then integers
            Quantize.of(8, false, "channel", "mse"), 3,
            Quantize.of(8, false, "tensor", "percentile=99"), 4);
    for (Map.Entry<Pass, Integer> entry : times.entrySet()) {
      MemoryCheckpoint model = new MemoryCheckpoint();
      model.add("a.weight", DType.F32, values, 9, 10_000);
      List<Pass> passes = List.of(entry.getKey());
      Report report = Optimizer.optimize(model, passes, options(2), new MemoryWriter(), TINY);
      assertEquals(entry.getValue() * 360_000, report.bytesRead(), entry.getKey().recipe());
      // In tiles that hold the slices once is enough.
      report = Optimizer.optimize(model, passes, options(2), new MemoryWriter(), USUAL);
      assertEquals(360_000, report.bytesRead(), entry.getKey().recipe());
    }
  }

  @Test
  void oneFileForAllThreadsAndTiles(@TempDir Path folder) throws Exception {
    List<Recipe> recipes =
        List.of(
            new Recipe(Prune.parse("sparsity=0.5"), Quantize.int4(32), false),
            new Recipe(
                Prune.parse("sparsity=0.5,scope=tensor"),
                Quantize.of(8, true, "tensor", "mse"),
                false),
            new Recipe(Prune.nm(2, 4), Quantize.of(4, true, "channel", "percentile=99"), false));
    for (Recipe recipe : recipes) {
      for (MemoryCheckpoint model : List.of(MIXED, OTHER_MIXED)) {
        String first = digest(model, recipe, 1, TINY, folder);
        for (int threads : new int[] {2, 3, 8}) {
          assertEquals(first, digest(model, recipe, threads, TINY, folder), recipe::toString);
        }
        for (TileGrid.Sizes sizes : List.of(SMALL, USUAL)) {
          assertEquals(first, digest(model, recipe, 2, sizes, folder), recipe::toString);
        }
      }
    }
  }

  private static String digest(
      MemoryCheckpoint model, Recipe recipe, int threads, TileGrid.Sizes sizes, Path folder)
      throws Exception {
    Path file = folder.resolve("out.safetensors");
    Optimizer.optimize(
        model,
        recipe.passes(),
        options(threads),
        plan -> SafeTensors.create(file, plan, true),
        sizes);
    byte[] digest = MessageDigest.getInstance("SHA-256").digest(Files.readAllBytes(file));
    return HexFormat.of().formatHex(digest);
  }
}
