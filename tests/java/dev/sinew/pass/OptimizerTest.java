package dev.sinew.pass;

import static dev.sinew.Numbers.weights;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.sinew.DType;
import dev.sinew.Numbers;
import dev.sinew.QuantOracle;
import dev.sinew.io.SafeTensors;
import dev.sinew.model.Checkpoint;
import dev.sinew.model.CheckpointException;
import dev.sinew.model.TensorInfo;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
class OptimizerTest {
  private static final TileGrid.Sizes TINY = new TileGrid.Sizes(16384, 32768);

  private static Optimizer.Options options(int threads) {
    return new Optimizer.Options(Targets.byDefault(), threads, false, Optimizer.Progress.NONE);
  }

  private static Report optimize(MemoryCheckpoint model, MemoryWriter writer, Pass... passes)
      throws IOException {
    return Optimizer.optimize(model, List.of(passes), options(3), writer, TINY);
  }

  @Test
  void whatPassesDoNotTouchIsCopiedByteForByte() throws IOException {
    MemoryCheckpoint model = new MemoryCheckpoint();
    Random random = new Random(1);
    for (DType dtype : DType.values()) {
      for (long[] shape : new long[][] {{}, {0}, {16}, {3, 0, 2}, {4, 6, 8}}) {
        String name = dtype + "." + shape.length + ".weight_" + (shape.length == 1 ? shape[0] : "");
        // Matrices of floating types are left alone by their name.
        if (dtype.isFloating()) {
          name = name.replace("weight", "bias");
        }
        if (dtype.bits() < 8 && shape.length == 0) {
          continue; // less than a byte
        }
        TensorInfo info = TensorInfo.of(name, dtype, shape);
        byte[] bytes = new byte[(int) info.bytes()];
        random.nextBytes(bytes);
        model.add(info, bytes);
      }
    }
    // Larger than what is copied at a time.
    byte[] large = new byte[(9 << 20) + 5];
    random.nextBytes(large);
    model.add(TensorInfo.of("large", DType.U8, large.length), large);
    model.add("fc.weight", DType.F32, weights(random, 12), 3, 4);
    MemoryWriter writer = new MemoryWriter();
    Report report = optimize(model, writer, Prune.threshold(1), Quantize.int8());
    for (TensorInfo info : model.tensors().values()) {
      if (!info.name().equals("fc.weight")) {
        assertEquals(info, writer.tensors.get(info.name()));
        assertArrayEquals(model.bytes(info.name()), writer.data.get(info.name()));
      }
    }
    assertEquals(model.tensors().size() + 1, writer.tensors.size());
    assertEquals(1, report.tensors().stream().filter(Report.Entry::touched).count());
  }

  @Test
  void theReportTellsAll() throws IOException {
    MemoryCheckpoint model = new MemoryCheckpoint();
    double[] x = weights(new Random(3), 600);
    model.add("z.weight", DType.BF16, x, 20, 30);
    model.add("z.bias", DType.F32, new double[20], 20);
    model.add("a.weight", DType.F32, x, 20, 30);
    MemoryWriter writer = new MemoryWriter();
    Report report = optimize(model, writer, Prune.threshold(0.3f), Quantize.int4(2));
    assertEquals(
        "--prune threshold=0.3 --quantize int4 --granularity group=2 --range minmax",
        report.recipe());
    List<Report.Entry> entries = report.tensors();
    assertEquals(
        List.of("z.weight", "z.bias", "a.weight"),
        entries.stream().map(Report.Entry::name).toList());
    Report.Entry z = entries.get(0);
    assertTrue(z.touched());
    assertEquals(null, z.reason());
    assertEquals(DType.BF16, z.dtype());
    assertEquals(List.of(20L, 30L), z.shape());
    assertEquals(600, z.elements());
    assertEquals(DType.U8, z.outputDtype());
    assertEquals(1200, z.inputBytes());
    assertEquals(20 * 15 + 4 * 300 + 16, z.outputBytes());
    double[] pruned = QuantOracle.threshold(Numbers.rounded(DType.BF16, x), 0.3f);
    assertEquals(QuantOracle.zeros(pruned), z.zeros());
    Report.Entry bias = entries.get(1);
    assertFalse(bias.touched());
    assertEquals("fewer than two dimensions", bias.reason());
    assertEquals(-1, bias.zeros());
    assertEquals(80, bias.outputBytes());
    assertEquals(1200 + 80 + 2400, report.inputBytes());
    assertEquals(2 * z.outputBytes() + 80, report.outputBytes());
    assertEquals(1200 + 80 + 2400, report.bytesRead());
    assertTrue(report.seconds() > 0);
    long written = writer.data.values().stream().mapToLong(bytes -> bytes.length).sum();
    assertEquals(report.outputBytes(), written);
    // Without pruning zeros are not counted.
    assertEquals(-1, optimize(model, new MemoryWriter(), Quantize.int8()).tensors().get(0).zeros());
  }

  @Test
  void metadataIsKeptAndTheRecipeAdded() throws IOException {
    MemoryCheckpoint model = new MemoryCheckpoint();
    model.add("a.weight", DType.F32, new double[4], 2, 2);
    MemoryWriter first = new MemoryWriter();
    optimize(model, first, Prune.nm(2, 4));
    assertEquals("pt", first.metadata.get("format"));
    assertEquals("--prune nm=2:4", first.metadata.get("sinew.recipe"));
    assertNotNull(first.metadata.get("sinew.version"));
    model
        .meta("format", "tf")
        .meta("author", "somebody")
        .meta("sinew.recipe", "--prune nm=2:4")
        .meta("sinew.group_size", "77");
    MemoryWriter second = new MemoryWriter();
    optimize(model, second, Quantize.int4(64));
    assertEquals("tf", second.metadata.get("format"));
    assertEquals("somebody", second.metadata.get("author"));
    assertEquals(
        "--prune nm=2:4 --quantize int4 --granularity group=64 --range minmax",
        second.metadata.get("sinew.recipe"));
    assertEquals("64", second.metadata.get("sinew.group_size"));
    MemoryWriter third = new MemoryWriter();
    optimize(model, third);
    assertEquals("--prune nm=2:4", third.metadata.get("sinew.recipe"));
    assertFalse(third.metadata.containsKey("sinew.group_size"));
    assertArrayEquals(model.bytes("a.weight"), third.data.get("a.weight"));
  }

  @Test
  void aDryRunReadsAndWritesNothing() throws IOException {
    MemoryCheckpoint model = new MemoryCheckpoint();
    model.add("a.weight", DType.F32, weights(new Random(1), 600), 20, 30);
    model.add("a.bias", DType.F32, new double[20], 20);
    List<Pass> passes = List.of(Prune.sparsity(0.5, Prune.Scope.GLOBAL), Quantize.int8());
    Optimizer.Options dry =
        new Optimizer.Options(Targets.byDefault(), 2, true, Optimizer.Progress.NONE);
    Report report =
        Optimizer.optimize(
            model,
            passes,
            dry,
            plan -> {
              throw new AssertionError("opened an output");
            });
    assertEquals(0, model.reads.get());
    assertEquals(0, report.bytesRead());
    Report real = Optimizer.optimize(model, passes, options(2), new MemoryWriter());
    assertEquals(real.outputBytes(), report.outputBytes());
    assertEquals(-1, report.tensors().get(0).zeros());
    assertEquals(real.tensors().get(1), report.tensors().get(1));
  }

  @Test
  void progressAddsUpToWhatIsRead() throws IOException {
    MemoryCheckpoint model = new MemoryCheckpoint();
    model.add("a.weight", DType.F32, weights(new Random(1), 60_000), 6, 10_000);
    model.add("a.bias", DType.F32, new double[20], 20);
    List<Long> totals = Collections.synchronizedList(new ArrayList<>());
    List<Long> advances = Collections.synchronizedList(new ArrayList<>());
    Optimizer.Progress progress =
        new Optimizer.Progress() {
          @Override
          public void started(long totalBytes) {
            totals.add(totalBytes);
          }

          @Override
          public void advanced(long bytes) {
            advances.add(bytes);
          }
        };
    List<Pass> passes =
        List.of(Prune.sparsity(0.5, Prune.Scope.GLOBAL), Quantize.of(8, false, "tensor", "mse"));
    Report report =
        Optimizer.optimize(
            model,
            passes,
            new Optimizer.Options(Targets.byDefault(), 3, false, progress),
            new MemoryWriter(),
            TINY);
    assertEquals(5 * 240_000 + 80, report.bytesRead());
    assertEquals(report.bytesRead(), advances.stream().mapToLong(Long::longValue).sum());
    assertEquals(report.bytesRead(), totals.get(totals.size() - 1));
    for (int i = 1; i < totals.size(); i++) {
      assertTrue(totals.get(i) >= totals.get(i - 1));
    }
  }

  private static String refusal(MemoryCheckpoint model, Pass... passes) {
    MemoryWriter writer = new MemoryWriter();
    String message =
        assertThrows(CheckpointException.class, () -> optimize(model, writer, passes)).getMessage();
    assertEquals(null, writer.metadata, "an output was opened");
    assertTrue(message.contains("'folder/model.test'"), message);
    return message;
  }

  @Test
  void quantizedInputsAreRefused() {
    MemoryCheckpoint model = new MemoryCheckpoint();
    model.add("a.weight", DType.I8, new double[4], 2, 2);
    model.add("a.weight_scale", DType.F32, new double[2], 2, 1);
    String message = refusal(model, Prune.threshold(1));
    assertTrue(message.contains("already quantized (see tensor 'a.weight')"), message);
  }

  @Test
  void namesThatCollideAreRefused() throws IOException {
    for (String taken : List.of("a.weight_scale", "a.weight_zero_point", "a.weight_shape")) {
      MemoryCheckpoint model = new MemoryCheckpoint();
      model.add("a.weight", DType.F32, new double[4], 2, 2);
      model.add(taken, DType.F32, new double[1], 1);
      String message = refusal(model, Quantize.of(4, true, "channel", "minmax"));
      assertTrue(message.contains("'" + taken + "'") && message.contains("--skip"), message);
      optimize(model, new MemoryWriter(), Prune.threshold(1)); // needs no names
    }
  }

  @Test
  void passesThatDoNotGoTogether() {
    MemoryCheckpoint model = new MemoryCheckpoint();
    model.add("a.weight", DType.F32, new double[4], 2, 2);
    MemoryWriter writer = new MemoryWriter();
    assertThrows(
        IllegalArgumentException.class,
        () -> optimize(model, writer, Quantize.int8(), Prune.threshold(1)));
    String message =
        assertThrows(
                IllegalArgumentException.class,
                () ->
                    optimize(
                        model,
                        writer,
                        new FakeQuantize(Quantize.int8()),
                        Prune.sparsity(0.5, Prune.Scope.GLOBAL)))
            .getMessage();
    assertTrue(message.contains("first pass"), message);
    assertFalse(writer.committed);
    assertThrows(
        IllegalArgumentException.class,
        () -> new Optimizer.Options(Targets.byDefault(), 0, false, Optimizer.Progress.NONE));
  }

  @Test
  void groupsThatNeverComeTogetherAreRefusedBeforeAnythingIsWritten() {
    MemoryCheckpoint model = new MemoryCheckpoint();
    model.add("a.weight", DType.F32, new double[20_000], 1, 20_000);
    MemoryWriter writer = new MemoryWriter();
    assertThrows(
        IllegalArgumentException.class,
        () -> optimize(model, writer, Prune.nm(1, 1021), Quantize.of(8, false, "group=17", "mse")));
    assertEquals(null, writer.metadata, "an output was opened");
  }

  @Test
  void aModelWithoutTensorsOrTargets() throws IOException {
    for (Pass pass : List.<Pass>of(Prune.sparsity(0.5, Prune.Scope.GLOBAL), Quantize.int8())) {
      MemoryWriter writer = new MemoryWriter();
      Report report = optimize(new MemoryCheckpoint(), writer, pass);
      assertTrue(writer.committed);
      assertEquals(List.of(), report.tensors());
    }
  }

  /** A pass of a user's own, with a sweep, that subtracts each tensor's maximum. */
  private record SubtractMaximum() implements Pass {
    @Override
    public String recipe() {
      return "--subtract-maximum";
    }

    @Override
    public Extent extent() {
      return Extent.ELEMENT;
    }

    @Override
    public long alignment() {
      return 1;
    }

    @Override
    public PassRun start(List<TensorInfo> tensors) {
      return (tensor, grid) ->
          new PassRun.TensorRun() {
            private double most = Double.NEGATIVE_INFINITY;

            @Override
            public int sweeps() {
              return 1;
            }

            @Override
            public void observe(int sweep, Tile tile) {
              for (float value : tile.data().toFloats()) {
                synchronized (this) {
                  most = Math.max(most, value);
                }
              }
            }

            @Override
            public void apply(Tile tile, PassRun.Emitter emitter) {
              double[] values = Numbers.values(tile.data());
              for (int i = 0; i < values.length; i++) {
                values[i] -= most;
              }
              byte[] bytes = Numbers.encode(tile.data().dtype(), values);
              tile.data().copyFrom(0, java.nio.ByteBuffer.wrap(bytes));
            }
          };
    }
  }

  @Test
  void passesOfAUsersOwn() throws IOException {
    double[] x = weights(new Random(9), 50_000);
    MemoryCheckpoint model = new MemoryCheckpoint();
    model.add("a.weight", DType.F32, x, 5, 10_000);
    MemoryWriter writer = new MemoryWriter();
    optimize(model, writer, new SubtractMaximum(), Prune.threshold(5));
    double[] held = Numbers.rounded(DType.F32, x);
    double most = java.util.Arrays.stream(held).max().getAsDouble();
    double[] moved = new double[x.length];
    java.util.Arrays.setAll(moved, i -> (float) (held[i] - most));
    assertArrayEquals(
        QuantOracle.threshold(moved, 5), Numbers.decode(DType.F32, writer.data.get("a.weight")));
  }

  @Test
  void yardsticksOfARealModel() throws IOException {
    Path file = Path.of(System.getProperty("sinew.data", ""), "mnist", "cnn.safetensors");
    assumeTrue(Files.exists(file), "skipped: the real model " + file + " is not there");
    try (Checkpoint model = SafeTensors.open(file)) {
      Map<Float, Double> yardsticks = Map.of(0.01f, 43.14, 0.02f, 67.97, 0.05f, 94.50);
      for (float threshold : yardsticks.keySet()) {
        MemoryWriter writer = new MemoryWriter();
        Report report =
            Optimizer.optimize(model, List.of(Prune.threshold(threshold)), options(2), writer);
        List<Report.Entry> touched =
            report.tensors().stream().filter(Report.Entry::touched).toList();
        long elements = touched.stream().mapToLong(Report.Entry::elements).sum();
        long zeros = touched.stream().mapToLong(Report.Entry::zeros).sum();
        assertEquals(5, touched.size());
        assertEquals(376_712, elements);
        assertEquals(yardsticks.get(threshold), 100.0 * zeros / elements, 0.005);
      }
    }
  }
}
