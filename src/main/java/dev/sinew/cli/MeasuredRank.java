package dev.sinew.cli;

import dev.sinew.DType;
import dev.sinew.Device;
import dev.sinew.Tensor;
import dev.sinew.collective.Communicator;
import dev.sinew.collective.ReduceOp;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.FloatBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;

/**
 * One rank of a group whose all-reduce (sum of F32, out of place) is timed and checked. All ranks
 * of a group are given the same requests; one in a process of its own, where this is the program,
 * reads them from its standard input, which costs nothing while other groups are timed.
 */
final class MeasuredRank implements AutoCloseable {
  /** Ranks wait for each other while what differs between them is done, such as filling tensors. */
  static final Duration TIMEOUT = Duration.ofMinutes(2);

  enum Request {
    /** New tensors of so many elements. */
    PREPARE,
    /** So many calls; gives the seconds of one, of the rank that took longest. */
    TIME,
    TIME_COMPRESSED,
    /** One call; gives how many elements of all ranks are wrong. */
    CHECK,
    CHECK_COMPRESSED
  }

  private final Communicator communicator;
  private final Device device;
  private Tensor x;
  private Tensor out;

  /**
   * A rank.
   *
   * @param device where its tensors are
   */
  MeasuredRank(Communicator communicator, Device device) {
    this.communicator = communicator;
    this.device = device;
  }

  /** Arguments: the group's name, rank, ranks. */
  public static void main(String[] arguments) throws IOException {
    String name = arguments[0];
    int rank = Integer.parseInt(arguments[1]);
    int ranks = Integer.parseInt(arguments[2]);
    BufferedReader requests =
        new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
    Communicator communicator = Communicator.processes(name, rank, ranks, TIMEOUT);
    try (MeasuredRank self = new MeasuredRank(communicator, Device.cpu())) {
      for (String line = requests.readLine(); line != null; line = requests.readLine()) {
        String[] words = line.split(" ");
        self.perform(Request.valueOf(words[0]), Integer.parseInt(words[1]));
      }
    }
  }

  int rank() {
    return communicator.rank();
  }

  int size() {
    return communicator.size();
  }

  /** Called by all ranks of the group at about the same time. */
  double perform(Request request, int count) {
    switch (request) {
      case PREPARE -> prepare(count);
      case TIME, TIME_COMPRESSED -> {
        return time(count, request == Request.TIME_COMPRESSED);
      }
      case CHECK, CHECK_COMPRESSED -> {
        return check(request == Request.CHECK_COMPRESSED);
      }
    }
    return 0;
  }

  private void prepare(int elements) {
    closeTensors();
    x = filled(elements, i -> input(communicator.rank(), i));
    out = filled(elements, i -> Float.NaN);
  }

  private void call(boolean compressed) {
    if (compressed) {
      communicator.allReduceCompressed(x, ReduceOp.SUM, out);
    } else {
      communicator.allReduce(x, ReduceOp.SUM, out);
    }
  }

  private double time(int calls, boolean compressed) {
    communicator.barrier();
    long start = System.nanoTime();
    for (int i = 0; i < calls; i++) {
      call(compressed);
    }
    return ofAllRanks((System.nanoTime() - start) / 1e9 / calls, ReduceOp.MAX);
  }

  private double check(boolean compressed) {
    int elements = (int) out.elements();
    out.close();
    out = filled(elements, i -> Float.NaN);
    call(compressed);
    int ranks = communicator.size();
    float[] expected = new float[9];
    float largest = 0;
    for (int i = 0; i < 9; i++) {
      for (int r = 0; r < ranks; r++) {
        expected[i] += input(r, i);
      }
      largest = Math.max(largest, Math.abs(expected[i]));
    }
    // Half a step of each rank's input, whose largest magnitude is 4, and of the sum.
    double bound = compressed ? 1.001 * (ranks * 4 + largest + ranks * 2 / 127.0) / 127 / 2 : 0;
    return ofAllRanks(countWrong(out, expected, bound), ReduceOp.SUM);
  }

  private double ofAllRanks(double value, ReduceOp op) {
    try (Tensor one = filled(1, i -> (float) value)) {
      communicator.allReduce(one, op, one);
      return one.toFloats()[0];
    }
  }

  private interface Value {
    float at(int index);
  }

  /** A tensor on the rank's device. */
  private Tensor filled(int elements, Value value) {
    Tensor tensor = Tensor.allocate(Device.cpu(), DType.F32, elements);
    tensor.withBuffer(
        0,
        (int) tensor.byteSize(),
        bytes -> {
          FloatBuffer floats = bytes.asFloatBuffer();
          for (int i = 0; i < floats.limit(); i++) {
            floats.put(i, value.at(i));
          }
        });
    if (!device.isGpu()) {
      return tensor;
    }
    try (tensor) {
      return tensor.to(device);
    }
  }

  /** Integers from -4 to 4, whose sums are exact in F32. */
  static float input(int rank, int index) {
    return (index % 9 * 7 + rank * 5) % 9 - 4;
  }

  /** How many elements are farther than the bound from those expected, which repeat. */
  static long countWrong(Tensor result, float[] expected, double bound) {
    if (result.device().isGpu()) {
      try (Tensor host = result.to(Device.cpu())) {
        return countWrong(host, expected, bound);
      }
    }
    long[] wrong = new long[1];
    result.withBuffer(
        0,
        (int) result.byteSize(),
        bytes -> {
          FloatBuffer floats = bytes.asFloatBuffer();
          for (int i = 0; i < floats.limit(); i++) {
            // NaN, with which outputs are filled beforehand, is within no bound.
            if (!(Math.abs(floats.get(i) - expected[i % expected.length]) <= bound)) {
              wrong[0]++;
            }
          }
        });
    return wrong[0];
  }

  private void closeTensors() {
    if (x != null) {
      x.close();
      out.close();
    }
  }

  @Override
  public void close() {
    closeTensors();
    communicator.close();
  }
}
