package dev.sinew.benchmarks;

import dev.sinew.DType;
import dev.sinew.Device;
import dev.sinew.Tensor;
import java.nio.ByteBuffer;
import java.nio.FloatBuffer;
import java.util.function.IntConsumer;
import java.util.stream.IntStream;

/**
 * Values like those of a layer, bell-shaped within (-3, 3), as a matrix with rows of 4096, and a
 * way to run Java loops over them.
 */
final class Data {
  private static final int COLS = 4096;
  private static final long SEED = 0x5eed;

  final Device device;
  final int rows;
  final int cols = COLS;
  final int elements;

  Data(Device device, int mebibytes) {
    this.device = device;
    this.elements = mebibytes * (1 << 18);
    this.rows = elements / COLS;
  }

  long floatBytes() {
    return 4L * elements;
  }

  Tensor allocate(DType dtype) {
    return Tensor.allocate(device, dtype, rows, cols);
  }

  /** A new tensor of the values; always the same ones. */
  Tensor values() {
    Tensor tensor = allocate(DType.F32);
    IntStream.range(0, rows)
        .parallel()
        .forEach(
            row ->
                tensor.withBuffer(
                    4L * COLS * row,
                    4 * COLS,
                    buffer -> {
                      FloatBuffer target = buffer.asFloatBuffer();
                      for (int col = 0; col < COLS; col++) {
                        target.put(value((long) row * COLS + col));
                      }
                    }));
    return tensor;
  }

  // The sum of six uniform numbers within (-0.5, 0.5).
  private static float value(long index) {
    double sum = 0;
    for (int part = 0; part < 3; part++) {
      long bits = mix(SEED + 3 * index + part);
      sum += (int) bits * 0x1p-32 + (int) (bits >> 32) * 0x1p-32;
    }
    return (float) sum;
  }

  // The finalizer of SplitMix64, by Steele, Lea and Flood, 2014.
  private static long mix(long z) {
    z *= 0x9e3779b97f4a7c15L;
    z = (z ^ (z >>> 30)) * 0xbf58476d1ce4e5b9L;
    z = (z ^ (z >>> 27)) * 0x94d049bb133111ebL;
    return z ^ (z >>> 31);
  }

  /**
   * Runs a Java loop for every row, on one thread or on all processors. Loops take a row at a time
   * so that the compiler sees a method called often, which it optimizes better than one long loop.
   */
  void forRows(IntConsumer loop) {
    IntStream all = IntStream.range(0, rows);
    (device.threads() == 1 ? all : all.parallel()).forEach(loop);
  }

  /** Fails unless the tensor holds these values. */
  void requireEqual(Tensor tensor, float[] values) {
    compare(
        tensor,
        4,
        (buffer, row) ->
            buffer.asFloatBuffer().mismatch(FloatBuffer.wrap(values, row * COLS, COLS)));
  }

  /** Fails unless the tensor holds these values. */
  void requireEqual(Tensor tensor, byte[] values) {
    compare(tensor, 1, (buffer, row) -> buffer.mismatch(ByteBuffer.wrap(values, row * COLS, COLS)));
  }

  private interface Mismatch {
    int find(ByteBuffer buffer, int row);
  }

  private void compare(Tensor tensor, int size, Mismatch mismatch) {
    for (int r = 0; r < rows; r++) {
      int row = r;
      tensor.withBuffer(
          (long) row * COLS * size,
          COLS * size,
          buffer -> {
            int col = mismatch.find(buffer, row);
            if (col >= 0) {
              throw new AssertionError(
                  "the Java loop's answer differs at row " + row + ", column " + col);
            }
          });
    }
  }
}
