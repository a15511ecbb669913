package dev.sinew.pass;

import static dev.sinew.Numbers.decode;
import static dev.sinew.Numbers.rounded;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import dev.sinew.DType;
import dev.sinew.model.Checkpoint;
import dev.sinew.model.CheckpointException;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicLong;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Whole merges of checkpoints in memory, against {@link MergeOracle}. */
class MergerTest {
  private static final int N = 30011;

  private static double[] values(long seed, int count) {
    Random random = new Random(seed);
    return random.doubles(count, -1, 1).map(v -> v * v * v).toArray();
  }

  /** Small and large tensors that are near each other, as those of fine-tuned models are. */
  private static MemoryCheckpoint model(DType dtype, long seed) {
    MemoryCheckpoint model = new MemoryCheckpoint();
    for (int size : new int[] {N, 1, 0, 4096, 129}) {
      double[] x = values(1000 + size, size);
      double[] noise = values(seed * 77 + size, size);
      for (int i = 0; i < size; i++) {
        x[i] += seed == 0 ? 0 : 0.3 * noise[i];
        // Elements that training has not changed, and that have changed by the same amount.
        x[i] = i % 5 == 0 ? 1 : i % 7 == 0 ? 1 + seed % 3 * 0.125 : x[i];
      }
      model.add("tensor." + size, dtype, x, size);
    }
    model.add("steps", DType.I64, new double[] {7});
    return model;
  }

  private static double[] of(MemoryCheckpoint model, String name) {
    return decode(model.tensors().get(name).dtype(), model.bytes(name));
  }

  static Merger.Options options(int threads) {
    return new Merger.Options(
        Merger.Missing.ERROR, List.of(), threads, false, Optimizer.Progress.NONE);
  }

  static MemoryWriter merge(
      List<? extends Checkpoint> models, Checkpoint base, Merge merge, int threads, long budget)
      throws IOException {
    MemoryWriter writer = new MemoryWriter();
    Merger.merge(List.copyOf(models), base, merge, options(threads), writer, budget);
    assertTrue(writer.committed && writer.closed);
    return writer;
  }

  private interface Oracle {
    double[] of(String name, double[] base, List<double[]> models);
  }

  // With budgets from one tile a tensor to the least there is, the result is the same to the bit
  // and near the oracle.
  private static void check(DType dtype, int count, boolean based, Merge merge, Oracle oracle)
      throws IOException {
    List<MemoryCheckpoint> models = new ArrayList<>();
    for (int m = 1; m <= count; m++) {
      models.add(model(dtype, m));
    }
    MemoryCheckpoint base = model(dtype, 0);
    MemoryWriter first = merge(models, based ? base : null, merge, 1, 32 << 20);
    for (int threads : new int[] {1, 3}) {
      MemoryWriter other = merge(models, based ? base : null, merge, threads, 1);
      assertEquals(first.data.keySet(), other.data.keySet());
      first.data.forEach(
          (name, bytes) ->
              assertArrayEquals(bytes, other.data.get(name), () -> merge + " " + name));
    }
    double step = dtype == DType.F16 ? 0x1p-11 : dtype == DType.BF16 ? 0x1p-8 : 0;
    for (String name : base.tensors().keySet()) {
      if (name.equals("steps")) {
        continue;
      }
      List<double[]> inputs = models.stream().map(model -> of(model, name)).toList();
      double[] expected = oracle.of(name, of(base, name), inputs);
      double[] actual = decode(dtype, first.data.get(name));
      for (int i = 0; i < expected.length; i++) {
        double tolerance = 1e-6 + (1e-6 + step) * Math.abs(expected[i]);
        if (!(Math.abs(expected[i] - actual[i]) <= tolerance)) {
          // Not an assertion for each: making its words takes longer than merging.
          fail(merge + " " + name + " " + i + ": " + actual[i] + ", expected " + expected[i]);
        }
      }
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"F64", "F32", "F16", "BF16"})
  void linear(DType dtype) throws IOException {
    check(dtype, 2, false, Merge.linear(), (n, b, m) -> MergeOracle.linear(m, 0.5, 0.5));
    check(
        dtype,
        3,
        false,
        Merge.linear(3, -1, 2),
        (n, b, m) -> MergeOracle.linear(m, 0.75, -0.25, 0.5));
    Merge sum = new Merge(Merge.Method.LINEAR, List.of(0.1, 0.2), false, 0.5, 1, 1, 0);
    check(dtype, 2, false, sum, (n, b, m) -> MergeOracle.linear(m, 0.1f, 0.2f));
  }

  @ParameterizedTest
  @EnumSource(names = {"F64", "F32", "F16", "BF16"})
  void slerp(DType dtype) throws IOException {
    for (double t : new double[] {0, 0.3, 1}) {
      check(dtype, 2, false, Merge.slerp(t), (n, b, m) -> MergeOracle.slerp(m.get(0), m.get(1), t));
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"F64", "F32", "F16", "BF16"})
  void taskArithmetic(DType dtype) throws IOException {
    check(
        dtype,
        1,
        true,
        Merge.taskArithmetic(-1),
        (n, b, m) -> MergeOracle.taskArithmetic(b, m, -1));
    Merge scaled =
        new Merge(Merge.Method.TASK_ARITHMETIC, List.of(0.5, 0.25), false, 0.5, 1, 0.5, 0);
    check(dtype, 2, true, scaled, (n, b, m) -> MergeOracle.taskArithmetic(b, m, 0.25, 0.125));
  }

  @ParameterizedTest
  @EnumSource(names = {"F64", "F32", "F16", "BF16"})
  void ties(DType dtype) throws IOException {
    for (double density : new double[] {1, 0.2, 0.07}) {
      check(
          dtype,
          3,
          true,
          Merge.ties(density),
          (n, b, m) -> MergeOracle.ties(b, m, density, 1, true, 1, 1, 1));
    }
    Merge weighted = new Merge(Merge.Method.TIES, List.of(0.25, 2.0), false, 0.5, 0.4, 0.5, 0);
    check(dtype, 2, true, weighted, (n, b, m) -> MergeOracle.ties(b, m, 0.4, 0.5, false, 0.25, 2));
  }

  /** More models than have their histograms kept at a time. */
  @Test
  void tiesOfManyModels() throws IOException {
    double[] ones = new double[19];
    java.util.Arrays.fill(ones, 1);
    check(
        DType.F32,
        19,
        true,
        Merge.ties(0.3),
        (n, b, m) -> MergeOracle.ties(b, m, 0.3, 1, true, ones));
  }

  @ParameterizedTest
  @EnumSource(names = {"F64", "F32", "F16", "BF16"})
  void dare(DType dtype) throws IOException {
    check(
        dtype,
        2,
        true,
        Merge.dare(0.3, 42, 0.5, 0.75),
        (n, b, m) -> MergeOracle.dare(n, b, m, 0.3, 42, 0.5, 0.75));
    check(dtype, 2, true, Merge.dare(1, 1), (n, b, m) -> MergeOracle.taskArithmetic(b, m, 1, 1));
  }

  @Test
  void trimmingKeepsTheLargestAndTheLastOfEqualOnes() throws IOException {
    MemoryCheckpoint base = new MemoryCheckpoint().add("w", DType.F32, new double[10], 10);
    MemoryCheckpoint model =
        new MemoryCheckpoint()
            .add("w", DType.F32, new double[] {1, -1, 1, 3, -1, 1, 0, 1, -2, 1}, 10);
    MemoryWriter writer = merge(List.of(model), base, Merge.ties(0.45), 1, 32 << 20);
    // floor(0.55 x 10) = 5 go.
    assertArrayEquals(
        new double[] {0, 0, 0, 3, 0, 1, 0, 1, -2, 1}, decode(DType.F32, writer.data.get("w")));
  }

  @Test
  void typesMayDiffer() throws IOException {
    double[] x = rounded(DType.BF16, values(1, 5000));
    double[] y = rounded(DType.F32, values(2, 5000));
    double[] z = rounded(DType.F16, values(3, 5000));
    MemoryCheckpoint a = new MemoryCheckpoint().add("w", DType.BF16, x, 5000);
    MemoryCheckpoint b = new MemoryCheckpoint().add("w", DType.F32, y, 5000);
    MemoryCheckpoint c = new MemoryCheckpoint().add("w", DType.F16, z, 5000);
    MemoryWriter writer = merge(List.of(a, b, c), null, Merge.linear(), 2, 32 << 20);
    assertEquals(DType.BF16, writer.tensors.get("w").dtype());
    double third = (float) (1 / 3.0);
    double[] expected =
        rounded(DType.BF16, MergeOracle.linear(List.of(x, y, z), third, third, third));
    double[] actual = decode(DType.BF16, writer.data.get("w"));
    for (int i = 0; i < expected.length; i++) {
      assertEquals(expected[i], actual[i], 0x1p-8 * Math.abs(expected[i]) + 1e-7);
    }
    assertEquals(
        DType.F32,
        merge(List.of(b, a, c), null, Merge.linear(), 2, 32 << 20).tensors.get("w").dtype());
    Merge ties = Merge.ties(0.5);
    MemoryWriter mixed = merge(List.of(b, c), a, ties, 2, 1);
    double[] tied = MergeOracle.ties(x, List.of(y, z), 0.5, 1, true, 1, 1);
    double[] merged = decode(DType.F32, mixed.data.get("w"));
    for (int i = 0; i < tied.length; i++) {
      assertEquals(tied[i], merged[i], 1e-6);
    }
  }

  static String refused(List<Checkpoint> models, Checkpoint base, Merge merge) {
    MemoryWriter writer = new MemoryWriter();
    String message =
        assertThrows(
                CheckpointException.class,
                () -> Merger.merge(models, base, merge, options(2), writer))
            .getMessage();
    assertFalse(writer.committed);
    assertFalse(message.contains("\n"));
    return message;
  }

  @Test
  void notANumberNamesTheModelAndTheTensor() {
    for (double bad : new double[] {Double.NaN, Double.POSITIVE_INFINITY, 1e300}) {
      MemoryCheckpoint good = new MemoryCheckpoint();
      MemoryCheckpoint spoiled = new MemoryCheckpoint().at("spoiled");
      double[] x = values(1, 9000);
      good.add("w", DType.F64, x, 9000);
      double[] y = values(2, 9000);
      y[8191] = bad;
      spoiled.add("w", DType.F64, y, 9000);
      for (Merge merge : List.of(Merge.linear(), Merge.slerp(0.5))) {
        String message = refused(List.of(good, spoiled), null, merge);
        assertTrue(message.startsWith("'spoiled' has NaN") && message.contains("'w'"), message);
      }
      for (Merge merge :
          List.of(Merge.taskArithmetic(), Merge.ties(0.5), Merge.ties(1), Merge.dare(1e-9, 1))) {
        assertTrue(refused(List.of(spoiled, good), good, merge).startsWith("'spoiled'"));
        assertTrue(refused(List.of(good, good), spoiled, merge).startsWith("'spoiled'"));
      }
    }
    // Finite inputs whose merge F16 does not hold.
    MemoryCheckpoint half = new MemoryCheckpoint().add("w", DType.F16, new double[] {60000}, 1);
    Merge sum = new Merge(Merge.Method.LINEAR, List.of(), false, 0.5, 1, 1, 0);
    String message = refused(List.of(half, half), null, sum);
    assertTrue(message.contains("'w' has numbers that F16 does not hold"), message);
  }

  @Test
  void aFailureInOneWorkerEndsTheOthers() {
    MemoryCheckpoint base = model(DType.F32, 0);
    MemoryCheckpoint failing = model(DType.F32, 1);
    for (Merge merge : List.of(Merge.ties(0.2), Merge.dare(0.5, 1))) {
      failing.hook =
          (tensor, offset, bytes) -> {
            if (tensor.equals("tensor." + N)) {
              throw new IOException("gone");
            }
          };
      MemoryWriter writer = new MemoryWriter();
      IOException e =
          assertThrows(
              IOException.class,
              () ->
                  Merger.merge(
                      List.of(model(DType.F32, 2), failing), base, merge, options(3), writer, 1));
      assertEquals("gone", e.getMessage());
      assertTrue(writer.closed && !writer.committed);
    }
  }

  @Test
  void aDryRunReadsNothing() throws IOException {
    MemoryCheckpoint a = model(DType.F32, 1);
    MergeReport report =
        Merger.merge(
            List.of(a, a),
            null,
            Merge.slerp(0.5),
            new Merger.Options(Merger.Missing.ERROR, List.of(), 2, true, Optimizer.Progress.NONE),
            plan -> {
              throw new AssertionError("written");
            });
    assertEquals(0, a.reads.get());
    assertEquals(0, report.bytesRead());
    assertEquals(
        Set.of("tensor." + N, "tensor.1", "tensor.0", "tensor.4096", "tensor.129", "steps"),
        report.tensors().stream().map(MergeReport.Entry::name).collect(Collectors.toSet()));
  }

  /** Bytes are announced once, and all of them are read. */
  @Test
  void progressIsAnnouncedAhead() throws IOException {
    MemoryCheckpoint base = model(DType.F32, 0);
    for (Merge merge :
        List.of(Merge.linear(), Merge.slerp(0.5), Merge.ties(0.2), Merge.dare(0.5, 1))) {
      for (long budget : new long[] {1, 32 << 20}) {
        List<Long> announced = new CopyOnWriteArrayList<>();
        AtomicLong read = new AtomicLong();
        Optimizer.Progress progress =
            new Optimizer.Progress() {
              @Override
              public void started(long totalBytes) {
                announced.add(totalBytes);
              }

              @Override
              public void advanced(long bytes) {
                read.addAndGet(bytes);
              }
            };
        boolean based = merge.method().needsBase();
        MergeReport report =
            Merger.merge(
                List.of(model(DType.F32, 1), model(DType.F32, 2)),
                based ? base : null,
                merge,
                new Merger.Options(Merger.Missing.ERROR, List.of(), 3, false, progress),
                new MemoryWriter(),
                budget);
        assertEquals(List.of(read.get()), announced, merge + " " + budget);
        assertEquals(read.get(), report.bytesRead());
      }
    }
  }

  /** More tensors than are merged together at a time. */
  @Test
  void manyTensors() throws IOException {
    int count = 9000;
    MemoryCheckpoint a = new MemoryCheckpoint();
    MemoryCheckpoint b = new MemoryCheckpoint();
    for (int i = 0; i < count; i++) {
      a.add("layers." + i, DType.F32, new double[] {i, -i}, 2);
      b.add("layers." + i, DType.F32, new double[] {3 * i, 1}, 2);
    }
    MemoryWriter writer = merge(List.of(a, b), null, Merge.linear(), 2, 32 << 20);
    assertEquals(count, writer.data.size());
    for (int i = 0; i < count; i++) {
      double[] found = decode(DType.F32, writer.data.get("layers." + i));
      assertArrayEquals(new double[] {2 * i, (1.0 - i) / 2}, found);
    }
  }

  /** Known answers, computed with Python's hashlib. */
  @Test
  void streamsOfTensors() {
    assertEquals(
        MergeOracle.stream("model.layers.0.weight", 3), Dare.stream("model.layers.0.weight", 3));
    assertEquals(MergeOracle.stream("é模", 63), Dare.stream("é模", 63));
    assertEquals(STREAM_OF_W_0, Dare.stream("w", 0));
    assertEquals(STREAM_OF_W_1, Dare.stream("w", 1));
  }

  private static final long STREAM_OF_W_0 = -2947274463692058548L;

  private static final long STREAM_OF_W_1 = 1459847853541019002L;
}
