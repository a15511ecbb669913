package dev.sinew.benchmarks.peers;

import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import dev.sinew.DType;
import dev.sinew.Device;
import dev.sinew.Tensor;
import dev.sinew.examples.MnistNetwork;
import dev.sinew.io.CheckpointFormat;
import dev.sinew.io.SafeTensors;
import dev.sinew.model.Checkpoint;
import dev.sinew.nn.Arena;
import dev.sinew.nn.Layer;
import dev.sinew.nn.LoadOptions;
import dev.sinew.pass.Optimizer;
import dev.sinew.pass.Pass;
import dev.sinew.pass.Prune;
import dev.sinew.pass.Quantize;
import dev.sinew.pass.Storage;
import dev.sinew.pass.Targets;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.global.torch;

/** The MNIST network in its forms, and the same layers in ONNX Runtime and libtorch. */
final class MnistRunners {
  private static final double EPSILON = 1e-5;

  private MnistRunners() {}

  static void add(List<NetworkRunner> runners, Path folder, Tensor x)
      throws IOException, OrtException {
    Path file = folder.resolve("cnn.safetensors");
    runners.add(new Ours("Sinew F32", file, x, 1e-4));
    runners.add(ours("Sinew int8", file, x, List.of(Quantize.int8()), Storage.DENSE));
    runners.add(
        ours(
            "Sinew pruned int8",
            file,
            x,
            List.of(Prune.threshold(0.01f), Quantize.int8()),
            Storage.BITMAP));
    Map<String, Tensor> weights = read(file, x.device());
    runners.add(new FaceRunners.Onnx(onnx(weights, x), x));
    runners.add(new Libtorch(weights, x));
  }

  private static NetworkRunner ours(
      String name, Path file, Tensor x, List<Pass> passes, Storage storage) throws IOException {
    Path folder = Files.createTempDirectory("sinew-mnist-");
    Path target = folder.resolve("optimized.safetensors");
    try (Checkpoint model = CheckpointFormat.open(file)) {
      Optimizer.optimize(
          model,
          passes,
          new Optimizer.Options(Targets.byDefault(), 1, false, Optimizer.Progress.NONE, storage),
          plan -> SafeTensors.create(target, plan, false));
      // Rounding the weights and the activations moves the scores, which examples/ looks at.
      return new Ours(name, target, x, 0.1);
    } finally {
      Files.deleteIfExists(target);
      Files.delete(folder);
    }
  }

  private static Map<String, Tensor> read(Path file, Device device) throws IOException {
    Map<String, Tensor> weights = new LinkedHashMap<>();
    try (Checkpoint checkpoint = CheckpointFormat.open(file)) {
      for (String name : checkpoint.tensors().keySet()) {
        if (name.endsWith("num_batches_tracked")) {
          continue;
        }
        long[] shape =
            checkpoint.tensors().get(name).shape().stream().mapToLong(Long::longValue).toArray();
        Tensor tensor = Tensor.allocate(device, DType.F32, shape);
        tensor.<IOException>withBuffer(
            0, (int) tensor.byteSize(), buffer -> checkpoint.read(name, 0, buffer));
        weights.put(name, tensor);
      }
    }
    return weights;
  }

  private static OrtSession onnx(Map<String, Tensor> weights, Tensor x) throws OrtException {
    OnnxModel model = new OnnxModel();
    model.input("x", OnnxModel.FLOAT, x.shape());
    weights.forEach(
        (name, tensor) -> model.initializer(name, OnnxModel.FLOAT, tensor, tensor.shape()));
    String at = "x";
    for (String layer : List.of("conv1", "conv2", "conv3")) {
      model.node("", "Conv", List.of(at, layer + ".weight", layer + ".bias"), layer, Map.of());
      at = layer + ".relu";
      model.node("", "Relu", List.of(layer), at, Map.of());
    }
    model.node("", "BatchNormalization", norm(at, "norm1"), "norm1", Map.of());
    model.node("", "Flatten", List.of("norm1"), "flat", Map.of());
    model.node("", "Gemm", List.of("flat", "fc1.weight", "fc1.bias"), "fc1", Map.of("transB", 1L));
    model.node("", "Relu", List.of("fc1"), "fc1.relu", Map.of());
    model.node(
        "", "Gemm", List.of("fc1.relu", "fc2.weight", "fc2.bias"), "fc2", Map.of("transB", 1L));
    model.node("", "BatchNormalization", norm("fc2", "norm2"), "y", Map.of());
    model.output("y", OnnxModel.FLOAT, x.size(0), 10);
    try (OrtSession.SessionOptions options = OnnxRuntime.options(x.device().threads())) {
      return OrtEnvironment.getEnvironment().createSession(model.build(), options);
    }
  }

  private static List<String> norm(String input, String name) {
    return List.of(
        input, name + ".weight", name + ".bias", name + ".running_mean", name + ".running_var");
  }

  private static final class Ours implements NetworkRunner {
    private final String name;
    private final double tolerance;
    private final Layer network = MnistNetwork.create();
    private final Arena arena;
    private final Tensor x;
    private float[] scores;

    Ours(String name, Path file, Tensor x, double tolerance) throws IOException {
      this.name = name;
      this.tolerance = tolerance;
      this.x = x;
      arena = new Arena(x.device());
      try (Checkpoint checkpoint = CheckpointFormat.open(file)) {
        network.load(checkpoint, LoadOptions.strict().on(x.device()));
      }
    }

    @Override
    public String name() {
      return name;
    }

    @Override
    public boolean ours() {
      return true;
    }

    @Override
    public double tolerance() {
      return tolerance;
    }

    @Override
    public void run() {
      network.forward(x, arena);
      arena.reset();
    }

    @Override
    public float[] result() {
      if (scores == null) {
        scores = network.forward(x, arena).toFloats();
        arena.reset();
      }
      return scores;
    }

    @Override
    public void close() {
      network.close();
      arena.close();
    }
  }

  private static final class Libtorch implements NetworkRunner {
    private final Map<String, Tensor> weights;
    private final Map<String, org.bytedeco.pytorch.Tensor> views = new LinkedHashMap<>();
    private final org.bytedeco.pytorch.Tensor x;
    private final long images;
    private final int threads;
    private float[] scores;

    Libtorch(Map<String, Tensor> weights, Tensor x) {
      this.weights = weights;
      weights.forEach((name, tensor) -> views.put(name, LibtorchLayers.view(tensor)));
      this.x = LibtorchLayers.view(x);
      images = x.size(0);
      threads = x.device().threads();
      torch.set_num_threads(threads);
    }

    @Override
    public String name() {
      return "libtorch F32";
    }

    private TensorOptional optional(String name) {
      return new TensorOptional(views.get(name));
    }

    private org.bytedeco.pytorch.Tensor convolution(org.bytedeco.pytorch.Tensor in, String name) {
      org.bytedeco.pytorch.Tensor out =
          torch.conv2d(
              in,
              views.get(name + ".weight"),
              optional(name + ".bias"),
              new long[] {1, 1},
              new long[] {0, 0},
              new long[] {1, 1},
              1);
      return torch.relu_(out);
    }

    private org.bytedeco.pytorch.Tensor norm(org.bytedeco.pytorch.Tensor in, String name) {
      return torch.batch_norm(
          in,
          optional(name + ".weight"),
          optional(name + ".bias"),
          optional(name + ".running_mean"),
          optional(name + ".running_var"),
          false,
          0.1,
          EPSILON,
          false);
    }

    private org.bytedeco.pytorch.Tensor forward() {
      org.bytedeco.pytorch.Tensor y =
          convolution(convolution(convolution(x, "conv1"), "conv2"), "conv3");
      y = norm(y, "norm1").view(images, -1);
      y = torch.relu_(torch.linear(y, views.get("fc1.weight"), optional("fc1.bias")));
      return norm(torch.linear(y, views.get("fc2.weight"), optional("fc2.bias")), "norm2");
    }

    @Override
    public void run() {
      try (org.bytedeco.javacpp.PointerScope scope = new org.bytedeco.javacpp.PointerScope()) {
        forward();
      }
    }

    @Override
    public float[] result() {
      if (scores == null) {
        org.bytedeco.pytorch.Tensor y = forward();
        scores = new float[(int) y.numel()];
        y.data_ptr_float().get(scores);
      }
      return scores;
    }

    @Override
    public void close() {
      views.values().forEach(org.bytedeco.pytorch.Tensor::close);
      x.close();
      weights.values().forEach(Tensor::close);
    }
  }
}
