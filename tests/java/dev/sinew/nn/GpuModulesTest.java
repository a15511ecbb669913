package dev.sinew.nn;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sinew.Activation;
import dev.sinew.ChildJvm;
import dev.sinew.Conv2dOptions;
import dev.sinew.DType;
import dev.sinew.Device;
import dev.sinew.Functional;
import dev.sinew.Scope;
import dev.sinew.Tensor;
import dev.sinew.examples.FaceDetector;
import dev.sinew.examples.MnistNetwork;
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
  private static final int IN = 124;
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
    return run(network(), checkpoint, Layers.random(random, rows * IN), device, rows, IN);
  }

  private static float[] run(
      Sequential network, Checkpoint checkpoint, double[] numbers, Device device, long... shape)
      throws IOException {
    float[] values = floats(numbers);
    try (Sequential net = network;
        Arena arena = new Arena(device);
        Scope scope = new Scope()) {
      LoadReport report = net.to(device).load(checkpoint);
      assertEquals(net.bytes(), report.bytes());
      Tensor x = scope.add(scope.add(Tensor.of(values, shape)).to(device));
      Tensor y = net.forward(x, arena);
      assertEquals(device, y.device());
      return y.toFloats();
    }
  }

  private static float[] floats(double[] numbers) {
    float[] values = new float[numbers.length];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) numbers[i];
    }
    return values;
  }

  // Norms that are folded and ones that come after an activation, groups, and both kinds of
  // pooling.
  private static Sequential images() {
    Conv2dOptions padded = Conv2dOptions.defaults().padding(1);
    return new Sequential(
        new Conv2d(3, 20, 3, 3, padded.stride(2), false, Activation.NONE),
        new BatchNorm(20),
        ActivationLayer.relu(),
        new BatchNorm(20),
        new Conv2d(20, 20, 3, padded.groups(20)),
        new MaxPool2d(2),
        new Conv2d(20, 24, 3, padded.groups(2)),
        new Conv2d(24, 9, 1),
        new AvgPool2d(2),
        new Flatten(),
        new Linear(9 * 2 * 2, 5));
  }

  private static MemoryCheckpoint imagesModel() {
    Random random = new Random(77);
    MemoryCheckpoint model = new MemoryCheckpoint();
    long[][] weights = {{20, 3, 3, 3}, {20, 1, 3, 3}, {24, 10, 3, 3}, {9, 24, 1, 1}, {5, 36}};
    int[] places = {0, 4, 6, 7, 10};
    for (int i = 0; i < weights.length; i++) {
      int count = 1;
      for (long n : weights[i]) {
        count *= (int) n;
      }
      model.add(places[i] + ".weight", DType.F32, Layers.random(random, count), weights[i]);
      if (i > 0) {
        int out = (int) weights[i][0];
        model.add(places[i] + ".bias", DType.F32, Layers.random(random, out), out);
      }
    }
    for (int place : new int[] {1, 3}) {
      for (String name : new String[] {"weight", "bias", "running_mean", "running_var"}) {
        double[] values = Oracle.absolute(Layers.random(random, 20));
        model.add(place + "." + name, DType.F32, values, 20);
      }
    }
    return model;
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
          "prune:nm=2:4 int8:channel", false,
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
            // Values are about 1, and sums have up to 124 terms.
            float bound = recipe.getValue() ? 1e-3f : 0;
            assertArrayEquals(expected, found, bound, recipe.getKey() + ", " + rows + " rows");
          }
        }
      }
      double dense = bytes("int8:channel", folder, gpu);
      double half = bytes("prune:nm=2:4 int8:channel", folder, gpu);
      assertTrue(half < 0.8 * dense, "2:4 takes " + half + " bytes, others " + dense);
      float[] expected = speak(Device.cpu());
      assertArrayEquals(expected, speak(gpu), 1e-5f, "a transformer");
      for (String recipe : new String[] {"", "int8:channel", "int4:group=32", "cluster:bits=4"}) {
        Path file = Models.optimized(imagesModel(), folder, recipe);
        double[] pixels = Layers.random(new Random(5), 2 * 3 * 16 * 20);
        try (Checkpoint checkpoint = Models.open(file)) {
          float[] onCpu = run(images(), checkpoint, pixels, Device.cpu(), 2, 3, 16, 20);
          float[] onGpu = run(images(), checkpoint, pixels, gpu, 2, 3, 16, 20);
          assertClose(onCpu, onGpu, recipe + ", images");
        }
      }
      // Codebooks do not take the factors of a norm, which then has to be computed.
      try (Checkpoint checkpoint =
          Models.open(Models.optimized(model(DType.F32), folder, "cluster:bits=4"))) {
        assertClose(run(checkpoint, 3, Device.cpu()), run(checkpoint, 3, gpu), "clustered");
      }
      if (arguments.length > 1) {
        realNetworks(Path.of(arguments[1]), gpu);
      }
      refuses(gpu);
      assertEquals(0, SinewNative.sn_live_tensors());
      System.out.println("passed on " + gpu);
    }

    private static long bytes(String recipe, Path folder, Device gpu) throws IOException {
      try (Sequential net = network();
          Checkpoint file = Models.open(Models.optimized(model(DType.F32), folder, recipe))) {
        return net.to(gpu).load(file).bytes();
      }
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

    // To some roundings of the largest.
    private static void assertClose(float[] expected, float[] found, String what) {
      float largest = 0;
      for (float v : expected) {
        largest = Math.max(largest, Math.abs(v));
      }
      assertTrue(largest > 0, what);
      assertArrayEquals(expected, found, 1e-4f * largest, what);
    }

    private static void realNetworks(Path data, Device gpu) throws IOException {
      double[] digits = Layers.random(new Random(9), 2 * 28 * 28);
      Path mnist = data.resolve("mnist/cnn.safetensors");
      try (Checkpoint checkpoint = Models.open(mnist)) {
        Sequential onCpu = MnistNetwork.create();
        Sequential onGpu = MnistNetwork.create();
        float[] expected = run(onCpu, checkpoint, digits, Device.cpu(), 2, 1, 28, 28);
        assertClose(expected, run(onGpu, checkpoint, digits, gpu, 2, 1, 28, 28), "MNIST");
      }
      float[] image =
          floats(Layers.random(new Random(9), 3 * FaceDetector.HEIGHT * FaceDetector.WIDTH));
      Path faces = data.resolve("face-detector/rfb-320.pth");
      float[][] onCpu = detect(faces, image, Device.cpu());
      float[][] onGpu = detect(faces, image, gpu);
      assertClose(onCpu[0], onGpu[0], "scores");
      assertClose(onCpu[1], onGpu[1], "boxes");
    }

    private static float[][] detect(Path file, float[] image, Device device) throws IOException {
      try (FaceDetector detector = new FaceDetector();
          Checkpoint checkpoint = Models.open(file);
          Arena arena = new Arena(device);
          Tensor there = Tensor.of(image, 1, 3, FaceDetector.HEIGHT, FaceDetector.WIDTH);
          Tensor x = there.to(device)) {
        detector.to(device).load(checkpoint);
        FaceDetector.Detections found = detector.forward(x, arena);
        return new float[][] {found.scores().toFloats(), found.boxes().toFloats()};
      }
    }

    private static void refuses(Device gpu) throws IOException {
      Sequential inside = new Sequential(new Linear(2, 3));
      try (Sequential whole = new Sequential().add("part", inside)) {
        assertThrows(IllegalStateException.class, () -> inside.to(gpu), whole.toString());
      }

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
    Path data = Path.of(System.getProperty("sinew.data", "../shared/data"));
    String[] arguments =
        Files.exists(data.resolve("face-detector/rfb-320.pth"))
            ? new String[] {folder.toString(), data.toString()}
            : new String[] {folder.toString()};
    ChildJvm.Result result =
        ChildJvm.run(Program.class, List.of("-Dsinew.cuda=" + library), arguments);
    assertEquals(0, result.exit(), result.output());
  }
}
