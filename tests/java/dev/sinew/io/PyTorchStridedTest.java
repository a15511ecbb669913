package dev.sinew.io;

import static dev.sinew.io.PickleBuilder.shape;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTimeout;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sinew.model.Checkpoint;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Views, against an oracle that computes the place of every element from its indices. */
class PyTorchStridedTest {
  private static final String[] CLASSES = {
    "ByteStorage", "HalfStorage", "FloatStorage", "DoubleStorage"
  };

  @TempDir Path folder;

  /** The row-major bytes of a view, one element at a time. */
  private static byte[] oracle(byte[] storage, int width, long offset, long[] size, long[] stride) {
    int count = (int) Arrays.stream(size).reduce(1, (a, b) -> a * b);
    byte[] bytes = new byte[count * width];
    long[] index = new long[size.length];
    for (int i = 0; i < count; i++) {
      long element = offset;
      for (int d = 0; d < size.length; d++) {
        element += index[d] * stride[d];
      }
      System.arraycopy(storage, (int) element * width, bytes, i * width, width);
      for (int d = size.length - 1; d >= 0 && ++index[d] == size[d]; d--) {
        index[d] = 0;
      }
    }
    return bytes;
  }

  private static byte[] randomBytes(Random random, int count) {
    byte[] bytes = new byte[count];
    random.nextBytes(bytes);
    return bytes;
  }

  private PyTorchCheckpoint open(byte[] storage, int width, long offset, long[] size, long[] stride)
      throws IOException {
    String type = CLASSES[Integer.numberOfTrailingZeros(width)];
    byte[] pickle =
        new PickleBuilder().tensor(type, "0", storage.length / width, offset, size, stride).stop();
    return PyTorchCheckpoint.open(TorchZip.of(pickle).storage("0", storage).write(folder));
  }

  private void check(
      Random random, byte[] storage, int width, long offset, long[] size, long[] stride)
      throws IOException {
    byte[] expected = oracle(storage, width, offset, size, stride);
    String view = Arrays.toString(size) + " strides " + Arrays.toString(stride) + " + " + offset;
    try (Checkpoint checkpoint = open(storage, width, offset, size, stride)) {
      ByteBuffer heap = ByteBuffer.allocate(expected.length);
      checkpoint.read("tensor", 0, heap);
      assertArrayEquals(expected, heap.array(), view);
      for (int i = 0; i < 10; i++) {
        int from = random.nextInt(expected.length + 1);
        int to = from + random.nextInt(expected.length - from + 1);
        int margin = random.nextInt(4);
        // Bytes around the range show whether more than the range is written.
        ByteBuffer direct =
            ByteBuffer.allocateDirect(to - from + 2 * margin).order(ByteOrder.BIG_ENDIAN);
        byte[] around = randomBytes(random, direct.capacity());
        direct.put(around).position(margin).limit(margin + to - from);
        checkpoint.read("tensor", from, direct);
        assertEquals(0, direct.remaining(), view);
        System.arraycopy(expected, from, around, margin, to - from);
        byte[] actual = new byte[direct.capacity()];
        direct.clear().get(actual);
        assertArrayEquals(around, actual, view + " bytes " + from + " to " + to);
      }
    }
  }

  @ParameterizedTest
  @CsvSource({"1, 11", "2, 12", "4, 13", "8, 14"})
  void randomViewsReadAsIndexingSays(int width, long seed) throws IOException {
    Random random = new Random(seed);
    for (int i = 0; i < 60; i++) {
      int rank = 1 + random.nextInt(5);
      long[] size = new long[rank];
      long[] stride = new long[rank];
      long reach = 1;
      long elements = 1;
      for (int d = 0; d < rank; d++) {
        size[d] = 1 + random.nextInt(rank < 3 ? 200 : 9);
        // Broadcast, dense, with gaps; in any order of dimensions, so overlapping views as well.
        stride[d] = random.nextInt(5) == 0 ? 0 : 1 + random.nextInt(rank < 3 ? 300 : 700);
        reach += (size[d] - 1) * stride[d];
        elements *= size[d];
      }
      assertTrue(elements > 0);
      long offset = random.nextInt(50);
      byte[] storage = randomBytes(random, (int) (offset + reach + random.nextInt(3)) * width);
      check(random, storage, width, offset, size, stride);
    }
  }

  @ParameterizedTest
  @CsvSource({"1, 21", "2, 22", "4, 23", "8, 24"})
  void permutedContiguousTensors(int width, long seed) throws IOException {
    Random random = new Random(seed);
    for (int i = 0; i < 20; i++) {
      int rank = 2 + random.nextInt(4);
      long[] size = new long[rank];
      long[] stride = new long[rank];
      List<Integer> order = new ArrayList<>();
      for (int d = 0; d < rank; d++) {
        order.add(d);
      }
      Collections.shuffle(order, random);
      int elements = 1;
      for (int d : order) {
        size[d] = 1 + random.nextInt(rank < 3 ? 300 : 14);
        stride[d] = elements;
        elements *= (int) size[d];
      }
      check(random, randomBytes(random, elements * width), width, 0, size, stride);
    }
  }

  @Test
  void slicesWithStepsAndHugeStrides() throws IOException {
    Random random = new Random(31);
    byte[] storage = randomBytes(random, 3 << 20);
    // Every 2nd, 16th, 17th, 1000th element; spans above and below what is read in one piece.
    for (long step : new long[] {2, 16, 17, 1000, 70_000, 200_000}) {
      long count = (storage.length / 4 - 1) / step + 1;
      check(random, storage, 4, 0, shape(count), shape(step));
    }
    check(random, storage, 4, 5, shape(3, 100), shape(250_000, 2_000));
    check(random, storage, 4, 0, shape(2, 3, 300_000), shape(0, 100_000, 1));
    check(random, storage, 1, 0, shape(1000, 1024, 3), shape(3, 3000, 1));
  }

  @Test
  void channelsLastWeights() throws IOException {
    Random random = new Random(41);
    byte[] storage = randomBytes(random, 64 * 32 * 3 * 3 * 4);
    check(random, storage, 4, 0, shape(64, 32, 3, 3), shape(288, 1, 96, 32));
  }

  /**
   * A transposed matrix of 128 MiB in a sparse archive beyond 4 GiB, read in tiles. Halving boxes
   * until elements are read one by one would take some 33 million system calls.
   */
  @ParameterizedTest
  @CsvSource({"1048576", "16777216"})
  void largeTransposedMatricesReadAtASaneRate(int tile) throws IOException {
    int rows = 8192;
    int cols = 4096;
    Path path = folder.resolve("sparse.pt");
    PickleBuilder pickle = new PickleBuilder();
    pickle.tensor("FloatStorage", "0", (long) rows * cols, 0, shape(cols, rows), shape(1, cols));
    long data;
    try (RawZip zip = new RawZip(path)) {
      zip.entry("archive/data.pkl", pickle.stop());
      zip.sparseEntry("archive/data/unused", 5L << 30);
      data = zip.sparseEntry("archive/data/0", 4L * rows * cols);
      for (int k = 0; k < 1000; k++) {
        byte[] mark = ByteBuffer.allocate(4).order(ByteOrder.LITTLE_ENDIAN).putInt(k).array();
        zip.put(data + 4L * position(k, rows, cols), mark);
      }
    }
    assertTrue(data > 5L << 30);
    try (Checkpoint checkpoint = PyTorchCheckpoint.open(path)) {
      ByteBuffer target = ByteBuffer.allocateDirect(tile).order(ByteOrder.LITTLE_ENDIAN);
      long bytes = checkpoint.tensors().get("tensor").bytes();
      int[] found = new int[1000];
      assertTimeout(
          Duration.ofSeconds(60),
          () -> {
            for (long at = 0; at < bytes; at += tile) {
              checkpoint.read("tensor", at, target.clear());
              for (int k = 0; k < 1000; k++) {
                int stored = position(k, rows, cols);
                long logical = 4L * ((long) (stored % cols) * rows + stored / cols);
                if (logical >= at && logical < at + tile) {
                  assertEquals(k, target.getInt((int) (logical - at)));
                  found[k]++;
                }
              }
            }
          });
      assertEquals(1000, Arrays.stream(found).filter(n -> n == 1).count());
    }
  }

  private static int position(int k, int rows, int cols) {
    return (int) (k * 2_654_435_761L % ((long) rows * cols));
  }

  @Test
  void manyThreadsReadTheSameTensors() throws Exception {
    Random random = new Random(51);
    byte[] storage = randomBytes(random, 500 * 700 * 4);
    PickleBuilder pickle = new PickleBuilder().op('}').op('(');
    pickle.text("plain").tensor("FloatStorage", "0", 350_000, 0, shape(500, 700), shape(700, 1));
    pickle.text("turned").tensor("FloatStorage", "0", 350_000, 0, shape(700, 500), shape(1, 700));
    byte[] turned = oracle(storage, 4, 0, shape(700, 500), shape(1, 700));
    Path path = TorchZip.of(pickle.op('u').stop()).storage("0", storage).write(folder);
    ExecutorService pool = Executors.newFixedThreadPool(16);
    try (Checkpoint checkpoint = PyTorchCheckpoint.open(path)) {
      List<Future<?>> results = new ArrayList<>();
      for (int thread = 0; thread < 16; thread++) {
        Random own = new Random(100 + thread);
        results.add(
            pool.submit(
                () -> {
                  for (int i = 0; i < 40; i++) {
                    boolean plain = own.nextBoolean();
                    byte[] expected = plain ? storage : turned;
                    int from = own.nextInt(expected.length);
                    int to = from + own.nextInt(Math.min(200_000, expected.length - from));
                    ByteBuffer target = ByteBuffer.allocate(to - from);
                    checkpoint.read(plain ? "plain" : "turned", from, target);
                    assertArrayEquals(Arrays.copyOfRange(expected, from, to), target.array());
                  }
                  return null;
                }));
      }
      for (Future<?> result : results) {
        result.get();
      }
    } finally {
      pool.shutdownNow();
    }
  }
}
