package dev.sinew.nn;

import static dev.sinew.nn.Layers.assertClose;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sinew.Activation;
import dev.sinew.Conv2dOptions;
import dev.sinew.DType;
import dev.sinew.Numbers;
import dev.sinew.Tensor;
import dev.sinew.model.Checkpoint;
import dev.sinew.pass.Decoding;
import dev.sinew.pass.MemoryCheckpoint;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.Random;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Every form in which {@code optimize} stores weights is loaded, and computed with as it is. */
class StoredFormsTest {
  private static final int IN = 68;
  private static final int OUT = 24;
  private static final int CHANNELS = 6;
  private static final int FILTERS = 10;
  private static final int SIDE = 7;

  @TempDir Path folder;

  private static MemoryCheckpoint model(Random random, DType dtype) {
    int filter = CHANNELS * 9;
    return new MemoryCheckpoint()
        .add("fc.weight", dtype, Layers.random(random, OUT * IN), OUT, IN)
        .add("fc.bias", dtype, Layers.random(random, OUT), OUT)
        .add("conv.weight", dtype, Layers.random(random, FILTERS * filter), FILTERS, CHANNELS, 3, 3)
        .add("conv.bias", dtype, Layers.random(random, FILTERS), FILTERS)
        .add("bn.weight", dtype, Layers.random(random, FILTERS), FILTERS)
        .add("bn.bias", dtype, Layers.random(random, FILTERS), FILTERS)
        .add("bn.running_mean", dtype, Layers.random(random, FILTERS), FILTERS)
        .add("bn.running_var", dtype, Oracle.absolute(Layers.random(random, FILTERS)), FILTERS);
  }

  private static final class Net extends Module {
    final Linear fc = child("fc", new Linear(IN, OUT, true, Activation.RELU));
    final Conv2d conv =
        child("conv", new Conv2d(CHANNELS, FILTERS, 3, Conv2dOptions.defaults().padding(1)));
    final BatchNorm bn = child("bn", new BatchNorm(FILTERS));
  }

  private static double[] decoded(Checkpoint checkpoint, String name) throws IOException {
    Checkpoint view = Decoding.view(checkpoint);
    ByteBuffer bytes = ByteBuffer.allocate((int) view.tensors().get(name).bytes());
    view.read(name, 0, bytes);
    return Numbers.decode(view.tensors().get(name).dtype(), bytes.array());
  }

  private static final String RECIPES =
      """
      '', false
      prune:threshold=0.5, false
      bitmap prune:sparsity=0.6, false
      int8:channel, true
      int8:tensor, true
      int8:channel:asymmetric, true
      int8:tensor:asymmetric, true
      int8:group=32, true
      int8:group=17:asymmetric, true
      fp8:channel, false
      fp8:tensor, false
      fp8:group=16, false
      int4:channel, true
      int4:tensor, true
      int4:group=32, true
      int4:group=18:asymmetric, true
      prune:sparsity=0.5 int8:channel bitmap, true
      prune:sparsity=0.5 int8:tensor bitmap, true
      prune:sparsity=0.5 int8:group=16 bitmap, true
      prune:sparsity=0.7 fp8:channel bitmap, false
      cluster:bits=2, false
      cluster:bits=3, false
      'cluster:bits=4,rows=5', false
      cluster:bits=8, false
      prune:sparsity=0.5 cluster:bits=5, false
      """;

  @ParameterizedTest
  @CsvSource(textBlock = RECIPES)
  void isComputedWith(String recipe, boolean mayQuantizeInputs) throws IOException {
    for (DType dtype : new DType[] {DType.F32, DType.BF16, DType.F16, DType.F64}) {
      Random random = new Random(recipe.hashCode());
      Path file = Models.optimized(model(random, dtype), folder, recipe);
      for (boolean fused : new boolean[] {false, true}) {
        try (Checkpoint checkpoint = Models.open(file);
            Net net = new Net()) {
          if (fused) {
            net.conv.fuse(net.bn);
            net.conv.fuse(ActivationLayer.relu());
          }
          net.load(checkpoint);
          String what = recipe + " of " + dtype + (fused ? ", fused" : "");
          checkLinear(net, checkpoint, random, mayQuantizeInputs, what);
          checkConvolution(net, checkpoint, random, mayQuantizeInputs, fused, what);
        }
      }
    }
  }

  @ParameterizedTest
  @CsvSource({
    "ct-int8:channel, true",
    "ct-int8:tensor, true",
    "ct-fp8:channel, false",
    "ct-int4:channel, false",
    "ct-int4:group=34, false"
  })
  void soAreLayoutsOfCompressedTensors(String recipe, boolean quantizesInputs) throws IOException {
    for (DType dtype : new DType[] {DType.F32, DType.BF16}) {
      Random random = new Random(4);
      MemoryCheckpoint model =
          new MemoryCheckpoint()
              .add("fc.weight", dtype, Layers.random(random, OUT * IN), OUT, IN)
              .add("fc.bias", dtype, Layers.random(random, OUT), OUT);
      Path file = Models.optimized(model, folder, recipe);
      try (Checkpoint checkpoint = Models.open(file);
          Net net = new Net()) {
        net.load(checkpoint, LoadOptions.lenient());
        checkLinear(net, checkpoint, random, quantizesInputs, recipe + " of " + dtype);
      }
    }
  }

  // What sums in F32 may change, and rounding inputs to steps of their largest magnitude: 127 of
  // them if they become int8, else 32512, which is what int8 and int4 weights alone do.
  private static double[] bound(
      double[] weights, double[] magnitude, int perRow, double largest, boolean quantized) {
    double[] bound = new double[magnitude.length];
    for (int i = 0; i < bound.length; i++) {
      bound[i] = 1e-5 * (magnitude[i] + 1);
      double sum = 0;
      int row = i % (weights.length / perRow);
      for (int j = 0; j < perRow; j++) {
        sum += Math.abs(weights[row * perRow + j]);
      }
      bound[i] += 0.51 * sum * largest / (quantized ? 127 : 32512);
    }
    return bound;
  }

  private static double largest(double[] values, int from, int count) {
    double largest = 0;
    for (int i = from; i < from + count; i++) {
      largest = Math.max(largest, Math.abs(values[i]));
    }
    return largest;
  }

  private static void checkLinear(
      Net net, Checkpoint checkpoint, Random random, boolean quantized, String what)
      throws IOException {
    double[] weights = decoded(checkpoint, "fc.weight");
    double[] bias = decoded(checkpoint, "fc.bias");
    for (int rows : new int[] {0, 1, 5, 33}) {
      double[] x = Layers.random(random, rows * IN);
      double[] expected = Oracle.relu(Oracle.linear(x, weights, bias, IN, OUT));
      double[] magnitude = Oracle.linearMagnitude(x, weights, bias, IN, OUT);
      double[] bound = bound(weights, magnitude, IN, largest(x, 0, x.length), quantized);
      assertClose(expected, Layers.run(net.fc, x, rows, IN), bound, what + ", " + rows + " rows");
    }
  }

  private static void checkConvolution(
      Net net, Checkpoint checkpoint, Random random, boolean quantized, boolean fused, String what)
      throws IOException {
    double[] weights = decoded(checkpoint, "conv.weight");
    double[] bias = decoded(checkpoint, "conv.bias");
    Oracle.Convolution formula = new Oracle.Convolution(CHANNELS, FILTERS, 3, 1, 1, 1, 1);
    double[] x = Layers.random(random, 2 * CHANNELS * SIDE * SIDE);
    double[] expected = formula.apply(x, weights, bias, SIDE, SIDE);
    double[] magnitude =
        formula.apply(
            Oracle.absolute(x), Oracle.absolute(weights), Oracle.absolute(bias), SIDE, SIDE);
    double[] bound = new double[expected.length];
    double[] perFilter =
        bound(weights, new double[FILTERS], CHANNELS * 9, largest(x, 0, x.length), quantized);
    double[] factor = new double[FILTERS];
    for (int i = 0; i < FILTERS; i++) {
      factor[i] =
          fused
              ? Math.abs(decoded(checkpoint, "bn.weight")[i])
                  / Math.sqrt(decoded(checkpoint, "bn.running_var")[i] + 1e-5)
              : 1;
    }
    for (int i = 0; i < bound.length; i++) {
      int filter = i / (SIDE * SIDE) % FILTERS;
      bound[i] = factor[filter] * (perFilter[filter] + 1e-5 * (magnitude[i] + 1)) + 1e-5;
    }
    if (fused) {
      expected =
          Oracle.relu(
              Oracle.batchNorm(
                  expected,
                  decoded(checkpoint, "bn.running_mean"),
                  decoded(checkpoint, "bn.running_var"),
                  decoded(checkpoint, "bn.weight"),
                  decoded(checkpoint, "bn.bias"),
                  1e-5,
                  SIDE * SIDE));
    }
    double[] found = Layers.run(net.conv, x, 2, CHANNELS, SIDE, SIDE);
    assertClose(expected, found, bound, what + ", convolution");
    if (fused) {
      double[] again = Layers.run(net.bn, x, 2, CHANNELS, SIDE, SIDE);
      assertClose(x, again, 0, "a norm that is fused changes nothing itself");
    }
  }

  @ParameterizedTest
  @CsvSource({
    "'', 1.05",
    "int8:channel, 0.3",
    "int8:group=32, 0.33",
    "fp8:channel, 0.3",
    "int4:group=64, 0.17",
    "prune:sparsity=0.5 int8:channel bitmap, 0.24", // 0.17 but for the slots of AVX2
    "prune:sparsity=0.75 bitmap, 0.32",
    "cluster:bits=4, 0.15"
  })
  void staysSmallInMemory(String recipe, double most) throws IOException {
    MemoryCheckpoint model =
        new MemoryCheckpoint()
            .add("a.weight", DType.F32, Layers.random(new Random(5), 512 * 1024), 512, 1024);
    Path file = Models.optimized(model, folder, recipe);
    try (Checkpoint checkpoint = Models.open(file);
        Sequential net = new Sequential().add("a", new Linear(1024, 512, false))) {
      LoadReport report = net.load(checkpoint);
      double ratio = report.bytes() / (4.0 * 512 * 1024);
      assertTrue(ratio <= most, recipe + " takes " + ratio + " of F32");
      assertEquals(
          checkpoint.tensors().values().stream().mapToLong(t -> t.bytes()).sum(),
          report.storedBytes());
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"DYNAMIC", "WEIGHT_ONLY"})
  void inputsOfInt8LayersAreQuantizedOrNot(String choice) throws IOException {
    Random random = new Random(9);
    Path file = Models.optimized(model(random, DType.F32), folder, "int8:channel");
    double[] x = Layers.random(random, 3 * IN);
    LoadOptions.Int8 int8 = LoadOptions.Int8.valueOf(choice);
    try (Checkpoint checkpoint = Models.open(file);
        Net net = new Net()) {
      net.load(checkpoint, LoadOptions.strict().int8(int8));
      double[] weights = decoded(checkpoint, "fc.weight");
      double[] bias = decoded(checkpoint, "fc.bias");
      double[] inputs = int8 == LoadOptions.Int8.DYNAMIC ? quantized(x, IN) : x;
      double[] expected = Oracle.relu(Oracle.linear(inputs, weights, bias, IN, OUT));
      double error = int8 == LoadOptions.Int8.DYNAMIC ? 1e-4 : 2e-3;
      assertClose(expected, Layers.run(net.fc, x, 3, IN), error, choice);
    }
  }

  // What is left of rows that are rounded to multiples of absmax / 127.
  private static double[] quantized(double[] x, int size) {
    double[] rounded = new double[x.length];
    for (int i = 0; i < x.length; i++) {
      float scale = (float) (largest(x, i / size * size, size) / 127);
      rounded[i] = Math.rint((float) x[i] / scale) * scale;
    }
    return rounded;
  }

  @ParameterizedTest
  @CsvSource(textBlock = RECIPES)
  void embeddingsDecodeTheRowsThatAreAskedFor(String recipe, boolean unused) throws IOException {
    Random random = new Random(3);
    int count = 40;
    MemoryCheckpoint model =
        new MemoryCheckpoint()
            .add("rows.weight", DType.F32, Layers.random(random, count * IN), count, IN);
    Path file = Models.optimized(model, folder, recipe);
    long[] ids = {3, 39, 0, 3, 17, 20};
    ByteBuffer numbers = ByteBuffer.wrap(Numbers.encode(DType.I64, 3, 39, 0, 3, 17, 20));
    try (Checkpoint checkpoint = Models.open(file);
        Sequential net = new Sequential().add("rows", new Embedding(count, IN));
        Arena arena = new Arena();
        Tensor input = Tensor.allocate(arena.device(), DType.I64, 2, 3)) {
      net.load(checkpoint);
      input.copyFrom(0, numbers);
      Tensor y = net.forward(input, arena);
      double[] found = Numbers.values(y);
      assertEquals("[2, 3, " + IN + "]", java.util.Arrays.toString(y.shape()));
      double[] table = decoded(checkpoint, "rows.weight");
      for (int i = 0; i < found.length; i++) {
        assertEquals(table[(int) ids[i / IN] * IN + i % IN], found[i], recipe + ", element " + i);
      }
    }
  }
}
