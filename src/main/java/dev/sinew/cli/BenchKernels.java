package dev.sinew.cli;

import dev.sinew.DType;
import dev.sinew.Device;
import dev.sinew.Ops;
import dev.sinew.QuantScheme;
import dev.sinew.RangeMethod;
import dev.sinew.Scope;
import dev.sinew.Tensor;
import dev.sinew.cli.BenchKernel.Check;
import dev.sinew.cli.BenchKernel.WrongAnswer;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;
import java.util.function.Function;

/** The operations that {@code bench} measures, on one large random matrix of weights. */
final class BenchKernels {
  static final int COLS = 4096;
  private static final int GROUP = 128;
  private static final float THRESHOLD = 0.01f;
  private static final float PERCENTILE = 99.9f;

  private final Device device;
  private final Tensor x;
  private final long rows;

  /**
   * @param scope takes the matrix
   * @param rows rows of 16 KiB
   */
  BenchKernels(Device device, Scope scope, long rows) {
    this.device = device;
    this.rows = rows;
    this.x = scope.allocate(device, DType.F32, rows, COLS);
    fill();
  }

  private void fill() {
    WeightSource source = new WeightSource(42);
    ByteBuffer row = ByteBuffer.allocateDirect(COLS * 4).order(ByteOrder.LITTLE_ENDIAN);
    for (long i = 0; i < rows; i++) {
      for (int j = 0; j < COLS; j++) {
        row.putFloat(j * 4, 0.02f * source.nextUnit());
      }
      x.copyFrom(i * row.capacity(), row.clear());
    }
  }

  /** Each operation, to be made in a scope of its own, which takes its outputs. */
  List<Function<Scope, BenchKernel>> all() {
    return List.of(
        scope ->
            pruning(
                scope,
                "prune threshold",
                y -> Ops.pruneThreshold(x, THRESHOLD, y),
                row -> BenchReference.pruneThreshold(row, THRESHOLD)),
        scope ->
            pruning(
                scope,
                "prune smallest",
                y -> Ops.pruneSmallest(x, THRESHOLD, 0, y),
                row -> BenchReference.pruneBelow(row, THRESHOLD)),
        scope ->
            pruning(
                scope,
                "prune 2:4",
                y -> Ops.pruneNM(x, 2, 4, y),
                row -> BenchReference.pruneNM(row, 2, 4)),
        scope -> quantize(scope, QuantScheme.INT8_SYMMETRIC, 0, 1),
        scope -> quantize(scope, QuantScheme.INT8_SYMMETRIC, 0, rows),
        scope -> quantize(scope, QuantScheme.INT8_SYMMETRIC, GROUP, rows * COLS / GROUP),
        scope -> quantize(scope, QuantScheme.INT4_SYMMETRIC, 0, 1),
        scope -> quantize(scope, QuantScheme.INT4_SYMMETRIC, 0, rows),
        scope -> quantize(scope, QuantScheme.INT4_SYMMETRIC, GROUP, rows * COLS / GROUP),
        scope -> quantize(scope, QuantScheme.FP8, 0, rows),
        scope -> dequantize(scope, QuantScheme.INT8_SYMMETRIC, 0, rows),
        scope -> dequantize(scope, QuantScheme.FP8, 0, rows),
        scope -> dequantize(scope, QuantScheme.INT4_SYMMETRIC, GROUP, rows * COLS / GROUP),
        scope -> fakeQuantize(scope, QuantScheme.INT8_SYMMETRIC, 0, rows),
        scope -> fakeQuantize(scope, QuantScheme.INT4_SYMMETRIC, GROUP, rows * COLS / GROUP),
        scope -> range(scope, RangeMethod.MINMAX, rows),
        // These compute far more than they read, so a part of the matrix is enough.
        scope -> range(scope, RangeMethod.PERCENTILE, Math.max(1, rows / 16)),
        scope -> range(scope, RangeMethod.MSE, Math.max(1, rows / 16)),
        this::histogram,
        this::statistics,
        this::compare,
        this::convert,
        this::bitmapEncode,
        this::bitmapDecode);
  }

  /** Scales of {@code slices} slices of the matrix. */
  private Tensor scales(Scope scope, QuantScheme scheme, long group, long slices) {
    Tensor lo = scope.allocate(device, DType.F32, slices);
    Tensor hi = scope.allocate(device, DType.F32, slices);
    Tensor scale = scope.allocate(device, DType.F32, slices);
    Ops.range(x, group, scheme, RangeMethod.MINMAX, 0, lo, hi);
    Ops.scale(lo, hi, scheme, scale, null);
    return scale;
  }

  private Tensor integers(Scope scope, QuantScheme scheme) {
    return scope.allocate(device, scheme.storedType(), rows, scheme.bits() == 8 ? COLS : COLS / 2);
  }

  private interface RowReference {
    float[] apply(float[] row);
  }

  private interface Output {
    void into(Tensor y);
  }

  private BenchKernel pruning(Scope scope, String name, Output run, RowReference reference) {
    Tensor y = scope.allocate(device, DType.F32, rows, COLS);
    Check check =
        () -> {
          for (long row : sample(rows)) {
            BenchReference.requireSame(name, row, reference.apply(row(x, row)), row(y, row));
          }
        };
    return BenchKernel.of(name, x, y, () -> run.into(y), check);
  }

  private static String name(String what, QuantScheme scheme, long group, long slices) {
    String slice = group > 0 ? "group=" + group : slices == 1 ? "tensor" : "channel";
    return what + " " + scheme.shortName() + " " + slice;
  }

  private BenchKernel quantize(Scope scope, QuantScheme scheme, long group, long slices) {
    Tensor scale = scales(scope, scheme, group, slices);
    Tensor q = integers(scope, scheme);
    String name = name("quantize", scheme, group, slices);
    Check check =
        () -> {
          float[] scales = scale.toFloats();
          for (long row : sample(rows)) {
            requireScales(name, row, scheme, group, scales);
            BenchReference.requireSame(
                name, row, expectedIntegers(row, scheme, group, scales), integers(q, row, scheme));
          }
        };
    return BenchKernel.of(name, x, q, () -> Ops.quantize(x, scale, null, group, q), check);
  }

  private BenchKernel dequantize(Scope scope, QuantScheme scheme, long group, long slices) {
    Tensor scale = scales(scope, scheme, group, slices);
    Tensor q = integers(scope, scheme);
    Ops.quantize(x, scale, null, group, q);
    Tensor y = scope.allocate(device, DType.F32, rows, COLS);
    String name = name("dequantize", scheme, group, slices);
    return BenchKernel.of(
        name,
        q,
        y,
        () -> Ops.dequantize(q, scale, null, group, y),
        () -> requireRounded(name, scheme, group, scale, y));
  }

  private BenchKernel fakeQuantize(Scope scope, QuantScheme scheme, long group, long slices) {
    Tensor scale = scales(scope, scheme, group, slices);
    Tensor y = scope.allocate(device, DType.F32, rows, COLS);
    String name = name("fake-quantize", scheme, group, slices);
    return BenchKernel.of(
        name,
        x,
        y,
        () -> Ops.fakeQuantize(x, scale, null, group, scheme, y),
        () -> requireRounded(name, scheme, group, scale, y));
  }

  private BenchKernel range(Scope scope, RangeMethod method, long part) {
    QuantScheme scheme = QuantScheme.INT8_SYMMETRIC;
    Tensor input = scope.add(x.slice(0, part));
    Tensor lo = scope.allocate(device, DType.F32, part);
    Tensor hi = scope.allocate(device, DType.F32, part);
    String name = "range " + method.name().toLowerCase(java.util.Locale.ROOT) + " channel";
    Check check =
        () -> {
          float[] found = hi.toFloats();
          for (long row : sample(part)) {
            BenchReference.requireRange(
                name, row, method, PERCENTILE, row(x, row), found[(int) row]);
          }
        };
    return BenchKernel.reading(
        name, input, () -> Ops.range(input, 0, scheme, method, PERCENTILE, lo, hi), check);
  }

  private BenchKernel histogram(Scope scope) {
    Tensor counts = scope.allocate(device, DType.I64, 65536);
    ByteBuffer zeros = ByteBuffer.allocateDirect(65536 * 8);
    Runnable run =
        () -> {
          counts.copyFrom(0, zeros.clear());
          Ops.magnitudeHistogram(x, -1, counts);
        };
    Check check = () -> BenchReference.requireHistogram(rows, row -> row(x, row), counts.toLongs());
    return BenchKernel.reading("magnitude histogram", x, run, check);
  }

  private BenchKernel statistics(Scope scope) {
    Tensor result = scope.allocate(device, DType.F64, 8);
    Check check =
        () -> BenchReference.requireStatistics(rows, row -> row(x, row), result.toDoubles());
    return BenchKernel.reading("statistics", x, () -> Ops.statistics(x, result), check);
  }

  private BenchKernel compare(Scope scope) {
    Tensor y = scope.allocate(device, DType.F32, rows, COLS);
    Ops.pruneThreshold(x, THRESHOLD, y);
    Tensor result = scope.allocate(device, DType.F64, 5);
    Check check =
        () ->
            BenchReference.requireComparison(
                rows, row -> row(x, row), row -> row(y, row), result.toDoubles());
    return new BenchKernel(
        "compare", List.of(x, y), List.of(), () -> Ops.compare(x, y, result), check);
  }

  private BenchKernel convert(Scope scope) {
    Tensor y = scope.allocate(device, DType.BF16, rows, COLS);
    Check check =
        () -> {
          for (long row : sample(rows)) {
            BenchReference.requireSame(
                "convert", row, BenchReference.roundToBf16(row(x, row)), row(y, row));
          }
        };
    return BenchKernel.of("convert to BF16", x, y, () -> Ops.convert(x, y), check);
  }

  /** The matrix with half of its weights pruned, and room for its sparse form. */
  private record Sparse(Tensor dense, Tensor values, Tensor bitmap, Tensor rowOffsets) {
    void encode() {
      Ops.bitmapEncode(dense, 0, values, bitmap, rowOffsets);
    }
  }

  private Sparse sparse(Scope scope) {
    Tensor dense = scope.allocate(device, DType.F32, rows, COLS);
    Ops.pruneNM(x, 2, 4, dense);
    return new Sparse(
        dense,
        scope.allocate(device, DType.F32, Ops.countNonzeros(dense)),
        scope.allocate(device, DType.U8, rows, COLS / 8),
        scope.allocate(device, DType.I64, rows + 1));
  }

  private BenchKernel bitmapEncode(Scope scope) {
    Sparse sparse = sparse(scope);
    String name = "bitmap encode";
    Check check =
        () -> {
          long[] offsets = sparse.rowOffsets.toLongs();
          for (long row : sample(rows)) {
            float[] expected = BenchReference.nonzeros(row(sparse.dense, row));
            long first = offsets[(int) row];
            if (offsets[(int) row + 1] - first != expected.length) {
              throw new WrongAnswer(name + " has a wrong number of values in row " + row);
            }
            try (Tensor values = sparse.values.view(first, expected.length)) {
              BenchReference.requireSame(name, row, expected, values.toFloats());
            }
          }
        };
    return BenchKernel.of(name, sparse.dense, sparse.values, sparse::encode, check);
  }

  private BenchKernel bitmapDecode(Scope scope) {
    Sparse sparse = sparse(scope);
    sparse.encode();
    Tensor y = scope.allocate(device, DType.F32, rows, COLS);
    String name = "bitmap decode";
    Check check =
        () -> {
          for (long row : sample(rows)) {
            BenchReference.requireSame(name, row, row(sparse.dense, row), row(y, row));
          }
        };
    return BenchKernel.of(
        name,
        sparse.values,
        y,
        () -> Ops.bitmapDecode(sparse.values, sparse.bitmap, sparse.rowOffsets, y),
        check);
  }

  // --- Rows of tensors ---

  private static long[] sample(long rows) {
    return new long[] {0, rows / 3, rows / 2, rows - 1};
  }

  private static float[] row(Tensor matrix, long row) {
    try (Tensor slice = matrix.slice(row, row + 1)) {
      return slice.toFloats();
    }
  }

  private static float[] integers(Tensor q, long row, QuantScheme scheme) {
    byte[] bytes;
    try (Tensor slice = q.slice(row, row + 1)) {
      bytes = slice.toBytes();
    }
    float[] values = new float[COLS];
    for (int i = 0; i < COLS; i++) {
      values[i] =
          !scheme.isInteger()
              ? BenchReference.float8(bytes[i])
              : scheme.bits() == 8 ? bytes[i] : (bytes[i / 2] >> (i % 2 * 4) & 15) - 8;
    }
    return values;
  }

  private float scaleAt(float[] scales, long row, int col, long group) {
    if (scales.length == 1) {
      return scales[0];
    }
    return group == 0 ? scales[(int) row] : scales[(int) (row * (COLS / group) + col / group)];
  }

  private float[] expectedIntegers(long row, QuantScheme scheme, long group, float[] scales) {
    float[] values = row(x, row);
    for (int i = 0; i < COLS; i++) {
      values[i] = BenchReference.quantize(values[i], scaleAt(scales, row, i, group), scheme);
    }
    return values;
  }

  private void requireRounded(String name, QuantScheme scheme, long group, Tensor scale, Tensor y)
      throws WrongAnswer {
    float[] scales = scale.toFloats();
    for (long row : sample(rows)) {
      float[] expected = expectedIntegers(row, scheme, group, scales);
      for (int i = 0; i < COLS; i++) {
        expected[i] *= scaleAt(scales, row, i, group);
      }
      BenchReference.requireSame(name, row, expected, row(y, row));
    }
  }

  private void requireScales(String name, long row, QuantScheme scheme, long group, float[] scales)
      throws WrongAnswer {
    if (scales.length == 1) {
      return;
    }
    float[] values = row(x, row);
    int length = group == 0 ? COLS : (int) group;
    for (int from = 0; from < COLS; from += length) {
      double absMax = BenchReference.absMax(values, from, from + length);
      double steps = !scheme.isInteger() ? 448 : scheme.bits() == 8 ? 127 : 7.5;
      float expected = (float) (absMax / steps);
      if (expected != scaleAt(scales, row, from, group)) {
        throw new WrongAnswer(name + " has a wrong scale in row " + row + ", column " + from);
      }
    }
  }
}
