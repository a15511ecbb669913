package dev.sinew.pass;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sinew.DType;
import dev.sinew.Numbers;
import dev.sinew.QuantOracle;
import dev.sinew.model.Checkpoint;
import dev.sinew.model.CheckpointException;
import dev.sinew.model.TensorInfo;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** That checkpoints in the layouts of compressed-tensors are read, made here value by value. */
class CompressedTensorsDecodingTest {
  /** How the values are stored. */
  enum Kind {
    INT8(8, "m.weight"),
    FP8(8, "m.weight"),
    PACKED4(4, "m.weight_packed"),
    PACKED8(8, "m.weight_packed");

    final int bits;
    final String name;

    Kind(int bits, String name) {
      this.bits = bits;
      this.name = name;
    }

    boolean isPacked() {
      return name.endsWith("_packed");
    }
  }

  /** Whether there are zero points, and how they are stored. */
  enum ZeroPoints {
    NONE,
    BYTES,
    PACKED
  }

  /** A layout; group -1 is the whole tensor, 0 a row. */
  record Layout(Kind kind, ZeroPoints zeroPoints, DType scale, int group, int rows, int cols) {}

  static Stream<Layout> layouts() {
    List<Layout> all = new ArrayList<>();
    int[][] shapes = {{1, 1}, {5, 7}, {9, 40}, {16, 64}, {33, 24}};
    for (Kind kind : Kind.values()) {
      for (ZeroPoints zeroPoints : ZeroPoints.values()) {
        if ((kind == Kind.FP8 && zeroPoints != ZeroPoints.NONE)
            || (!kind.isPacked() && zeroPoints == ZeroPoints.PACKED)) {
          continue;
        }
        for (int[] shape : shapes) {
          for (int group : new int[] {-1, 0, 8}) {
            boolean divides = group <= 0 || (shape[1] % group == 0 && shape[1] > group);
            boolean packsRows = zeroPoints != ZeroPoints.PACKED || group >= 0;
            // Up to 4 columns of 8 bits cannot be told from 4 bits.
            boolean clear = kind != Kind.PACKED8 || shape[1] > 4;
            if (divides && packsRows && clear) {
              DType scale = List.of(DType.F32, DType.BF16, DType.F16).get(all.size() % 3);
              all.add(new Layout(kind, zeroPoints, scale, group, shape[0], shape[1]));
            }
          }
        }
      }
      // Rows longer than what is dequantized at a time.
      ZeroPoints some = kind.isPacked() ? ZeroPoints.PACKED : ZeroPoints.NONE;
      all.add(new Layout(kind, some, DType.BF16, 0, 3, 300_001));
      all.add(new Layout(kind, some, DType.F16, 128, 2, 128 * 2400));
    }
    return all.stream();
  }

  /** The checkpoint, and what it stands for. */
  private record Made(MemoryCheckpoint checkpoint, float[] values) {}

  private static Made make(Layout layout) {
    Random random = new Random(layout.hashCode());
    int rows = layout.rows;
    int cols = layout.cols;
    int perRow = layout.group > 0 ? cols / layout.group : 1;
    int slices = layout.group < 0 ? 1 : rows * perRow;
    double[] wanted = new double[slices];
    Arrays.setAll(wanted, i -> 0.01 + random.nextDouble());
    double[] scales = Numbers.rounded(layout.scale, wanted);
    int half = 1 << layout.kind.bits - 1;
    int[] zeroPoints = new int[slices];
    if (layout.zeroPoints != ZeroPoints.NONE) {
      Arrays.setAll(zeroPoints, i -> random.nextInt(2 * half) - half);
    }
    int[][] q = new int[rows][cols];
    float[] values = new float[rows * cols];
    for (int row = 0; row < rows; row++) {
      for (int col = 0; col < cols; col++) {
        int value = random.nextInt(2 * half) - half;
        if (layout.kind == Kind.FP8 && (value & 127) == 127) {
          value = 0; // not a number
        }
        int slice = layout.group < 0 ? 0 : row * perRow + (perRow == 1 ? 0 : col / layout.group);
        float real =
            layout.kind == Kind.FP8
                ? QuantOracle.float8Value(value & 255)
                : value - zeroPoints[slice];
        q[row][col] = value;
        values[row * cols + col] = real * (float) scales[slice];
      }
    }
    MemoryCheckpoint checkpoint = new MemoryCheckpoint();
    checkpoint.add("before", DType.F32, new double[] {1, 2}, 2);
    if (layout.kind.isPacked()) {
      int[][] words = pack(q, layout.kind.bits);
      checkpoint.add(
          TensorInfo.of(layout.kind.name, DType.I32, rows, words[0].length), bytes(words));
      checkpoint.add("m.weight_shape", DType.I64, new double[] {rows, cols}, 2);
    } else {
      byte[] bytes = new byte[rows * cols];
      for (int i = 0; i < bytes.length; i++) {
        bytes[i] = (byte) q[i / cols][i % cols];
      }
      DType dtype = layout.kind == Kind.FP8 ? DType.F8_E4M3 : DType.I8;
      checkpoint.add(TensorInfo.of("m.weight", dtype, rows, cols), bytes);
    }
    if (layout.group < 0) {
      checkpoint.add("m.weight_scale", layout.scale, scales, 1);
    } else {
      checkpoint.add("m.weight_scale", layout.scale, scales, rows, perRow);
    }
    switch (layout.zeroPoints) {
      case BYTES -> {
        double[] bytes = Arrays.stream(zeroPoints).asDoubleStream().toArray();
        checkpoint.add("m.weight_zero_point", DType.I8, bytes, slices);
      }
      case PACKED -> {
        // Columns are packed downwards: as rows of the transposed matrix.
        int[][] transposed = new int[perRow][rows];
        for (int i = 0; i < slices; i++) {
          transposed[i % perRow][i / perRow] = zeroPoints[i];
        }
        int[][] packed = pack(transposed, layout.kind.bits);
        int[][] words = new int[packed[0].length][perRow];
        for (int row = 0; row < words.length; row++) {
          for (int col = 0; col < perRow; col++) {
            words[row][col] = packed[col][row];
          }
        }
        checkpoint.add(
            TensorInfo.of("m.weight_zero_point", DType.I32, words.length, perRow), bytes(words));
      }
      default -> {}
    }
    checkpoint.add("m.bias", DType.F32, new double[rows], rows);
    return new Made(checkpoint, values);
  }

  // Values as they stand in words: raised by half their range, the first in the lowest bits.
  private static int[][] pack(int[][] values, int bits) {
    int perWord = 32 / bits;
    int[][] words = new int[values.length][(values[0].length + perWord - 1) / perWord];
    for (int row = 0; row < values.length; row++) {
      for (int col = 0; col < values[row].length; col++) {
        int raised = values[row][col] + (1 << bits - 1);
        words[row][col / perWord] |= raised << col % perWord * bits;
      }
    }
    return words;
  }

  private static byte[] bytes(int[][] words) {
    ByteBuffer bytes =
        ByteBuffer.allocate(4 * words.length * words[0].length).order(ByteOrder.LITTLE_ENDIAN);
    Arrays.stream(words).flatMapToInt(Arrays::stream).forEach(bytes::putInt);
    return bytes.array();
  }

  private static float[] read(Checkpoint view, long first, int count) throws IOException {
    ByteBuffer target = ByteBuffer.allocate(4 * count).order(ByteOrder.LITTLE_ENDIAN);
    view.read("m.weight", 4 * first, target);
    float[] values = new float[count];
    target.flip().asFloatBuffer().get(values);
    return values;
  }

  @ParameterizedTest
  @MethodSource("layouts")
  void anyRangeOfAnyLayout(Layout layout) throws IOException {
    Made made = make(layout);
    Random random = new Random(2);
    try (Checkpoint view = Decoding.view(made.checkpoint)) {
      assertEquals(List.of("before", "m.weight", "m.bias"), List.copyOf(view.tensors().keySet()));
      assertEquals(
          TensorInfo.of("m.weight", DType.F32, layout.rows, layout.cols),
          view.tensors().get("m.weight"));
      int size = made.values.length;
      assertArrayEquals(made.values, read(view, 0, size));
      for (int i = 0; i < 30; i++) {
        int begin = random.nextInt(size);
        int count = random.nextInt(Math.min(size - begin, i % 2 == 0 ? 20 : size) + 1);
        assertArrayEquals(
            Arrays.copyOfRange(made.values, begin, begin + count), read(view, begin, count));
      }
    }
  }

  @Test
  void scalarScales() throws IOException {
    MemoryCheckpoint checkpoint = new MemoryCheckpoint();
    checkpoint.add(TensorInfo.of("m.weight", DType.F8_E4M3, 1, 2), new byte[] {0x38, (byte) 0x81});
    checkpoint.add("m.weight_scale", DType.BF16, new double[] {2});
    try (Checkpoint view = Decoding.view(checkpoint)) {
      assertArrayEquals(new float[] {2, -0x1p-8f}, read(view, 0, 2));
    }
  }

  @Test
  void anIndexOfGroupsThatSortsNothingIsFine() throws IOException {
    Layout layout = new Layout(Kind.PACKED4, ZeroPoints.NONE, DType.F32, 8, 3, 24);
    for (boolean unset : new boolean[] {false, true}) {
      Made made = make(layout);
      double[] index = new double[24];
      Arrays.setAll(index, i -> unset ? -1 : i / 8);
      made.checkpoint.add("m.weight_g_idx", DType.I32, index, 24);
      try (Checkpoint view = Decoding.view(made.checkpoint)) {
        assertTrue(!view.tensors().containsKey("m.weight_g_idx"));
        assertArrayEquals(made.values, read(view, 0, 72));
      }
    }
  }

  @Test
  void activationOrderIsRefusedByName() {
    Layout layout = new Layout(Kind.PACKED4, ZeroPoints.NONE, DType.F32, 8, 3, 24);
    Made made = make(layout);
    double[] index = new double[24];
    Arrays.setAll(index, i -> i % 3);
    made.checkpoint.add("m.weight_g_idx", DType.I32, index, 24);
    String message =
        assertThrows(CheckpointException.class, () -> Decoding.view(made.checkpoint)).getMessage();
    assertTrue(message.contains("'m.weight_g_idx' sorts columns by activation order"), message);
  }

  @Test
  void optimizingAgainIsRefused() {
    for (Kind kind : Kind.values()) {
      Made made = make(new Layout(kind, ZeroPoints.NONE, DType.BF16, 0, 5, 7));
      String message =
          assertThrows(
                  CheckpointException.class,
                  () ->
                      Optimizer.optimize(
                          made.checkpoint,
                          List.of(Quantize.int8()),
                          Optimizer.Options.defaults(),
                          new MemoryWriter()))
              .getMessage();
      assertTrue(message.contains("already quantized (see tensor '" + kind.name), message);
    }
  }
}
