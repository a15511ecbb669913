package dev.sinew.examples;

import dev.sinew.DType;
import dev.sinew.Device;
import dev.sinew.Tensor;
import dev.sinew.io.CheckpointFormat;
import dev.sinew.io.SafeTensors;
import dev.sinew.model.Checkpoint;
import dev.sinew.nn.Arena;
import dev.sinew.nn.Layer;
import dev.sinew.pass.Optimizer;
import dev.sinew.pass.Pass;
import dev.sinew.pass.Prune;
import dev.sinew.pass.Quantize;
import dev.sinew.pass.Storage;
import dev.sinew.pass.Targets;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Optimizes a trained network in several ways and runs each result: how many of the test images it
 * gets right, what its weights take, and how fast it is.
 *
 * <p>{@code examples/run mnist FOLDER}, with cnn.pt, cnn.safetensors and the test images of MNIST
 * in the folder.
 */
public final class Mnist {
  private static final int BATCH = 64;

  private Mnist() {}

  /** One way to store the network. */
  private record Variant(String name, String file, List<Pass> passes, Storage storage) {}

  /**
   * What running a variant gave.
   *
   * @param weightBytes what its weights take in memory, packed for the processor
   * @param latencyMicros median time of a request of one image
   * @param imagesPerSecond with 64 images a request
   */
  public record Result(
      String name,
      long fileBytes,
      long weightBytes,
      int right,
      double latencyMicros,
      double imagesPerSecond) {}

  private static final List<Variant> VARIANTS =
      List.of(
          new Variant("f32, cnn.pt", "cnn.pt", List.of(), Storage.DENSE),
          new Variant("f32, cnn.safetensors", "cnn.safetensors", List.of(), Storage.DENSE),
          new Variant("int8", "cnn.safetensors", List.of(Quantize.int8()), Storage.DENSE),
          new Variant("pruned", "cnn.safetensors", List.of(Prune.threshold(0.01f)), Storage.BITMAP),
          new Variant(
              "pruned, int8",
              "cnn.safetensors",
              List.of(Prune.threshold(0.01f), Quantize.int8()),
              Storage.BITMAP));

  /**
   * Runs all variants.
   *
   * @param folder has the models and the images
   * @param work gets the optimized files
   * @param count how many of the images are shown to each
   * @param rounds how often times are taken
   */
  public static List<Result> run(Path folder, Path work, int count, int rounds) throws IOException {
    MnistImages images = MnistImages.read(folder);
    List<Result> results = new ArrayList<>();
    for (Variant variant : VARIANTS) {
      Path file = folder.resolve(variant.file());
      if (!variant.passes().isEmpty()) {
        file = optimize(file, variant, work.resolve("variant-" + results.size() + ".safetensors"));
      }
      results.add(measure(variant.name(), file, images, count, rounds));
    }
    return results;
  }

  private static Path optimize(Path file, Variant variant, Path target) throws IOException {
    Optimizer.Options options =
        new Optimizer.Options(
            Targets.byDefault(),
            Device.availableProcessors(),
            false,
            Optimizer.Progress.NONE,
            variant.storage());
    try (Checkpoint model = CheckpointFormat.open(file)) {
      Optimizer.optimize(
          model, variant.passes(), options, plan -> SafeTensors.create(target, plan, false));
    }
    return target;
  }

  private static Result measure(String name, Path file, MnistImages images, int count, int rounds)
      throws IOException {
    try (Layer network = MnistNetwork.create();
        Arena arena = new Arena();
        Tensor one = Tensor.allocate(Device.cpu(), DType.F32, 1, 1, 28, 28);
        Tensor many = Tensor.allocate(Device.cpu(), DType.F32, BATCH, 1, 28, 28)) {
      try (Checkpoint checkpoint = CheckpointFormat.open(file)) {
        network.load(checkpoint);
      }
      int right = accuracy(network, images, Math.min(count, images.count()), many, arena);
      images.fill(one, 0);
      images.fill(many, 0);
      return new Result(
          name,
          Files.size(file),
          network.bytes(),
          right,
          1e6 * median(network, one, arena, rounds),
          BATCH / median(network, many, arena, rounds));
    }
  }

  private static int accuracy(
      Layer network, MnistImages images, int shown, Tensor batch, Arena arena) {
    int right = 0;
    for (int first = 0; first < shown; first += BATCH) {
      int count = Math.min(BATCH, shown - first);
      try (Tensor part = batch.slice(0, count)) {
        images.fill(part, first);
        float[] scores = network.forward(part, arena).toFloats();
        for (int i = 0; i < count; i++) {
          right += best(scores, 10 * i) == images.label(first + i) ? 1 : 0;
        }
        arena.reset();
      }
    }
    return right;
  }

  private static int best(float[] scores, int from) {
    int best = 0;
    for (int digit = 1; digit < 10; digit++) {
      if (scores[from + digit] > scores[from + best]) {
        best = digit;
      }
    }
    return best;
  }

  // Seconds of a request.
  private static double median(Layer network, Tensor input, Arena arena, int rounds) {
    double[] seconds = new double[rounds];
    for (int i = -rounds / 4; i < rounds; i++) {
      long start = System.nanoTime();
      network.forward(input, arena);
      if (i >= 0) {
        seconds[i] = 1e-9 * (System.nanoTime() - start);
      }
      arena.reset();
    }
    Arrays.sort(seconds);
    return seconds[rounds / 2];
  }

  /** Prints a table. */
  public static void main(String[] arguments) throws IOException {
    if (arguments.length != 1) {
      System.err.println("Usage: examples/run mnist FOLDER (with cnn.pt and the images of MNIST)");
      System.exit(2);
    }
    Path work = Files.createTempDirectory("mnist");
    try {
      System.out.println(Device.cpu());
      System.out.printf(
          "%-22s %10s %10s %8s %12s %12s%n",
          "", "file", "in memory", "right", "1 image", "batches of " + BATCH);
      for (Result result : run(Path.of(arguments[0]), work, 10_000, 400)) {
        System.out.printf(
            "%-22s %8d B %8d B %8d %9.1f us %8.0f /s%n",
            result.name(),
            result.fileBytes(),
            result.weightBytes(),
            result.right(),
            result.latencyMicros(),
            result.imagesPerSecond());
      }
    } finally {
      try (var files = Files.list(work)) {
        for (Path file : files.toList()) {
          Files.delete(file);
        }
      }
      Files.delete(work);
    }
  }
}
