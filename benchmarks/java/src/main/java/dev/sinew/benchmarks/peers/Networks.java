package dev.sinew.benchmarks.peers;

import dev.sinew.DType;
import dev.sinew.Device;
import dev.sinew.Tensor;
import dev.sinew.examples.FaceDetector;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;

/** The two networks of examples/, from end to end. */
final class Networks {
  private static final double ROUND_SECONDS = 0.05;

  private final Path data;
  private final int rounds;

  Networks(Path data, int rounds) {
    this.data = data;
    this.rounds = rounds;
  }

  /**
   * One of the races.
   *
   * @param images of a request
   */
  record Request(String network, int images, int threads) {
    String name() {
      return network + " batch=" + images + " threads=" + threads;
    }
  }

  static List<Request> all(int[] threads) {
    List<Request> requests = new ArrayList<>();
    for (int count : threads) {
      requests.add(new Request("MNIST", 1, count));
      requests.add(new Request("MNIST", 64, count));
      requests.add(new Request("faces", 1, count));
    }
    return requests;
  }

  List<Outcome> run(Request request) throws Exception {
    boolean faces = request.network().equals("faces");
    long[] shape =
        faces
            ? new long[] {request.images(), 3, FaceDetector.HEIGHT, FaceDetector.WIDTH}
            : new long[] {request.images(), 1, 28, 28};
    List<NetworkRunner> runners = new ArrayList<>();
    try (Device device = Device.cpu(request.threads());
        Tensor x = Tensor.allocate(device, DType.F32, shape)) {
      Random random = new Random(1);
      x.withBuffer(
          0,
          (int) x.byteSize(),
          buffer -> {
            while (buffer.hasRemaining()) {
              buffer.putFloat(random.nextFloat() * 2 - 1);
            }
          });
      try {
        if (faces) {
          FaceRunners.add(runners, data.resolve("face-detector"), x);
        } else {
          MnistRunners.add(runners, data.resolve("mnist"), x);
        }
        return time(request, runners);
      } finally {
        runners.forEach(NetworkRunner::close);
      }
    }
  }

  // The first runner is ours in F32.
  private List<Outcome> time(Request request, List<NetworkRunner> runners) throws Exception {
    double[] errors = new double[runners.size()];
    float[] expected = null;
    for (int i = 0; i < runners.size(); i++) {
      NetworkRunner runner = runners.get(i);
      for (int warmUp = 0; warmUp < 50; warmUp++) {
        runner.run();
      }
      float[] result = runner.result();
      expected = expected == null ? result : expected;
      errors[i] = difference(expected, result) / runner.tolerance();
    }
    double[][] seconds = new double[runners.size()][rounds];
    for (int round = 0; round < rounds; round++) {
      for (int i = 0; i < runners.size(); i++) {
        seconds[i][round] = seconds(runners.get(i));
      }
    }
    List<Outcome> outcomes = new ArrayList<>();
    for (int i = 0; i < runners.size(); i++) {
      NetworkRunner runner = runners.get(i);
      outcomes.add(
          new Outcome(
              request.name(),
              "Networks",
              runner.name(),
              runner.ours(),
              request.images(),
              "images/s",
              0,
              errors[i],
              seconds[i]));
    }
    return outcomes;
  }

  private static double difference(float[] expected, float[] found) {
    if (expected.length != found.length) {
      throw new IllegalStateException(
          "answers of " + expected.length + " and " + found.length + " numbers");
    }
    double largest = 0;
    double difference = 0;
    for (int i = 0; i < expected.length; i++) {
      largest = Math.max(largest, Math.abs(expected[i]));
      difference = Math.max(difference, Math.abs(expected[i] - found[i]));
    }
    return difference / largest;
  }

  private static double seconds(NetworkRunner runner) throws Exception {
    long begin = System.nanoTime();
    double passed;
    int runs = 0;
    do {
      runner.run();
      runs++;
      passed = 1e-9 * (System.nanoTime() - begin);
    } while (passed < ROUND_SECONDS);
    return passed / runs;
  }
}
