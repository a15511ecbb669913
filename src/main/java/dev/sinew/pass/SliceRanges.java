package dev.sinew.pass;

import dev.sinew.DType;
import dev.sinew.Device;
import dev.sinew.Ops;
import dev.sinew.QuantScheme;
import dev.sinew.RangeMethod;
import dev.sinew.Tensor;
import dev.sinew.model.TensorInfo;
import java.util.HashMap;
import java.util.Map;

/**
 * Finds the ranges of slices that are too large for one tile, a whole tensor or rows of one, in
 * sweeps over the tiles. Gives exactly what {@link Ops#range} gives for data in memory.
 *
 * <p>The first sweep takes the extremes. Least squared error needs one more; percentiles two more
 * for each batch of slices, because every slice has a histogram of 512 KiB a worker.
 */
final class SliceRanges implements AutoCloseable {
  /** Elements of a row that one float64 sum of squared errors covers. */
  static final long BLOCK = 4096;

  private static final int BATCH = 8;
  private static final int CANDIDATES = 61;
  // Block sums of squared errors that are held at a time: 1 MiB.
  private static final long MOST_BLOCKS = 2048;

  private final Quantize pass;
  private final DType dtype;
  private final long elements; // of one slice
  private final float[] lo;
  private final float[] hi;
  private final Tensor scale;
  private final Tensor zeroPoint;
  private final Map<Integer, RadixSelector> selectors = new HashMap<>();
  // Changed only by the worker whose turn it is.
  private final Map<Integer, double[]> errors = new HashMap<>();
  private final Turns turns = new Turns();

  SliceRanges(Quantize pass, TensorInfo tensor) {
    this.pass = pass;
    this.dtype = tensor.dtype();
    int slices = Math.toIntExact(pass.slices(tensor));
    this.elements = tensor.elements() / slices;
    this.lo = new float[slices];
    this.hi = new float[slices];
    this.scale = Tensor.allocate(Device.cpu(), DType.F32, slices);
    this.zeroPoint =
        pass.scheme().isAsymmetric() ? Tensor.allocate(Device.cpu(), DType.I8, slices) : null;
  }

  int sweeps() {
    return switch (pass.range()) {
      case MINMAX -> 1;
      case MSE -> 2;
      case PERCENTILE -> 1 + 2 * ((lo.length + BATCH - 1) / BATCH);
    };
  }

  long[] rows(int sweep) {
    if (sweep == 0 || pass.range() != RangeMethod.PERCENTILE || lo.length == 1) {
      return new long[] {0, Long.MAX_VALUE};
    }
    long first = (long) (sweep - 1) / 2 * BATCH;
    return new long[] {first, Math.min(first + BATCH, lo.length)};
  }

  private int sliceOf(Tile tile) {
    return lo.length == 1 ? 0 : (int) tile.row();
  }

  void observe(int sweep, Tile tile) {
    if (sweep == 0) {
      observeExtremes(tile);
    } else if (pass.range() == RangeMethod.MSE) {
      observeErrors(tile);
    } else {
      selector(sliceOf(tile)).observe((sweep - 1) % 2, tile.data(), tile.worker());
    }
  }

  void finishSweep(int sweep) {
    if (sweep == 0) {
      if (!pass.scheme().isAsymmetric()) {
        for (int i = 0; i < lo.length; i++) {
          hi[i] = Math.max(-lo[i], hi[i]);
          lo[i] = 0.0f - hi[i];
        }
      }
    } else if (pass.range() == RangeMethod.MSE) {
      errors.forEach(this::chooseLeastError);
      errors.clear();
    } else {
      selectors.values().forEach(selector -> selector.finish((sweep - 1) % 2));
      if (sweep % 2 == 0) {
        selectors.forEach(this::choosePercentile);
        selectors.values().forEach(RadixSelector::close);
        selectors.clear();
      }
    }
    if (sweep == sweeps() - 1) {
      try (Tensor low = Tensor.of(lo, lo.length);
          Tensor high = Tensor.of(hi, hi.length)) {
        pass.scale(low, high, dtype, scale, zeroPoint);
      }
    }
  }

  private void observeExtremes(Tile tile) {
    Tensor low = tile.scratch("lo", DType.F32, 1);
    Tensor high = tile.scratch("hi", DType.F32, 1);
    // Asymmetric, to get both ends; symmetric ranges are made of them at the end.
    Ops.range(tile.data(), 0, QuantScheme.INT8_ASYMMETRIC, RangeMethod.MINMAX, 0, low, high);
    float least = low.toFloats()[0];
    float most = high.toFloats()[0];
    int slice = sliceOf(tile);
    synchronized (lo) {
      lo[slice] = Math.min(lo[slice], least);
      hi[slice] = Math.max(hi[slice], most);
    }
  }

  private RadixSelector selector(int slice) {
    synchronized (selectors) {
      return selectors.computeIfAbsent(slice, s -> newSelector());
    }
  }

  // The rank, from 0, as in Ops.range: of the smallest value that at least this share of the slice
  // does not exceed. The product comes first, because it is exact.
  private long upperRank() {
    double share = elements * (double) pass.percentile() / 100.0;
    return Math.max(1, Math.min((long) Math.ceil(share), elements)) - 1;
  }

  private RadixSelector newSelector() {
    long above = upperRank();
    if (!pass.scheme().isAsymmetric()) {
      return new RadixSelector(true, above);
    }
    long below = elements - 1 - above;
    return new RadixSelector(false, Math.min(below, above), Math.max(below, above));
  }

  private void choosePercentile(int slice, RadixSelector selector) {
    if (!pass.scheme().isAsymmetric()) {
      float bound = selector.value(0);
      if (bound > 0) {
        hi[slice] = bound;
        lo[slice] = -bound;
      }
      return;
    }
    boolean swapped = elements - 1 - upperRank() > upperRank();
    float high = Math.max(selector.value(swapped ? 0 : 1), 0.0f);
    float low = Math.min(selector.value(swapped ? 1 : 0), 0.0f);
    if (high > 0 || low < 0) {
      hi[slice] = high;
      lo[slice] = low;
    }
  }

  private static float candidate(float bound, int j) {
    return (float) ((double) bound * (100 - j) / 100.0);
  }

  private void observeErrors(Tile tile) {
    int slice = sliceOf(tile);
    float[] low = new float[CANDIDATES];
    float[] high = new float[CANDIDATES];
    for (int j = 0; j < CANDIDATES; j++) {
      low[j] = candidate(lo[slice], j);
      high[j] = candidate(hi[slice], j);
    }
    Tensor lows = tile.scratch("candidates from", DType.F32, CANDIDATES);
    Tensor highs = tile.scratch("candidates to", DType.F32, CANDIDATES);
    Tensor scales = tile.scratch("candidate scales", DType.F32, CANDIDATES);
    Tensor zeroPoints =
        zeroPoint == null ? null : tile.scratch("candidate zero points", DType.I8, CANDIDATES);
    tile.write(lows, buffer -> buffer.asFloatBuffer().put(low));
    tile.write(highs, buffer -> buffer.asFloatBuffer().put(high));
    Ops.scale(lows, highs, pass.scheme(), scales, zeroPoints);
    // Short rows make many blocks, so a tile may take several parts.
    Tensor data = tile.data();
    long perRow = (data.cols() + BLOCK - 1) / BLOCK;
    long rows = Math.max(1, MOST_BLOCKS / perRow);
    for (long row = 0; row < data.rows(); row += rows) {
      try (Tensor part = data.slice(row, Math.min(row + rows, data.rows()))) {
        Tensor sums = tile.scratch("errors", DType.F64, part.rows() * perRow, CANDIDATES);
        Ops.quantizationError(part, scales, zeroPoints, pass.scheme(), sums);
        turns.await(tile.index());
        add(slice, sums.toDoubles());
      }
    }
    turns.end();
  }

  // Sums are added in index order, so that the total does not depend on which worker came first.
  private void add(int slice, double[] sums) {
    double[] total = errors.computeIfAbsent(slice, s -> new double[CANDIDATES]);
    for (int i = 0; i < sums.length; i++) {
      total[i % CANDIDATES] += sums[i];
    }
  }

  /** Ends all waiting. */
  void abort() {
    turns.abort();
  }

  private void chooseLeastError(int slice, double[] total) {
    int best = 0;
    for (int j = 1; j < CANDIDATES; j++) {
      if (total[j] < total[best]) {
        best = j;
      }
    }
    lo[slice] = candidate(lo[slice], best);
    hi[slice] = candidate(hi[slice], best);
  }

  /** The scale of one slice on a device, a tensor to be closed. */
  Tensor scale(long slice, Device device) {
    return on(device, scale.view(slice, 1));
  }

  /** The zero point of one slice on a device, a tensor to be closed; null for symmetric schemes. */
  Tensor zeroPoint(long slice, Device device) {
    return zeroPoint == null ? null : on(device, zeroPoint.view(slice, 1));
  }

  private static Tensor on(Device device, Tensor view) {
    if (!device.isGpu()) {
      return view;
    }
    try (view) {
      return view.to(device);
    }
  }

  @Override
  public void close() {
    selectors.values().forEach(RadixSelector::close);
    scale.close();
    if (zeroPoint != null) {
      zeroPoint.close();
    }
  }
}
