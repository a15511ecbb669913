package dev.sinew.nn;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sinew.Activation;
import dev.sinew.ChildJvm;
import dev.sinew.DType;
import dev.sinew.Device;
import dev.sinew.Functional;
import dev.sinew.Scope;
import dev.sinew.Tensor;
import dev.sinew.internal.SinewNative;
import dev.sinew.model.Checkpoint;
import dev.sinew.pass.MemoryCheckpoint;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Modules whose weights are on a GPU: on the library that the system property {@code
 * sinew.test.cuda} names, which computes on the CPU in the place of a GPU.
 */
class GpuModulesTest {
  private static final int IN = 68;
  private static final int HIDDEN = 45;
  private static final int OUT = 24;

  @TempDir Path folder;

  private static Sequential network() {
    return new Sequential(
        new Linear(IN, HIDDEN, true, Activation.SILU),
        new RmsNorm(HIDDEN, 1e-5),
        new ActivationLayer(Activation.GELU),
        new Linear(HIDDEN, OUT, false),
        new BatchNorm(OUT),
        ActivationLayer.relu());
  }

  private static MemoryCheckpoint model(DType dtype) {
    Random random = new Random(31);
    return new MemoryCheckpoint()
        .add("0.weight", dtype, Layers.random(random, HIDDEN * IN), HIDDEN, IN)
        .add("0.bias", dtype, Layers.random(random, HIDDEN), HIDDEN)
        .add("1.weight", dtype, Layers.random(random, HIDDEN), HIDDEN)
        .add("3.weight", dtype, Layers.random(random, OUT * HIDDEN), OUT, HIDDEN)
        .add("4.weight", dtype, Layers.random(random, OUT), OUT)
        .add("4.bias", dtype, Layers.random(random, OUT), OUT)
        .add("4.running_mean", dtype, Layers.random(random, OUT), OUT)
        .add("4.running_var", dtype, Oracle.absolute(Layers.random(random, OUT)), OUT);
  }

  private static float[] run(Checkpoint checkpoint, int rows, Device device) throws IOException {
    Random random = new Random(rows);
    float[] values = new float[rows * IN];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) random.nextGaussian();
    }
    try (Sequential net = network();
        Arena arena = new Arena(device);
        Scope scope = new Scope()) {
      LoadReport report = net.to(device).load(checkpoint);
      assertEquals(net.bytes(), report.bytes());
      Tensor x = scope.add(scope.add(Tensor.of(values, rows, IN)).to(device));
      Tensor y = net.forward(x, arena);
      assertEquals(device, y.device());
      return y.toFloats();
    }
  }

  private static final class Transformer extends Module {
    static final int WIDTH = 16;
    static final int WORDS = 20;
    final RotaryEmbedding rotary = child("rotary", new RotaryEmbedding(8, 16, 10000));
    final Embedding embedding = child("embed", new Embedding(WORDS, WIDTH));
    final LayerNorm norm = child("norm", new LayerNorm(WIDTH));
    final Attention attention =
        child("attention", new Attention(Attention.Config.causal(WIDTH, 2, 1, 8, rotary)));
    final Linear head = child("head", new Linear(WIDTH, WORDS, false));
    final Softmax softmax = child("softmax", new Softmax());

    Tensor forward(long[] words, KeyValueCache cache, Arena arena) {
      Tensor ids = arena.allocate(DType.I64, 1, words.length);
      ByteBuffer bytes = ByteBuffer.allocate(8 * words.length).order(ByteOrder.LITTLE_ENDIAN);
      bytes.asLongBuffer().put(words);
      ids.copyFrom(0, bytes);
      Tensor x = embedding.forward(ids, arena);
      Tensor attended = attention.forward(norm.forward(x, arena), cache, arena);
      Functional.add(x, attended, x);
      return softmax.forward(head.forward(x, arena), arena);
    }

    static MemoryCheckpoint model() {
      Random random = new Random(8);
      MemoryCheckpoint model = new MemoryCheckpoint();
      Map<String, Integer> rows =
          Map.of(
              "embed", WORDS,
              "attention.q_proj", WIDTH,
              "attention.k_proj", 8,
              "attention.v_proj", 8,
              "attention.o_proj", WIDTH,
              "head", WORDS);
      new TreeMap<>(rows)
          .forEach(
              (name, n) ->
                  model.add(
                      name + ".weight", DType.F32, Layers.random(random, n * WIDTH), n, WIDTH));
      return model
          .add("norm.weight", DType.BF16, Layers.random(random, WIDTH), WIDTH)
          .add("norm.bias", DType.F32, Layers.random(random, WIDTH), WIDTH);
    }
  }

  /** The forms that give the same bits on every device, and whether sums are of floats instead. */
  private static final Map<String, Boolean> RECIPES =
      Map.of(
          "int8:channel", false,
          "int8:tensor:asymmetric", false,
          "int8:group=16", false,
          "int4:group=32", false,
          "prune:sparsity=0.5 int8:channel bitmap", false,
          "fp8:channel", true,
          "", true);

  static final class Program {
    public static void main(String[] arguments) throws Exception {
      Device gpu = Device.requireGpu();
      Path folder = Path.of(arguments[0]);
      for (Map.Entry<String, Boolean> recipe : RECIPES.entrySet()) {
        Path file = Models.optimized(model(DType.F32), folder, recipe.getKey());
        for (int rows : new int[] {1, 40}) {
          try (Checkpoint checkpoint = Models.open(file)) {
            float[] expected = run(checkpoint, rows, Device.cpu());
            float[] found = run(checkpoint, rows, gpu);
            // Values are about 1, and sums have up to 68 terms.
            float bound = recipe.getValue() ? 1e-3f : 0;
            assertArrayEquals(expected, found, bound, recipe.getKey() + ", " + rows + " rows");
          }
        }
      }
      float[] expected = speak(Device.cpu());
      assertArrayEquals(expected, speak(gpu), 1e-5f, "a transformer");
      refuses(gpu);
      refusesNorms(gpu, Models.optimized(model(DType.F32), folder, "cluster:bits=4"));
      assertEquals(0, SinewNative.sn_live_tensors());
      System.out.println("passed on " + gpu);
    }

    // The probabilities of words after a few tokens at once and one more.
    private static float[] speak(Device device) throws IOException {
      try (Transformer net = new Transformer();
          Arena arena = new Arena(device)) {
        net.to(device).load(Transformer.model());
        try (KeyValueCache cache = net.attention.cache(device, 1, 9)) {
          net.forward(new long[] {3, 19, 0, 3, 7}, cache, arena);
          arena.reset();
          return net.forward(new long[] {11}, cache, arena).toFloats();
        }
      }
    }

    // Codebooks do not take the factors of a norm, which then has to be computed.
    private static void refusesNorms(Device gpu, Path file) throws IOException {
      try (Checkpoint checkpoint = Models.open(file);
          Sequential net = network()) {
        net.to(gpu);
        String why =
            assertThrows(UnsupportedOperationException.class, () -> net.load(checkpoint))
                .getMessage();
        assertTrue(why.startsWith("BatchNorm(24) cannot be folded into the weights of "), why);
      }
    }

    private static void refuses(Device gpu) throws IOException {
      Sequential convolutions = new Sequential().add("conv", new Conv2d(2, 3, 3));
      Sequential nested = new Sequential().add("features", convolutions);
      String why =
          assertThrows(
                  UnsupportedOperationException.class,
                  () -> nested.to(gpu).load(new MemoryCheckpoint()))
              .getMessage();
      assertTrue(why.startsWith("layer 'features.conv', Conv2d(2, 3, 3x3), has no kernels"), why);
      assertTrue(why.contains(gpu.toString()), why);
      assertThrows(IllegalStateException.class, () -> convolutions.to(gpu));

      Sequential loaded = network();
      loaded.load(model(DType.F32));
      assertThrows(IllegalStateException.class, () -> loaded.to(gpu));
      try (Arena arena = new Arena(gpu);
          Tensor x = Tensor.allocate(gpu, DType.F32, 2, IN)) {
        // Weights of the CPU with a tensor of the GPU.
        assertThrows(IllegalArgumentException.class, () -> loaded.forward(x, arena));
      }
      loaded.close();
    }
  }

  @Test
  void computeOnGpus() throws Exception {
    String library = System.getProperty("sinew.test.cuda", "");
    Assumptions.assumeTrue(Files.exists(Path.of(library)), "there is no " + library);
    ChildJvm.Result result =
        ChildJvm.run(Program.class, List.of("-Dsinew.cuda=" + library), folder.toString());
    assertEquals(0, result.exit(), result.output());
  }
}
