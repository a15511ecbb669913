package dev.sinew.pass;

import dev.sinew.DType;
import dev.sinew.Ops;
import dev.sinew.QuantScheme;
import dev.sinew.Tensor;
import dev.sinew.model.TensorInfo;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** Quantizes one tensor tile by tile, or rounds it in place. */
final class QuantizeRun implements PassRun.TensorRun {
  private final Quantize pass;
  private final TensorInfo tensor;
  private final boolean fake;
  private final TensorInfo stored;
  // Ranges of slices that no tile holds as a whole; null if every tile holds its slices.
  private final SliceRanges ranges;

  QuantizeRun(Quantize pass, TensorInfo tensor, TileGrid grid, boolean fake) {
    this.pass = pass;
    this.tensor = tensor;
    this.fake = fake;
    this.stored = fake ? tensor : pass.layout().stored(pass, tensor);
    boolean inTiles =
        switch (pass.granularity()) {
          case TENSOR -> grid.holdsTensor();
          case CHANNEL -> grid.holdsRows();
          case GROUP -> true;
        };
    this.ranges = inTiles ? null : new SliceRanges(pass, tensor);
  }

  @Override
  public int sweeps() {
    return ranges == null ? 0 : ranges.sweeps();
  }

  @Override
  public long[] rows(int sweep) {
    return ranges.rows(sweep);
  }

  @Override
  public void observe(int sweep, Tile tile) {
    ranges.observe(sweep, tile);
  }

  @Override
  public void finishSweep(int sweep) {
    ranges.finishSweep(sweep);
  }

  @Override
  public void apply(Tile tile, PassRun.Emitter emitter) throws IOException {
    QuantScheme scheme = pass.scheme();
    Tensor x = tile.data();
    long first = firstSlice(tile);
    if (ranges != null) {
      try (Tensor scale = ranges.scale(first, x.device());
          Tensor zeroPoint = ranges.zeroPoint(first, x.device())) {
        // The tile that begins the slice also writes its scale.
        boolean begins =
            tile.col() == 0
                && (tile.row() == 0 || pass.granularity() == Quantize.Granularity.CHANNEL);
        finish(tile, emitter, x, scale, zeroPoint, begins ? first : -1);
      }
      return;
    }
    long slices =
        switch (pass.granularity()) {
          case TENSOR -> 1;
          case CHANNEL -> x.rows();
          case GROUP -> x.rows() * pass.groupsPerRow(x.cols());
        };
    Tensor lo = tile.scratch("lo", DType.F32, slices);
    Tensor hi = tile.scratch("hi", DType.F32, slices);
    Tensor scale = tile.scratch("scale", DType.F32, slices);
    Tensor zeroPoint = scheme.isAsymmetric() ? tile.scratch("zero point", DType.I8, slices) : null;
    Ops.range(x, pass.groupSize(), scheme, pass.range(), pass.percentile(), lo, hi);
    pass.scale(lo, hi, tensor.dtype(), scale, zeroPoint);
    finish(tile, emitter, x, scale, zeroPoint, first);
  }

  private long firstSlice(Tile tile) {
    return switch (pass.granularity()) {
      case TENSOR -> 0;
      case CHANNEL -> tile.row();
      case GROUP -> tile.row() * pass.groupsPerRow(tensor.cols()) + tile.col() / pass.groupSize();
    };
  }

  // Turns x into integers, or rounds it; writes the scales from slice `first` on unless it is
  // negative.
  private void finish(
      Tile tile, PassRun.Emitter emitter, Tensor x, Tensor scale, Tensor zeroPoint, long first)
      throws IOException {
    if (fake) {
      Ops.fakeQuantize(x, scale, zeroPoint, pass.groupSize(), pass.scheme(), x);
      return;
    }
    boolean int4 = pass.scheme().bits() == 4;
    Tensor q =
        tile.scratch(
            "q", pass.scheme().storedType(), x.rows(), int4 ? (x.cols() + 1) / 2 : x.cols());
    Ops.quantize(x, scale, zeroPoint, pass.groupSize(), q);
    String name = tensor.name();
    if (int4) {
      emitNibbles(tile, emitter, x.cols(), q);
      tile.replace(null);
    } else {
      tile.replace(q);
    }
    if (first >= 0) {
      emitScales(tile, emitter, first, scale);
      if (zeroPoint != null) {
        emit(tile, emitter, name + "_zero_point", first, zeroPoint);
      }
    }
    if (int4 && tile.index() == 0) {
      emitShape(emitter, tensor);
    }
  }

  // Two columns share a byte, so the tile no longer lies where its elements did.
  private void emitNibbles(Tile tile, PassRun.Emitter emitter, long cols, Tensor q)
      throws IOException {
    long rowBytes = pass.layout().rowBytes(pass.scheme(), tensor.cols());
    long first = tile.col() / 2;
    boolean endsRow = tile.col() + cols == tensor.cols();
    boolean padded =
        pass.layout() == QuantizedLayout.COMPRESSED_TENSORS && cols < 2 * (rowBytes - first);
    Tensor rows = endsRow && padded ? paddedRows(tile, q, cols, rowBytes - first) : q;
    emit(tile, emitter, stored.name(), tile.row() * rowBytes + first, rows);
  }

  // Rows of nibbles with zero bits up to so many bytes.
  private static Tensor paddedRows(Tile tile, Tensor q, long nibbles, long rowBytes) {
    Tensor padded = tile.hostScratch("padded q", DType.U8, q.rows(), rowBytes);
    int cols = Math.toIntExact(q.cols());
    tile.read(
        q,
        from -> {
          for (long row = 0; row < q.rows(); row++) {
            ByteBuffer nibblesOfRow = from.slice((int) row * cols, cols);
            padded.withBuffer(
                row * rowBytes,
                Math.toIntExact(rowBytes),
                to -> {
                  to.put(nibblesOfRow);
                  if (nibbles % 2 != 0) {
                    int last = to.position() - 1;
                    to.put(last, (byte) (to.get(last) & 15));
                  }
                  while (to.hasRemaining()) {
                    to.put((byte) 0);
                  }
                });
          }
        });
    return padded;
  }

  private void emitScales(Tile tile, PassRun.Emitter emitter, long first, Tensor scale)
      throws IOException {
    DType type = pass.scaleTypeFor(tensor.dtype());
    Tensor written = scale;
    if (type != DType.F32) {
      written = tile.scratch("stored scale", type, scale.elements());
      Ops.convert(scale, written);
    }
    emit(tile, emitter, tensor.name() + "_scale", type.bytes(first), written);
  }

  static void emitShape(PassRun.Emitter emitter, TensorInfo tensor) throws IOException {
    ByteBuffer shape =
        ByteBuffer.allocate(8 * tensor.shape().size()).order(ByteOrder.LITTLE_ENDIAN);
    tensor.shape().forEach(shape::putLong);
    emitter.emit(tensor.name() + "_shape", 0, shape.flip());
  }

  static void emit(Tile tile, PassRun.Emitter emitter, String name, long offset, Tensor data)
      throws IOException {
    tile.read(data, buffer -> emitter.emit(name, offset, buffer));
  }

  @Override
  public void abort() {
    if (ranges != null) {
      ranges.abort();
    }
  }

  @Override
  public void close() {
    if (ranges != null) {
      ranges.close();
    }
  }
}
