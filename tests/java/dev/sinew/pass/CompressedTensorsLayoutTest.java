package dev.sinew.pass;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import dev.sinew.DType;
import dev.sinew.Numbers;
import dev.sinew.QuantOracle;
import dev.sinew.QuantScheme;
import dev.sinew.model.Checkpoint;
import dev.sinew.model.TensorInfo;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/** What is written in the layout of compressed-tensors, beside plain Java, element by element. */
class CompressedTensorsLayoutTest {
  private static final Targets ALL = new Targets(List.of("*"), List.of());

  /** A way to quantize, the type of weights, and that of scales if it is stated. */
  record Case(String kind, String granularity, String range, DType weights, DType scales) {
    Quantize pass() {
      return Quantize.of(QuantScheme.named(kind, false), granularity, range)
          .in(QuantizedLayout.COMPRESSED_TENSORS)
          .withScales(scales);
    }
  }

  static Stream<Case> cases() {
    List<Case> cases = new ArrayList<>();
    DType[] weights = {DType.F32, DType.BF16, DType.F16, DType.F64};
    DType[] scales = {null, DType.BF16, DType.F16, DType.F32};
    String[][] ways = {
      {"int8", "channel", "minmax"},
      {"int8", "tensor", "minmax"},
      {"int4", "group=16", "minmax"},
      {"int4", "channel", "minmax"},
      {"int4", "group=128", "minmax"},
      {"fp8", "channel", "minmax"},
      {"fp8", "tensor", "minmax"}
    };
    for (int i = 0; i < ways.length; i++) {
      for (int j = 0; j < 4; j++) {
        cases.add(new Case(ways[i][0], ways[i][1], ways[i][2], weights[j], scales[(i + j) % 4]));
      }
    }
    return cases.stream();
  }

  // Sizes around words of eight, groups of 16 and 128, and rows that a small tile cannot hold.
  private static MemoryCheckpoint model(DType dtype) {
    Random random = new Random(7);
    MemoryCheckpoint model = new MemoryCheckpoint();
    int[][] shapes = {
      {1, 1}, {3, 7}, {5, 8}, {4, 9}, {2, 15}, {3, 16}, {7, 17}, {2, 127}, {3, 128}, {2, 129},
      {5, 256}, {2, 3001}, {3, 2048}, {41, 40}
    };
    for (int[] shape : shapes) {
      double[] values = new double[shape[0] * shape[1]];
      for (int i = 0; i < values.length; i++) {
        // Rows of different magnitude, the first one of zeros.
        int row = i / shape[1];
        values[i] =
            row == 0 && shape[0] > 1 ? 0 : random.nextGaussian() * Math.pow(10, row % 4 - 3);
      }
      model.add(shape[0] + "x" + shape[1] + ".weight", dtype, values, shape[0], shape[1]);
    }
    return model;
  }

  private static MemoryWriter run(
      MemoryCheckpoint model, List<Pass> passes, int threads, TileGrid.Sizes sizes)
      throws IOException {
    MemoryWriter writer = new MemoryWriter();
    Optimizer.Options options = new Optimizer.Options(ALL, threads, false, Optimizer.Progress.NONE);
    Optimizer.optimize(model, passes, options, writer, sizes);
    return writer;
  }

  private static final TileGrid.Sizes USUAL = TileGrid.Sizes.forWorkers(1);
  private static final TileGrid.Sizes SMALL = new TileGrid.Sizes(512, 4096);

  // The next number upwards that a type holds.
  private static float up(double value, DType type) {
    double rounded = Numbers.rounded(type, value)[0];
    if (rounded >= (float) value) {
      return (float) rounded;
    }
    byte[] code = Numbers.encode(type, rounded);
    ByteBuffer bytes = ByteBuffer.wrap(code).order(ByteOrder.LITTLE_ENDIAN);
    bytes.putShort(0, (short) (bytes.getShort(0) + 1));
    return (float) Numbers.decode(type, code)[0];
  }

  private static float quotient(Case c, float value, float scale) {
    float x = value / scale;
    return switch (c.kind) {
      case "int8" -> Math.max(-127, Math.min(127, (float) Math.rint(x)));
      case "int4" -> Math.max(-8, Math.min(7, (float) Math.rint(x)));
      default -> QuantOracle.float8(x);
    };
  }

  @ParameterizedTest
  @MethodSource("cases")
  void everyValueAsItShouldBe(Case c) throws IOException {
    MemoryCheckpoint model = model(c.weights);
    MemoryWriter out = run(model, List.of(c.pass()), 1, USUAL);
    for (TensorInfo tensor : model.tensors().values()) {
      check(c, tensor, Numbers.decode(c.weights, model.bytes(tensor.name())), out);
    }
    assertEquals(
        model.tensors().size() * (c.kind.equals("int4") ? 3 : 2), out.tensors.size(), "tensors");
    for (int threads : new int[] {1, 3}) {
      Map<String, byte[]> again = run(model, List.of(c.pass()), threads, SMALL).data;
      out.data.forEach((name, bytes) -> assertArrayEquals(bytes, again.get(name), name));
    }
  }

  private static void check(Case c, TensorInfo tensor, double[] values, MemoryWriter out) {
    String name = tensor.name();
    int rows = (int) tensor.rows();
    int cols = (int) tensor.cols();
    int group =
        c.granularity.startsWith("group=") ? Integer.parseInt(c.granularity.substring(6)) : 0;
    if (group > 0 && cols % group != 0) {
      group = 0; // a scale for each channel, as loaders refuse groups that end early
    }
    boolean whole = c.granularity.equals("tensor");
    int perRow = group > 0 ? cols / group : 1;
    DType own = c.weights == DType.BF16 || c.weights == DType.F16 ? c.weights : DType.F32;
    DType scaleType = c.scales != null ? c.scales : own;
    long[] shape = whole ? new long[] {1} : new long[] {rows, perRow};
    assertEquals(
        TensorInfo.of(name + "_scale", scaleType, shape), out.tensors.get(name + "_scale"));
    double[] scales = Numbers.decode(scaleType, out.data.get(name + "_scale"));
    double range = c.kind.equals("int8") ? 127 : c.kind.equals("int4") ? 7.5 : 448;
    int[][] slices = QuantOracle.slices(rows, cols, group, whole);
    float[] expected = new float[values.length];
    for (int s = 0; s < slices.length; s++) {
      float most = 0;
      for (int i = slices[s][0]; i < slices[s][1]; i++) {
        most = Math.max(most, Math.abs((float) values[i]));
      }
      float scale = most == 0 ? 1 : (float) (most / range);
      assertEquals(scaleType == DType.F32 ? scale : up(scale, scaleType), (float) scales[s], name);
      for (int i = slices[s][0]; i < slices[s][1]; i++) {
        expected[i] = quotient(c, (float) values[i], (float) scales[s]);
      }
    }
    if (!c.kind.equals("int4")) {
      DType dtype = c.kind.equals("fp8") ? DType.F8_E4M3 : DType.I8;
      assertEquals(new TensorInfo(name, dtype, tensor.shape()), out.tensors.get(name));
      byte[] codes = new byte[expected.length];
      for (int i = 0; i < codes.length; i++) {
        codes[i] = (byte) expected[i];
      }
      assertArrayEquals(codes, out.data.get(name), name);
      return;
    }
    assertEquals(
        TensorInfo.of(name + "_packed", DType.I32, rows, (cols + 7) / 8),
        out.tensors.get(name + "_packed"));
    ByteBuffer words =
        ByteBuffer.wrap(out.data.get(name + "_packed")).order(ByteOrder.LITTLE_ENDIAN);
    for (int row = 0; row < rows; row++) {
      for (int col = 0; col < (cols + 7) / 8 * 8; col++) {
        int word = words.getInt(4 * (row * ((cols + 7) / 8) + col / 8));
        int wanted = col < cols ? (int) expected[row * cols + col] + 8 : 0;
        if (wanted != (word >>> 4 * (col % 8) & 15)) {
          fail(name + " " + row + " " + col + " is not " + wanted);
        }
      }
    }
    assertArrayEquals(
        new double[] {rows, cols}, Numbers.decode(DType.I64, out.data.get(name + "_shape")));
  }

  /** Sums of squared errors have an order, which must not depend on how rows are cut. */
  @ParameterizedTest
  @CsvSource({"int4,group=16", "int4,group=128", "int4,channel", "int8,tensor", "fp8,channel"})
  void leastErrorOnTilesOfAllSizes(String kind, String granularity) throws IOException {
    Case c = new Case(kind, granularity, "mse", DType.F32, DType.BF16);
    MemoryCheckpoint model = model(DType.F32);
    model.add("long.weight", DType.F32, Numbers.weights(new Random(3), 2 * 9001), 2, 9001);
    Map<String, byte[]> out = run(model, List.of(Prune.parse("nm=2:4"), c.pass()), 1, USUAL).data;
    for (int size : new int[] {1 << 14, 1 << 15}) {
      TileGrid.Sizes sizes = new TileGrid.Sizes(1 << 14, size);
      Map<String, byte[]> again =
          run(model, List.of(Prune.parse("nm=2:4"), c.pass()), 3, sizes).data;
      out.forEach((name, bytes) -> assertArrayEquals(bytes, again.get(name), name));
    }
  }

  @Test
  void aScaleBeyondTheModelsTypeIsRefused() {
    MemoryCheckpoint model = new MemoryCheckpoint();
    model.add("m.weight", DType.F32, new double[] {1e38, 1, 2, 3}, 2, 2);
    Quantize pass = Quantize.int8().in(QuantizedLayout.COMPRESSED_TENSORS).withScales(DType.F16);
    String message =
        assertThrows(IllegalArgumentException.class, () -> run(model, List.of(pass), 1, USUAL))
            .getMessage();
    assertTrue(message.contains("beyond F16, the type of the model"), message);
  }

  @Test
  void scalesAreOfFloatingTypes() {
    Quantize pass = Quantize.int8().in(QuantizedLayout.COMPRESSED_TENSORS);
    assertThrows(IllegalArgumentException.class, () -> pass.withScales(DType.F64));
    assertThrows(IllegalArgumentException.class, () -> pass.withScales(DType.I8));
    assertThrows(IllegalArgumentException.class, () -> Quantize.int8().withScales(DType.BF16));
    assertEquals(pass, pass.withScales(DType.BF16).withScales(null));
  }

  /** What is quantized decodes to a type of choice, whatever bytes are asked for. */
  @ParameterizedTest
  @CsvSource({"F32", "F16", "BF16", "F64", ","})
  void decodesToAnyFloatingType(DType type) throws IOException {
    MemoryCheckpoint model = model(DType.BF16);
    MemoryWriter out =
        run(model, List.of(Quantize.int4(16).in(QuantizedLayout.COMPRESSED_TENSORS)), 1, USUAL);
    MemoryCheckpoint stored = new MemoryCheckpoint();
    out.tensors.forEach((name, info) -> stored.add(info, out.data.get(name)));
    DType shown = type == null ? DType.BF16 : type;
    Random random = new Random(5);
    try (Checkpoint plain = Decoding.view(stored);
        Checkpoint typed = Decoding.view(stored, type)) {
      assertEquals(plain.tensors().keySet(), typed.tensors().keySet());
      for (TensorInfo tensor : typed.tensors().values()) {
        assertEquals(shown, tensor.dtype());
        double[] exact = Numbers.decode(DType.F32, read(plain, tensor.name(), 0, -1));
        byte[] expected = Numbers.encode(shown, exact);
        assertArrayEquals(expected, read(typed, tensor.name(), 0, -1), tensor.name());
        for (int i = 0; i < 20; i++) {
          int begin = random.nextInt(expected.length);
          int count = random.nextInt(expected.length - begin + 1);
          assertArrayEquals(
              Arrays.copyOfRange(expected, begin, begin + count),
              read(typed, tensor.name(), begin, count));
        }
      }
    }
    assertThrows(IllegalArgumentException.class, () -> Decoding.view(stored, DType.I8));
  }

  private static byte[] read(Checkpoint checkpoint, String name, long begin, int count)
      throws IOException {
    long size = checkpoint.tensors().get(name).bytes();
    ByteBuffer bytes = ByteBuffer.allocate(count < 0 ? (int) size : count);
    checkpoint.read(name, begin, bytes);
    return bytes.array();
  }
}
