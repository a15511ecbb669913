package dev.sinew.pass;

import dev.sinew.DType;
import dev.sinew.Device;
import dev.sinew.Ops;
import dev.sinew.Tensor;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/**
 * Finds the codebook of one slice, whose data is seen once for the start and once for each
 * iteration (Lloyd, Least squares quantization in PCM, 1982). BF16 data is seen once in all: its
 * histogram tells everything. docs/numerics.md has the rules.
 *
 * <p>{@link #observe} may run on many threads, each with its own worker number. What is counted are
 * whole numbers and exact sums, so the result does not depend on any order.
 */
final class KMeans implements AutoCloseable {
  private static final int MOST_ENTRIES = 256;
  private static final int FEW = 1 << 14; // elements for which a histogram of 512 KiB is too much

  private final int entries;
  private final int iterations;
  private final boolean narrow;
  private float[] codebook;
  private int iteration;
  private boolean done;
  private Tensor current; // the codebook during a sweep, on the device of the data as the counters
  // What a worker counts: a histogram first, then digits of sums and numbers.
  private final Map<Integer, Tensor[]> counters = new ConcurrentHashMap<>();

  /**
   * @param entries of the codebook, a power of two
   * @param dtype of the data
   */
  KMeans(int entries, int iterations, DType dtype) {
    this.entries = entries;
    this.iterations = iterations;
    this.narrow = dtype == DType.BF16;
  }

  /** How often the data has to be seen at most. */
  static int sweeps(int iterations, DType dtype) {
    return dtype == DType.BF16 ? 1 : 1 + iterations;
  }

  /** Whether the codebook is found, so that the data need not be seen again. */
  boolean isDone() {
    return done;
  }

  /** The codebook, ascending, with a zero. */
  float[] codebook() {
    return codebook;
  }

  /** Writes the codebook to F32 elements of any device. */
  void putCodebook(Tensor target) {
    ByteBuffer bytes = ByteBuffer.allocateDirect(4 * entries).order(ByteOrder.LITTLE_ENDIAN);
    bytes.asFloatBuffer().put(codebook);
    target.copyFrom(0, bytes);
  }

  /** The codebook of data in memory. */
  float[] find(Tensor data) {
    if (data.elements() <= FEW) {
      begin(CodebookStart.Bins.of(data.toFloats()));
    }
    while (!done) {
      observe(data, 0);
      finishSweep();
    }
    return codebook;
  }

  void observe(Tensor data, int worker) {
    if (codebook == null) {
      Tensor[] bins = counters(data.device(), worker, CodebookStart.Bins.ALL);
      Ops.valueKeyHistogram(data, -1, bins[0]);
    } else {
      Tensor[] counted = counters(data.device(), worker, ClusterSums.lengths(entries));
      Ops.clusterSums(data, current(data.device()), counted[0], counted[1]);
    }
  }

  private synchronized Tensor current(Device device) {
    if (current == null) {
      current = Tensor.allocate(device, DType.F32, entries);
      putCodebook(current);
    }
    return current;
  }

  private Tensor[] counters(Device device, int worker, long... lengths) {
    return counters.computeIfAbsent(
        worker,
        w ->
            Arrays.stream(lengths)
                .mapToObj(length -> Tensor.allocate(device, DType.I64, length))
                .toArray(Tensor[]::new));
  }

  void finishSweep() {
    if (codebook == null) {
      long[] histogram = new long[CodebookStart.Bins.ALL];
      for (Tensor[] counted : counters.values()) {
        long[] part = counted[0].toLongs();
        for (int bin = 0; bin < histogram.length; bin++) {
          histogram[bin] += part[bin];
        }
      }
      begin(CodebookStart.Bins.of(histogram));
    } else {
      ClusterSums sums = new ClusterSums(entries);
      for (Tensor[] counted : counters.values()) {
        sums.add(counted[0].toLongs(), counted[1].toLongs());
      }
      move(sums);
      close();
    }
  }

  private void begin(CodebookStart.Bins bins) {
    codebook = CodebookStart.of(bins, entries);
    done = iterations == 0;
    if (narrow && !done) {
      iterateOver(bins);
    }
    close();
  }

  private void move(ClusterSums sums) {
    iteration++;
    done = !sums.moveToMeans(codebook) || iteration == iterations;
  }

  // All iterations over BF16 data, of which the bins are the distinct values.
  private void iterateOver(CodebookStart.Bins bins) {
    int distinct = bins.numbers().length;
    float[] values = new float[distinct];
    for (int i = 0; i < distinct; i++) {
      int bin = bins.numbers()[i];
      // The lower half of a BF16 number is zeros, which negative keys have inverted.
      values[i] = CodebookStart.value(bin << 16 | (bin < CodebookStart.Bins.ALL / 2 ? 0xffff : 0));
    }
    try (Tensor data = Tensor.of(values, distinct);
        Tensor q = Tensor.allocate(Device.cpu(), DType.U8, distinct)) {
      while (!done) {
        // With 256 entries an index is a byte; of equal entries only the first gets elements.
        float[] padded = Arrays.copyOf(codebook, MOST_ENTRIES);
        Arrays.fill(padded, entries, MOST_ENTRIES, codebook[entries - 1]);
        try (Tensor book = Tensor.of(padded, MOST_ENTRIES)) {
          Ops.clusterAssign(data, book, q);
        }
        ClusterSums sums = new ClusterSums(entries);
        ByteBuffer clusters = ByteBuffer.wrap(q.toBytes());
        for (int v = 0; v < distinct; v++) {
          sums.add(clusters.get(v) & 0xff, values[v], bins.counts()[v]);
        }
        move(sums);
      }
    }
  }

  /** Frees what the last sweep has counted. */
  @Override
  public void close() {
    counters.values().forEach(counted -> Arrays.stream(counted).forEach(Tensor::close));
    counters.clear();
    if (current != null) {
      current.close();
      current = null;
    }
  }
}
